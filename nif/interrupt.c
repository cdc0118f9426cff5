#include "interrupt.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef struct thread_frames {
    struct thread_frames *next;
    struct thread_frames *previous;
    unsigned long identity;
    interrupt_frame *innermost;
    _Atomic uint64_t running; /* innermost's task, to be read without the GIL */
} thread_frames;

static pthread_mutex_t list_lock =
    PTHREAD_MUTEX_INITIALIZER; /* never held while waiting for the GIL */
static thread_frames *list;
static pthread_key_t end_key;
static pthread_once_t end_key_once = PTHREAD_ONCE_INIT;
static _Thread_local thread_frames *own;

static void forget(void *value) {
    thread_frames *frames = value;
    pthread_mutex_lock(&list_lock);
    if (frames->previous != NULL) {
        frames->previous->next = frames->next;
    } else {
        list = frames->next;
    }
    if (frames->next != NULL) {
        frames->next->previous = frames->previous;
    }
    pthread_mutex_unlock(&list_lock);
    free(frames);
}

static void make_end_key(void) { pthread_key_create(&end_key, forget); }

/* NULL without memory; the thread's tasks cannot be interrupted then. */
static thread_frames *frames_of_thread(void) {
    if (own == NULL) {
        thread_frames *frames = calloc(1, sizeof(*frames));
        pthread_once(&end_key_once, make_end_key);
        if (frames == NULL || pthread_setspecific(end_key, frames) != 0) {
            free(frames);
            return NULL;
        }
        atomic_init(&frames->running, INTERRUPT_NOTHING);
        frames->identity = PyThread_get_thread_ident();
        pthread_mutex_lock(&list_lock);
        frames->next = list;
        if (list != NULL) {
            list->previous = frames;
        }
        list = frames;
        pthread_mutex_unlock(&list_lock);
        own = frames;
    }
    return own;
}

#ifdef Py_GIL_DISABLED
#define FRAMES_LOCK() pthread_mutex_lock(&list_lock)
#define FRAMES_UNLOCK() pthread_mutex_unlock(&list_lock)
#else
#define FRAMES_LOCK() ((void)0)
#define FRAMES_UNLOCK() ((void)0)
#endif

/* The same bits as in task.go. */
#define GENERATION_BITS 30

void interrupt_enter(interrupt_frame *frame, const task *t) {
    thread_frames *frames = frames_of_thread();
    frame->raised = false;
    frame->outer = NULL;
    if (frames == NULL) {
        return;
    }
    frame->task =
        t->slot << GENERATION_BITS | (task_generation(t) & ((UINT64_C(1) << GENERATION_BITS) - 1));
    FRAMES_LOCK();
    frame->outer = frames->innermost;
    frames->innermost = frame;
    atomic_store_explicit(&frames->running, frame->task, memory_order_relaxed);
    FRAMES_UNLOCK();
}

void interrupt_leave(interrupt_frame *frame) {
    thread_frames *frames = own;
    if (frames == NULL || frames->innermost != frame) {
        return;
    }
    FRAMES_LOCK();
    interrupt_frame *outer = frame->outer;
    frames->innermost = outer;
    atomic_store_explicit(&frames->running, outer != NULL ? outer->task : INTERRUPT_NOTHING,
                          memory_order_relaxed);
    FRAMES_UNLOCK();
    bool pending = outer != NULL && outer->raised;
    if (frame->raised || pending) {
        PyThreadState_SetAsyncExc(frames->identity, pending ? PyExc_KeyboardInterrupt : NULL);
    }
}

uint64_t interrupt_running(unsigned long identity) {
    uint64_t running = INTERRUPT_NOTHING;
    pthread_mutex_lock(&list_lock);
    for (thread_frames *frames = list; frames != NULL; frames = frames->next) {
        if (frames->identity == identity) {
            running = atomic_load_explicit(&frames->running, memory_order_relaxed);
        }
    }
    pthread_mutex_unlock(&list_lock);
    return running;
}

static interrupt_frame *find(thread_frames *frames, uint64_t task) {
    interrupt_frame *frame = frames->innermost;
    while (frame != NULL && frame->task != task) {
        frame = frame->outer;
    }
    return frame;
}

bool interrupt_task(void *thread_state, uint64_t task, unsigned long *identity) {
    bool found = false;
    bool at_once = false;
    PyEval_RestoreThread(thread_state);
    pthread_mutex_lock(&list_lock);
    for (thread_frames *frames = list; frames != NULL && !found; frames = frames->next) {
        interrupt_frame *frame = find(frames, task);
        if (frame != NULL) {
            found = true;
            frame->raised = true;
            at_once = frame == frames->innermost;
            *identity = frames->identity;
        }
    }
    pthread_mutex_unlock(&list_lock);
    if (at_once) {
        PyThreadState_SetAsyncExc(*identity, PyExc_KeyboardInterrupt);
    }
    PyEval_SaveThread();
    return at_once;
}
