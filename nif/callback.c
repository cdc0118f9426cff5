#include "callback.h"

#include "_cgo_export.h"
#include "atoms.h"
#include "callback_state.h"
#include "callback_thread.h"
#include "caller.h"
#include "convert.h"
#include "gil.h"
#include "selector.h"
#include "task_pool.h"
#include "task_run.h"

#include <math.h>
#include <stdlib.h>

/* The main interpreter's; python_state.c says what sub-interpreters need. */
static callback_state main_state;

callback_state *callback_state_get(void) { return &main_state; }

/* ---- Answers ---- */

answer *answer_new(void) {
    answer *a = calloc(1, sizeof(*a));
    if (a != NULL) {
        a->env = enif_alloc_env();
        if (a->env == NULL) {
            free(a);
            a = NULL;
        }
    }
    return a;
}

void answer_reset(answer *a) { enif_clear_env(a->env); }

void answer_free(answer *a) {
    enif_free_env(a->env);
    free(a);
}

static PyObject *text_of(ErlNifEnv *env, ERL_NIF_TERM term) {
    ErlNifBinary binary;
    if (!enif_inspect_binary(env, term, &binary)) {
        return PyUnicode_FromString("");
    }
    return PyUnicode_DecodeUTF8((const char *)binary.data, (Py_ssize_t)binary.size, "replace");
}

/* A term that Python has no object for must not hide the error that it is a part of. */
static PyObject *reason_of(ErlNifEnv *env, ERL_NIF_TERM term, PyObject *message) {
    PyObject *reason = term_to_python(env, term);
    if (reason == NULL) {
        PyErr_Clear();
        reason = Py_NewRef(message);
    }
    return reason;
}

static PyObject *failure_exception(ErlNifEnv *env, ERL_NIF_TERM term) {
    const ERL_NIF_TERM *parts;
    int arity;
    if (!enif_get_tuple(env, term, &arity, &parts) || arity != 4) {
        return PyObject_CallFunction(callback_state_get()->erlang_error, "s", "unknown error");
    }
    PyObject *exception = NULL;
    PyObject *message = text_of(env, parts[3]);
    PyObject *class = term_to_python(env, parts[0]);
    PyObject *reason = message != NULL ? reason_of(env, parts[1], message) : NULL;
    PyObject *stack = text_of(env, parts[2]);
    if (class != NULL && reason != NULL && stack != NULL) {
        exception = PyObject_CallFunctionObjArgs(callback_state_get()->erlang_error, message, class,
                                                 reason, stack, NULL);
    }
    Py_XDECREF(class);
    Py_XDECREF(reason);
    Py_XDECREF(stack);
    Py_XDECREF(message);
    return exception;
}

/* A new exception for an answer that is no value; NULL with an exception set. */
static PyObject *answer_exception(int status, ErlNifEnv *env, ERL_NIF_TERM term) {
    callback_state *state = callback_state_get();
    if (status == ANSWER_ERROR) {
        return failure_exception(env, term);
    }
    if (status == ANSWER_NOT_REGISTERED) {
        PyObject *name = text_of(env, term);
        PyObject *exception =
            name != NULL ? PyObject_CallOneArg(state->not_registered_error, name) : NULL;
        Py_XDECREF(name);
        return exception;
    }
    return PyObject_CallFunction(state->erlang_error, "ssss",
                                 "the application erlang_python does not run any more", "exit",
                                 "closed", "");
}

static PyObject *answer_value(int status, ErlNifEnv *env, ERL_NIF_TERM term) {
    if (status == ANSWER_OK) {
        return term_to_python(env, term);
    }
    PyObject *exception = answer_exception(status, env, term);
    if (exception != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
        Py_DECREF(exception);
    }
    return NULL;
}

/* ---- The message ---- */

typedef struct request {
    ErlNifEnv *env;
    ERL_NIF_TERM name;
    ERL_NIF_TERM arguments;
} request;

static bool request_name(request *r, PyObject *name) {
    Py_ssize_t size;
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "the name of an Erlang function is a str, not %.200s",
                     Py_TYPE(name)->tp_name);
        return false;
    }
    const char *text = PyUnicode_AsUTF8AndSize(name, &size);
    unsigned char *data =
        text != NULL ? enif_make_new_binary(r->env, (size_t)size, &r->name) : NULL;
    if (data == NULL) {
        return false;
    }
    memcpy(data, text, (size_t)size);
    return true;
}

/* Converts the name and the arguments; false with an exception set, and nothing to give back. */
static bool request_fill(request *r, PyObject *name, PyObject *const *args, Py_ssize_t count) {
    enum { SMALL = 16 };
    ERL_NIF_TERM small[SMALL];
    r->env = callback_env_take();
    if (r->env == NULL) {
        return false;
    }
    ERL_NIF_TERM *terms = small;
    if (count > SMALL) {
        terms = malloc((size_t)count * sizeof(*terms));
        if (terms == NULL) {
            PyErr_NoMemory();
        }
    }
    bool good = terms != NULL && request_name(r, name);
    size_t weight = 0;
    for (Py_ssize_t i = 0; good && i < count; i++) {
        good = python_to_term(r->env, args[i], 0, &terms[i], &weight);
    }
    if (good) {
        r->arguments = enif_make_list_from_array(r->env, terms, (unsigned)count);
    } else {
        callback_env_return(r->env);
    }
    if (terms != small) {
        free(terms);
    }
    return good;
}

/* Sends {python_call, Id, Process, Name, Arguments} to the callback server; gives back the
 * environment. */
static bool request_send(request *r, ErlNifPid *to, uint64_t id, ErlNifPid *process) {
    ERL_NIF_TERM parts[] = {
        atoms.python_call,
        enif_make_uint64(r->env, id),
        process != NULL ? enif_make_pid(r->env, process) : atoms.undefined,
        r->name,
        r->arguments,
    };
    bool sent = enif_send(NULL, to, r->env, enif_make_tuple_from_array(r->env, parts, 5)) != 0;
    callback_env_return(r->env);
    return sent;
}

static void raise_closed(void) {
    PyObject *exception = answer_exception(ANSWER_CLOSED, NULL, 0);
    if (exception != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
        Py_DECREF(exception);
    }
}

/* ---- call ---- */

/* The interpreter looks where a function begins. */
bool callback_check_interrupt(void) {
    PyObject *result = PyObject_CallNoArgs(callback_state_get()->no_operation);
    Py_XDECREF(result);
    return result != NULL;
}

static void run_nested(uint64_t waiter, task *t) {
    uint64_t slot = t->slot;
    task_living living = {.until = 0};
    switch (task_run(t, &living)) {
    case TASK_RECYCLE:
        task_pool_put(t);
        break;
    case TASK_AGAIN:
        core_waiter_again(waiter, slot);
        break;
    case TASK_GONE:
        break;
    }
}

PyObject *callback_await(uint64_t waiter, int64_t deadline) {
    for (;;) {
        task *nested = NULL;
        answer *a = NULL;
        int status;
        PyThreadState *thread_state = gil_release();
        status = core_call_wait(waiter, deadline, &nested, &a);
        gil_acquire(thread_state);
        switch (status) {
        case CALL_ANSWERED:
            return answer_value(a->status, a->env, a->term);
        case CALL_NESTED:
            run_nested(waiter, nested);
            break;
        case CALL_TIMEOUT:
            PyErr_SetString(PyExc_TimeoutError, "the Erlang function did not answer in time");
            return NULL;
        case CALL_INTERRUPTED:
            if (!callback_check_interrupt()) {
                return NULL;
            }
            break;
        default:
            PyErr_SetString(PyExc_SystemError, "the wait for an answer failed");
            return NULL;
        }
    }
}

bool callback_deadline(PyObject *timeout, int64_t *deadline) {
    *deadline = -1;
    if (timeout == NULL || timeout == Py_None) {
        return true;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return false;
    }
    if (isnan(seconds) || seconds < 0) {
        PyErr_SetString(PyExc_ValueError, "a timeout is a non-negative number of seconds");
        return false;
    }
    if (seconds < 9.0e9) {
        *deadline = core_deadline((int64_t)ceil(seconds * 1e9));
    }
    return true;
}

/* The value of the only keyword that call() knows; false with TypeError set. */
static bool parse_call(Py_ssize_t count, PyObject *const *args, PyObject *names,
                       PyObject **timeout) {
    *timeout = NULL;
    if (count < 1) {
        PyErr_SetString(PyExc_TypeError, "the name of the Erlang function is missing");
        return false;
    }
    if (names == NULL || PyTuple_GET_SIZE(names) == 0) {
        return true;
    }
    PyObject *name = PyTuple_GET_ITEM(names, 0);
    if (PyTuple_GET_SIZE(names) > 1 || PyUnicode_CompareWithASCIIString(name, "timeout") != 0) {
        PyErr_SetString(PyExc_TypeError,
                        "Erlang functions have no keyword arguments; only timeout= is known");
        return false;
    }
    *timeout = args[count];
    return true;
}

static PyObject *callback_call(PyObject *module, PyObject *const *args, Py_ssize_t count,
                               PyObject *names) {
    PyObject *timeout;
    int64_t deadline;
    request r;
    if (!parse_call(count, args, names, &timeout) || !callback_deadline(timeout, &deadline)) {
        return NULL;
    }
    uint64_t waiter = callback_thread_waiter();
    if (waiter == 0 || !request_fill(&r, args[0], args + 1, count - 1)) {
        return NULL;
    }
    ErlNifPid process;
    ErlNifPid server;
    bool known = caller_process(&process);
    uint64_t id = core_call_begin(waiter, caller_origin(), &server);
    PyObject *value = NULL;
    if (id == 0) {
        callback_env_return(r.env);
        raise_closed();
        return NULL;
    }
    if (request_send(&r, &server, id, known ? &process : NULL)) {
        value = callback_await(waiter, deadline);
    } else {
        raise_closed();
    }
    core_call_end(waiter);
    return value;
}

/* ---- sleep ---- */

static PyObject *callback_sleep(PyObject *module, PyObject *argument) {
    double seconds = PyFloat_AsDouble(argument);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "cannot sleep for nan seconds");
        return NULL;
    }
    uint64_t waiter = callback_thread_waiter();
    if (waiter == 0) {
        return NULL;
    }
    int64_t deadline =
        seconds < 9.0e9 ? core_deadline(seconds > 0 ? (int64_t)ceil(seconds * 1e9) : 0) : INT64_MAX;
    for (;;) {
        int status;
        Py_BEGIN_ALLOW_THREADS;
        status = core_sleep(waiter, deadline);
        Py_END_ALLOW_THREADS;
        if (status == CALL_TIMEOUT) {
            Py_RETURN_NONE;
        }
        if (status != CALL_INTERRUPTED) {
            raise_closed();
            return NULL;
        }
        if (!callback_check_interrupt()) {
            return NULL;
        }
    }
}

static PyObject *callback_default_loop(PyObject *module, PyObject *unused) {
    uint64_t handle = core_default_loop();
    if (handle == 0) {
        raise_closed();
        return NULL;
    }
    return PyLong_FromUnsignedLongLong(handle);
}

/* ---- async_call ---- */

/* The handle of a loop of ours, 0 for another kind of loop. */
static uint64_t loop_handle(PyObject *loop) {
    PyObject *object = PyObject_GetAttrString(loop, "_selector");
    if (object == NULL) {
        PyErr_Clear();
        return 0;
    }
    uint64_t handle = PyObject_TypeCheck(object, callback_state_get()->selector_type)
                          ? ((selector *)object)->handle
                          : 0;
    Py_DECREF(object);
    return handle;
}

PyObject *callback_future(uint64_t *handle) {
    callback_state *state = callback_state_get();
    PyObject *loop = PyObject_CallNoArgs(state->get_running_loop);
    if (loop == NULL) {
        return NULL;
    }
    PyObject *future = PyObject_CallMethodNoArgs(loop, state->string_create_future);
    *handle = future != NULL ? loop_handle(loop) : 0;
    Py_DECREF(loop);
    return future;
}

static PyObject *callback_async_call(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    request r;
    if (count < 1) {
        PyErr_SetString(PyExc_TypeError, "the name of the Erlang function is missing");
        return NULL;
    }
    uint64_t loop;
    PyObject *future = callback_future(&loop);
    if (future == NULL || !request_fill(&r, args[0], args + 1, count - 1)) {
        Py_XDECREF(future);
        return NULL;
    }
    ErlNifPid process;
    ErlNifPid server;
    bool known = caller_process(&process);
    uint64_t id = core_call_begin_async(loop, Py_NewRef(future), &server);
    if (id == 0) {
        callback_env_return(r.env);
        Py_DECREF(future);
    } else if (request_send(&r, &server, id, known ? &process : NULL)) {
        return future;
    } else {
        core_call_forget(id);
    }
    Py_DECREF(future);
    raise_closed();
    return NULL;
}

/* future.set_result(value) or set_exception(value) unless it is done, say cancelled. */
static PyObject *set_future(PyObject *future, bool failed, PyObject *value) {
    callback_state *state = callback_state_get();
    PyObject *done = PyObject_CallMethodNoArgs(future, state->string_done);
    if (done != Py_False) {
        return done;
    }
    Py_DECREF(done);
    return PyObject_CallMethodOneArg(
        future, failed ? state->string_set_exception : state->string_set_result, value);
}

/* The value or the exception of an answer; a value that cannot be converted is an exception as
 * well. */
static PyObject *answer_object(int status, ErlNifEnv *env, ERL_NIF_TERM term, bool *failed) {
    PyObject *value = NULL;
    *failed = status != ANSWER_OK;
    if (!*failed) {
        value = term_to_python(env, term);
        if (value != NULL) {
            return value;
        }
        *failed = true;
        PyObject *type;
        PyObject *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        PyErr_NormalizeException(&type, &value, &traceback);
        Py_XDECREF(type);
        Py_XDECREF(traceback);
        return value;
    }
    return answer_exception(status, env, term);
}

PyObject *callback_resolve(task *t) {
    PyObject *future = t->object;
    t->object = NULL;
    bool failed;
    PyObject *value = answer_object(t->status, t->env, t->arguments, &failed);
    PyObject *result = value != NULL ? set_future(future, failed, value) : NULL;
    Py_XDECREF(value);
    Py_DECREF(future);
    if (result == NULL) {
        return NULL;
    }
    /* What a future of somebody else's returns is not to be awaited: there is nobody to answer. */
    Py_DECREF(result);
    Py_RETURN_NONE;
}

/* Destroyed with its destructor: the handle of an answer that a loop dropped, say when it was
 * closed. A receiver of a channel may have been woken by it, and another one must look then. */
static const char answer_name[] = "erlang.answer";

static void answer_dropped(PyObject *capsule) { core_wake_others(); }

static PyObject *callback_set_future(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    if (count != 4 || !PyCapsule_IsValid(args[3], answer_name)) {
        PyErr_SetString(PyExc_TypeError, "a future, a bool, a value and a capsule are expected");
        return NULL;
    }
    PyCapsule_SetDestructor(args[3], NULL);
    return set_future(args[0], args[1] == Py_True, args[2]);
}

void callback_drop(void *thread_state, void *object) {
    PyEval_RestoreThread(thread_state);
    Py_DECREF((PyObject *)object);
    PyEval_SaveThread();
}

void callback_resolve_threadsafe(void *thread_state, void *object, int status, ErlNifEnv *env,
                                 ERL_NIF_TERM term) {
    PyEval_RestoreThread(thread_state);
    PyObject *future = object;
    bool failed;
    PyObject *value = answer_object(status, env, term, &failed);
    PyObject *loop = value != NULL ? PyObject_CallMethod(future, "get_loop", NULL) : NULL;
    callback_state *state = callback_state_get();
    PyObject *capsule = loop != NULL ? PyCapsule_New(state, answer_name, answer_dropped) : NULL;
    PyObject *handle =
        capsule != NULL
            ? PyObject_CallMethod(loop, "call_soon_threadsafe", "OOOOO", state->set_future, future,
                                  failed ? Py_True : Py_False, value, capsule)
            : NULL;
    /* A loop that is closed has nobody left who waits. */
    bool lost = capsule == NULL;
    PyErr_Clear();
    Py_XDECREF(handle);
    Py_XDECREF(capsule);
    Py_XDECREF(loop);
    Py_XDECREF(value);
    Py_DECREF(future);
    PyEval_SaveThread();
    enif_free_env(env);
    if (lost) {
        core_wake_others();
    }
}

/* ---- schedule ---- */

bool callback_schedule(task *t, PyObject *name, PyObject *const *args, Py_ssize_t count) {
    request r;
    ErlNifPid server;
    if (!request_fill(&r, name, args, count)) {
        return false;
    }
    ErlNifPid process = t->caller;
    uint64_t id = core_call_begin_task(t->slot, &server);
    if (id == 0) {
        callback_env_return(r.env);
        raise_closed();
        return false;
    }
    if (!request_send(&r, &server, id, &process)) {
        /* Who forgets the call has the task back, unless it was answered as closed meanwhile. */
        if (core_call_forget(id)) {
            raise_closed();
            return false;
        }
    }
    return true;
}

/* ---- Setup ---- */

static PyObject *callback_no_operation(void) {
    PyObject *globals = PyDict_New();
    PyObject *result =
        globals != NULL ? PyRun_String("def check():\n    pass\n", Py_file_input, globals, globals)
                        : NULL;
    PyObject *function = NULL;
    if (result != NULL) {
        function = Py_XNewRef(PyDict_GetItemString(globals, "check"));
    }
    Py_XDECREF(result);
    Py_XDECREF(globals);
    return function;
}

static PyObject *callback_known(PyObject *module, PyObject *name) {
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(name, &size);
    if (text == NULL) {
        return NULL;
    }
    return PyBool_FromLong(core_callback_known((char *)text, (int)size));
}

static PyMethodDef callback_methods[] = {
    {"call", (PyCFunction)(void (*)(void))callback_call, METH_FASTCALL | METH_KEYWORDS,
     "call(name, *args, timeout=None)\n--\n\nCalls a registered Erlang function and waits."},
    {"async_call", (PyCFunction)(void (*)(void))callback_async_call, METH_FASTCALL,
     "async_call(name, *args)\n--\n\nA future of the running loop for a registered function's "
     "value."},
    {"sleep", callback_sleep, METH_O,
     "sleep(seconds)\n--\n\nBlocks this thread, without the GIL, until the time is over or it is "
     "interrupted."},
    {"default_loop", callback_default_loop, METH_NOARGS,
     "default_loop()\n--\n\nThe handle of the loop of py_event_loop, whose thread is started."},
    {"is_registered", callback_known, METH_O, "is_registered(name) -> bool"},
    {"_set_future", (PyCFunction)(void (*)(void))callback_set_future, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static bool import_name(PyObject **target, const char *module_name, const char *name) {
    PyObject *module = PyImport_ImportModule(module_name);
    *target = module != NULL ? PyObject_GetAttrString(module, name) : NULL;
    Py_XDECREF(module);
    return *target != NULL;
}

bool callback_setup(PyObject *module) {
    callback_state *state = callback_state_get();
    state->string_create_future = PyUnicode_InternFromString("create_future");
    state->string_done = PyUnicode_InternFromString("done");
    state->string_set_result = PyUnicode_InternFromString("set_result");
    state->string_set_exception = PyUnicode_InternFromString("set_exception");
    state->no_operation = callback_no_operation();
    return state->string_create_future != NULL && state->string_done != NULL &&
           state->string_set_result != NULL && state->string_set_exception != NULL &&
           state->no_operation != NULL && PyModule_AddFunctions(module, callback_methods) == 0 &&
           (state->selector_type = (PyTypeObject *)PyObject_GetAttrString(module, "Selector")) !=
               NULL &&
           (state->set_future = PyObject_GetAttrString(module, "_set_future")) != NULL &&
           import_name(&state->get_running_loop, "asyncio.events", "get_running_loop") &&
           import_name(&state->erlang_error, "erlang._errors", "ErlangError") &&
           import_name(&state->not_registered_error, "erlang._errors", "NotRegisteredError") &&
           import_name(&state->process_error, "erlang._errors", "ProcessError") &&
           import_name(&state->channel_closed, "erlang._errors", "ChannelClosed");
}
