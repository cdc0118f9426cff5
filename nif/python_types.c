/*
 * Pids, references, ports and funs as Python objects.
 *
 * Local pids and ports are immediates, which need no environment; everything else is copied into an
 * environment of its own, freed with the object. Instances never change, so that any thread may use
 * them.
 */
#include "python_types.h"

#include <string.h>
#include <structmember.h>

typedef struct opaque_object {
    PyObject_HEAD PyObject *weak_references;
    ErlNifEnv *env; /* NULL for an immediate */
    ERL_NIF_TERM term;
} opaque_object;

static bool is_opaque_type(const python_state *state, const PyTypeObject *type) {
    return type == state->pid_type || type == state->reference_type || type == state->port_type ||
           type == state->fun_type;
}

static void opaque_dealloc(PyObject *self) {
    opaque_object *opaque = (opaque_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (opaque->weak_references != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    if (opaque->env != NULL) {
        enif_free_env(opaque->env);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *opaque_repr(PyObject *self) {
    enum { TEXT_SIZE = 2048 }; /* a fun's module has at most 255 characters of 4 bytes */
    char text[TEXT_SIZE];
    if (enif_snprintf(text, sizeof text, "%T", ((opaque_object *)self)->term) < 0) {
        text[0] = '\0';
    }
    text[sizeof text - 1] = '\0';
    PyObject *term = PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
    if (term == NULL) {
        return NULL;
    }
    PyObject *result = PyUnicode_FromFormat("<%s %U>", Py_TYPE(self)->tp_name, term);
    Py_DECREF(term);
    return result;
}

static Py_hash_t opaque_hash(PyObject *self) {
    Py_hash_t hash = (Py_hash_t)enif_hash(ERL_NIF_INTERNAL_HASH, ((opaque_object *)self)->term, 0);
    return hash == -1 ? -2 : hash;
}

static PyObject *opaque_compare(PyObject *left, PyObject *right, int operation) {
    if (Py_TYPE(left) != Py_TYPE(right)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    ERL_NIF_TERM left_term = ((opaque_object *)left)->term;
    ERL_NIF_TERM right_term = ((opaque_object *)right)->term;
    if (operation == Py_EQ || operation == Py_NE) {
        return PyBool_FromLong((enif_is_identical(left_term, right_term) != 0) ==
                               (operation == Py_EQ));
    }
    if (Py_TYPE(left) == python_state_get()->fun_type) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    int order = enif_compare(left_term, right_term);
    Py_RETURN_RICHCOMPARE(order, 0, operation);
}

static PyObject *opaque_reduce(PyObject *self, PyObject *protocol) {
    (void)protocol;
    return PyErr_Format(PyExc_TypeError,
                        "cannot pickle '%s' object: it means something only in this Erlang node",
                        Py_TYPE(self)->tp_name);
}

static PyObject *opaque_copy(PyObject *self, PyObject *memo) {
    (void)memo;
    return Py_NewRef(self);
}

static PyMethodDef opaque_methods[] = {
    {"__reduce__", opaque_reduce, METH_NOARGS, NULL},
    {"__reduce_ex__", opaque_reduce, METH_O, NULL},
    {"__copy__", opaque_copy, METH_NOARGS, NULL},
    {"__deepcopy__", opaque_copy, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef opaque_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(opaque_object, weak_references), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject *add_opaque_type(PyObject *module, const char *name,
                                     const char *documentation) {
    PyType_Slot slots[] = {
        {Py_tp_dealloc, SLOT_FUNCTION(opaque_dealloc)},
        {Py_tp_repr, SLOT_FUNCTION(opaque_repr)},
        {Py_tp_hash, SLOT_FUNCTION(opaque_hash)},
        {Py_tp_richcompare, SLOT_FUNCTION(opaque_compare)},
        {Py_tp_methods, opaque_methods},
        {Py_tp_members, opaque_members},
        {Py_tp_doc, (void *)documentation},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = name,
        .basicsize = sizeof(opaque_object),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .slots = slots,
    };
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        Py_CLEAR(type);
    }
    return (PyTypeObject *)type;
}

bool python_types_setup(python_state *state, PyObject *module) {
    state->pid_type = add_opaque_type(module, "erlang.Pid", "An Erlang process identifier.");
    if (state->pid_type == NULL) {
        return false;
    }
    state->reference_type = add_opaque_type(module, "erlang.Ref", "An Erlang reference.");
    if (state->reference_type == NULL) {
        return false;
    }
    state->port_type = add_opaque_type(module, "erlang.Port", "An Erlang port identifier.");
    if (state->port_type == NULL) {
        return false;
    }
    state->fun_type = add_opaque_type(module, "erlang.Fun", "An Erlang fun.");
    return state->fun_type != NULL && python_value_types_setup(state, module);
}

static PyTypeObject *type_of_term(const python_state *state, ErlNifEnv *env, ERL_NIF_TERM term) {
    switch (enif_term_type(env, term)) {
    case ERL_NIF_TERM_TYPE_PID:
        return state->pid_type;
    case ERL_NIF_TERM_TYPE_REFERENCE:
        return state->reference_type;
    case ERL_NIF_TERM_TYPE_PORT:
        return state->port_type;
    case ERL_NIF_TERM_TYPE_FUN:
        return state->fun_type;
    default:
        PyErr_SetString(PyExc_TypeError,
                        "only pids, references, ports and funs are opaque in Python");
        return NULL;
    }
}

PyObject *opaque_from_term(ErlNifEnv *env, ERL_NIF_TERM term) {
    PyTypeObject *type = type_of_term(python_state_get(), env, term);
    opaque_object *opaque = type == NULL ? NULL : (opaque_object *)type->tp_alloc(type, 0);
    if (opaque == NULL) {
        return NULL;
    }
    ErlNifPid pid;
    ErlNifPort port;
    if (enif_get_local_pid(env, term, &pid)) {
        opaque->term = pid.pid;
    } else if (enif_get_local_port(env, term, &port)) {
        opaque->term = port.port_id;
    } else {
        opaque->env = enif_alloc_env();
        if (opaque->env == NULL) {
            Py_DECREF(opaque);
            return PyErr_NoMemory();
        }
        opaque->term = enif_make_copy(opaque->env, term);
    }
    return (PyObject *)opaque;
}

bool opaque_to_term(ErlNifEnv *env, PyObject *object, ERL_NIF_TERM *term) {
    if (!is_opaque_type(python_state_get(), Py_TYPE(object))) {
        return false;
    }
    const opaque_object *opaque = (const opaque_object *)object;
    *term = opaque->env == NULL ? opaque->term : enif_make_copy(env, opaque->term);
    return true;
}

bool opaque_local_process(PyObject *object, ErlNifPid *process) {
    const opaque_object *opaque = (const opaque_object *)object;
    if (Py_TYPE(object) != python_state_get()->pid_type || opaque->env != NULL) {
        return false;
    }
    process->pid = opaque->term;
    return true;
}
