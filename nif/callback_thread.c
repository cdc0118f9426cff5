#include "callback_thread.h"

#include "_cgo_export.h"

#include <stdlib.h>

typedef struct callback_thread {
    uint64_t waiter; /* 0 before the first call */
    ErlNifEnv *env;  /* empty; NULL while it is in use */
} callback_thread;

/*
 * Owned by a capsule in the dictionary of the Python thread state, which Python clears when the
 * thread ends. This is only the shorter way to it.
 */
static _Thread_local callback_thread *own;

static const char capsule_name[] = "_erlang.thread";

static void thread_free(PyObject *capsule) {
    callback_thread *thread = PyCapsule_GetPointer(capsule, capsule_name);
    if (thread == NULL) {
        PyErr_Clear();
        return;
    }
    if (own == thread) {
        own = NULL;
    }
    if (thread->waiter != 0) {
        core_waiter_free(thread->waiter);
    }
    if (thread->env != NULL) {
        enif_free_env(thread->env);
    }
    free(thread);
}

static callback_thread *thread_get(void) {
    if (own != NULL) {
        return own;
    }
    PyObject *dictionary = PyThreadState_GetDict();
    if (dictionary == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this thread has no Python thread state");
        return NULL;
    }
    callback_thread *thread = calloc(1, sizeof(*thread));
    if (thread == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    PyObject *capsule = PyCapsule_New(thread, capsule_name, thread_free);
    if (capsule == NULL) {
        free(thread);
        return NULL;
    }
    int status = PyDict_SetItemString(dictionary, capsule_name, capsule);
    Py_DECREF(capsule);
    if (status != 0) {
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
