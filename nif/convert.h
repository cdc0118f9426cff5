/*
 * Term <-> Python object, one recursive function for each direction, called once per task
 * (one cgo crossing per element would cost five to fifteen times as much).
 * The table is in docs/type-conversion.md.
 *
 * All functions need the GIL. Both directions bound their recursion, by a depth and by the stack
 * that is left on the calling thread, and raise RecursionError / ValueError instead of overflowing.
 */
#ifndef ERLANG_PYTHON_CONVERT_H
#define ERLANG_PYTHON_CONVERT_H

#include "python_state.h"

/* Flags of python_to_term(). */
enum {
    /* Arrays of numbers go out as their raw bytes, not as lists. */
    CONVERT_ARRAYS_AS_BINARY = 1 << 0,
};

/* Deepest nesting that either direction follows. */
#define CONVERT_MAX_DEPTH 10000

/*
 * The Python object for a term. Returns a new reference, or NULL with a Python exception set
 * (TypeError for improper lists, bitstrings and unhashable map keys; ValueError for map keys that
 * are equal in Python; RecursionError; MemoryError). Does not keep env or term alive: opaque
 * objects copy what they need.
 */
PyObject *term_to_python(ErlNifEnv *env, ERL_NIF_TERM term);

/*
 * The term for a Python object, built in env. Returns true and sets *term, or returns false with a
 * Python exception set (TypeError that names the type, UnicodeEncodeError, ValueError for colliding
 * keys and for too many new atoms, OverflowError for sizes that Erlang does not know,
 * RecursionError for depth and cycles, RuntimeError for a container that changed meanwhile). Adds
 * to *weight (may be NULL) about the number of bytes that the term takes; the bound on the size of
 * a term holds for the sum.
 */
bool python_to_term(ErlNifEnv *env, PyObject *object, unsigned flags, ERL_NIF_TERM *term,
                    size_t *weight);

/*
 * A borrowed reference to the interned str of an atom, from a cache that is never emptied (atoms
 * are never collected either), or NULL with an exception set. term must be an atom.
 */
PyObject *atom_to_python_string(ErlNifEnv *env, ERL_NIF_TERM term);

/*
 * A new reference to the str that names a module or function: an atom, or a binary of valid UTF-8.
 * NULL with TypeError set, naming `what` ("module", "function"), for anything else.
 */
PyObject *name_to_python_string(ErlNifEnv *env, ERL_NIF_TERM term, const char *what);

/* Sets how many atoms that did not exist before Python may create; returns nothing, thread-safe. */
void convert_set_atom_limit(unsigned long limit);

/* Sets how large a term that python_to_term() makes may get, in bytes; a larger one raises
 * MemoryError. Thread-safe. */
void convert_set_size_limit(size_t limit);

/* The atom that None becomes: `none` unless this was called. */
void convert_set_none(ERL_NIF_TERM atom);

/* Once per interpreter, after python_types_setup(). Returns false with an exception set. */
bool convert_setup(python_state *state);

#endif
