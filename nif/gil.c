#include "gil.h"

_Atomic int gil_waiters;

static PyCFunction set_original;

/* Beyond that nobody could interrupt a thread that loops: raising an exception in it needs the GIL.
 */
static PyObject *set_switch_interval(PyObject *self, PyObject *argument) {
    PyObject *seconds = PyNumber_Float(argument);
    PyObject *result = NULL;
    if (seconds != NULL && PyFloat_AS_DOUBLE(seconds) > GIL_LONGEST_INTERVAL) {
        PyErr_SetString(PyExc_ValueError, "inside the Erlang VM, where the calls of all processes "
                                          "share Python, the switch interval is at most 1 second");
    } else if (seconds != NULL) {
        result = set_original(self, seconds);
    }
    Py_XDECREF(seconds);
    return result;
}

bool gil_bound_switch_interval(void) {
    PyObject *function = PySys_GetObject("setswitchinterval");
    if (function == NULL || !PyCFunction_Check(function) ||
        ((PyCFunctionObject *)function)->m_ml->ml_flags != METH_O) {
        PyErr_SetString(PyExc_SystemError, "sys.setswitchinterval is not what it was");
        return false;
    }
    PyMethodDef *definition = ((PyCFunctionObject *)function)->m_ml;
    set_original = definition->ml_meth;
    definition->ml_meth = set_switch_interval;
    return true;
}
