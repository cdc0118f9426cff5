/*
 * What belongs to one Python interpreter: types, interned strings, caches.
 *
 * Nothing of this may be shared between interpreters, so no Python object is kept in a C static
 * elsewhere. Every field is set once by python_state_setup() with the GIL held, and lives until the
 * process ends (the interpreter is never finalised).
 */
#ifndef ERLANG_PYTHON_PYTHON_STATE_H
#define ERLANG_PYTHON_PYTHON_STATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <erl_nif.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct atom_cache atom_cache;

/* One exception type of module builtins and the atom that names it. */
typedef struct builtin_exception {
    PyTypeObject *type;
    ERL_NIF_TERM atom;
} builtin_exception;

typedef struct python_state {
    PyObject *module_names; /* dict: what the module _erlang has; erlang_module.c */

    /* python_types.c, python_types_values.c */
    PyTypeObject *atom_type;      /* erlang.Atom */
    PyTypeObject *pid_type;       /* erlang.Pid */
    PyTypeObject *reference_type; /* erlang.Ref */
    PyTypeObject *port_type;      /* erlang.Port */
    PyTypeObject *fun_type;       /* erlang.Fun */
    PyTypeObject *binary_type;    /* erlang.Binary: asks for a buffer to go out as a binary */

    /* convert_atom.c: atom -> interned str and the object that it stands for */
    atom_cache *atoms;

    /* convert_objects.c */
    PyObject *string_dataclass_fields; /* "__dataclass_fields__" */
    PyObject *string_tolist;           /* "tolist" */

    /* python_error.c */
    PyObject *string_module; /* "__module__" */
    builtin_exception *builtin_exceptions;
    size_t builtin_exception_count;

    PyObject *sandbox_error; /* erlang.SandboxError; sandbox.c */

    /* resolve.c */
    PyObject *imported; /* dict: name -> module that was completely imported under it */

    /* selector.c */
    PyObject *selector_key;     /* selectors.SelectorKey */
    PyObject *selector_mapping; /* selectors._SelectorMapping */

    /* handles.c: asyncio.Handle and TimerHandle, and the offsets of their attributes */
    PyTypeObject *handle_type;
    PyTypeObject *timer_handle_type;
    Py_ssize_t handle_callback;
    Py_ssize_t handle_args;
    Py_ssize_t handle_cancelled;
    Py_ssize_t handle_loop;
    Py_ssize_t handle_source_traceback;
    Py_ssize_t handle_repr;
    Py_ssize_t handle_context;
    Py_ssize_t timer_when;
    Py_ssize_t timer_scheduled;
    PyObject *asyncio_call_soon; /* BaseEventLoop.call_soon, .call_at, .call_later */
    PyObject *asyncio_call_at;
    PyObject *asyncio_call_later;
    PyObject *string_debug;     /* "_debug" */
    PyObject *string_scheduled; /* "_scheduled" */
    PyObject *string_time;      /* "time" */
    PyObject *string_cancelled; /* "_cancelled" */

    /* loop_run.c */
    PyTypeObject *task_waiter_type;     /* delivers the result of an asyncio task */
    PyObject *asyncio_task;             /* asyncio.Task */
    PyObject *cancelled_error;          /* asyncio.CancelledError */
    PyObject *ensure_future;            /* asyncio.ensure_future */
    PyObject *string_result;            /* "result" */
    PyObject *string_add_done_callback; /* "add_done_callback" */
    PyObject *string_task_factory;      /* "_task_factory" */
    PyObject *string_done;              /* "done" */
    PyObject *string_pop;               /* "pop" */
    PyObject *string_stopping;          /* "_stopping" */
    PyObject *task_names; /* ("loop", "eager_start"), keyword names for asyncio.Task */
} python_state;

/* The state of the interpreter that the calling thread is attached to. */
python_state *python_state_get(void);

/*
 * Fills the state of the calling thread's interpreter and adds the types to module (the built-in
 * module _erlang). Call once per interpreter, with the GIL, before anything else of the conversion
 * is used. Returns false with an exception set.
 */
bool python_state_setup(PyObject *module);

#endif
