/* What the functions of fake_enif.c tell beyond erl_nif.h. */
#ifndef ERLANG_PYTHON_FAKE_ENIF_H
#define ERLANG_PYTHON_FAKE_ENIF_H

#include <erl_nif.h>
#include <stdbool.h>

/* How many environments there are. */
long fake_environments(void);

ERL_NIF_TERM fake_reference(ErlNifEnv *env);

#endif
