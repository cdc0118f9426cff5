/*
 * The Python types for terms that Python has no type for: erlang.Atom, Pid, Ref, Port, Fun and the
 * wrapper Binary. Instances compare, hash and go back to Erlang as the term they came from, and can
 * be used by any thread.
 */
#ifndef ERLANG_PYTHON_PYTHON_TYPES_H
#define ERLANG_PYTHON_PYTHON_TYPES_H

#include "python_state.h"

/* Creates the types and adds them to module (the built-in module _erlang). false with an exception
 * set. */
bool python_types_setup(python_state *state, PyObject *module);

/* A new Pid, Ref, Port or Fun for the term (which it copies), or NULL with an exception set. */
PyObject *opaque_from_term(ErlNifEnv *env, ERL_NIF_TERM term);

/* If object is an opaque of any kind, sets *term to a copy of its term in env and returns true. */
bool opaque_to_term(ErlNifEnv *env, PyObject *object, ERL_NIF_TERM *term);

/* If object is a pid of this node, sets *process to it, which needs no environment, and returns
 * true. */
bool opaque_local_process(PyObject *object, ErlNifPid *process);

/* If object is an erlang.Binary, a borrowed reference to the buffer's owner in it, else NULL (no
 * exception set). */
PyObject *binary_wrapper_object(python_state *state, PyObject *object);

/* A function as the value of a PyType_Slot; ISO C knows no such conversion, every platform of
 * CPython does. */
#define SLOT_FUNCTION(function) (__extension__(void *)(function))

/* Longest atom that Erlang knows, in characters. */
#define ATOM_MAX_CHARACTERS 255

/* Creates erlang.Atom and erlang.Binary; a part of python_types_setup(). */
bool python_value_types_setup(python_state *state, PyObject *module);

/*
 * A new reference to the str "module.QualifiedName" of a type ("QualifiedName" alone for module
 * builtins), read from the type itself: neither its metaclass nor any other Python code runs. NULL
 * with an exception set.
 */
PyObject *type_full_name(PyTypeObject *type);

#endif
