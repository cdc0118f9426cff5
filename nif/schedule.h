/*
 * erlang.ScheduleMarker: what a function returns to go on with another function (erlang.schedule
 * and its likes).
 *
 * A marker counts only when a task returns it. Steps do not nest: each one begins when the one
 * before has returned.
 */
#ifndef ERLANG_PYTHON_SCHEDULE_H
#define ERLANG_PYTHON_SCHEDULE_H

#include "python_state.h"
#include "task.h"

/* True for a marker. */
bool schedule_is_marker(PyObject *value);

/* Runs the step of a marker that asks for a Python function; takes the marker. The value, or NULL.
 */
PyObject *schedule_step(PyObject *marker);

/*
 * Runs steps of schedule_inline() one after the other until one returns something else, or its time
 * slice is over, after which others shall have a turn. Takes value, which may be NULL or no marker.
 */
PyObject *schedule_inline_steps(PyObject *value);

/* Sends the call that a marker of erlang.schedule() asks for, whose answer is the task's. False
 * with exception set. */
bool schedule_send(task *t, PyObject *marker);

/* True for a marker of erlang.schedule(). */
bool schedule_is_erlang(PyObject *marker);

/* A new time slice begins for consume_time_slice(). */
void schedule_begin_slice(void);

bool schedule_setup(PyObject *module);

#endif
