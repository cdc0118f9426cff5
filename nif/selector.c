#include "selector.h"

#include "_cgo_export.h"
#include "gil.h"
#include "handles.h"
#include "loop_run.h"
#include "selector_keys.h"

#include <structmember.h>

#include <math.h>
#include <stdlib.h>

/* Appends (SelectorKey, events) to the list. */
static bool append_event(PyObject *list, PyObject *key, unsigned mask) {
    PyObject *pair = PyTuple_New(2);
    PyObject *number = pair != NULL ? PyLong_FromUnsignedLong(mask) : NULL;
    if (number == NULL) {
        Py_XDECREF(pair);
        return false;
    }
    Py_INCREF(key);
    PyTuple_SET_ITEM(pair, 0, key);
    PyTuple_SET_ITEM(pair, 1, number);
    int status = PyList_Append(list, pair);
    Py_DECREF(pair);
    return status == 0;
}

/*
 * What is ready goes to the list, or without one straight to the loop's handles. Events of
 * descriptors that were unregistered meanwhile are dropped.
 */
static bool collect_events(selector *self, PyObject *list) {
    for (int i = 0; i < self->ready->event_count; i++) {
        loop_event *event = &self->ready->events[i];
        PyObject *key = selector_key(self, event->fd);
        if (key == NULL) {
            if (!PyErr_ExceptionMatches(PyExc_KeyError)) {
                return false;
            }
            PyErr_Clear();
            continue;
        }
        unsigned mask = event->mask & selector_key_events(key);
        bool given = mask == 0 || (list != NULL ? append_event(list, key, mask)
                                                : handles_dispatch(self, key, mask));
        Py_DECREF(key);
        if (!given) {
            return false;
        }
    }
    return true;
}

/* Nanoseconds of select()'s argument: -1 for None, rounded up so that no timer fires early; false
 * with error set. */
static bool parse_timeout(PyObject *timeout, int64_t *nanoseconds) {
    if (timeout == Py_None) {
        *nanoseconds = -1;
        return true;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return false;
    }
    if (!(seconds > 0)) {
        *nanoseconds = 0;
    } else if (seconds >= 9.0e9) {
        *nanoseconds = INT64_MAX;
    } else {
        *nanoseconds = (int64_t)ceil(seconds * 1e9);
    }
    return true;
}

/* A hold of the GIL over several looks ends after so many of them even if none of our own threads
 * wants it. */
#define LOOKS_PER_HOLD 64

static int wait_without_gil(selector *self, int64_t deadline) {
    uint64_t handle = self->handle;
    loop_ready *ready = self->ready;
    self->looks = 0;
    self->waiting = true;
    PyThreadState *thread_state = gil_release();
    int status = core_loop_wait(handle, ready, deadline);
    gil_acquire(thread_state);
    self->waiting = false;
    if (self->handle == 0 && handle != 0) {
        core_loop_close(handle);
    }
    return status;
}

/*
 * While looks find events, these are had without giving up the GIL, unless somebody waits for it.
 * Once a look finds none, the thread waits without the GIL.
 */
static int wait_for_more(selector *self, int64_t deadline) {
    self->ready->suspended = PyDict_GET_SIZE(self->running);
    bool hold = deadline == 0 || (self->hot && self->ready->eager);
    if (!hold || gil_wanted() || self->looks >= LOOKS_PER_HOLD) {
        int status = wait_without_gil(self, deadline);
        self->hot = self->ready->event_count > 0;
        return status;
    }
    self->looks++;
    int status = core_loop_wait(self->handle, self->ready, 0);
    self->hot = self->ready->event_count > 0;
    bool found = status != LOOP_TIMEOUT || self->hot || self->ready->task_count > 0 ||
                 self->ready->cancel_count > 0;
    if (deadline == 0) {
        return status;
    }
    if (found) {
        /* The timeout of this look is none of the wait's. */
        return status == LOOP_TIMEOUT ? LOOP_READY : status;
    }
    return wait_without_gil(self, deadline);
}

/* Counts asyncio's timers before a wait that one of them may end. */
static void count_timers(selector *self, int64_t timeout) {
    PyObject *scheduled = NULL;
    if (timeout == 0 || self->loop == NULL) {
        return;
    }
    if (timeout > 0) {
        PyObject *loop = Py_NewRef(self->loop);
        scheduled = PyObject_GetAttrString(loop, "_scheduled");
        Py_DECREF(loop);
        PyErr_Clear();
    }
    self->ready->timers =
        scheduled != NULL && PyList_Check(scheduled) ? PyList_GET_SIZE(scheduled) : 0;
    Py_XDECREF(scheduled);
}

/*
 * Erlang asked the loop to end: its run_forever() returns after this turn. What loop.stop() does is
 * done here without Python code, in which an interrupt could come and leave the loop running for
 * good.
 */
static void stop_loop(selector *self) {
    self->stopping = true;
    PyObject *loop = Py_XNewRef(self->loop);
    if (loop != NULL && PyObject_SetAttr(loop, python_state_get()->string_stopping, Py_True) != 0) {
        PyErr_Clear();
    }
    Py_XDECREF(loop);
}

/* Waits and gives what is ready to the list, or without one to the loop's handles. false with an
 * exception set. */
static bool select_until(selector *self, int64_t timeout, PyObject *list) {
    /* 0: do not wait, -1: for ever, else a monotonic time. */
    int64_t deadline = timeout > 0 ? core_deadline(timeout) : timeout;
    for (;;) {
        int status = wait_for_more(self, deadline);
        if (status < 0) {
            (void)(self->handle == 0 ? selector_closed_error() : selector_os_error(status));
            return false;
        }
        bool leave = status == LOOP_WOKEN || status == LOOP_TIMEOUT || timeout == 0;
        if (self->ready->task_count > 0 || self->ready->cancel_count > 0) {
            leave = loop_run_tasks(self) || leave;
        }
        if (self->ready->stop) {
            stop_loop(self);
        }
        if (!collect_events(self, list)) {
            return false;
        }
        if (leave || self->ready->event_count > 0) {
            return true;
        }
    }
}

/* select() and poll(), which differ in where the events go. */
static bool select_for(selector *self, PyObject *timeout, PyObject *list) {
    int64_t nanoseconds;
    if (!parse_timeout(timeout, &nanoseconds)) {
        return false;
    }
    if (self->handle == 0) {
        selector_closed_error();
        return false;
    }
    if (self->selecting) {
        PyErr_SetString(PyExc_RuntimeError, "the selector is waiting already");
        return false;
    }
    self->selecting = true;
    count_timers(self, nanoseconds);
    bool done = select_until(self, nanoseconds, list);
    self->selecting = false;
    return done;
}

static PyObject *selector_select(selector *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"timeout", NULL};
    PyObject *timeout = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:select", names, &timeout)) {
        return NULL;
    }
    PyObject *list = PyList_New(0);
    if (list != NULL && !select_for(self, timeout, list)) {
        Py_CLEAR(list);
    }
    return list;
}

static PyObject *selector_poll(selector *self, PyObject *timeout) {
    if (self->loop == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "no loop is attached");
        return NULL;
    }
    if (!select_for(self, timeout, NULL)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Frees the poll set. A thread that waits in it is woken, and does it: only its own thread may. */
static void selector_release(selector *self) {
    uint64_t handle = self->handle;
    self->handle = 0;
    if (handle != 0 && self->waiting) {
        wake_notify(self->wake);
    } else if (handle != 0) {
        core_loop_close(handle);
    }
}

/* The loop's native methods need the selector; asyncio's own work, or say that the loop is closed,
 * without. */
static void detach_loop(selector *self) {
    PyObject *loop = self->loop;
    self->loop = NULL;
    if (loop != NULL) {
        PyObject *done = PyObject_CallMethod(loop, "_forget_native_handles", NULL);
        Py_XDECREF(done);
        PyErr_Clear();
        Py_DECREF(loop);
    }
}

static PyObject *selector_close(selector *self, PyObject *unused) {
    detach_loop(self);
    selector_release(self);
    /* Whoever waits for a task that nobody steps any more is answered when that is freed. */
    PyDict_Clear(self->running);
    PyDict_Clear(self->keys);
    Py_CLEAR(self->map);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->loop_ready);
    Py_CLEAR(self->ready_append);
    Py_CLEAR(self->ready_popleft);
    Py_RETURN_NONE;
}

static PyObject *selector_wake(selector *self, PyObject *unused) {
    if (self->handle != 0) {
        wake_notify(self->wake);
    }
    Py_RETURN_NONE;
}

static PyObject *selector_fileno(selector *self, PyObject *unused) {
    if (self->handle == 0) {
        return selector_closed_error();
    }
    return PyLong_FromLong(core_loop_fileno(self->handle));
}

static PyObject *selector_attach(selector *self, PyObject *loop) {
    PyObject *ready = PyObject_GetAttrString(loop, "_ready");
    if (ready == NULL) {
        return NULL;
    }
    Py_INCREF(loop);
    Py_XSETREF(self->loop, loop);
    Py_XSETREF(self->loop_ready, ready);
    Py_XSETREF(self->ready_append, PyObject_GetAttrString(ready, "append"));
    Py_XSETREF(self->ready_popleft, PyObject_GetAttrString(ready, "popleft"));
    if (self->ready_append == NULL || self->ready_popleft == NULL) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *selector_enter(PyObject *self, PyObject *unused) {
    Py_INCREF(self);
    return self;
}

static PyObject *selector_exit(selector *self, PyObject *args) {
    return selector_close(self, NULL);
}

static PyObject *selector_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"handle", NULL};
    unsigned long long handle = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|K:Selector", names, &handle)) {
        return NULL;
    }
    selector *self = (selector *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->keys = PyDict_New();
    self->running = PyDict_New();
    self->ready = calloc(1, sizeof(*self->ready));
    if (self->ready == NULL) {
        PyErr_NoMemory();
    }
    if (self->keys == NULL || self->running == NULL || self->ready == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    int error = 0;
    self->handle = core_loop_open(handle, &error);
    if (self->handle == 0) {
        Py_DECREF(self);
        return selector_os_error(error);
    }
    self->wake_pin = core_wake_pin(self->handle, &self->wake);
    if (self->wake_pin == 0) {
        Py_DECREF(self);
        return selector_os_error(-EBADF);
    }
    return (PyObject *)self;
}

static int selector_traverse(selector *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->keys);
    Py_VISIT(self->map);
    Py_VISIT(self->loop);
    Py_VISIT(self->loop_ready);
    Py_VISIT(self->ready_append);
    Py_VISIT(self->ready_popleft);
    Py_VISIT(self->running);
    return 0;
}

/* The dicts clear themselves; the methods rely on them to be there. */
static int selector_clear(selector *self) {
    Py_CLEAR(self->map);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->loop_ready);
    Py_CLEAR(self->ready_append);
    Py_CLEAR(self->ready_popleft);
    return 0;
}

static void selector_dealloc(selector *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    selector_release(self);
    core_wake_unpin(self->wake_pin);
    selector_clear(self);
    Py_CLEAR(self->keys);
    Py_CLEAR(self->running);
    free(self->ready);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef selector_methods[] = {
    {"register", (PyCFunction)(void (*)(void))selector_register, METH_VARARGS | METH_KEYWORDS,
     "register(fileobj, events, data=None) -> SelectorKey; see selectors.BaseSelector."},
    {"unregister", (PyCFunction)selector_unregister, METH_O,
     "unregister(fileobj) -> SelectorKey; see selectors.BaseSelector."},
    {"modify", (PyCFunction)(void (*)(void))selector_modify, METH_VARARGS | METH_KEYWORDS,
     "modify(fileobj, events, data=None) -> SelectorKey; see selectors.BaseSelector."},
    {"get_key", (PyCFunction)selector_get_key, METH_O, "The SelectorKey of a file object."},
    {"get_map", (PyCFunction)selector_get_map, METH_NOARGS,
     "A mapping of file objects to their SelectorKeys, None once closed."},
    {"select", (PyCFunction)(void (*)(void))selector_select, METH_VARARGS | METH_KEYWORDS,
     "select(timeout=None) -> [(SelectorKey, events)]; timeout in seconds, never early."},
    {"poll", (PyCFunction)selector_poll, METH_O,
     "poll(timeout): like select(), with the loop's handles of what is ready put on its queue."},
    {"run_ready", (PyCFunction)handles_run_ready, METH_NOARGS,
     "Runs the loop's handles that are ready now."},
    {"call_soon", (PyCFunction)(void (*)(void))handles_call_soon, METH_FASTCALL | METH_KEYWORDS,
     "The loop's call_soon(callback, *args, context=None)."},
    {"call_at", (PyCFunction)(void (*)(void))handles_call_at, METH_FASTCALL | METH_KEYWORDS,
     "The loop's call_at(when, callback, *args, context=None)."},
    {"call_later", (PyCFunction)(void (*)(void))handles_call_later, METH_FASTCALL | METH_KEYWORDS,
     "The loop's call_later(delay, callback, *args, context=None)."},
    {"close", (PyCFunction)selector_close, METH_NOARGS, "Frees the poll set."},
    {"wake", (PyCFunction)selector_wake, METH_NOARGS,
     "Makes select() return soon; safe from any thread."},
    {"fileno", (PyCFunction)selector_fileno, METH_NOARGS, "The descriptor of the poll set."},
    {"attach", (PyCFunction)selector_attach, METH_O,
     "attach(loop): tasks from Erlang are run in this loop."},
    {"_fileobj_lookup", (PyCFunction)selector_fileobj_lookup, METH_O, NULL},
    {"__enter__", (PyCFunction)selector_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)selector_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *selector_handle(selector *self, void *unused) {
    return PyLong_FromUnsignedLongLong(self->handle);
}

static PyObject *selector_stopping(selector *self, void *unused) {
    return PyBool_FromLong(self->stopping);
}

static PyGetSetDef selector_attributes[] = {
    {"handle", (getter)selector_handle, NULL, "The core's handle of the loop, 0 once closed.",
     NULL},
    {"stopping", (getter)selector_stopping, NULL, "True once the loop is asked to end.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef selector_members[] = {
    {"_fd_to_key", T_OBJECT, offsetof(selector, keys), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(selector, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot selector_slots[] = {
    {Py_tp_new, selector_new},
    {Py_tp_dealloc, selector_dealloc},
    {Py_tp_traverse, selector_traverse},
    {Py_tp_clear, selector_clear},
    {Py_tp_methods, selector_methods},
    {Py_tp_getset, selector_attributes},
    {Py_tp_members, selector_members},
    {Py_tp_doc, "The native selector under erlang.ErlangEventLoop."},
    {0, NULL},
};

static PyType_Spec selector_spec = {
    .name = "_erlang.Selector",
    .basicsize = sizeof(selector),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = selector_slots,
};

bool selector_setup(python_state *state, PyObject *module) {
    PyObject *selectors = PyImport_ImportModule("selectors");
    if (selectors == NULL) {
        return false;
    }
    state->selector_key = PyObject_GetAttrString(selectors, "SelectorKey");
    state->selector_mapping = PyObject_GetAttrString(selectors, "_SelectorMapping");
    Py_DECREF(selectors);
    PyObject *type = PyType_FromModuleAndSpec(module, &selector_spec, NULL);
    bool done = state->selector_key != NULL && state->selector_mapping != NULL && type != NULL &&
                PyModule_AddType(module, (PyTypeObject *)type) == 0 && handles_setup(state) &&
                loop_run_setup(state, module);
    Py_XDECREF(type);
    return done;
}
