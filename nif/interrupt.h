/*
 * Raising an exception in one particular task that a thread runs, and in nothing else.
 *
 * CPython delivers an asynchronous exception to a thread, some time later; by then the thread may
 * run another task. So every task that runs Python code has a frame here, and what was raised for
 * it and not delivered is taken back when it ends. Frames are pushed, popped and looked for with
 * the GIL.
 */
#ifndef ERLANG_PYTHON_INTERRUPT_H
#define ERLANG_PYTHON_INTERRUPT_H

#define PY_SSIZE_T_CLEAN
#include "task.h"

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#define INTERRUPT_NOTHING UINT64_MAX

typedef struct interrupt_frame {
    struct interrupt_frame *outer; /* the task within whose call to Erlang this one runs */
    uint64_t task;                 /* as task.go's id() */
    bool raised;
} interrupt_frame;

/* The begin and the end of a task's Python code. Both with the GIL, on the thread that runs it. */
void interrupt_enter(interrupt_frame *frame, const task *t);
void interrupt_leave(interrupt_frame *frame);

/* The id of the task that the thread of that threading.get_ident() runs, INTERRUPT_NOTHING when it
 * runs none. Any thread, no GIL. */
uint64_t interrupt_running(unsigned long identity);

/*
 * Raises KeyboardInterrupt in the task, at once when it runs and else when the task that runs
 * within it ends. False when no thread runs it any more. Takes the GIL, for the attached
 * thread_state. *identity is the thread's.
 */
bool interrupt_task(void *thread_state, uint64_t task, unsigned long *identity);

#endif
