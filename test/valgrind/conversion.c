/* A Python with the conversion of the core and a fake VM: `conversion SCRIPT` runs a script, which
 * has a module `conversion`. For scripts/valgrind.sh. */
#include "convert.h"
#include "fake_enif.h"
#include "python_error.h"
#include "python_types.h"
#include "sandbox.h"

#include <stdio.h>

bool sandbox_setup(python_state *state, PyObject *module) {
    (void)state, (void)module;
    return true;
}

/* there_and_back(object, flags=0): the object that the object's term is, sent to somebody else on
 * the way. */
static PyObject *there_and_back(PyObject *module, PyObject *args) {
    PyObject *object;
    unsigned flags = 0;
    ERL_NIF_TERM term;
    size_t weight = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "O|I", &object, &flags)) {
        return NULL;
    }
    ErlNifEnv *env = enif_alloc_env();
    bool good = python_to_term(env, object, flags, &term, &weight);
    ErlNifEnv *message = enif_alloc_env();
    ERL_NIF_TERM copy = good ? enif_make_copy(message, term) : 0;
    enif_free_env(env);
    PyObject *result = good ? term_to_python(message, copy) : NULL;
    enif_free_env(message);
    return result;
}

/* describe(exception): what a caller would get. */
static PyObject *describe(PyObject *module, PyObject *exception) {
    (void)module;
    ErlNifEnv *env = enif_alloc_env();
    PyObject *result = term_to_python(env, python_error_term(env, exception, true));
    enif_free_env(env);
    return result;
}

static PyObject *reference(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    ErlNifEnv *env = enif_alloc_env();
    PyObject *result = opaque_from_term(env, fake_reference(env));
    enif_free_env(env);
    return result;
}

static PyObject *environments(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyLong_FromLong(fake_environments());
}

static PyObject *limit(PyObject *module, PyObject *bytes) {
    (void)module;
    convert_set_size_limit(PyLong_AsSize_t(bytes));
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"there_and_back", there_and_back, METH_VARARGS, NULL},
    {"describe", describe, METH_O, NULL},
    {"reference", reference, METH_NOARGS, NULL},
    {"environments", environments, METH_NOARGS, NULL},
    {"limit", limit, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static int module_exec(PyObject *module) { return python_state_setup(module) ? 0 : -1; }

static PyModuleDef_Slot slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "conversion",
                                        .m_methods = methods, .m_slots = slots};

static PyObject *make_module(void) { return PyModuleDef_Init(&definition); }

int main(int argc, char **argv) {
    if (PyImport_AppendInittab("conversion", make_module) != 0) {
        return 2;
    }
    return Py_BytesMain(argc, argv);
}
