/* Everything that is not exactly one of Python's basic types: subclasses, our own types, numbers,
 * dataclasses. */
#include "convert_internal.h"
#include "python_types.h"

bool convert_setup(python_state *state) {
    convert_map_setup();
    state->string_dataclass_fields = PyUnicode_InternFromString("__dataclass_fields__");
    state->string_tolist = PyUnicode_InternFromString("tolist");
    return state->string_dataclass_fields != NULL && state->string_tolist != NULL &&
           convert_atom_setup(state);
}

static bool build_atom(term_builder *builder, PyObject *atom, ERL_NIF_TERM *term) {
    builder->weight += sizeof(ERL_NIF_TERM);
    return atom_from_string(builder->env, atom, term);
}

static bool build_opaque(term_builder *builder, PyObject *object, ERL_NIF_TERM *term,
                         bool *handled) {
    enum { OPAQUE_WORDS = 6 }; /* a reference; funs are of any size, but rare */
    *handled = opaque_to_term(builder->env, object, term);
    builder->weight += *handled ? OPAQUE_WORDS * sizeof(ERL_NIF_TERM) : 0;
    return true;
}

/* A subclass goes out as the value of its base: what an enum with a mixin, a named tuple or a
 * Counter is. */
static bool build_subclass(term_builder *builder, PyObject *object, ERL_NIF_TERM *term,
                           bool *handled) {
    *handled = true;
    if (PyUnicode_Check(object)) {
        return build_string(builder, object, term);
    }
    if (PyLong_Check(object)) {
        return build_integer(builder, object, term);
    }
    if (PyFloat_Check(object)) {
        return build_float(builder, PyFloat_AS_DOUBLE(object), term);
    }
    if (PyBytes_Check(object)) {
        return build_bytes(builder, PyBytes_AS_STRING(object), (size_t)PyBytes_GET_SIZE(object),
                           term);
    }
    if (PyByteArray_Check(object)) {
        return build_buffer(builder, object, term);
    }
    if (PyTuple_Check(object)) {
        return build_tuple(builder, object, term);
    }
    if (PyList_Check(object)) {
        return build_list(builder, object, term);
    }
    if (PyDict_Check(object)) {
        return build_dict(builder, object, term);
    }
    if (PyAnySet_Check(object)) {
        return build_set(builder, object, term);
    }
    *handled = false;
    return true;
}

/* ---- Dataclasses ---- */

/* The Field objects of a dataclass, without the pseudo-fields (ClassVar, InitVar), as a new
 * reference. */
static PyObject *dataclass_fields(PyTypeObject *type) {
    PyObject *module = PyImport_ImportModule("dataclasses");
    if (module == NULL) {
        return NULL;
    }
    PyObject *fields = PyObject_CallMethod(module, "fields", "O", type);
    Py_DECREF(module);
    if (fields != NULL && !PyTuple_Check(fields)) {
        Py_DECREF(fields);
        PyErr_SetString(PyExc_TypeError, "dataclasses.fields() did not return a tuple");
        return NULL;
    }
    return fields;
}

static bool build_field(term_builder *builder, PyObject *object, PyObject *field, ERL_NIF_TERM *key,
                        ERL_NIF_TERM *term) {
    PyObject *name = PyObject_GetAttrString(field, "name");
    PyObject *value = name == NULL ? NULL : PyObject_GetAttr(object, name);
    bool good = value != NULL && build_term(builder, name, key) && build_term(builder, value, term);
    Py_XDECREF(name);
    Py_XDECREF(value);
    return good;
}

static bool build_dataclass(term_builder *builder, PyObject *object, ERL_NIF_TERM *term,
                            bool *handled) {
    /* The type's own dictionaries: a metaclass or an instance's __getattr__ may answer to any name.
     */
    *handled = _PyType_Lookup(Py_TYPE(object), builder->state->string_dataclass_fields) != NULL;
    if (!*handled) {
        return true;
    }
    PyObject *fields = dataclass_fields(Py_TYPE(object));
    if (fields == NULL) {
        return false;
    }
    size_t size = (size_t)PyTuple_GET_SIZE(fields);
    size_t base = builder_reserve(builder, 2 * size);
    bool good = base != SIZE_MAX;
    for (size_t i = 0; good && i < size; i++) {
        ERL_NIF_TERM key;
        ERL_NIF_TERM value;
        good = build_field(builder, object, PyTuple_GET_ITEM(fields, (Py_ssize_t)i), &key, &value);
        if (good) {
            builder->terms[base + i] = key;
            builder->terms[base + size + i] = value;
        }
    }
    Py_DECREF(fields);
    return good && build_map_from_reserved(builder, base, size, term);
}

/* ---- Numbers ---- */

/* The int of __index__, or NULL: without an exception where the object turns out to have none. */
static PyObject *index_of(PyObject *object) {
    if (!PyIndex_Check(object)) {
        return NULL;
    }
    PyObject *integer = PyNumber_Index(object);
    if (integer == NULL && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
    }
    return integer;
}

static PyObject *float_of(PyObject *object) {
    PyNumberMethods *methods = Py_TYPE(object)->tp_as_number;
    if (methods == NULL || methods->nb_float == NULL) {
        return NULL;
    }
    PyObject *value = PyNumber_Float(object);
    if (value == NULL && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
    }
    return value;
}

static bool build_number(term_builder *builder, PyObject *object, ERL_NIF_TERM *term,
                         bool *handled) {
    PyObject *number = index_of(object);
    if (number == NULL && !PyErr_Occurred()) {
        number = float_of(object);
    }
    *handled = number != NULL || PyErr_Occurred();
    if (number == NULL) {
        return !*handled;
    }
    bool good = PyLong_Check(number) ? build_integer(builder, number, term)
                                     : build_float(builder, PyFloat_AS_DOUBLE(number), term);
    Py_DECREF(number);
    return good;
}

/* ---- All ---- */

static bool refuse(PyObject *object) {
    PyObject *name = type_full_name(Py_TYPE(object));
    if (name != NULL) {
        PyErr_Format(PyExc_TypeError, "cannot convert %U to an Erlang term", name);
        Py_DECREF(name);
    }
    return false;
}

bool build_other(term_builder *builder, PyObject *object, ERL_NIF_TERM *term) {
    typedef bool build_function(term_builder *, PyObject *, ERL_NIF_TERM *, bool *);
    static build_function *const functions[] = {
        build_opaque, build_subclass, build_array_or_buffer, build_dataclass, build_number,
    };
    if (Py_TYPE(object) == builder->state->atom_type) {
        return build_atom(builder, object, term);
    }
    PyObject *wrapped = binary_wrapper_object(builder->state, object);
    if (wrapped != NULL) {
        return build_buffer(builder, wrapped, term);
    }
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        bool handled;
        bool good = functions[i](builder, object, term, &handled);
        if (handled) {
            return good;
        }
    }
    return refuse(object);
}
