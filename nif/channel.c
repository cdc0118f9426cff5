#include "channel.h"

#include "_cgo_export.h"
#include "callback.h"
#include "callback_state.h"
#include "callback_thread.h"
#include "caller.h"
#include "convert.h"
#include "python_types.h"
#include "resource.h"

channel_message channel_copy(ERL_NIF_TERM term) {
    channel_message message = {.env = enif_alloc_env()};
    if (message.env != NULL) {
        message.term = enif_make_copy(message.env, term);
    }
    return message;
}

/* ---- Arguments ---- */

static bool handle_of(PyObject *object, uint64_t *handle) {
    *handle = PyLong_AsUnsignedLongLong(object);
    return *handle != (uint64_t)-1 || !PyErr_Occurred();
}

static bool check_count(Py_ssize_t count, Py_ssize_t expected) {
    if (count != expected) {
        PyErr_Format(PyExc_TypeError, "%zd arguments expected, not %zd", expected, count);
    }
    return count == expected;
}

static void raise_closed(void) {
    PyErr_SetString(callback_state_get()->channel_closed, "the channel is closed");
}

static PyObject *channel_handle(PyObject *module, PyObject *reference) {
    ErlNifEnv *env = callback_env_take();
    if (env == NULL) {
        return NULL;
    }
    ERL_NIF_TERM term;
    uint64_t handle = 0;
    if (Py_TYPE(reference) == python_state_get()->reference_type &&
        opaque_to_term(env, reference, &term)) {
        handle = resource_handle(env, term, RESOURCE_CHANNEL);
    }
    callback_env_return(env);
    if (handle == 0) {
        return PyErr_Format(PyExc_TypeError, "a channel of py_channel:new is expected, not %.200s",
                            Py_TYPE(reference)->tp_name);
    }
    return PyLong_FromUnsignedLongLong(handle);
}

/* ---- Receiving ---- */

/* Bytes are wanted as they are, not as the text that they may happen to be. */
static PyObject *message_object(channel_message message, bool raw) {
    ErlNifBinary binary;
    PyObject *object =
        raw && enif_inspect_binary(message.env, message.term, &binary)
            ? PyBytes_FromStringAndSize((const char *)binary.data, (Py_ssize_t)binary.size)
            : term_to_python(message.env, message.term);
    enif_free_env(message.env);
    return object;
}

/* The next message; NULL without an exception when there is none. */
static PyObject *take(uint64_t handle, bool raw) {
    channel_message message;
    switch (core_channel_take(handle, &message)) {
    case CHANNEL_OK:
        return message_object(message, raw);
    case CHANNEL_EMPTY:
        return NULL;
    default:
        raise_closed();
        return NULL;
    }
}

static PyObject *channel_take(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    uint64_t handle;
    if (!check_count(count, 3) || !handle_of(args[0], &handle)) {
        return NULL;
    }
    PyObject *object = take(handle, args[1] == Py_True);
    return object != NULL || PyErr_Occurred() ? object : Py_NewRef(args[2]);
}

/* Waits until there is something to be had, perhaps; false with an exception set. */
static bool wait_for_message(uint64_t handle, uint64_t waiter, int64_t deadline) {
    uint64_t call = core_channel_wait(handle, waiter, caller_origin());
    if (call == CHANNEL_LOOK) {
        return true;
    }
    if (call == CHANNEL_ENDED) {
        raise_closed();
        return false;
    }
    PyObject *woken = callback_await(waiter, deadline);
    core_call_end(waiter);
    if (woken != NULL && !callback_check_interrupt()) {
        /* It would take a message with it. */
        Py_CLEAR(woken);
    }
    if (woken == NULL && PyErr_ExceptionMatches(PyExc_TimeoutError)) {
        PyErr_SetString(PyExc_TimeoutError, "no message came in time");
    }
    /* One that was woken and does not look leaves the message to another. */
    core_channel_wait_end(handle, call, woken == NULL);
    Py_XDECREF(woken);
    return woken != NULL;
}

static PyObject *channel_receive(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    uint64_t handle;
    int64_t deadline;
    if (!check_count(count, 3) || !handle_of(args[0], &handle) ||
        !callback_deadline(args[2], &deadline)) {
        return NULL;
    }
    uint64_t waiter = 0;
    for (;;) {
        PyObject *object = take(handle, args[1] == Py_True);
        if (object != NULL || PyErr_Occurred()) {
            return object;
        }
        if ((waiter == 0 && (waiter = callback_thread_waiter()) == 0) ||
            !wait_for_message(handle, waiter, deadline)) {
            return NULL;
        }
    }
}

/* (future, call), or None when it is worth looking again at once. */
static PyObject *channel_wait_async(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    uint64_t handle;
    if (!check_count(count, 1) || !handle_of(args[0], &handle)) {
        return NULL;
    }
    uint64_t loop;
    PyObject *future = callback_future(&loop);
    if (future == NULL) {
        return NULL;
    }
    uint64_t call = core_channel_wait_async(handle, loop, Py_NewRef(future));
    if (call > CHANNEL_LOOK) {
        return Py_BuildValue("NK", future, (unsigned long long)call);
    }
    Py_DECREF(future);
    Py_DECREF(future);
    if (call == CHANNEL_LOOK) {
        Py_RETURN_NONE;
    }
    raise_closed();
    return NULL;
}

static PyObject *channel_forget(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    uint64_t handle;
    uint64_t call;
    if (!check_count(count, 2) || !handle_of(args[0], &handle) || !handle_of(args[1], &call)) {
        return NULL;
    }
    core_call_forget(call);
    core_channel_wait_end(handle, call, true);
    Py_RETURN_NONE;
}

/* ---- Sending ---- */

static PyObject *channel_send(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    uint64_t handle;
    if (!check_count(count, 2) || !handle_of(args[0], &handle)) {
        return NULL;
    }
    channel_message message = {.env = enif_alloc_env()};
    if (message.env == NULL) {
        return PyErr_NoMemory();
    }
    size_t weight = 0;
    if (!python_to_term(message.env, args[1], 0, &message.term, &weight)) {
        enif_free_env(message.env);
        return NULL;
    }
    int status = core_channel_push(handle, &message, (int64_t)weight);
    if (status != CHANNEL_OK) {
        enif_free_env(message.env);
    }
    if (status == CHANNEL_CLOSED) {
        raise_closed();
        return NULL;
    }
    return PyBool_FromLong(status == CHANNEL_OK);
}

static PyObject *channel_close(PyObject *module, PyObject *argument) {
    uint64_t handle;
    if (!handle_of(argument, &handle)) {
        return NULL;
    }
    core_channel_shut(handle);
    Py_RETURN_NONE;
}

/* (messages, bytes, closed) */
static PyObject *channel_state(PyObject *module, PyObject *argument) {
    uint64_t handle;
    if (!handle_of(argument, &handle)) {
        return NULL;
    }
    int64_t messages;
    int64_t bytes;
    bool closed = core_channel_state(handle, &messages, &bytes) != 0;
    return Py_BuildValue("LLN", (long long)messages, (long long)bytes, PyBool_FromLong(closed));
}

/* ---- Setup ---- */

static PyMethodDef channel_methods[] = {
    {"channel_handle", channel_handle, METH_O,
     "channel_handle(reference)\n--\n\nThe number of a channel; TypeError for what is none."},
    {"channel_take", (PyCFunction)(void (*)(void))channel_take, METH_FASTCALL,
     "channel_take(handle, raw, default)\n--\n\nThe next message, or default."},
    {"channel_receive", (PyCFunction)(void (*)(void))channel_receive, METH_FASTCALL,
     "channel_receive(handle, raw, timeout)\n--\n\nThe next message, for which the thread waits."},
    {"channel_wait_async", (PyCFunction)(void (*)(void))channel_wait_async, METH_FASTCALL,
     "channel_wait_async(handle)\n--\n\n(future, call) for a message to come; None if one is "
     "there."},
    {"channel_forget", (PyCFunction)(void (*)(void))channel_forget, METH_FASTCALL,
     "channel_forget(handle, call)\n--\n\nEnds the wait of a future that was given up."},
    {"channel_send", (PyCFunction)(void (*)(void))channel_send, METH_FASTCALL,
     "channel_send(handle, message)\n--\n\nFalse when the channel is full."},
    {"channel_close", channel_close, METH_O, "channel_close(handle)"},
    {"channel_state", channel_state, METH_O,
     "channel_state(handle)\n--\n\n(messages, bytes, closed)"},
    {NULL, NULL, 0, NULL},
};

bool channel_setup(PyObject *module) { return PyModule_AddFunctions(module, channel_methods) == 0; }
