/* What belongs to one Python interpreter of the calls from Python to Erlang; see python_state.h for
 * the rules. */
#ifndef ERLANG_PYTHON_CALLBACK_STATE_H
#define ERLANG_PYTHON_CALLBACK_STATE_H

#include "python_state.h"

typedef struct callback_state {
    /* callback.c */
    PyObject *erlang_error;         /* erlang.ErlangError */
    PyObject *not_registered_error; /* erlang.NotRegisteredError */
    PyObject *process_error;        /* erlang.ProcessError */
    PyObject *channel_closed;       /* erlang.channel.ChannelClosed */
    PyObject *get_running_loop;     /* asyncio.get_running_loop */
    PyTypeObject *selector_type;    /* _erlang.Selector */
    PyObject *set_future;           /* _erlang._set_future */
    PyObject *no_operation;         /* a function that does nothing */
    PyObject *string_create_future; /* "create_future" */
    PyObject *string_done;          /* "done" */
    PyObject *string_set_result;    /* "set_result" */
    PyObject *string_set_exception; /* "set_exception" */

    /* caller.c */
    PyObject
        *process_variable; /* contextvars.ContextVar of the process that a coroutine runs for */

    /* schedule.c */
    PyTypeObject *marker_type; /* erlang.ScheduleMarker */
    /* Memory of a marker for the next one, or NULL: a chain needs one at a time. */
    PyObject *spare_marker;
    PyObject *string_main; /* "__main__" */
    PyObject *string_name; /* "__name__" */
} callback_state;

/* The state of the interpreter that the calling thread is attached to. */
callback_state *callback_state_get(void);

#endif
