/* The Python exception that is set, as a term. */
#ifndef ERLANG_PYTHON_PYTHON_ERROR_H
#define ERLANG_PYTHON_PYTHON_ERROR_H

#include "python_state.h"

/*
 * Takes the exception that is set on this thread (there must be one) and returns {Class, Message}
 * or, with traceback, {Class, Message, Traceback}, built in env. Class is an atom for the
 * exceptions of module builtins and a binary "module.QualifiedName" for all others. Message is a
 * binary of valid UTF-8 whatever the exception's
 * __str__ does (raises, recurses, returns surrogates, is no string); Traceback a list of binaries
 * as traceback.format_exception gives them. Never fails and leaves no exception set; SystemExit,
 * KeyboardInterrupt and GeneratorExit are exceptions like any other. Needs the GIL.
 */
ERL_NIF_TERM python_error_take(ErlNifEnv *env, bool traceback);

/* The same for an exception object that is not set on the thread; does not take its reference. */
ERL_NIF_TERM python_error_term(ErlNifEnv *env, PyObject *exception, bool traceback);

/* Once per interpreter: learns the exceptions of module builtins. Returns false with an exception
 * set. */
bool python_error_setup(python_state *state);

#endif
