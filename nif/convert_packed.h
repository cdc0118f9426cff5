/*
 * Scalars in plain memory, on their way between a BEAM thread and a Python thread: an environment
 * costs an allocation, and several cache lines from one processor to the other, where a number
 * needs sixteen bytes.
 *
 * What can be packed: integers of 64 bits, floats, atoms, and binaries that fit; of Python exactly
 * what python_to_term() makes these of. Everything else takes the way through an environment.
 */
#ifndef ERLANG_PYTHON_CONVERT_PACKED_H
#define ERLANG_PYTHON_CONVERT_PACKED_H

#include "python_state.h"

#include <erl_nif.h>
#include <stdbool.h>
#include <stddef.h>

/* Writes the term to `to` and returns how many bytes it takes, or 0 when it cannot be packed into
 * `room` bytes. Needs no GIL. */
size_t packed_from_term(ErlNifEnv *env, ERL_NIF_TERM term, unsigned char *to, size_t room);

/* The term of a packed value, in env. Needs no GIL. */
ERL_NIF_TERM packed_to_term(ErlNifEnv *env, const unsigned char *from);

/* The same as packed_from_term() for an object, with the GIL; sets no exception. */
size_t packed_from_object(PyObject *object, unsigned char *to, size_t room);

/*
 * What term_to_python() makes of the term that *from was packed from; moves *from behind it. env
 * may be any. A new reference, or NULL with an exception set.
 */
PyObject *packed_to_object(ErlNifEnv *env, const unsigned char **from);

#endif
