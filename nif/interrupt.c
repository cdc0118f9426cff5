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
static _Atomic uint64_t requests;

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

static void push(interrupt_frame *frame, uint64_t id) {
    thread_frames *frames = frames_of_thread();
    frame->id = id;
    frame->raised = INTERRUPT_NONE;
    frame->since = atomic_load_explicit(&requests, memory_order_relaxed);
    frame->outer = NULL;
    if (frames == NULL) {
        return;
    }
    FRAMES_LOCK();
    frame->outer = frames->innermost;
    frames->innermost = frame;
    atomic_store_explicit(&frames->running, id, memory_order_relaxed);
    FRAMES_UNLOCK();
}

void interrupt_enter(interrupt_frame *frame, const task *t) {
    push(frame, task_id(t, task_generation(t)));
}

void interrupt_enter_thread(interrupt_frame *frame, uint64_t thread) {
    push(frame, thread | INTERRUPT_THREAD_BIT);
}

static PyObject *exception_of(interrupt_kind kind) {
    switch (kind) {
    case INTERRUPT_NONE:
        return NULL;
    case INTERRUPT_TASK:
        return PyExc_KeyboardInterrupt;
    case INTERRUPT_THREAD:
        return PyExc_SystemExit;
    }
    return NULL;
}

void interrupt_leave(interrupt_frame *frame) {
    thread_frames *frames = own;
    if (frames == NULL || frames->innermost != frame) {
        return;
    }
    FRAMES_LOCK();
    interrupt_frame *outer = frame->outer;
    frames->innermost = outer;
    atomic_store_explicit(&frames->running, outer != NULL ? outer->id : INTERRUPT_NOTHING,
                          memory_order_relaxed);
    FRAMES_UNLOCK();
    interrupt_kind pending = outer != NULL ? outer->raised : INTERRUPT_NONE;
    if (frame->raised != INTERRUPT_NONE || pending != INTERRUPT_NONE) {
        PyThreadState_SetAsyncExc(frames->identity, exception_of(pending));
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

static interrupt_frame *find(thread_frames *frames, uint64_t id) {
    interrupt_frame *frame = frames->innermost;
    while (frame != NULL && frame->id != id) {
        frame = frame->outer;
    }
    return frame;
}

/* Marks the frame, and for a whole thread all that run within it; true when the innermost is
 * marked. */
static bool mark(thread_frames *frames, interrupt_frame *frame) {
    if ((frame->id & INTERRUPT_THREAD_BIT) == 0) {
        frame->raised = INTERRUPT_TASK;
        return frame == frames->innermost;
    }
    for (interrupt_frame *inner = frames->innermost; inner != frame; inner = inner->outer) {
        inner->raised = INTERRUPT_THREAD;
    }
    frame->raised = INTERRUPT_THREAD;
    return true;
}

uint64_t interrupt_request(void) { return atomic_fetch_add(&requests, 1) + 1; }

bool interrupt_raise(void *thread_state, uint64_t request, uint64_t id, unsigned long *identity) {
    PyObject *exception = NULL;
    PyEval_RestoreThread(thread_state);
    pthread_mutex_lock(&list_lock);
    for (thread_frames *frames = list; frames != NULL; frames = frames->next) {
        interrupt_frame *frame = find(frames, id);
        if (frame != NULL) {
            *identity = frames->identity;
            if (frame->since < request && mark(frames, frame)) {
                exception = exception_of(frames->innermost->raised);
            }
            break;
        }
    }
    pthread_mutex_unlock(&list_lock);
    if (exception != NULL) {
        PyThreadState_SetAsyncExc(*identity, exception);
    }
    PyEval_SaveThread();
    return exception != NULL;
}
