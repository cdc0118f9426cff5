/*
 * Buffers and arrays. Bytes go out as a binary; arrays, whatever their item type, as lists of what
 * their tolist gives, or as their raw bytes where that is asked for.
 */
#include "convert_internal.h"
#include "python_types.h"

#include <string.h>

/* The format of a buffer's items without the byte order; "B" where there is none, as NULL means
 * that. */
static const char *item_format(const Py_buffer *view) {
    const char *format = view->format == NULL ? "B" : view->format;
    return *format != '\0' && strchr("@=<>!", *format) != NULL ? format + 1 : format;
}

/* Whether the format is one of the characters in codes and nothing else. */
static bool is_single_code(const char *format, const char *codes) {
    return *format != '\0' && strchr(codes, *format) != NULL && format[1] == '\0';
}

static bool is_bytes(const Py_buffer *view) {
    return view->itemsize == 1 && is_single_code(item_format(view), "Bbc");
}

/* Numbers without padding (which a long double has) and complex numbers; no text, dates or
 * structures. */
static bool is_numbers(const Py_buffer *view) {
    const char *format = item_format(view);
    return is_single_code(format, "?bBhHiIlLqQnNefd") ||
           (*format == 'Z' && is_single_code(format + 1, "fd"));
}

/* The code of a complex number begins with the one of a pointer to wide characters. */
static bool is_complex_code(const char *code) {
    return code[0] == 'Z' && code[1] != '\0' && strchr("fdg", code[1]) != NULL;
}

/* Whether items hold addresses of objects or data, which nobody may see. Names are in colons. */
static bool has_pointers(const Py_buffer *view) {
    bool in_name = false;
    for (const char *code = item_format(view); *code != '\0'; code++) {
        if (*code == ':') {
            in_name = !in_name;
        } else if (!in_name && strchr("OPzZ&X", *code) != NULL && !is_complex_code(code)) {
            return true;
        }
    }
    return false;
}

static bool build_view(term_builder *builder, Py_buffer *view, ERL_NIF_TERM *term) {
    size_t size = (size_t)view->len;
    if (PyBuffer_IsContiguous(view, 'C')) {
        return build_bytes(builder, view->buf, size, term);
    }
    if (!builder_weigh(builder, size + 2 * sizeof(ERL_NIF_TERM))) {
        return false;
    }
    unsigned char *copy = enif_make_new_binary(builder->env, size, term);
    if (copy == NULL) {
        PyErr_NoMemory();
        return false;
    }
    return PyBuffer_ToContiguous(copy, view, view->len, 'C') == 0;
}

static bool refuse(PyObject *object) {
    PyObject *name = type_full_name(Py_TYPE(object));
    if (name != NULL) {
        PyErr_Format(PyExc_TypeError,
                     "cannot convert %U to an Erlang binary: its items are pointers", name);
        Py_DECREF(name);
    }
    return false;
}

bool build_buffer(term_builder *builder, PyObject *object, ERL_NIF_TERM *term) {
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_FULL_RO) < 0) {
        return false;
    }
    bool good = has_pointers(&view) ? refuse(object) : build_view(builder, &view, term);
    PyBuffer_Release(&view);
    return good;
}

/* The raw bytes of an array of numbers. A single number is no sequence or has no dimensions. */
static bool build_raw_array(term_builder *builder, PyObject *object, ERL_NIF_TERM *term,
                            bool *handled) {
    Py_buffer view;
    *handled = false;
    if (!PySequence_Check(object)) {
        return true;
    }
    if (PyObject_GetBuffer(object, &view, PyBUF_FULL_RO) < 0) {
        /* Item types without a buffer format, such as numpy's datetime64: their list is still
         * possible. */
        if (!PyErr_ExceptionMatches(PyExc_BufferError) &&
            !PyErr_ExceptionMatches(PyExc_ValueError)) {
            *handled = true;
            return false;
        }
        PyErr_Clear();
        return true;
    }
    bool good = true;
    if (view.ndim > 0 && is_numbers(&view)) {
        *handled = true;
        good = build_view(builder, &view, term);
    }
    PyBuffer_Release(&view);
    return good;
}

/* The attribute tolist as a new reference; NULL without an exception if there is none. */
static bool get_tolist(term_builder *builder, PyObject *object, PyObject **tolist) {
    *tolist = PyObject_GetAttr(object, builder->state->string_tolist);
    if (*tolist == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return false;
        }
        PyErr_Clear();
    }
    return true;
}

static bool build_from_tolist(term_builder *builder, PyObject *object, PyObject *tolist,
                              ERL_NIF_TERM *term, bool *handled) {
    PyObject *values = PyObject_CallNoArgs(tolist);
    *handled = true;
    if (values == NULL) {
        return false;
    }
    bool good = true;
    if (Py_TYPE(values) == Py_TYPE(object)) {
        /* numpy's longdouble has no other Python equivalent than itself. */
        *handled = false;
    } else {
        good = build_term(builder, values, term);
    }
    Py_DECREF(values);
    return good;
}

static bool build_bytes_view(term_builder *builder, PyObject *object, ERL_NIF_TERM *term,
                             bool *handled) {
    Py_buffer view;
    *handled = true;
    if (PyObject_GetBuffer(object, &view, PyBUF_FULL_RO) < 0) {
        return false;
    }
    bool good = true;
    if (is_bytes(&view)) {
        good = build_view(builder, &view, term);
    } else {
        *handled = false;
    }
    PyBuffer_Release(&view);
    return good;
}

bool build_array_or_buffer(term_builder *builder, PyObject *object, ERL_NIF_TERM *term,
                           bool *handled) {
    *handled = false;
    if (!PyObject_CheckBuffer(object)) {
        return true;
    }
    PyObject *tolist = NULL;
    if (!get_tolist(builder, object, &tolist)) {
        *handled = true;
        return false;
    }
    bool good = true;
    if (tolist == NULL || PyMemoryView_Check(object)) {
        good = build_bytes_view(builder, object, term, handled);
    }
    if (!*handled && (builder->flags & CONVERT_ARRAYS_AS_BINARY) != 0) {
        good = build_raw_array(builder, object, term, handled);
    }
    if (!*handled && tolist != NULL) {
        good = build_from_tolist(builder, object, tolist, term, handled);
    }
    Py_XDECREF(tolist);
    return good;
}
