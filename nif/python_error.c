/*
 * Exceptions as terms. Everything about an exception that Python code can override is taken with
 * care: a class that fails to describe itself still has to reach the caller as an error, not as
 * silence.
 */
#include "python_error.h"

#include "python_types.h"

#include <string.h>

/* ---- Setup ---- */

static bool is_exception_type(PyObject *object) {
    return PyType_Check(object) &&
           PyType_IsSubtype((PyTypeObject *)object, (PyTypeObject *)PyExc_BaseException);
}

/*
 * Only the types that are there from the start: names that Python code puts into builtins later
 * must not become atoms, which are never freed. An alias (IOError) has another name than its type
 * and is left out.
 */
static bool collect_builtin_exceptions(python_state *state, PyObject *names) {
    Py_ssize_t position = 0;
    PyObject *name;
    PyObject *object;
    ErlNifEnv *env = enif_alloc_env();
    bool good = env != NULL;
    while (good && PyDict_Next(names, &position, &name, &object)) {
        if (!PyUnicode_Check(name) || !is_exception_type(object)) {
            continue;
        }
        PyObject *own_name = PyType_GetName((PyTypeObject *)object);
        const char *text = own_name == NULL ? NULL : PyUnicode_AsUTF8(own_name);
        if (text == NULL) {
            good = false;
        } else if (PyUnicode_Compare(own_name, name) == 0) {
            builtin_exception *entry = &state->builtin_exceptions[state->builtin_exception_count++];
            *entry =
                (builtin_exception){(PyTypeObject *)Py_NewRef(object), enif_make_atom(env, text)};
        }
        Py_XDECREF(own_name);
    }
    if (good && state->sandbox_error != NULL) {
        /* What it is besides a RuntimeError matters to Python code only. */
        state->builtin_exceptions[state->builtin_exception_count++] = (builtin_exception){
            (PyTypeObject *)Py_NewRef(state->sandbox_error), enif_make_atom(env, "RuntimeError")};
    }
    if (env != NULL) {
        enif_free_env(env);
    }
    if (!good && !PyErr_Occurred()) {
        PyErr_NoMemory();
    }
    return good;
}

bool python_error_setup(python_state *state) {
    state->string_module = PyUnicode_InternFromString("__module__");
    PyObject *module = state->string_module == NULL ? NULL : PyImport_ImportModule("builtins");
    if (module == NULL) {
        return false;
    }
    PyObject *names = PyModule_GetDict(module);
    state->builtin_exceptions =
        PyMem_RawCalloc((size_t)PyDict_GET_SIZE(names) + 1, sizeof(builtin_exception));
    if (state->builtin_exceptions == NULL) {
        PyErr_NoMemory();
    }
    bool good = state->builtin_exceptions != NULL && collect_builtin_exceptions(state, names);
    Py_DECREF(module);
    return good;
}

/* ---- Texts ---- */

static ERL_NIF_TERM binary_of(ErlNifEnv *env, const char *text, size_t size) {
    ERL_NIF_TERM term;
    unsigned char *data = enif_make_new_binary(env, size, &term);
    if (data == NULL) {
        return enif_make_list(env, 0);
    }
    memcpy(data, text, size);
    return term;
}

/* The text of a str as UTF-8, lone surrogates as \udc80. false with an exception set. */
static bool text_term(ErlNifEnv *env, PyObject *string, ERL_NIF_TERM *term) {
    PyObject *utf8 = PyUnicode_AsEncodedString(string, "utf-8", "backslashreplace");
    if (utf8 == NULL) {
        return false;
    }
    *term = binary_of(env, PyBytes_AS_STRING(utf8), (size_t)PyBytes_GET_SIZE(utf8));
    Py_DECREF(utf8);
    return true;
}

static ERL_NIF_TERM class_term(ErlNifEnv *env, PyTypeObject *type) {
    static const char unknown[] = "unknown";
    const python_state *state = python_state_get();
    for (size_t i = 0; i < state->builtin_exception_count; i++) {
        if (state->builtin_exceptions[i].type == type) {
            return state->builtin_exceptions[i].atom;
        }
    }
    PyObject *name = type_full_name(type);
    ERL_NIF_TERM term;
    if (name == NULL || !text_term(env, name, &term)) {
        PyErr_Clear();
        term = binary_of(env, unknown, sizeof unknown - 1);
    }
    Py_XDECREF(name);
    return term;
}

static ERL_NIF_TERM unprintable_term(ErlNifEnv *env, PyTypeObject *type) {
    static const char unprintable[] = "<unprintable object>";
    PyObject *name = type_full_name(type);
    PyObject *text = name == NULL ? NULL : PyUnicode_FromFormat("<unprintable %U object>", name);
    ERL_NIF_TERM term;
    if (text == NULL || !text_term(env, text, &term)) {
        PyErr_Clear();
        term = binary_of(env, unprintable, sizeof unprintable - 1);
    }
    Py_XDECREF(name);
    Py_XDECREF(text);
    return term;
}

static ERL_NIF_TERM message_term(ErlNifEnv *env, PyObject *exception) {
    PyObject *text = PyObject_Str(exception);
    ERL_NIF_TERM term;
    if (text == NULL || !text_term(env, text, &term)) {
        PyErr_Clear();
        term = unprintable_term(env, Py_TYPE(exception));
    }
    Py_XDECREF(text);
    return term;
}

/* ---- The traceback ---- */

static PyObject *format_exception(PyObject *exception) {
    PyObject *module = PyImport_ImportModule("traceback");
    if (module == NULL) {
        return NULL;
    }
    PyObject *lines = PyObject_CallMethod(module, "format_exception", "O", exception);
    Py_DECREF(module);
    return lines;
}

static ERL_NIF_TERM traceback_term(ErlNifEnv *env, PyObject *exception) {
    PyObject *lines = format_exception(exception);
    ERL_NIF_TERM list = enif_make_list(env, 0);
    bool good = lines != NULL && PyList_Check(lines);
    for (Py_ssize_t i = good ? PyList_GET_SIZE(lines) : 0; good && i > 0; i--) {
        PyObject *line = PyList_GET_ITEM(lines, i - 1);
        ERL_NIF_TERM term;
        good = PyUnicode_Check(line) && text_term(env, line, &term);
        if (good) {
            list = enif_make_list_cell(env, term, list);
        }
    }
    Py_XDECREF(lines);
    PyErr_Clear();
    return good ? list : enif_make_list(env, 0);
}

/* ---- All ---- */

ERL_NIF_TERM python_error_term(ErlNifEnv *env, PyObject *exception, bool traceback) {
    ERL_NIF_TERM parts[3];
    parts[0] = class_term(env, Py_TYPE(exception));
    parts[1] = message_term(env, exception);
    if (!traceback) {
        return enif_make_tuple_from_array(env, parts, 2);
    }
    parts[2] = traceback_term(env, exception);
    return enif_make_tuple_from_array(env, parts, 3);
}

/* Takes the exception that is set, as an instance with its traceback; NULL if there is none. */
static PyObject *take_raised(void) {
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type = NULL;
    PyObject *value = NULL;
    PyObject *traceback = NULL;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (value != NULL && traceback != NULL && PyException_SetTraceback(value, traceback) < 0) {
        PyErr_Clear();
    }
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
#endif
}

ERL_NIF_TERM python_error_take(ErlNifEnv *env, bool traceback) {
    PyObject *exception = take_raised();
    if (exception == NULL) {
        PyErr_SetString(PyExc_SystemError, "an error without an exception");
        exception = take_raised();
    }
    ERL_NIF_TERM term = python_error_term(env, exception, traceback);
    Py_DECREF(exception);
    PyErr_Clear();
    return term;
}
