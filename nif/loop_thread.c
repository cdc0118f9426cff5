#include "loop_thread.h"

#include "_cgo_export.h"
#include "interrupt.h"
#include "python_error.h"
#include "selector.h"

/* Sends the exception that is set to the log receiver. */
static void report_exception(void) {
    ErlNifEnv *env = enif_alloc_env();
    if (env == NULL) {
        PyErr_Clear();
        return;
    }
    core_log_exception(env, python_error_take(env, true));
}

/*
 * Calls a method with the loop, or of it without one. An interrupt of the thread comes only
 * here: in the driver's own Python code it could come while a lock is held, which would stay locked
 * for good. False, with the exception reported, when the loop cannot go on.
 */
static bool run(uint64_t thread, PyObject *object, const char *method, PyObject *loop) {
    interrupt_frame frame;
    interrupt_enter_thread(&frame, thread);
    PyObject *result = PyObject_CallMethod(object, method, loop != NULL ? "O" : NULL, loop);
    interrupt_leave(&frame);
    if (result != NULL) {
        Py_DECREF(result);
        return true;
    }
    /* Of an interrupt or a task, whose submitter has heard of it; nobody else shall. */
    if (PyErr_ExceptionMatches(PyExc_SystemExit) ||
        PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        PyErr_Clear();
        return true;
    }
    report_exception();
    return false;
}

/* loop.stop() ends run_forever(), but not the loop. */
static void drive(uint64_t thread, PyObject *driver, PyObject *loop, const selector *waits) {
    bool good = true;
    while (good && !waits->stopping) {
        good = run(thread, loop, "run_forever", NULL);
    }
    if (good) {
        run(thread, driver, "finish", loop);
    }
}

void loop_thread_run(void *thread_state, uint64_t thread, uint64_t handle) {
    PyEval_RestoreThread(thread_state);
    PyObject *driver = PyImport_ImportModule("erlang._driver");
    PyObject *selector_of_loop = NULL;
    PyObject *loop = NULL;
    PyObject *opened =
        driver != NULL ? PyObject_CallMethod(driver, "open_loop", "K", (unsigned long long)handle)
                       : NULL;
    PyObject *closed = NULL;
    if (opened != NULL && PyArg_ParseTuple(opened, "OO", &selector_of_loop, &loop)) {
        drive(thread, driver, loop, (selector *)selector_of_loop);
        closed = PyObject_CallMethod(driver, "close_loop", "KO", (unsigned long long)handle, loop);
    }
    if (closed == NULL) {
        report_exception();
    }
    Py_XDECREF(closed);
    Py_XDECREF(opened);
    Py_XDECREF(driver);
    PyEval_SaveThread();
}
