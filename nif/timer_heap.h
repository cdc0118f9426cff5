/*
 * The heap of a loop's timers: heapq's algorithm on asyncio's own list of TimerHandles.
 *
 * heapq compares by TimerHandle.__lt__, Python code that takes most of the time of call_later();
 * here the times of two timers are compared directly where both are floats.
 */
#ifndef ERLANG_PYTHON_TIMER_HEAP_H
#define ERLANG_PYTHON_TIMER_HEAP_H

#include "python_state.h"

/* heapq.heappush(heap, item). false with an exception set. */
bool timer_heap_push(PyObject *heap, PyObject *item);

/* heapq.heappop(heap): a new reference, or NULL with an exception set. */
PyObject *timer_heap_pop(PyObject *heap);

/* Adds timer_heap_push() and timer_heap_pop() to the module. */
bool timer_heap_setup(PyObject *module);

#endif
