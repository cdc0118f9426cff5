/*
 * Raising an exception in one particular task that a thread runs, or in whatever a thread of ours
 * runs for its loop or its queue, and in nothing else.
 *
 * CPython delivers an asynchronous exception to a thread, some time later; by then the thread may
 * run something else: another task, or code of ours that holds a lock which would stay locked. So
 * all that may be interrupted has a frame here, and what was raised for it and not delivered is
 * taken back when it ends. Frames are pushed, popped and looked for with the GIL.
 */
#ifndef ERLANG_PYTHON_INTERRUPT_H
#define ERLANG_PYTHON_INTERRUPT_H

#define PY_SSIZE_T_CLEAN
#include "task.h"

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#define INTERRUPT_NOTHING UINT64_MAX

/* In the id of a frame of a whole thread; no task's id and no thread's handle has that bit. */
#define INTERRUPT_THREAD_BIT (UINT64_C(1) << 63)

typedef enum interrupt_kind {
    INTERRUPT_NONE,
    INTERRUPT_TASK,   /* KeyboardInterrupt */
    INTERRUPT_THREAD, /* SystemExit, in all that the thread runs until its frame is left */
} interrupt_kind;

typedef struct interrupt_frame {
    struct interrupt_frame *outer; /* within which this one runs: a thread's, or that of a task
                                      which calls Erlang */
    uint64_t id;                   /* as task.go's id(), or a thread's handle and its bit */
    interrupt_kind raised;
    uint64_t since; /* the last request before it began: that and earlier ones are not for it */
} interrupt_frame;

/* The begin and the end of a task's Python code. Both with the GIL, on the thread that runs it. */
void interrupt_enter(interrupt_frame *frame, const task *t);
void interrupt_leave(interrupt_frame *frame);

/* The begin of what a thread runs that is to end with it, by the thread's handle. Ended by
 * interrupt_leave(). */
void interrupt_enter_thread(interrupt_frame *frame, uint64_t thread);

/* The id of the innermost frame of the thread of that threading.get_ident(), INTERRUPT_NOTHING when
 * it has none. Any thread, no GIL. */
uint64_t interrupt_running(unsigned long identity);

/* A number for interrupt_raise(), to be had before it is decided that there shall be an interrupt.
 * Any thread, no GIL. */
uint64_t interrupt_request(void);

/*
 * Raises the exception of the frame with that id: for a task at once when it runs and else when the
 * task that runs within it ends, for a thread at once. False when there is no such frame any more,
 * what the thread runs began after the request, or nothing is to be raised yet. Takes the GIL, for
 * the attached thread_state. *identity is the thread's.
 */
bool interrupt_raise(void *thread_state, uint64_t request, uint64_t id, unsigned long *identity);

#endif
