/*
 * asyncio's handles without Python frames: making events.Handle and TimerHandle objects, and
 * running those that are ready.
 *
 * The objects are asyncio's own, of its classes, with every attribute as its constructors set it;
 * only no Python code runs to make them. In debug mode the constructors do more, and asyncio's
 * methods are called instead.
 */
#ifndef ERLANG_PYTHON_HANDLES_H
#define ERLANG_PYTHON_HANDLES_H

#include "selector.h"

/* loop.call_soon(callback, *args, context=None) */
PyObject *handles_call_soon(selector *self, PyObject *const *args, Py_ssize_t count,
                            PyObject *names);

/* loop.call_at(when, callback, *args, context=None) */
PyObject *handles_call_at(selector *self, PyObject *const *args, Py_ssize_t count, PyObject *names);

/* loop.call_later(delay, callback, *args, context=None) */
PyObject *handles_call_later(selector *self, PyObject *const *args, Py_ssize_t count,
                             PyObject *names);

/*
 * Runs the handles that are ready now, not those that they make ready. SystemExit and
 * KeyboardInterrupt end it, with the rest still ready; other exceptions go to the loop's exception
 * handler, as Handle._run() has it.
 */
PyObject *handles_run_ready(selector *self, PyObject *unused);

/* Runs one handle, unless it was cancelled; false with an exception set that is to end the loop. */
bool handles_run(PyObject *handle);

/* Puts the handles that an event of the descriptor makes ready on the loop's queue. false with an
 * exception set. */
bool handles_dispatch(selector *self, PyObject *key, unsigned mask);

/* Finds where asyncio's classes keep their attributes. false with an exception set. */
bool handles_setup(python_state *state);

#endif
