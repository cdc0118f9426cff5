/*
 * _erlang.Selector: the native selector under ErlangEventLoop.
 *
 * To asyncio it is a selectors.BaseSelector (register, unregister, modify, get_key, get_map,
 * select, close); the poll set is the Go core's (loop.go). Between two returns to asyncio, select()
 * also runs the tasks that Erlang submitted: plain functions straight from the wait, coroutines as
 * asyncio tasks (loop_run.c).
 */
#ifndef ERLANG_PYTHON_SELECTOR_H
#define ERLANG_PYTHON_SELECTOR_H

#include "loop_ready.h"
#include "python_state.h"
#include "wake_state.h"

typedef struct selector {
    PyObject_HEAD uint64_t handle; /* of the core's loop; 0 once closed */
    wake_state *wake;              /* of the loop's waker, pinned by wake_pin; for all its life */
    uint64_t wake_pin;
    loop_ready *ready;      /* filled by core_loop_wait() */
    PyObject *keys;         /* dict: file descriptor -> SelectorKey */
    PyObject *map;          /* read-only view of keys that takes file objects too, made on demand */
    PyObject *loop;         /* the event loop above, after attach() */
    PyObject *loop_ready;   /* its deque of handles that are ready */
    PyObject *ready_append; /* its bound methods */
    PyObject *ready_popleft;
    PyObject *running; /* dict: hash of the task's reference -> asyncio task that is suspended */
    PyObject *weakrefs;
    int looks;      /* at the poll set since the GIL was given up */
    bool hot;       /* the last look found events */
    bool stopping;  /* Erlang asked the loop to end */
    bool selecting; /* inside select(): the loop cannot be entered again */
    bool waiting;   /* its thread waits without the GIL */
} selector;

/* Creates the type and adds it to the module. false with an exception set. */
bool selector_setup(python_state *state, PyObject *module);

#endif
