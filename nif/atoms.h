/* Atoms that the C parts use, made once when the library is loaded; atoms are the same in every
 * environment. */
#ifndef ERLANG_PYTHON_ATOMS_H
#define ERLANG_PYTHON_ATOMS_H

#include <erl_nif.h>

#define ATOMS(ATOM)                                                                                \
    ATOM(ok)                                                                                       \
    ATOM(error)                                                                                    \
    ATOM(undefined)                                                                                \
    ATOM(none)                                                                                     \
    ATOM(pending)                                                                                  \
    ATOM(busy)                                                                                     \
    ATOM(closed)                                                                                   \
    ATOM(enomem)                                                                                   \
    ATOM(cancelled)                                                                                \
    ATOM(python_call)                                                                              \
    ATOM(loop_restarted)                                                                           \
    ATOM(context_replaced)                                                                         \
    ATOM(async_result)                                                                             \
    ATOM(read)                                                                                     \
    ATOM(write)                                                                                    \
    ATOM(timer)

typedef struct atom_table {
#define ATOM(name) ERL_NIF_TERM name;
    ATOMS(ATOM)
#undef ATOM
} atom_table;

extern atom_table atoms;

/* Fills the table; called by the load function before anything else. */
void atoms_load(ErlNifEnv *env);

#endif
