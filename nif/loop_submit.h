/* NIFs of module py_nif that are written in C; nif_table.h has the list of all. */
#ifndef ERLANG_PYTHON_LOOP_SUBMIT_H
#define ERLANG_PYTHON_LOOP_SUBMIT_H

#include <erl_nif.h>

ERL_NIF_TERM core_event_loop_run(ErlNifEnv *env, int argc, const ERL_NIF_TERM *argv);
ERL_NIF_TERM core_event_loop_create_task(ErlNifEnv *env, int argc, const ERL_NIF_TERM *argv);
ERL_NIF_TERM core_event_loop_spawn_task(ErlNifEnv *env, int argc, const ERL_NIF_TERM *argv);

#endif
