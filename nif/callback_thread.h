/* What each Python thread that sends to Erlang keeps; freed when it ends. */
#ifndef ERLANG_PYTHON_CALLBACK_THREAD_H
#define ERLANG_PYTHON_CALLBACK_THREAD_H

#include "python_state.h"

/* The handle of the calling thread's waiter (waiter.go), made on demand; 0 with an exception set.
 * Needs the GIL. */
uint64_t callback_thread_waiter(void);

/*
 * An empty environment for a message, to be given back with callback_env_return(). Conversions run
 * Python code, which may send as well: each user has one of its own. NULL with MemoryError set.
 */
ErlNifEnv *callback_env_take(void);
void callback_env_return(ErlNifEnv *env);

#endif
