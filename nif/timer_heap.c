#include "timer_heap.h"

#define SLOT(object, offset) (*(PyObject **)((char *)(object) + (offset)))

/* 1 if a is due before b, 0 if not, -1 with an exception set. */
static int is_before(PyObject *a, PyObject *b) {
    python_state *state = python_state_get();
    if (Py_TYPE(a) == state->timer_handle_type && Py_TYPE(b) == state->timer_handle_type) {
        PyObject *first = SLOT(a, state->timer_when);
        PyObject *second = SLOT(b, state->timer_when);
        if (first != NULL && second != NULL && PyFloat_CheckExact(first) &&
            PyFloat_CheckExact(second)) {
            return PyFloat_AS_DOUBLE(first) < PyFloat_AS_DOUBLE(second);
        }
    }
    /* Python code, which may do anything to the objects. */
    Py_INCREF(a);
    Py_INCREF(b);
    int before = PyObject_RichCompareBool(a, b, Py_LT);
    Py_DECREF(a);
    Py_DECREF(b);
    return before;
}

static bool same_size(PyObject *heap, Py_ssize_t size) {
    if (PyList_GET_SIZE(heap) == size) {
        return true;
    }
    PyErr_SetString(PyExc_RuntimeError, "list changed size during iteration");
    return false;
}

static void swap(PyObject *heap, Py_ssize_t i, Py_ssize_t j) {
    PyObject *item = PyList_GET_ITEM(heap, i);
    PyList_SET_ITEM(heap, i, PyList_GET_ITEM(heap, j));
    PyList_SET_ITEM(heap, j, item);
}

/* Moves the item at `position` towards the root, not beyond `start`. */
static bool sift_down(PyObject *heap, Py_ssize_t start, Py_ssize_t position) {
    Py_ssize_t size = PyList_GET_SIZE(heap);
    while (position > start) {
        Py_ssize_t parent = (position - 1) >> 1;
        int before = is_before(PyList_GET_ITEM(heap, position), PyList_GET_ITEM(heap, parent));
        if (before < 0 || !same_size(heap, size)) {
            return false;
        }
        if (before == 0) {
            break;
        }
        swap(heap, position, parent);
        position = parent;
    }
    return true;
}

/* Moves the item at the root to a leaf, along the smaller children, and from there to its place. */
static bool sift_up(PyObject *heap) {
    Py_ssize_t size = PyList_GET_SIZE(heap);
    Py_ssize_t position = 0;
    while (position < size >> 1) {
        Py_ssize_t child = 2 * position + 1;
        if (child + 1 < size) {
            int before = is_before(PyList_GET_ITEM(heap, child), PyList_GET_ITEM(heap, child + 1));
            if (before < 0 || !same_size(heap, size)) {
                return false;
            }
            child += before == 0;
        }
        swap(heap, position, child);
        position = child;
    }
    return sift_down(heap, 0, position);
}

static bool require_list(PyObject *heap) {
    if (!PyList_Check(heap)) {
        PyErr_SetString(PyExc_TypeError, "heap argument must be a list");
        return false;
    }
    return true;
}

bool timer_heap_push(PyObject *heap, PyObject *item) {
    return require_list(heap) && PyList_Append(heap, item) == 0 &&
           sift_down(heap, 0, PyList_GET_SIZE(heap) - 1);
}

PyObject *timer_heap_pop(PyObject *heap) {
    if (!require_list(heap)) {
        return NULL;
    }
    Py_ssize_t size = PyList_GET_SIZE(heap);
    if (size == 0) {
        PyErr_SetString(PyExc_IndexError, "index out of range");
        return NULL;
    }
    PyObject *last = PyList_GET_ITEM(heap, size - 1);
    Py_INCREF(last);
    if (PyList_SetSlice(heap, size - 1, size, NULL) != 0) {
        Py_DECREF(last);
        return NULL;
    }
    if (size == 1) {
        return last;
    }
    PyObject *first = PyList_GET_ITEM(heap, 0);
    PyList_SET_ITEM(heap, 0, last);
    if (!sift_up(heap)) {
        Py_DECREF(first);
        return NULL;
    }
    return first;
}

static PyObject *heap_push(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "timer_heap_push(heap, item) takes two arguments");
        return NULL;
    }
    if (!timer_heap_push(args[0], args[1])) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *heap_pop(PyObject *module, PyObject *heap) { return timer_heap_pop(heap); }

static PyMethodDef methods[] = {
    {"timer_heap_push", (PyCFunction)(void (*)(void))heap_push, METH_FASTCALL,
     "timer_heap_push(heap, item): heapq.heappush() for timer handles."},
    {"timer_heap_pop", heap_pop, METH_O,
     "timer_heap_pop(heap): heapq.heappop() for timer handles."},
    {NULL, NULL, 0, NULL},
};

bool timer_heap_setup(PyObject *module) { return PyModule_AddFunctions(module, methods) == 0; }
