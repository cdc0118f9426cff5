#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_getattr_np */
#endif
#include "convert_internal.h"

#include <pthread.h>

typedef struct stack_bounds {
    uintptr_t low;
    uintptr_t high;
} stack_bounds;

static bool query_bounds(stack_bounds *bounds) {
#if defined(__APPLE__)
    pthread_t self = pthread_self();
    size_t size = pthread_get_stacksize_np(self);
    bounds->high = (uintptr_t)pthread_get_stackaddr_np(self);
    bounds->low = bounds->high - size;
    return true;
#elif defined(__linux__)
    pthread_attr_t attributes;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) {
        return false;
    }
    void *address = NULL;
    size_t size = 0;
    size_t guard = 0;
    bool good = pthread_attr_getstack(&attributes, &address, &size) == 0;
    if (pthread_attr_getguardsize(&attributes, &guard) != 0) {
        guard = 0;
    }
    pthread_attr_destroy(&attributes);
    /* C libraries differ in whether the guard is a part of the size. */
    if (!good || guard >= size) {
        return false;
    }
    bounds->low = (uintptr_t)address + guard;
    bounds->high = (uintptr_t)address + size;
    return true;
#else
    (void)bounds;
    return false;
#endif
}

/* What must stay free for the Python code that a conversion calls (__index__, tolist, hashing of a
 * key). */
static size_t margin(size_t size) {
    const size_t most = 128 * 1024;
    return size / 4 < most ? size / 4 : most;
}

uintptr_t convert_stack_limit(void) {
    static _Thread_local stack_bounds bounds;
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    if (here < bounds.low || here >= bounds.high) {
        /* First use on this thread; or a coroutine's own stack, of which nothing is known. */
        if (!query_bounds(&bounds) || here < bounds.low || here >= bounds.high) {
            return 0;
        }
    }
    return bounds.low + margin((size_t)(bounds.high - bounds.low));
}

bool nesting_too_deep(const nesting *level) {
    if (level->depth >= CONVERT_MAX_DEPTH) {
        PyErr_Format(PyExc_RecursionError,
                     "nested deeper than %d levels, or containing itself, in conversion between "
                     "Python and Erlang",
                     CONVERT_MAX_DEPTH);
    } else {
        PyErr_Format(PyExc_RecursionError,
                     "nested too deep (%d levels) for this thread's stack in conversion between "
                     "Python and Erlang",
                     level->depth);
    }
    return false;
}
