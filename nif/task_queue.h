/*
 * The pushing end of an event loop's queue of tasks, which is a queue.Queue (internal/queue, whose
 * documentation says how it works): what Queue.Push does, for those who submit without entering Go.
 * The consumer is in Go.
 */
#ifndef ERLANG_PYTHON_TASK_QUEUE_H
#define ERLANG_PYTHON_TASK_QUEUE_H

#include "task.h"

#include <stddef.h>
#include <stdint.h>

/* queue.Shared. To cgo, which does not know _Atomic, the fields are plain. */
typedef struct task_queue {
    alignas(TASK_LINE) task *head;
    int64_t length;

    alignas(TASK_LINE) int64_t limit;
    void *closed; /* what head is when the queue is closed */
} task_queue;

/* The layout, for the check that Go means the same. */
enum {
    TASK_QUEUE_HEAD_OFFSET = offsetof(task_queue, head),
    TASK_QUEUE_LENGTH_OFFSET = offsetof(task_queue, length),
    TASK_QUEUE_LIMIT_OFFSET = offsetof(task_queue, limit),
    TASK_QUEUE_CLOSED_OFFSET = offsetof(task_queue, closed),
};

typedef enum push_result { PUSH_DONE, PUSH_FULL, PUSH_CLOSED } push_result;

/* Unless PUSH_DONE the task stays the caller's. From any thread. */
push_result task_queue_push(task_queue *queue, task *t);

/* How many tasks were pushed and not taken. */
int64_t task_queue_length(task_queue *queue);

#endif
