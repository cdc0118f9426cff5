#include "erlang_module.h"

#include "callback.h"
#include "caller.h"
#include "schedule.h"
#include "selector.h"
#include "socket_io.h"

static int module_exec(PyObject *module) {
    if (!python_state_setup(module)) {
        return -1;
    }
    python_state *state = python_state_get();
    return selector_setup(state, module) && schedule_setup(state, module) &&
                   caller_setup(state, module) && callback_setup(state, module) &&
                   socket_io_setup(module)
               ? 0
               : -1;
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
