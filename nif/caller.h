/* On whose behalf Python code runs: the task that a thread runs, or the process that a coroutine
 * belongs to. */
#ifndef ERLANG_PYTHON_CALLER_H
#define ERLANG_PYTHON_CALLER_H

#include "python_state.h"
#include "task.h"

/* The task whose code the calling thread begins to run; returns the one before, to be put back
 * after it. */
task *caller_enter(task *t);
void caller_leave(task *previous);

/*
 * The process: the one that act_for() names, else that of the task which the calling thread runs,
 * else of the coroutine that it steps.
 * False without any. Needs the GIL; never leaves an exception set.
 */
bool caller_process(ErlNifPid *process);

/* Id of the call of Python whose callback submitted the task that the thread runs, else 0. */
uint64_t caller_origin(void);

/*
 * Makes the asyncio tasks that are created until caller_unbind() belong to the task's process. The
 * result is a token, NULL when that failed (without an exception set).
 */
PyObject *caller_bind(task *t);
void caller_unbind(PyObject *token);

/* Adds self(), send(), whereis(), act_for(). False with an exception set. */
bool caller_setup(PyObject *module);

#endif
