/* The thread that drives an event loop for Erlang. */
#ifndef ERLANG_PYTHON_LOOP_THREAD_H
#define ERLANG_PYTHON_LOOP_THREAD_H

#include <stdint.h>

/*
 * Makes an ErlangEventLoop on the core's loop `handle` and runs it, on the calling thread, until
 * that loop is asked to end. The thread is attached to the interpreter, with the GIL released, and
 * its handle is `thread`, by which the loop's callbacks and tasks can be interrupted. What goes
 * wrong is reported as log events.
 */
void loop_thread_run(void *thread_state, uint64_t thread, uint64_t handle);

#endif
