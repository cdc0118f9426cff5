#include "loop_thread.h"

#include "_cgo_export.h"
#include "python_error.h"
#include "python_state.h"

/* Sends the exception that is set to the log receiver. */
static void report_exception(void) {
    ErlNifEnv *env = enif_alloc_env();
    if (env == NULL) {
        PyErr_Clear();
        return;
    }
    core_log_exception(env, python_error_take(env, true));
}

void loop_thread_run(void *thread_state, uint64_t handle) {
    PyEval_RestoreThread(thread_state);
    PyObject *driver = PyImport_ImportModule("erlang._driver");
    PyObject *result = driver != NULL
                           ? PyObject_CallMethod(driver, "drive", "K", (unsigned long long)handle)
                           : NULL;
    if (result == NULL) {
        report_exception();
    }
    Py_XDECREF(result);
    Py_XDECREF(driver);
    PyEval_SaveThread();
}
