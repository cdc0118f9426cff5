#include "convert_internal.h"
#include "convert_utf8.h"
#include "python_types.h"

#include <string.h>

typedef struct term_reader {
    ErlNifEnv *env;
    python_state *state;
    nesting level;
} term_reader;

static PyObject *read_term(term_reader *reader, ERL_NIF_TERM term);

PyObject *bytes_to_object(const unsigned char *data, size_t size) {
    if (size > PY_SSIZE_T_MAX) {
        return PyErr_NoMemory();
    }
    if (utf8_is_valid(data, size)) {
        return PyUnicode_DecodeUTF8((const char *)data, (Py_ssize_t)size, "strict");
    }
    return PyBytes_FromStringAndSize((const char *)data, (Py_ssize_t)size);
}

static PyObject *read_binary(term_reader *reader, ERL_NIF_TERM term) {
    ErlNifBinary binary;
    if (!enif_inspect_binary(reader->env, term, &binary)) {
        PyErr_SetString(PyExc_TypeError,
                        "a bitstring that is not whole bytes has no equivalent in Python");
        return NULL;
    }
    return bytes_to_object(binary.data, binary.size);
}

/* A list is long most often when it is one of integers, which need not be asked for their type
 * first. */
static PyObject *read_element(term_reader *reader, ERL_NIF_TERM term) {
    ErlNifSInt64 integer;
    if (enif_get_int64(reader->env, term, &integer)) {
        return PyLong_FromLongLong(integer);
    }
    return read_term(reader, term);
}

static PyObject *read_list(term_reader *reader, ERL_NIF_TERM term) {
    unsigned length;
    if (!enif_get_list_length(reader->env, term, &length)) {
        PyErr_SetString(PyExc_TypeError, "an improper list has no equivalent in Python");
        return NULL;
    }
    PyObject *list = PyList_New((Py_ssize_t)length);
    if (list == NULL) {
        return NULL;
    }
    ERL_NIF_TERM head;
    for (unsigned i = 0; i < length && enif_get_list_cell(reader->env, term, &head, &term); i++) {
        PyObject *item = read_element(reader, head);
        if (item == NULL) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    return list;
}

static PyObject *read_tuple(term_reader *reader, ERL_NIF_TERM term) {
    int arity;
    const ERL_NIF_TERM *elements;
    if (!enif_get_tuple(reader->env, term, &arity, &elements)) {
        PyErr_SetString(PyExc_SystemError, "unreadable tuple");
        return NULL;
    }
    ErlNifBinary binary;
    if (arity == 2 && elements[0] == special_atoms.bytes &&
        enif_inspect_binary(reader->env, elements[1], &binary)) {
        return PyBytes_FromStringAndSize((const char *)binary.data, (Py_ssize_t)binary.size);
    }
    PyObject *tuple = PyTuple_New(arity);
    if (tuple == NULL) {
        return NULL;
    }
    for (int i = 0; i < arity; i++) {
        PyObject *item = read_term(reader, elements[i]);
        if (item == NULL) {
            Py_DECREF(tuple);
            return NULL;
        }
        PyTuple_SET_ITEM(tuple, i, item);
    }
    return tuple;
}

enum { KEY_TEXT_SIZE = 160 };

/* The exception of a key that the dict did not take; by the term, for a Python repr may recurse
 * without a bound. */
static void set_key_error(PyObject *error, const char *text, ERL_NIF_TERM key, PyObject *object) {
    char printed[KEY_TEXT_SIZE];
    if (enif_snprintf(printed, sizeof printed, "%T", key) < 0) {
        printed[0] = '\0';
    }
    printed[sizeof printed - 1] = '\0';
    PyObject *name = PyUnicode_DecodeUTF8(printed, (Py_ssize_t)strlen(printed), "replace");
    if (name != NULL) {
        PyErr_Format(error, text, name, Py_TYPE(object)->tp_name);
        Py_DECREF(name);
    }
}

static bool read_pair(term_reader *reader, PyObject *dict, ERL_NIF_TERM key_term,
                      ERL_NIF_TERM value_term) {
    PyObject *key = read_term(reader, key_term);
    PyObject *value = key == NULL ? NULL : read_term(reader, value_term);
    bool good = false;
    if (value != NULL) {
        Py_ssize_t before = PyDict_GET_SIZE(dict);
        if (PyDict_SetItem(dict, key, value) < 0) {
            if (PyErr_ExceptionMatches(PyExc_TypeError)) {
                PyErr_Clear();
                set_key_error(PyExc_TypeError, "map key %U cannot be hashed in Python (as a %s)",
                              key_term, key);
            }
        } else if (PyDict_GET_SIZE(dict) == before) {
            set_key_error(PyExc_ValueError,
                          "map key %U equals another key of the same map in Python (as a %s)",
                          key_term, key);
        } else {
            good = true;
        }
    }
    Py_XDECREF(key);
    Py_XDECREF(value);
    return good;
}

static PyObject *read_map(term_reader *reader, ERL_NIF_TERM term) {
    ErlNifMapIterator iterator;
    if (!enif_map_iterator_create(reader->env, term, &iterator, ERL_NIF_MAP_ITERATOR_FIRST)) {
        return PyErr_NoMemory();
    }
    PyObject *dict = PyDict_New();
    ERL_NIF_TERM key;
    ERL_NIF_TERM value;
    while (dict != NULL && enif_map_iterator_get_pair(reader->env, &iterator, &key, &value)) {
        if (!read_pair(reader, dict, key, value)) {
            Py_CLEAR(dict);
            break;
        }
        enif_map_iterator_next(reader->env, &iterator);
    }
    enif_map_iterator_destroy(reader->env, &iterator);
    return dict;
}

static PyObject *read_term(term_reader *reader, ERL_NIF_TERM term) {
    ErlNifTermType type = enif_term_type(reader->env, term);
    switch (type) {
    case ERL_NIF_TERM_TYPE_INTEGER:
        return integer_to_object(reader->env, term);
    case ERL_NIF_TERM_TYPE_ATOM:
        return atom_to_object(reader->state, reader->env, term);
    case ERL_NIF_TERM_TYPE_BITSTRING:
        return read_binary(reader, term);
    case ERL_NIF_TERM_TYPE_FLOAT: {
        double value = 0.0;
        enif_get_double(reader->env, term, &value);
        return PyFloat_FromDouble(value);
    }
    case ERL_NIF_TERM_TYPE_PID:
    case ERL_NIF_TERM_TYPE_REFERENCE:
    case ERL_NIF_TERM_TYPE_PORT:
    case ERL_NIF_TERM_TYPE_FUN:
        return opaque_from_term(reader->env, term);
    default:
        break;
    }
    if (!nesting_enter(&reader->level)) {
        return NULL;
    }
    PyObject *object;
    switch (type) {
    case ERL_NIF_TERM_TYPE_LIST:
        object = read_list(reader, term);
        break;
    case ERL_NIF_TERM_TYPE_TUPLE:
        object = read_tuple(reader, term);
        break;
    case ERL_NIF_TERM_TYPE_MAP:
        object = read_map(reader, term);
        break;
    default:
        PyErr_SetString(PyExc_TypeError,
                        "an Erlang term of a type that this library does not know");
        object = NULL;
    }
    nesting_leave(&reader->level);
    return object;
}

PyObject *term_to_python(ErlNifEnv *env, ERL_NIF_TERM term) {
    term_reader reader = {
        .env = env,
        .state = python_state_get(),
        .level = {.stack_limit = convert_stack_limit()},
    };
    return read_term(&reader, term);
}
