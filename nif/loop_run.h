/* Running the tasks that Erlang submitted to a loop, from within its native wait. */
#ifndef ERLANG_PYTHON_LOOP_RUN_H
#define ERLANG_PYTHON_LOOP_RUN_H

#include "selector.h"

/*
 * Runs self->ready's tasks and cancellations, in order, inside the running loop. Plain functions
 * are answered at once. A coroutine's asyncio task takes its first step at once and is answered at
 * once if that finishes it; otherwise when it is done. True when asyncio has something to do, so
 * that select() must return. Takes the tasks.
 */
bool loop_run_tasks(selector *self);

bool loop_run_setup(python_state *state, PyObject *module);

#endif
