/* From the names of a module and a function, as Erlang gives them, to the Python callable. */
#ifndef ERLANG_PYTHON_RESOLVE_H
#define ERLANG_PYTHON_RESOLVE_H

#include "python_state.h"

/*
 * A new reference to the callable, or NULL with an exception set (ModuleNotFoundError, ImportError
 * or whatever the import raises; AttributeError; TypeError for names that are neither atom nor
 * UTF-8 binary).
 *
 * A module name may be dotted and may go on into attributes of the module: the longest prefix that
 * can be imported is, the rest are attributes ('datetime.datetime', 'now'). So may a function name.
 * Imports are done once; what is in sys.modules and the attributes are looked up at every call, so
 * that redefinition and reloading are seen.
 */
PyObject *resolve_callable(ErlNifEnv *env, ERL_NIF_TERM module, ERL_NIF_TERM function);

/* The same for two strs. */
PyObject *resolve_named(PyObject *module, PyObject *function);

/* Adds resolve(). False with an exception set. */
bool resolve_setup(PyObject *module);

#endif
