#include "resolve.h"

#include "convert.h"

/* The attribute at the end of a dotted path; steals nothing, returns a new reference. */
static PyObject *get_dotted(PyObject *object, PyObject *path) {
    Py_ssize_t length = PyUnicode_GET_LENGTH(path);
    Py_ssize_t dot = PyUnicode_FindChar(path, '.', 0, length, 1);
    if (dot == -1) {
        return PyObject_GetAttr(object, path);
    }
    if (dot < 0) {
        return NULL;
    }
    Py_INCREF(object);
    Py_ssize_t start = 0;
    while (object != NULL && start <= length) {
        Py_ssize_t end = PyUnicode_FindChar(path, '.', start, length, 1);
        if (end < 0) {
            end = length;
        }
        PyObject *name = PyUnicode_Substring(path, start, end);
        PyObject *next = name != NULL ? PyObject_GetAttr(object, name) : NULL;
        Py_XDECREF(name);
        Py_DECREF(object);
        object = next;
        start = end + 1;
    }
    return object;
}

/* True when `path` is `name` or leads on from it after a dot. */
static bool begins_with(PyObject *path, PyObject *name) {
    Py_ssize_t length = PyUnicode_GET_LENGTH(name);
    Py_ssize_t path_length = PyUnicode_GET_LENGTH(path);
    if (path_length < length || PyUnicode_Tailmatch(path, name, 0, length, -1) != 1) {
        return false;
    }
    return path_length == length || PyUnicode_READ_CHAR(path, length) == '.';
}

/* True when the exception that is set says that `name` itself or its parent, and nothing that they
 * import, does not exist. */
static bool is_missing(PyObject *name) {
    if (!PyErr_ExceptionMatches(PyExc_ModuleNotFoundError)) {
        return false;
    }
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *missing = PyObject_GetAttrString(value, "name");
    bool same = missing != NULL && PyUnicode_Check(missing) && begins_with(name, missing);
    Py_XDECREF(missing);
    PyErr_Clear();
    PyErr_Restore(type, value, traceback);
    return same;
}

/* Imports the longest prefix of `name` that is a module and follows the rest as attributes. */
static PyObject *import_dotted(PyObject *name) {
    PyObject *module = PyImport_Import(name);
    if (module != NULL || !is_missing(name)) {
        return module;
    }
    Py_ssize_t dot = PyUnicode_FindChar(name, '.', 0, PyUnicode_GET_LENGTH(name), -1);
    if (dot <= 0) {
        return NULL;
    }
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *object = NULL;
    PyObject *parent_name = PyUnicode_Substring(name, 0, dot);
    PyObject *attribute = PyUnicode_Substring(name, dot + 1, PyUnicode_GET_LENGTH(name));
    PyObject *parent = parent_name != NULL ? import_dotted(parent_name) : NULL;
    bool of_module = parent != NULL && PyModule_Check(parent);
    if (parent != NULL && attribute != NULL) {
        object = PyObject_GetAttr(parent, attribute);
    }
    Py_XDECREF(parent);
    Py_XDECREF(parent_name);
    Py_XDECREF(attribute);
    if (object == NULL && of_module && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        /* What is missing may have been meant as a module. */
        PyErr_Clear();
        PyErr_Restore(type, value, traceback);
        return NULL;
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return object;
}

/*
 * A new reference to the module or the object that `name` leads to. A module that was completely
 * imported once, and still is what sys.modules holds, needs no trip through the import machinery.
 */
static PyObject *find_module(python_state *state, PyObject *name) {
    PyObject *known = PyDict_GetItemWithError(state->imported, name);
    if (known != NULL) {
        PyObject *current = PyDict_GetItemWithError(PyImport_GetModuleDict(), name);
        if (current == known) {
            Py_INCREF(known);
            return known;
        }
    }
    if (PyErr_Occurred()) {
        return NULL;
    }
    PyObject *object = import_dotted(name);
    if (object != NULL) {
        PyObject *current = PyDict_GetItemWithError(PyImport_GetModuleDict(), name);
        if ((current == NULL && PyErr_Occurred()) ||
            (current == object && PyDict_SetItem(state->imported, name, object) != 0)) {
            Py_DECREF(object);
            return NULL;
        }
    }
    return object;
}

PyObject *resolve_named(PyObject *module, PyObject *function) {
    PyObject *owner = find_module(python_state_get(), module);
    if (owner == NULL) {
        return NULL;
    }
    PyObject *callable = get_dotted(owner, function);
    Py_DECREF(owner);
    return callable;
}

PyObject *resolve_callable(ErlNifEnv *env, ERL_NIF_TERM module, ERL_NIF_TERM function) {
    PyObject *callable = NULL;
    PyObject *function_name = NULL;
    PyObject *module_name = name_to_python_string(env, module, "module");
    if (module_name != NULL) {
        function_name = name_to_python_string(env, function, "function");
    }
    if (function_name != NULL) {
        callable = resolve_named(module_name, function_name);
    }
    Py_XDECREF(function_name);
    Py_XDECREF(module_name);
    return callable;
}

static PyObject *resolve_method(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    if (count != 2 || !PyUnicode_Check(args[0]) || !PyUnicode_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "resolve(module, function) takes two strs");
        return NULL;
    }
    return resolve_named(args[0], args[1]);
}

static PyMethodDef resolve_methods[] = {
    {"resolve", (PyCFunction)(void (*)(void))resolve_method, METH_FASTCALL,
     "resolve(module, function)\n--\n\nThe callable that Erlang names so."},
    {NULL, NULL, 0, NULL},
};

bool resolve_setup(PyObject *module) { return PyModule_AddFunctions(module, resolve_methods) == 0; }
