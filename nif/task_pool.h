/*
 * The tasks that nobody uses, and all tasks by their slot.
 *
 * A task is never freed: a submitter that spins, or a canceller with an old id, may look at its
 * state word at any time. All functions are for any thread, with or without the GIL.
 */
#ifndef ERLANG_PYTHON_TASK_POOL_H
#define ERLANG_PYTHON_TASK_POOL_H

#include "task.h"

#include <stddef.h>

/* A task in phase FREE, or NULL without memory. */
task *task_pool_get(void);

/* Takes back a task that is finished. One that somebody claimed is his to put. */
void task_pool_put(task *t);

/* The same in two steps, for who finishes many: the end of the task's life, after which it is to be
 * kept when the result is true, and the keeping. */
bool task_pool_retire(task *t);
void task_pool_keep(task *const *tasks, size_t count);

/* How many tasks there are, in use or not. */
size_t task_pool_size(void);

/* The task of a slot, or NULL when there is no such slot. */
task *task_pool_at(uint64_t slot);

/* True when this call cancelled the task of that id: nothing will be sent for it. */
bool task_pool_cancel(uint64_t id);

/* task_answer_for() for all tasks of that loop, on a thread of ours. */
void task_pool_answer_for(uint64_t loop, ERL_NIF_TERM reason);

#endif
