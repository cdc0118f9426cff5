#include "selector_keys.h"

#include "_cgo_export.h"

#include <errno.h>

#define EVENT_MASK 3 /* selectors.EVENT_READ | selectors.EVENT_WRITE */

PyObject *selector_closed_error(void) {
    PyErr_SetString(PyExc_ValueError, "the selector is closed");
    return NULL;
}

PyObject *selector_os_error(int status) {
    errno = -status;
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* The file descriptor of an int or an object with fileno(); -1 with ValueError set as selectors.py
 * raises. */
static int descriptor_of(PyObject *file) {
    int fd = PyObject_AsFileDescriptor(file);
    if (fd >= 0 || !PyErr_ExceptionMatches(PyExc_TypeError)) {
        return fd;
    }
    PyErr_Clear();
    /* selectors.py takes int(file.fileno()), so a fileno() may return what int() can convert. */
    PyObject *value = PyObject_CallMethod(file, "fileno", NULL);
    PyObject *number = value != NULL ? PyNumber_Long(value) : NULL;
    Py_XDECREF(value);
    if (number != NULL) {
        fd = PyObject_AsFileDescriptor(number);
        Py_DECREF(number);
    }
    if (number == NULL) {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError, "Invalid file object: %R", file);
    }
    return fd;
}

/* Python code gets at the dict of the keys, by the attribute that selectors.py has for it. */
static bool is_key(PyObject *object) {
    return PyTuple_Check(object) && PyTuple_GET_SIZE(object) == 4;
}

/* The descriptor under which a file object is registered, which may have been closed since: -1 with
 * KeyError set. */
static int registered_descriptor(selector *self, PyObject *file) {
    int fd = descriptor_of(file);
    if (fd >= 0) {
        return fd;
    }
    PyErr_Clear();
    PyObject *number;
    PyObject *key;
    Py_ssize_t position = 0;
    while (PyDict_Next(self->keys, &position, &number, &key)) {
        if (is_key(key) && PyTuple_GET_ITEM(key, 0) == file && PyLong_Check(number)) {
            return (int)PyLong_AsLong(number);
        }
    }
    PyErr_Format(PyExc_KeyError, "%R is not registered", file);
    return -1;
}

PyObject *selector_key(selector *self, int fd) {
    PyObject *number = PyLong_FromLong(fd);
    if (number == NULL) {
        return NULL;
    }
    PyObject *key = PyDict_GetItemWithError(self->keys, number);
    Py_DECREF(number);
    if (key == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_Format(PyExc_KeyError, "%d is not registered", fd);
        }
        return NULL;
    }
    if (!is_key(key)) {
        PyErr_Format(PyExc_TypeError, "descriptor %d has no SelectorKey but a %.200s", fd,
                     Py_TYPE(key)->tp_name);
        return NULL;
    }
    return Py_NewRef(key);
}

unsigned selector_key_events(PyObject *key) {
    PyObject *events = PyTuple_GET_ITEM(key, 2);
    long mask = PyLong_Check(events) ? PyLong_AsLong(events) : 0;
    if (mask == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        mask = 0;
    }
    return (unsigned)mask & EVENT_MASK;
}

/* selectors.SelectorKey(fileobj, fd, events, data), stored under fd. A new reference. */
static PyObject *store_key(selector *self, PyObject *file, int fd, unsigned events,
                           PyObject *data) {
    PyObject *key =
        PyObject_CallFunction(python_state_get()->selector_key, "OiIO", file, fd, events, data);
    if (key != NULL && !is_key(key)) {
        PyErr_SetString(PyExc_TypeError, "selectors.SelectorKey() did not make a SelectorKey");
        Py_CLEAR(key);
    }
    PyObject *number = key != NULL ? PyLong_FromLong(fd) : NULL;
    if (number == NULL || PyDict_SetItem(self->keys, number, key) != 0) {
        Py_CLEAR(key);
    }
    Py_XDECREF(number);
    return key;
}

static bool parse_events(PyObject *object, unsigned *events) {
    unsigned long value = PyLong_AsUnsignedLong(object);
    if (PyErr_Occurred()) {
        return false;
    }
    if (value == 0 || (value & ~(unsigned long)EVENT_MASK) != 0) {
        PyErr_Format(PyExc_ValueError, "Invalid events: %R", object);
        return false;
    }
    *events = (unsigned)value;
    return true;
}

/* The arguments of register() and modify(), which an open selector takes. */
static bool parse_registration(selector *self, PyObject *args, PyObject *kwargs, const char *format,
                               PyObject **file, unsigned *events, PyObject **data) {
    static char *names[] = {"fileobj", "events", "data", NULL};
    PyObject *mask;
    *data = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, format, names, file, &mask, data) ||
        !parse_events(mask, events)) {
        return false;
    }
    if (self->handle == 0) {
        selector_closed_error();
        return false;
    }
    return true;
}

PyObject *selector_register(selector *self, PyObject *args, PyObject *kwargs) {
    PyObject *file;
    PyObject *data;
    unsigned events;
    if (!parse_registration(self, args, kwargs, "OO|O:register", &file, &events, &data)) {
        return NULL;
    }
    int fd = descriptor_of(file);
    if (fd < 0) {
        return NULL;
    }
    PyObject *key = selector_key(self, fd);
    if (key != NULL) {
        Py_DECREF(key);
        PyErr_Format(PyExc_KeyError, "%R (FD %d) is already registered", file, fd);
        return NULL;
    }
    if (!PyErr_ExceptionMatches(PyExc_KeyError)) {
        return NULL;
    }
    PyErr_Clear();
    int status = core_loop_add(self->handle, fd, events);
    if (status != 0) {
        return selector_os_error(status);
    }
    key = store_key(self, file, fd, events, data);
    if (key == NULL) {
        core_loop_remove(self->handle, fd);
    }
    return key;
}

PyObject *selector_unregister(selector *self, PyObject *file) {
    if (self->handle == 0) {
        return selector_closed_error();
    }
    int fd = registered_descriptor(self, file);
    PyObject *key = fd >= 0 ? selector_key(self, fd) : NULL;
    if (key == NULL) {
        return NULL;
    }
    PyObject *number = PyLong_FromLong(fd);
    if (number == NULL || PyDict_DelItem(self->keys, number) != 0) {
        Py_CLEAR(key);
    } else {
        /* The descriptor may be closed already, with which the system forgot it: nothing to report.
         */
        core_loop_remove(self->handle, fd);
    }
    Py_XDECREF(number);
    return key;
}

PyObject *selector_modify(selector *self, PyObject *args, PyObject *kwargs) {
    PyObject *file;
    PyObject *data;
    unsigned events;
    if (!parse_registration(self, args, kwargs, "OO|O:modify", &file, &events, &data)) {
        return NULL;
    }
    int fd = registered_descriptor(self, file);
    PyObject *key = fd >= 0 ? selector_key(self, fd) : NULL;
    if (key == NULL) {
        return NULL;
    }
    unsigned before = selector_key_events(key);
    Py_DECREF(key);
    if (before != events) {
        int status = core_loop_modify(self->handle, fd, events);
        if (status != 0) {
            /* As CPython does: a descriptor that cannot be modified is not registered any more. */
            PyObject *removed = selector_unregister(self, file);
            Py_XDECREF(removed);
            PyErr_Clear();
            return selector_os_error(status);
        }
    }
    return store_key(self, file, fd, events, data);
}

PyObject *selector_fileobj_lookup(selector *self, PyObject *file) {
    int fd = registered_descriptor(self, file);
    if (fd < 0 && PyErr_ExceptionMatches(PyExc_KeyError)) {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError, "Invalid file object: %R", file);
    }
    return fd < 0 ? NULL : PyLong_FromLong(fd);
}

PyObject *selector_get_key(selector *self, PyObject *file) {
    if (self->handle == 0) {
        PyErr_SetString(PyExc_RuntimeError, "Selector is closed");
        return NULL;
    }
    int fd = registered_descriptor(self, file);
    return fd >= 0 ? selector_key(self, fd) : NULL;
}

PyObject *selector_get_map(selector *self, PyObject *unused) {
    if (self->handle == 0) {
        Py_RETURN_NONE;
    }
    if (self->map == NULL) {
        self->map = PyObject_CallOneArg(python_state_get()->selector_mapping, (PyObject *)self);
    }
    Py_XINCREF(self->map);
    return self->map;
}
