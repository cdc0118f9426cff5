#include "erlang_module.h"

#include "callback.h"
#include "caller.h"
#include "channel.h"
#include "resolve.h"
#include "schedule.h"
#include "selector.h"
#include "socket_io.h"
#include "timer_heap.h"

static bool setup(python_state *state, PyObject *module) {
    if (!python_state_setup(module) || !selector_setup(state, module) || !socket_io_setup(module) ||
        !timer_heap_setup(module) || !schedule_setup(module) || !caller_setup(module) ||
        !callback_setup(module) || !channel_setup(module) || !resolve_setup(module)) {
        return false;
    }
    state->module_names = PyDict_Copy(PyModule_GetDict(module));
    return state->module_names != NULL;
}

/*
 * A module that is imported again, after somebody took it out of sys.modules, has what the first
 * one has: new types would be others than those of the objects and threads that are there.
 */
static int module_exec(PyObject *module) {
    python_state *state = python_state_get();
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError,
                        "the package erlang works in Python's main interpreter only");
        return -1;
    }
    if (state->module_names != NULL) {
        return PyDict_Merge(PyModule_GetDict(module), state->module_names, 0);
    }
    return setup(state, module) ? 0 : -1;
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
