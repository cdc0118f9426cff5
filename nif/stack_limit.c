#define PY_SSIZE_T_CLEAN
#include "stack_limit.h"

#include <Python.h>

#if PY_VERSION_HEX < 0x030C0000
/*
 * Before 3.12 one limit holds for calls that need no C stack and for those that do, and a process
 * whose limit was raised for the first kind dies of the second. The hungriest of them, sorted() in
 * the key function of sorted(), overflowed 8 MiB below a limit of 10,000 and 64 MiB below one of
 * 50,000.
 */
#define BYTES_PER_LEVEL 3200

static long highest_limit;
static PyCFunction original;

static PyObject *set_recursion_limit(PyObject *self, PyObject *limit) {
    long value = PyLong_Check(limit) ? PyLong_AsLong(limit) : 0;
    if (value == -1 && PyErr_Occurred()) {
        PyErr_Clear();
    }
    if (value <= highest_limit) {
        return original(self, limit);
    }
    PyObject *bounded = PyLong_FromLong(highest_limit);
    PyObject *result = bounded != NULL ? original(self, bounded) : NULL;
    Py_XDECREF(bounded);
    return result;
}

static bool bound_recursion_limit(size_t stack_size) {
    PyObject *function = PySys_GetObject("setrecursionlimit");
    if (function == NULL || !PyCFunction_Check(function) ||
        ((PyCFunctionObject *)function)->m_ml->ml_flags != METH_O) {
        PyErr_SetString(PyExc_SystemError, "sys.setrecursionlimit is not what it was");
        return false;
    }
    PyMethodDef *definition = ((PyCFunctionObject *)function)->m_ml;
    highest_limit = (long)(stack_size / BYTES_PER_LEVEL);
    if (highest_limit < Py_GetRecursionLimit()) {
        highest_limit = Py_GetRecursionLimit();
    }
    original = definition->ml_meth;
    definition->ml_meth = set_recursion_limit;
    return true;
}
#else
static bool bound_recursion_limit(size_t stack_size) {
    (void)stack_size;
    return true;
}
#endif

bool stack_limit_install(size_t stack_size) {
    /* The default of a system may be as small as the 128 kB of musl; an unsuitable size changes
     * nothing. */
    (void)PyThread_set_stacksize(stack_size);
    return bound_recursion_limit(stack_size);
}
