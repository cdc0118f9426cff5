/* erlang.Atom and erlang.Binary: how Python says that a value should go out as an atom or as a
 * binary. */
#include "python_types.h"

#include <string.h>
#include <structmember.h>

/* ---- Atom ---- */

static PyObject *atom_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"", NULL};
    PyObject *text;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "U:Atom", names, &text)) {
        return NULL;
    }
    if (PyUnicode_GET_LENGTH(text) > ATOM_MAX_CHARACTERS) {
        return PyErr_Format(PyExc_ValueError, "an Erlang atom has at most %d characters, not %zd",
                            ATOM_MAX_CHARACTERS, PyUnicode_GET_LENGTH(text));
    }
    PyObject *string_arguments = PyTuple_Pack(1, text);
    if (string_arguments == NULL) {
        return NULL;
    }
    PyObject *atom = PyUnicode_Type.tp_new(type, string_arguments, NULL);
    Py_DECREF(string_arguments);
    return atom;
}

static PyObject *atom_repr(PyObject *self) {
    PyObject *text = PyUnicode_Type.tp_repr(self);
    if (text == NULL) {
        return NULL;
    }
    PyObject *result = PyUnicode_FromFormat("Atom(%U)", text);
    Py_DECREF(text);
    return result;
}

static PyType_Slot atom_slots[] = {
    {Py_tp_new, SLOT_FUNCTION(atom_new)},
    {Py_tp_repr, SLOT_FUNCTION(atom_repr)},
    {Py_tp_doc, (void *)"Atom(text)\n--\n\nA str that goes to Erlang as an atom."},
    {0, NULL},
};

static PyType_Spec atom_spec = {
    .name = "erlang.Atom",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_UNICODE_SUBCLASS,
    .slots = atom_slots,
};

/* ---- Binary ---- */

typedef struct binary_object {
    PyObject_HEAD PyObject *object;
} binary_object;

static PyObject *binary_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"", NULL};
    PyObject *object;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O:Binary", names, &object)) {
        return NULL;
    }
    if (!PyObject_CheckBuffer(object)) {
        PyObject *name = type_full_name(Py_TYPE(object));
        if (name != NULL) {
            PyErr_Format(PyExc_TypeError, "Binary() needs an object that exports a buffer, not %U",
                         name);
            Py_DECREF(name);
        }
        return NULL;
    }
    binary_object *binary = (binary_object *)type->tp_alloc(type, 0);
    if (binary != NULL) {
        binary->object = Py_NewRef(object);
    }
    return (PyObject *)binary;
}

static int binary_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((binary_object *)self)->object);
    return 0;
}

static int binary_clear(PyObject *self) {
    Py_CLEAR(((binary_object *)self)->object);
    return 0;
}

static void binary_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    binary_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *binary_repr(PyObject *self) {
    PyObject *object = ((binary_object *)self)->object;
    PyObject *name =
        object == NULL ? PyUnicode_FromString("nothing") : type_full_name(Py_TYPE(object));
    if (name == NULL) {
        return NULL;
    }
    PyObject *result = PyUnicode_FromFormat("<erlang.Binary of %U>", name);
    Py_DECREF(name);
    return result;
}

static PyMemberDef binary_members[] = {
    {"object", T_OBJECT_EX, offsetof(binary_object, object), READONLY, "What exports the buffer."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot binary_slots[] = {
    {Py_tp_new, SLOT_FUNCTION(binary_new)},
    {Py_tp_traverse, SLOT_FUNCTION(binary_traverse)},
    {Py_tp_clear, SLOT_FUNCTION(binary_clear)},
    {Py_tp_dealloc, SLOT_FUNCTION(binary_dealloc)},
    {Py_tp_repr, SLOT_FUNCTION(binary_repr)},
    {Py_tp_members, binary_members},
    {Py_tp_doc, (void *)"Binary(object)\n--\n\nAsks for the raw bytes of a buffer to go to Erlang "
                        "as a binary."},
    {0, NULL},
};

static PyType_Spec binary_spec = {
    .name = "erlang.Binary",
    .basicsize = sizeof(binary_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = binary_slots,
};

PyObject *binary_wrapper_object(python_state *state, PyObject *object) {
    return Py_TYPE(object) == state->binary_type ? ((binary_object *)object)->object : NULL;
}

/* ---- Both ---- */

static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec, PyTypeObject *base) {
    PyObject *type = PyType_FromModuleAndSpec(module, spec, (PyObject *)base);
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        Py_CLEAR(type);
    }
    return (PyTypeObject *)type;
}

bool python_value_types_setup(python_state *state, PyObject *module) {
    state->atom_type = add_type(module, &atom_spec, &PyUnicode_Type);
    if (state->atom_type == NULL) {
        return false;
    }
    state->binary_type = add_type(module, &binary_spec, NULL);
    return state->binary_type != NULL;
}

/* The attribute __module__ of a heap type, or NULL if it is missing or no str; a new reference. */
static PyObject *heap_type_module(PyTypeObject *type) {
#if PY_VERSION_HEX >= 0x030C0000
    PyObject *attributes = PyType_GetDict(type);
#else
    PyObject *attributes = Py_XNewRef(type->tp_dict);
#endif
    PyObject *key = python_state_get()->string_module;
    PyObject *module = attributes == NULL ? NULL : PyDict_GetItemWithError(attributes, key);
    module = module != NULL && PyUnicode_Check(module) ? Py_NewRef(module) : NULL;
    Py_XDECREF(attributes);
    return module;
}

PyObject *type_full_name(PyTypeObject *type) {
    if (!(type->tp_flags & Py_TPFLAGS_HEAPTYPE)) {
        return PyUnicode_DecodeUTF8(type->tp_name, (Py_ssize_t)strlen(type->tp_name), "replace");
    }
    PyObject *qualified_name = Py_NewRef(((PyHeapTypeObject *)type)->ht_qualname);
    PyObject *module = heap_type_module(type);
    if (module == NULL) {
        PyErr_Clear();
        return qualified_name;
    }
    PyObject *full_name = qualified_name;
    if (PyUnicode_CompareWithASCIIString(module, "builtins") != 0) {
        full_name = PyUnicode_FromFormat("%U.%U", module, qualified_name);
        Py_DECREF(qualified_name);
    }
    Py_DECREF(module);
    return full_name;
}
