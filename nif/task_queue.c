#include "task_queue.h"

#include <stdbool.h>

static task *load_head(task_queue *queue) {
    return __atomic_load_n(&queue->head, __ATOMIC_SEQ_CST);
}

int64_t task_queue_length(task_queue *queue) {
    return __atomic_load_n(&queue->length, __ATOMIC_SEQ_CST);
}

/* Counts a task before it becomes visible, and never more than the limit. */
static bool reserve(task_queue *queue) {
    if (queue->limit <= 0) {
        __atomic_fetch_add(&queue->length, 1, __ATOMIC_SEQ_CST);
        return true;
    }
    int64_t length = task_queue_length(queue);
    do {
        if (length >= queue->limit) {
            return false;
        }
    } while (!__atomic_compare_exchange_n(&queue->length, &length, length + 1, true,
                                          __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    return true;
}

push_result task_queue_push(task_queue *queue, task *t) {
    if (load_head(queue) == queue->closed) {
        return PUSH_CLOSED;
    }
    if (!reserve(queue)) {
        return PUSH_FULL;
    }
    task *head = load_head(queue);
    do {
        if (head == queue->closed) {
            __atomic_fetch_sub(&queue->length, 1, __ATOMIC_SEQ_CST);
            return PUSH_CLOSED;
        }
        t->next = head;
    } while (!__atomic_compare_exchange_n(&queue->head, &head, t, true, __ATOMIC_SEQ_CST,
                                          __ATOMIC_SEQ_CST));
    return PUSH_DONE;
}
