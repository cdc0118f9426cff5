#include "callback_thread.h"

#include "_cgo_export.h"

#include <pthread.h>
#include <stdlib.h>

typedef struct callback_thread {
    uint64_t waiter; /* 0 before the first call */
    ErlNifEnv *env;  /* empty; NULL while it is in use */
} callback_thread;

static _Thread_local callback_thread *own;
static pthread_key_t end_key;
static pthread_once_t end_key_once = PTHREAD_ONCE_INIT;

/*
 * When the thread ends and not with its Python thread state, whose end runs destructors, which may
 * call Erlang.
 */
static void thread_free(void *value) {
    callback_thread *thread = value;
    own = NULL;
    if (thread->waiter != 0) {
        core_waiter_free(thread->waiter);
    }
    if (thread->env != NULL) {
        enif_free_env(thread->env);
    }
    free(thread);
}

static void make_end_key(void) { pthread_key_create(&end_key, thread_free); }

static callback_thread *thread_get(void) {
    if (own != NULL) {
        return own;
    }
    pthread_once(&end_key_once, make_end_key);
    callback_thread *thread = calloc(1, sizeof(*thread));
    if (thread == NULL || pthread_setspecific(end_key, thread) != 0) {
        free(thread);
        PyErr_NoMemory();
        return NULL;
    }
    own = thread;
    return thread;
}

uint64_t callback_thread_waiter(void) {
    callback_thread *thread = thread_get();
    if (thread == NULL) {
        return 0;
    }
    if (thread->waiter == 0) {
        thread->waiter = core_waiter_new(PyThread_get_thread_ident());
        if (thread->waiter == 0) {
            PyErr_SetString(PyExc_OSError,
                            "no file descriptor is left for this thread to wait with");
        }
    }
    return thread->waiter;
}

ErlNifEnv *callback_env_take(void) {
    callback_thread *thread = thread_get();
    if (thread == NULL) {
        return NULL;
    }
    ErlNifEnv *env = thread->env;
    thread->env = NULL;
    if (env == NULL) {
        env = enif_alloc_env();
        if (env == NULL) {
            PyErr_NoMemory();
        }
    }
    return env;
}

void callback_env_return(ErlNifEnv *env) {
    callback_thread *thread = own;
    if (thread != NULL && thread->env == NULL) {
        enif_clear_env(env);
        thread->env = env;
    } else {
        enif_free_env(env);
    }
}
