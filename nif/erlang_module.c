#include "erlang_module.h"

#include "callback.h"
#include "caller.h"
#include "schedule.h"
#include "selector.h"
#include "socket_io.h"
#include "timer_heap.h"

/*
 * The state of the module (python_state.h) is that of the main interpreter, and objects that were
 * made with it are in use everywhere: neither another interpreter nor a second import may replace
 * it.
 */
static bool may_be_made(void) {
    static bool made;
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError,
                        "the package erlang works in Python's main interpreter only");
        return false;
    }
    if (made) {
        PyErr_SetString(PyExc_ImportError, "the module _erlang cannot be loaded a second time");
        return false;
    }
    made = true;
    return true;
}

static int module_exec(PyObject *module) {
    if (!may_be_made()) {
        return -1;
    }
    bool done = python_state_setup(module) && selector_setup(python_state_get(), module) &&
                socket_io_setup(module) && timer_heap_setup(module) && schedule_setup(module) &&
                caller_setup(module) && callback_setup(module);
    return done ? 0 : -1;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_erlang",
    .m_doc = "The native side of the package erlang; there only inside the Erlang VM.",
    .m_size = 0,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__erlang(void) { return PyModuleDef_Init(&module_definition); }
