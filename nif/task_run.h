/* Running tasks on the calling Python thread. All functions need the GIL. */
#ifndef ERLANG_PYTHON_TASK_RUN_H
#define ERLANG_PYTHON_TASK_RUN_H

#include "python_state.h"
#include "task.h"

/* The most tasks that one hold of the GIL runs. */
#define TASK_BATCH 64

/* What became of a task that was run. */
typedef enum task_outcome {
    TASK_GONE,    /* somebody else has it */
    TASK_RECYCLE, /* finished: whoever ran it gives it back */
    TASK_AGAIN,   /* it has another step: whoever ran it queues it again, behind what is queued */
} task_outcome;

/*
 * Runs the task's call, eval or exec, or its next step. A new reference (None for exec), or NULL
 * with an exception set. The value may be a marker (schedule.h), for task_deliver().
 */
PyObject *task_evaluate(task *t);

/* Finishes a task with what task_evaluate() gave, NULL for the exception that is set, or goes on;
 * takes value. */
task_outcome task_deliver(task *t, PyObject *value);

/* Runs one task or step, unless nobody wants it any more; living as for task_wanted(). */
task_outcome task_run(task *t, task_living *living);

/* The result of a task, {ok, Value} or {error, {Class, Message}}, for a value (borrowed) in the
 * task's env. */
ERL_NIF_TERM task_value_result(task *t, PyObject *value);

/* The same for the exception that is set, which it takes. */
ERL_NIF_TERM task_exception_result(task *t);

/*
 * Runs tasks one after the other on a context's thread, which can be interrupted meanwhile by its
 * handle `thread`, delivers their results, and gives those that are finished back to the pool. On
 * return again[i] tells of each task whether it has another step; the result is the number of
 * those. Takes and releases the GIL of thread_state around the whole batch.
 */
size_t task_run_batch(void *thread_state, uint64_t thread, task *const *tasks, size_t count,
                      bool *again);

#endif
