#include "loop_run.h"

#include "_cgo_export.h"
#include "atoms.h"
#include "caller.h"
#include "convert.h"
#include "handles.h"
#include "python_error.h"
#include "schedule.h"
#include "task_pool.h"
#include "task_run.h"

#include <structmember.h>
#include <time.h>

/*
 * The done callback of a suspended asyncio task. Owns the task from Erlang until it delivers its
 * result: when it is called, or at the latest when it is deallocated, because a callback that will
 * never come means that the loop is gone, and nobody may be left waiting.
 */
typedef struct task_waiter {
    PyObject_HEAD task *task;
    uint64_t loop;
    uint64_t key; /* in the selector's `running` */
    PyObject *running;
    vectorcallfunc vectorcall;
} task_waiter;

static void deliver(task *t, ERL_NIF_TERM result) {
    if (task_finish(t, result)) {
        task_pool_put(t);
    }
}

/* Finishes the task with what a future that is done brought, or goes on with the marker
 * (schedule.h) that it brought. */
static task_outcome finish_future(task *t, PyObject *future) {
    PyObject *value = PyObject_CallMethodNoArgs(future, python_state_get()->string_result);
    if (value == NULL && PyErr_ExceptionMatches(python_state_get()->cancelled_error)) {
        PyErr_Clear();
        /* A loop that ends cancels what it has left. */
        ERL_NIF_TERM reason = core_loop_ending(t->loop) ? atoms.closed : atoms.cancelled;
        return task_finish(t, task_error(t, reason)) ? TASK_RECYCLE : TASK_GONE;
    }
    return task_deliver(t, value);
}

/* What is left to do with a task of a loop that was run outside of a batch. */
static void settle(uint64_t loop, task *t, task_outcome outcome) {
    if (outcome == TASK_AGAIN) {
        core_loop_again(loop, t->slot);
    } else if (outcome == TASK_RECYCLE) {
        task_pool_put(t);
    }
}

static void waiter_forget(task_waiter *self) {
    if (self->running != NULL) {
        PyObject *key = PyLong_FromUnsignedLongLong(self->key);
        if (key == NULL || PyDict_DelItem(self->running, key) != 0) {
            PyErr_Clear();
        }
        Py_XDECREF(key);
    }
}

static PyObject *waiter_call(task_waiter *self, PyObject *const *args, size_t flags,
                             PyObject *names) {
    if (PyVectorcall_NARGS(flags) != 1 || names != NULL) {
        PyErr_SetString(PyExc_TypeError, "expected one future");
        return NULL;
    }
    task *t = self->task;
    if (t != NULL) {
        self->task = NULL;
        waiter_forget(self);
        core_loop_unwatch(self->loop, t->caller.pid, self->key);
        settle(self->loop, t, finish_future(t, args[0]));
    }
    Py_RETURN_NONE;
}

static int waiter_traverse(task_waiter *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->running);
    return 0;
}

static int waiter_clear(task_waiter *self) {
    Py_CLEAR(self->running);
    return 0;
}

static void waiter_dealloc(task_waiter *self) {
    PyTypeObject *own_type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->task != NULL) {
        task *t = self->task;
        self->task = NULL;
        PyObject *type;
        PyObject *value;
        PyObject *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        waiter_forget(self);
        PyErr_Restore(type, value, traceback);
        core_loop_unwatch(self->loop, t->caller.pid, self->key);
        deliver(t, task_error(t, atoms.closed));
    }
    Py_CLEAR(self->running);
    own_type->tp_free(self);
    Py_DECREF(own_type);
}

static PyMemberDef waiter_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(task_waiter, vectorcall), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot waiter_slots[] = {
    {Py_tp_dealloc, waiter_dealloc}, {Py_tp_traverse, waiter_traverse}, {Py_tp_clear, waiter_clear},
    {Py_tp_call, PyVectorcall_Call}, {Py_tp_members, waiter_members},   {0, NULL},
};

static PyType_Spec waiter_spec = {
    .name = "_erlang._TaskWaiter",
    .basicsize = sizeof(task_waiter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = waiter_slots,
};

/* Takes the task: on failure it is answered with the exception. */
static void suspend(selector *self, task *t, PyObject *future) {
    task_waiter *waiter = PyObject_GC_New(task_waiter, python_state_get()->task_waiter_type);
    if (waiter == NULL) {
        deliver(t, task_exception_result(t));
        return;
    }
    waiter->vectorcall = (vectorcallfunc)waiter_call;
    waiter->task = t;
    waiter->loop = self->handle;
    waiter->key = reference_key(t->reference);
    waiter->running = self->running;
    Py_INCREF(waiter->running);
    PyObject_GC_Track(waiter);
    PyObject *key = PyLong_FromUnsignedLongLong(waiter->key);
    bool stored = key != NULL && PyDict_SetItem(self->running, key, future) == 0;
    Py_XDECREF(key);
    PyObject *added = stored ? PyObject_CallMethod(future, "add_done_callback", "O", waiter) : NULL;
    if (waiter->task == NULL) {
        /* A future of somebody else's, which called the waiter at once. */
        PyErr_Clear();
    } else if (added == NULL) {
        waiter->task = NULL;
        ERL_NIF_TERM result = task_exception_result(t);
        waiter_forget(waiter);
        deliver(t, result);
    } else if (!(t->flags & TASK_FLAG_OUTLIVES_CALLER)) {
        core_loop_watch(self->handle, t->caller.pid, waiter->key);
    }
    Py_XDECREF(added);
    Py_DECREF(waiter);
}

#if PY_VERSION_HEX < 0x030C0000
/*
 * The first step of a task that was just created: without eager tasks (3.12) it is the last handle
 * that asyncio made ready. Running it now saves a turn of the loop. False with the exception set
 * that left the step.
 */
static bool take_first_step(selector *self) {
    PyObject *ready = Py_XNewRef(self->loop_ready);
    if (ready == NULL) {
        return true;
    }
    PyObject *handle = PyObject_CallMethodNoArgs(ready, python_state_get()->string_pop);
    bool done = handle != NULL && handles_run(handle);
    Py_DECREF(ready);
    Py_XDECREF(handle);
    return done;
}
#endif

/* A new asyncio task for a coroutine, after its first step; NULL with an exception set. */
static PyObject *start_coroutine(selector *self, PyObject *loop, PyObject *coroutine) {
    python_state *state = python_state_get();
    PyObject *factory = PyObject_GetAttr(loop, state->string_task_factory);
    if (factory == NULL) {
        return NULL;
    }
    bool custom = factory != Py_None;
    Py_DECREF(factory);
    if (custom) {
        return PyObject_CallMethod(loop, "create_task", "O", coroutine);
    }
#if PY_VERSION_HEX >= 0x030C0000
    PyObject *args[] = {coroutine, loop, Py_True};
    return PyObject_Vectorcall(state->asyncio_task, args, 1, state->task_names);
#else
    PyObject *args[] = {coroutine, loop};
    PyObject *future = PyObject_Vectorcall(state->asyncio_task, args, 1, state->task_names);
    if (future != NULL && !take_first_step(self)) {
        /* SystemExit and KeyboardInterrupt leave the step; the future has them too. */
        PyErr_Clear();
    }
    return future;
#endif
}

static bool is_awaitable(PyObject *value) {
    if (PyCoro_CheckExact(value)) {
        return true;
    }
    PyAsyncMethods *methods = Py_TYPE(value)->tp_as_async;
    return methods != NULL && methods->am_await != NULL;
}

/* The future of an awaitable that is no coroutine: itself when it is a future, else a task around
 * it. */
static PyObject *start_awaitable(PyObject *loop, PyObject *value) {
    PyObject *names = Py_BuildValue("(s)", "loop");
    if (names == NULL) {
        return NULL;
    }
    PyObject *args[] = {value, loop};
    PyObject *future = PyObject_Vectorcall(python_state_get()->ensure_future, args, 1, names);
    Py_DECREF(names);
    return future;
}

static int future_done(PyObject *future) {
    PyObject *done = PyObject_CallMethodNoArgs(future, python_state_get()->string_done);
    if (done == NULL) {
        return -1;
    }
    int result = PyObject_IsTrue(done);
    Py_DECREF(done);
    return result;
}

/* What is left to do with a task of a batch: true when it is to be recycled with the batch. */
static bool settle_in_batch(selector *self, task *t, task_outcome outcome) {
    if (outcome == TASK_AGAIN) {
        core_loop_again(self->handle, t->slot);
    }
    return outcome == TASK_RECYCLE;
}

/* The asyncio task or future of an awaitable, which belongs to the process that submitted the task.
 */
static PyObject *start(selector *self, PyObject *loop, task *t, PyObject *value) {
    PyObject *token = caller_bind(t);
    task *previous = caller_enter(t);
    PyObject *future = PyCoro_CheckExact(value) ? start_coroutine(self, loop, value)
                                                : start_awaitable(loop, value);
    caller_leave(previous);
    caller_unbind(token);
    return future;
}

/* Runs one task in the current context; true when it is finished and to be recycled with the batch.
 */
static bool run_here(selector *self, PyObject *loop, task *t) {
    PyObject *value = task_evaluate(t);
    if (value == NULL || t->kind == TASK_EXEC || !is_awaitable(value)) {
        return settle_in_batch(self, t, task_deliver(t, value));
    }
    if (self->loop == NULL) {
        /* The function closed the selector: nothing would step what it returned. */
        Py_DECREF(value);
        return task_finish(t, task_error(t, atoms.closed));
    }
    PyObject *future = start(self, loop, t, value);
    Py_DECREF(value);
    if (future == NULL) {
        return task_finish(t, task_exception_result(t));
    }
    int done = future_done(future);
    bool owned = false;
    if (done < 0) {
        owned = task_finish(t, task_exception_result(t));
    } else if (done > 0) {
        owned = settle_in_batch(self, t, finish_future(t, future));
    } else {
        suspend(self, t, future);
    }
    Py_DECREF(future);
    return owned;
}

/*
 * The contextvars contexts of a batch. Each task runs in a copy of the loop's, as call_soon() runs
 * its callbacks; the copy that a task left as it was serves the next one as well.
 */
typedef struct batch_context {
    PyObject *original; /* what copies are compared with; NULL when there is one task only */
    PyObject *entered;  /* the copy that is current, or NULL */
} batch_context;

/* Without an original, also for want of memory, each task has a copy of its own. */
static void context_open(batch_context *contexts, int count) {
    contexts->entered = NULL;
    contexts->original = count > 1 ? PyContext_CopyCurrent() : NULL;
    PyErr_Clear();
}

static bool context_enter(batch_context *contexts) {
    if (contexts->entered != NULL) {
        return true;
    }
    PyObject *context =
        contexts->original != NULL ? PyContext_Copy(contexts->original) : PyContext_CopyCurrent();
    if (context != NULL && PyContext_Enter(context) != 0) {
        Py_CLEAR(context);
    }
    contexts->entered = context;
    return context != NULL;
}

static void context_leave(batch_context *contexts) {
    if (contexts->entered != NULL) {
        if (PyContext_Exit(contexts->entered) != 0) {
            PyErr_Clear();
        }
        Py_CLEAR(contexts->entered);
    }
}

/* After a task. Two contexts with the same variables are equal at one look; one in which a task set
 * a variable to an equal value counts as left as it was. */
static void context_check(batch_context *contexts) {
    if (contexts->original != NULL && contexts->entered != NULL &&
        PyObject_RichCompareBool(contexts->entered, contexts->original, Py_EQ) == 1) {
        return;
    }
    PyErr_Clear();
    context_leave(contexts);
}

static void context_close(batch_context *contexts) {
    context_leave(contexts);
    Py_CLEAR(contexts->original);
}

/* Runs one task; true when it is finished and to be recycled with the batch. */
static bool run_one(selector *self, PyObject *loop, task *t, task_living *living,
                    batch_context *contexts) {
    if (!task_wanted(t, living)) {
        return true;
    }
    if (self->ready->cancelling && t->kind != TASK_RESOLVE &&
        core_loop_cancelled(self->handle, reference_key(t->reference))) {
        return task_finish(t, task_error(t, atoms.cancelled));
    }
    if (t->kind != TASK_RESOLVE && task_silent(t) && core_loop_ending(self->handle)) {
        /* Nobody waits for it, so nobody answered it when the loop was destroyed. */
        return true;
    }
    if (!context_enter(contexts)) {
        if (t->kind != TASK_RESOLVE) {
            return task_finish(t, task_exception_result(t));
        }
        /* A coroutine waits for it, and so runs in a context of its own. */
        PyErr_Clear();
    }
    bool owned = run_here(self, loop, t);
    context_check(contexts);
    return owned;
}

static void cancel_one(selector *self, uint64_t hash) {
    PyObject *key = PyLong_FromUnsignedLongLong(hash);
    PyObject *future = key != NULL ? PyDict_GetItemWithError(self->running, key) : NULL;
    Py_XDECREF(key);
    if (future != NULL) {
        Py_INCREF(future);
        PyObject *cancelled = PyObject_CallMethod(future, "cancel", NULL);
        Py_XDECREF(cancelled);
        Py_DECREF(future);
    }
    PyErr_Clear();
}

/* What tells whether the tasks gave asyncio a timer that is due before the one that select() waits
 * for. */
typedef struct timer_head {
    PyObject *first; /* borrowed, only compared */
    Py_ssize_t count;
} timer_head;

static timer_head timers_of(PyObject *loop) {
    timer_head head = {NULL, 0};
    PyObject *scheduled = PyObject_GetAttr(loop, python_state_get()->string_scheduled);
    if (scheduled != NULL && PyList_Check(scheduled)) {
        head.count = PyList_GET_SIZE(scheduled);
        head.first = head.count > 0 ? PyList_GET_ITEM(scheduled, 0) : NULL;
    }
    Py_XDECREF(scheduled);
    PyErr_Clear();
    return head;
}

static bool is_stopping(PyObject *loop) {
    PyObject *stopping = PyObject_GetAttr(loop, python_state_get()->string_stopping);
    bool result = stopping == Py_True;
    Py_XDECREF(stopping);
    PyErr_Clear();
    return result;
}

static bool has_ready_handles(selector *self) {
    PyObject *ready = Py_XNewRef(self->loop_ready);
    Py_ssize_t count = ready != NULL ? PyObject_Size(ready) : 0;
    Py_XDECREF(ready);
    PyErr_Clear();
    return count > 0;
}

bool loop_run_tasks(selector *self) {
    loop_ready *ready = self->ready;
    int count = ready->task_count;
    if (self->loop == NULL) {
        for (int i = 0; i < count; i++) {
            deliver(ready->tasks[i], task_error(ready->tasks[i], atoms.closed));
        }
        return false;
    }
    /* The loop may be closed, and its attributes cleared, by the code that runs. */
    PyObject *loop = self->loop;
    Py_INCREF(loop);
    task_living living = {.until = 0};
    task_prefetch(ready->tasks, count);
    task *retired[LOOP_TASKS];
    size_t retired_count = 0;
    timer_head before = timers_of(loop);
    batch_context contexts;
    context_open(&contexts, count);
    for (int i = 0; i < count; i++) {
        if (i + 1 < count) {
            task_prefetch_terms(ready->tasks[i + 1]);
        }
        task *t = ready->tasks[i];
        bool done = self->loop != NULL ? run_one(self, loop, t, &living, &contexts)
                                       : task_finish(t, task_error(t, atoms.closed));
        if (done && task_pool_retire(t)) {
            retired[retired_count++] = t;
        }
    }
    context_close(&contexts);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    ready->ran_until = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    task_pool_keep(retired, retired_count);
    for (int i = 0; i < ready->cancel_count; i++) {
        cancel_one(self, ready->cancels[i]);
    }
    bool leave = true;
    if (self->loop != NULL) {
        timer_head after = timers_of(loop);
        leave = has_ready_handles(self) || after.first != before.first ||
                after.count != before.count || is_stopping(loop);
    }
    Py_DECREF(loop);
    return leave;
}

bool loop_run_setup(python_state *state, PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &waiter_spec, NULL);
    PyObject *asyncio = type != NULL ? PyImport_ImportModule("asyncio") : NULL;
    if (asyncio == NULL) {
        Py_XDECREF(type);
        return false;
    }
    state->task_waiter_type = (PyTypeObject *)type;
    state->asyncio_task = PyObject_GetAttrString(asyncio, "Task");
    state->cancelled_error = PyObject_GetAttrString(asyncio, "CancelledError");
    state->ensure_future = PyObject_GetAttrString(asyncio, "ensure_future");
#if PY_VERSION_HEX >= 0x030C0000
    state->task_names = Py_BuildValue("(ss)", "loop", "eager_start");
#else
    state->task_names = Py_BuildValue("(s)", "loop");
#endif
    state->string_result = PyUnicode_InternFromString("result");
    state->string_add_done_callback = PyUnicode_InternFromString("add_done_callback");
    state->string_task_factory = PyUnicode_InternFromString("_task_factory");
    state->string_pop = PyUnicode_InternFromString("pop");
    state->string_done = PyUnicode_InternFromString("done");
    state->string_stopping = PyUnicode_InternFromString("_stopping");
    state->imported = PyDict_New();
    Py_DECREF(asyncio);
    return state->asyncio_task != NULL && state->cancelled_error != NULL &&
           state->ensure_future != NULL && state->task_names != NULL && state->imported != NULL &&
           state->string_result != NULL && state->string_add_done_callback != NULL &&
           state->string_task_factory != NULL && state->string_done != NULL &&
           state->string_pop != NULL && state->string_stopping != NULL;
}
