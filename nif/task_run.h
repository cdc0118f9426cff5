/* Running tasks on the calling Python thread. All functions need the GIL. */
#ifndef ERLANG_PYTHON_TASK_RUN_H
#define ERLANG_PYTHON_TASK_RUN_H

#include "python_state.h"
#include "task.h"

/* Runs the task's call, eval or exec. A new reference (None for exec), or NULL with an exception set. */
PyObject *task_evaluate(task *t);

/* The result of a task, {ok, Value} or {error, {Class, Message}}, for a value (borrowed) in the task's env. */
ERL_NIF_TERM task_value_result(task *t, PyObject *value);

/* The same for the exception that is set, which it takes. */
ERL_NIF_TERM task_exception_result(task *t);

/*
 * Runs tasks one after the other on a context's thread and delivers their results. On return owned[i] is true for
 * each task that the caller has to recycle. Takes and releases the GIL of thread_state around the whole batch.
 */
void task_run_batch(void *thread_state, task **tasks, size_t count, bool *owned);

#endif
