/* What one wait of a loop's thread brought; filled in Go, read in C, allocated once for each loop.
 */
#ifndef ERLANG_PYTHON_LOOP_READY_H
#define ERLANG_PYTHON_LOOP_READY_H

#include "task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOOP_EVENTS 256 /* one system call harvests as many */
#define LOOP_TASKS 64   /* run in one hold of the GIL, so that I/O and timers are never starved */
#define LOOP_CANCELS 64

/* What core_loop_wait() answers, beside a negative errno. */
enum {
    LOOP_READY,   /* events, tasks or cancellations */
    LOOP_TIMEOUT, /* the deadline has come */
    LOOP_WOKEN,   /* wake_notify() */
};

typedef struct loop_event {
    int32_t fd;
    uint32_t mask; /* selectors.EVENT_READ = 1, EVENT_WRITE = 2 */
} loop_event;

typedef struct loop_ready {
    int32_t event_count;
    int32_t task_count;
    int32_t cancel_count;
    bool stop;         /* the loop is to end */
    bool cancelling;   /* some of the tasks may be cancelled: core_loop_cancelled() */
    bool eager;        /* another look is likely to find events */
    int64_t ran_until; /* monotonic nanoseconds: when the last batch had run, 0 if it has not */
    /* For event_loop_info, set by the Selector before it waits: tasks that wait, asyncio's timers.
     */
    int64_t suspended;
    int64_t timers;
    loop_event events[LOOP_EVENTS];
    task *tasks[LOOP_TASKS];
    uint64_t cancels[LOOP_CANCELS]; /* keys of references whose asyncio task is to be cancelled */
} loop_ready;

#endif
