#include "task_pool.h"

#include "_cgo_export.h"

#include <pthread.h>
#include <stdlib.h>

/* Bounds how many finished tasks keep their environment. */
#define KEPT_TASKS 16384

/* Of task_pool_answer_for(), in one hold of the lock. */
#define ANSWERED_AT_ONCE 256

/* Slots that the first allocation makes room for; each further one doubles it. */
#define FIRST_SLOTS 4096

/* Lists of tasks are linked by their `next`. */
static struct {
    pthread_mutex_t lock; /* a leaf: nothing is called while it is held that takes another one of
                             ours */
    task *ready;          /* with an environment */
    size_t ready_count;
    task *bare; /* without */
    task **slots;
    size_t size;
    size_t capacity;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static task *pop(task **list) {
    task *t = *list;
    if (t != NULL) {
        *list = t->next;
        t->next = NULL;
    }
    return t;
}

static void push(task **list, task *t) {
    t->next = *list;
    *list = t;
}

static bool make_room(void) {
    if (pool.size < pool.capacity) {
        return true;
    }
    size_t capacity = pool.capacity == 0 ? FIRST_SLOTS : 2 * pool.capacity;
    task **slots = realloc(pool.slots, capacity * sizeof(*slots));
    if (slots == NULL) {
        return false;
    }
    pool.slots = slots;
    pool.capacity = capacity;
    return true;
}

/* The caller holds the lock. */
static task *get_locked(void) {
    task *t = pop(&pool.ready);
    if (t != NULL) {
        pool.ready_count--;
        return t;
    }
    t = pop(&pool.bare);
    if (t != NULL) {
        if (!task_restore(t)) {
            push(&pool.bare, t);
            return NULL;
        }
        return t;
    }
    t = make_room() ? task_new(pool.size) : NULL;
    if (t != NULL) {
        pool.slots[pool.size++] = t;
    }
    return t;
}

task *task_pool_get(void) {
    pthread_mutex_lock(&pool.lock);
    task *t = get_locked();
    pthread_mutex_unlock(&pool.lock);
    return t;
}

/* The caller holds the lock. */
static void keep(task *t) {
    if (pool.ready_count < KEPT_TASKS) {
        push(&pool.ready, t);
        pool.ready_count++;
    } else {
        task_trim(t);
        push(&pool.bare, t);
    }
}

bool task_pool_retire(task *t) {
    if (t->object != NULL) {
        /* Not here: that may run Python code. */
        core_drop_later(t->object);
        t->object = NULL;
    }
    return task_recycle(t);
}

void task_pool_put(task *t) {
    if (task_pool_retire(t)) {
        task_pool_keep(&t, 1);
    }
}

void task_pool_keep(task *const *tasks, size_t count) {
    if (count == 0) {
        return;
    }
    pthread_mutex_lock(&pool.lock);
    for (size_t i = 0; i < count; i++) {
        keep(tasks[i]);
    }
    pthread_mutex_unlock(&pool.lock);
}

size_t task_pool_size(void) {
    pthread_mutex_lock(&pool.lock);
    size_t size = pool.size;
    pthread_mutex_unlock(&pool.lock);
    return size;
}

task *task_pool_at(uint64_t slot) {
    pthread_mutex_lock(&pool.lock);
    task *t = slot < pool.size ? pool.slots[slot] : NULL;
    pthread_mutex_unlock(&pool.lock);
    return t;
}

bool task_pool_cancel(uint64_t id) {
    task *t = task_pool_at(id >> TASK_ID_GENERATION_BITS);
    if (t == NULL) {
        return false;
    }
    uint64_t generation = task_generation(t);
    return task_id(t, generation) == id && task_cancel(t, generation);
}

void task_pool_answer_for(uint64_t loop, ERL_NIF_TERM reason) {
    /* Tasks are never freed, so their addresses outlive the lock, which all submitters want. */
    task *some[ANSWERED_AT_ONCE];
    for (size_t first = 0;; first += ANSWERED_AT_ONCE) {
        pthread_mutex_lock(&pool.lock);
        size_t count = 0;
        while (count < ANSWERED_AT_ONCE && first + count < pool.size) {
            some[count] = pool.slots[first + count];
            count++;
        }
        pthread_mutex_unlock(&pool.lock);
        if (count == 0) {
            return;
        }
        for (size_t i = 0; i < count; i++) {
            if (task_answer_for(some[i], loop, reason)) {
                task_pool_put(some[i]);
            }
        }
    }
}
