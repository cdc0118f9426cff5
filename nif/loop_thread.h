/* The thread that drives an event loop for Erlang. */
#ifndef ERLANG_PYTHON_LOOP_THREAD_H
#define ERLANG_PYTHON_LOOP_THREAD_H

#include <stdint.h>

/*
 * Runs erlang._driver.drive(handle) on the calling thread, which is attached to the interpreter
 * with the GIL released, until that loop ends. What it raises is reported as a log event.
 */
void loop_thread_run(void *thread_state, uint64_t handle);

#endif
