#include "handles.h"

#include "timer_heap.h"

#include <structmember.h>

#define EVENT_READ 1
#define EVENT_WRITE 2

/* The attribute at an offset of a class with __slots__; a reference of the object's own. */
#define SLOT(object, offset) (*(PyObject **)((char *)(object) + (offset)))

/* Sets an attribute of a new object to a new reference. */
static inline void set_slot(PyObject *object, Py_ssize_t offset, PyObject *value) {
    Py_INCREF(value);
    SLOT(object, offset) = value;
}

/* A new reference to the loop, which code that runs meanwhile may detach from its selector by
 * closing it; NULL with RuntimeError set. */
static PyObject *attached_loop(selector *self) {
    if (self->loop == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
    }
    return Py_XNewRef(self->loop);
}

/*
 * Whether a call of call_soon and its likes is one for asyncio's own method: in debug mode, and
 * with arguments other than the usual ones, which it knows best how to refuse. -1 with an exception
 * set.
 */
static int is_asyncios(PyObject *loop, PyObject *const *args, Py_ssize_t count, PyObject *names,
                       Py_ssize_t least, PyObject **context) {
    Py_ssize_t keywords = names != NULL ? PyTuple_GET_SIZE(names) : 0;
    *context = Py_None;
    if (count < least || keywords > 1) {
        return 1;
    }
    if (keywords == 1) {
        if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "context") != 0) {
            return 1;
        }
        *context = args[count];
    }
    PyObject *debug = PyObject_GetAttr(loop, python_state_get()->string_debug);
    if (debug == NULL) {
        return -1;
    }
    int result = PyObject_IsTrue(debug);
    Py_DECREF(debug);
    return result;
}

static PyObject *call_asyncio(PyObject *loop, PyObject *function, PyObject *const *args,
                              Py_ssize_t count, PyObject *names) {
    Py_ssize_t total = count + (names != NULL ? PyTuple_GET_SIZE(names) : 0);
    PyObject **vector = PyMem_New(PyObject *, total + 1);
    if (vector == NULL) {
        return PyErr_NoMemory();
    }
    vector[0] = loop;
    for (Py_ssize_t i = 0; i < total; i++) {
        vector[i + 1] = args[i];
    }
    PyObject *result = PyObject_Vectorcall(function, vector, (size_t)count + 1, names);
    PyMem_Free(vector);
    return result;
}

/* A new handle of a class, as Handle.__init__ makes it outside debug mode. */
static PyObject *new_handle(PyObject *loop, PyTypeObject *type, PyObject *callback,
                            PyObject *const *args, Py_ssize_t count, PyObject *context) {
    python_state *state = python_state_get();
    PyObject *tuple = PyTuple_New(count);
    PyObject *own_context = NULL;
    PyObject *handle = NULL;
    if (tuple != NULL) {
        for (Py_ssize_t i = 0; i < count; i++) {
            Py_INCREF(args[i]);
            PyTuple_SET_ITEM(tuple, i, args[i]);
        }
        if (context == Py_None) {
            own_context = PyContext_CopyCurrent();
        } else {
            Py_INCREF(context);
            own_context = context;
        }
    }
    if (own_context != NULL) {
        handle = type->tp_alloc(type, 0);
    }
    if (handle != NULL) {
        set_slot(handle, state->handle_callback, callback);
        set_slot(handle, state->handle_args, tuple);
        set_slot(handle, state->handle_cancelled, Py_False);
        set_slot(handle, state->handle_loop, loop);
        set_slot(handle, state->handle_source_traceback, Py_None);
        set_slot(handle, state->handle_repr, Py_None);
        set_slot(handle, state->handle_context, own_context);
    }
    Py_XDECREF(tuple);
    Py_XDECREF(own_context);
    return handle;
}

static bool append_ready(selector *self, PyObject *handle) {
    PyObject *append = Py_XNewRef(self->ready_append);
    if (append == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
        return false;
    }
    PyObject *done = PyObject_CallOneArg(append, handle);
    Py_DECREF(append);
    Py_XDECREF(done);
    return done != NULL;
}

static PyObject *call_soon(selector *self, PyObject *loop, PyObject *const *args, Py_ssize_t count,
                           PyObject *names) {
    python_state *state = python_state_get();
    PyObject *context;
    int other = is_asyncios(loop, args, count, names, 1, &context);
    if (other != 0) {
        return other < 0 ? NULL : call_asyncio(loop, state->asyncio_call_soon, args, count, names);
    }
    PyObject *handle = new_handle(loop, state->handle_type, args[0], args + 1, count - 1, context);
    if (handle != NULL && !append_ready(self, handle)) {
        Py_CLEAR(handle);
    }
    return handle;
}

/* A timer handle for `when`, in the loop's heap. */
static PyObject *schedule(PyObject *loop, PyObject *when, PyObject *const *args, Py_ssize_t count,
                          PyObject *context) {
    python_state *state = python_state_get();
    PyObject *timer =
        new_handle(loop, state->timer_handle_type, args[0], args + 1, count - 1, context);
    if (timer == NULL) {
        return NULL;
    }
    set_slot(timer, state->timer_when, when);
    set_slot(timer, state->timer_scheduled, Py_True);
    PyObject *heap = PyObject_GetAttr(loop, state->string_scheduled);
    bool pushed = heap != NULL && timer_heap_push(heap, timer);
    Py_XDECREF(heap);
    if (!pushed) {
        Py_CLEAR(timer);
    }
    return timer;
}

static PyObject *call_at(PyObject *loop, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    PyObject *context;
    int other = is_asyncios(loop, args, count, names, 2, &context);
    if (other != 0) {
        return other < 0
                   ? NULL
                   : call_asyncio(loop, python_state_get()->asyncio_call_at, args, count, names);
    }
    if (args[0] == Py_None) {
        PyErr_SetString(PyExc_TypeError, "when cannot be None");
        return NULL;
    }
    return schedule(loop, args[0], args + 1, count - 1, context);
}

static PyObject *call_later(PyObject *loop, PyObject *const *args, Py_ssize_t count,
                            PyObject *names) {
    python_state *state = python_state_get();
    PyObject *context;
    int other = is_asyncios(loop, args, count, names, 2, &context);
    if (other != 0) {
        return other < 0 ? NULL : call_asyncio(loop, state->asyncio_call_later, args, count, names);
    }
    if (args[0] == Py_None) {
        PyErr_SetString(PyExc_TypeError, "delay must not be None");
        return NULL;
    }
    PyObject *now = PyObject_CallMethodNoArgs(loop, state->string_time);
    PyObject *when = now != NULL ? PyNumber_Add(now, args[0]) : NULL;
    PyObject *timer = when != NULL ? schedule(loop, when, args + 1, count - 1, context) : NULL;
    Py_XDECREF(now);
    Py_XDECREF(when);
    return timer;
}

PyObject *handles_call_soon(selector *self, PyObject *const *args, Py_ssize_t count,
                            PyObject *names) {
    PyObject *loop = attached_loop(self);
    PyObject *handle = loop != NULL ? call_soon(self, loop, args, count, names) : NULL;
    Py_XDECREF(loop);
    return handle;
}

PyObject *handles_call_at(selector *self, PyObject *const *args, Py_ssize_t count,
                          PyObject *names) {
    PyObject *loop = attached_loop(self);
    PyObject *timer = loop != NULL ? call_at(loop, args, count, names) : NULL;
    Py_XDECREF(loop);
    return timer;
}

PyObject *handles_call_later(selector *self, PyObject *const *args, Py_ssize_t count,
                             PyObject *names) {
    PyObject *loop = attached_loop(self);
    PyObject *timer = loop != NULL ? call_later(loop, args, count, names) : NULL;
    Py_XDECREF(loop);
    return timer;
}

/* Gives the exception that is set to the loop's exception handler; false when it is one that ends
 * the loop. */
static bool report(PyObject *handle) {
    if (PyErr_ExceptionMatches(PyExc_SystemExit) ||
        PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        return false;
    }
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
    }
    /* erlang._handles, imported here because it imports this module itself. */
    PyObject *module = PyImport_ImportModule("erlang._handles");
    PyObject *done =
        module != NULL ? PyObject_CallMethod(module, "report", "OO", handle, value) : NULL;
    Py_XDECREF(module);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    Py_XDECREF(done);
    return done != NULL;
}

static PyObject *call_in_context(PyObject *context, PyObject *callback, PyObject *args) {
    if (PyContext_Enter(context) != 0) {
        return NULL;
    }
    PyObject *result = PyObject_Vectorcall(callback, &PyTuple_GET_ITEM(args, 0),
                                           (size_t)PyTuple_GET_SIZE(args), NULL);
    if (PyContext_Exit(context) != 0) {
        Py_CLEAR(result);
    }
    return result;
}

bool handles_run(PyObject *handle) {
    python_state *state = python_state_get();
    PyObject *result;
    if (Py_TYPE(handle) != state->handle_type && Py_TYPE(handle) != state->timer_handle_type) {
        PyObject *cancelled = PyObject_GetAttrString(handle, "_cancelled");
        bool skip = cancelled == Py_True;
        Py_XDECREF(cancelled);
        if (cancelled == NULL) {
            return false;
        }
        result = skip ? Py_NewRef(Py_None) : PyObject_CallMethod(handle, "_run", NULL);
        Py_XDECREF(result);
        return result != NULL;
    }
    if (SLOT(handle, state->handle_cancelled) == Py_True) {
        return true;
    }
    PyObject *callback = SLOT(handle, state->handle_callback);
    PyObject *args = SLOT(handle, state->handle_args);
    PyObject *context = SLOT(handle, state->handle_context);
    if (callback == NULL || args == NULL || !PyTuple_CheckExact(args) || context == NULL ||
        !PyContext_CheckExact(context)) {
        result = PyObject_CallMethod(handle, "_run", NULL);
        Py_XDECREF(result);
        return result != NULL;
    }
    /* cancel(), called from within, clears the handle's own references. */
    Py_INCREF(callback);
    Py_INCREF(args);
    Py_INCREF(context);
    result = call_in_context(context, callback, args);
    Py_DECREF(callback);
    Py_DECREF(args);
    Py_DECREF(context);
    if (result == NULL) {
        return report(handle);
    }
    Py_DECREF(result);
    return true;
}

PyObject *handles_run_ready(selector *self, PyObject *unused) {
    PyObject *ready = Py_XNewRef(self->loop_ready);
    Py_ssize_t count = ready != NULL ? PyObject_Size(ready) : 0;
    Py_XDECREF(ready);
    for (Py_ssize_t i = 0; i < count && self->ready_popleft != NULL; i++) {
        PyObject *popleft = Py_NewRef(self->ready_popleft);
        PyObject *handle = PyObject_CallNoArgs(popleft);
        Py_DECREF(popleft);
        if (handle == NULL) {
            return NULL;
        }
        bool done = handles_run(handle);
        Py_DECREF(handle);
        if (!done) {
            return NULL;
        }
    }
    if (count < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* One direction of an event: the handle is ready, or to be unregistered when it was cancelled. */
static bool dispatch_handle(selector *self, PyObject *handle, PyObject *file, const char *removal) {
    if (handle == Py_None) {
        return true;
    }
    PyObject *cancelled = PyObject_GetAttr(handle, python_state_get()->string_cancelled);
    if (cancelled == NULL) {
        return false;
    }
    bool is_cancelled = cancelled == Py_True;
    Py_DECREF(cancelled);
    if (!is_cancelled) {
        return append_ready(self, handle);
    }
    PyObject *loop = attached_loop(self);
    PyObject *removed = loop != NULL ? PyObject_CallMethod(loop, removal, "O", file) : NULL;
    Py_XDECREF(loop);
    Py_XDECREF(removed);
    return removed != NULL;
}

bool handles_dispatch(selector *self, PyObject *key, unsigned mask) {
    PyObject *data = PyTuple_GET_ITEM(key, 3);
    if (!PyTuple_Check(data) || PyTuple_GET_SIZE(data) != 2) {
        PyErr_Format(PyExc_TypeError, "expected (reader, writer), not %R", data);
        return false;
    }
    Py_INCREF(key);
    PyObject *file = PyTuple_GET_ITEM(key, 0);
    bool done = (!(mask & EVENT_READ) ||
                 dispatch_handle(self, PyTuple_GET_ITEM(data, 0), file, "_remove_reader")) &&
                (!(mask & EVENT_WRITE) ||
                 dispatch_handle(self, PyTuple_GET_ITEM(data, 1), file, "_remove_writer"));
    Py_DECREF(key);
    return done;
}

/* Where objects of a class keep a __slots__ attribute. false with an exception set. */
static bool find_slot(PyObject *type, const char *name, Py_ssize_t *offset) {
    PyObject *descriptor = PyObject_GetAttrString(type, name);
    if (descriptor == NULL) {
        return false;
    }
    bool found = Py_IS_TYPE(descriptor, &PyMemberDescr_Type);
    if (found) {
        PyMemberDef *member = ((PyMemberDescrObject *)descriptor)->d_member;
        found = member->type == T_OBJECT_EX;
        *offset = member->offset;
    }
    Py_DECREF(descriptor);
    if (!found) {
        PyErr_Format(PyExc_SystemError, "asyncio keeps %s in an unknown way", name);
    }
    return found;
}

static bool find_handle_slots(python_state *state) {
    PyObject *handle = (PyObject *)state->handle_type;
    PyObject *timer = (PyObject *)state->timer_handle_type;
    return find_slot(handle, "_callback", &state->handle_callback) &&
           find_slot(handle, "_args", &state->handle_args) &&
           find_slot(handle, "_cancelled", &state->handle_cancelled) &&
           find_slot(handle, "_loop", &state->handle_loop) &&
           find_slot(handle, "_source_traceback", &state->handle_source_traceback) &&
           find_slot(handle, "_repr", &state->handle_repr) &&
           find_slot(handle, "_context", &state->handle_context) &&
           find_slot(timer, "_when", &state->timer_when) &&
           find_slot(timer, "_scheduled", &state->timer_scheduled);
}

bool handles_setup(python_state *state) {
    PyObject *events = PyImport_ImportModule("asyncio.events");
    PyObject *base = PyImport_ImportModule("asyncio.base_events");
    PyObject *loop = base != NULL ? PyObject_GetAttrString(base, "BaseEventLoop") : NULL;
    bool done = events != NULL && loop != NULL;
    if (done) {
        state->handle_type = (PyTypeObject *)PyObject_GetAttrString(events, "Handle");
        state->timer_handle_type = (PyTypeObject *)PyObject_GetAttrString(events, "TimerHandle");
        state->asyncio_call_soon = PyObject_GetAttrString(loop, "call_soon");
        state->asyncio_call_at = PyObject_GetAttrString(loop, "call_at");
        state->asyncio_call_later = PyObject_GetAttrString(loop, "call_later");
        state->string_debug = PyUnicode_InternFromString("_debug");
        state->string_scheduled = PyUnicode_InternFromString("_scheduled");
        state->string_time = PyUnicode_InternFromString("time");
        state->string_cancelled = PyUnicode_InternFromString("_cancelled");
        done = state->handle_type != NULL && state->timer_handle_type != NULL &&
               state->asyncio_call_soon != NULL && state->asyncio_call_at != NULL &&
               state->asyncio_call_later != NULL && state->string_debug != NULL &&
               state->string_scheduled != NULL && state->string_time != NULL &&
               state->string_cancelled != NULL && find_handle_slots(state);
    }
    Py_XDECREF(loop);
    Py_XDECREF(base);
    Py_XDECREF(events);
    return done;
}
