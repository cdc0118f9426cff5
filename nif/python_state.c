#include "python_state.h"

#include "convert.h"
#include "python_error.h"
#include "python_types.h"
#include "sandbox.h"

/*
 * The main interpreter's. Sub-interpreters need one state each: nobody keeps the pointer across a
 * switch of interpreters, so only python_state_get() has to learn how to find theirs.
 */
static python_state main_state;

python_state *python_state_get(void) { return &main_state; }

bool python_state_setup(PyObject *module) {
    python_state *state = python_state_get();
    return python_types_setup(state, module) && convert_setup(state) &&
           sandbox_setup(state, module) && python_error_setup(state);
}
