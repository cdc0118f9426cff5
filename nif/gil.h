/*
 * Taking and giving up the GIL, with a count of our own threads that wait for it.
 *
 * A loop that finds events at every look need not give up the GIL for each of them, which costs two
 * turns of a mutex; but CPython tells its holder of a waiter only after five milliseconds. The
 * count tells at once.
 */
#ifndef ERLANG_PYTHON_GIL_H
#define ERLANG_PYTHON_GIL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Longest time for which a thread may keep the GIL while others want it, in seconds. */
#define GIL_LONGEST_INTERVAL 1.0

/* Bounds sys.setswitchinterval(). Call once with the GIL; false with an exception set. */
bool gil_bound_switch_interval(void);

extern _Atomic int gil_waiters;

static inline void gil_acquire(PyThreadState *thread_state) {
    atomic_fetch_add_explicit(&gil_waiters, 1, memory_order_relaxed);
    PyEval_RestoreThread(thread_state);
    atomic_fetch_sub_explicit(&gil_waiters, 1, memory_order_relaxed);
}

static inline PyThreadState *gil_release(void) { return PyEval_SaveThread(); }

/* True when a thread of ours waits for the GIL that the caller holds. */
static inline bool gil_wanted(void) {
    return atomic_load_explicit(&gil_waiters, memory_order_relaxed) > 0;
}

#endif
