/*
 * Integers. Those beyond 64 bits have no accessor in erl_nif.h and go through the external term
 * format, https://www.erlang.org/doc/apps/erts/erl_ext_dist.html (SMALL_BIG_EXT, LARGE_BIG_EXT).
 */
#include "convert_internal.h"

#include <string.h>

enum {
    EXT_VERSION = 131,
    EXT_SMALL_BIG = 110,
    EXT_LARGE_BIG = 111,
    SMALL_BIG_HEADER = 4, /* version, tag, length in one byte, sign */
    LARGE_BIG_HEADER = 7, /* version, tag, length in four bytes, sign */
};

static PyObject *from_magnitude(const unsigned char *magnitude, size_t size, bool negative) {
#if PY_VERSION_HEX >= 0x030D0000
    PyObject *positive =
        PyLong_FromUnsignedNativeBytes(magnitude, size, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
#else
    PyObject *positive = _PyLong_FromByteArray(magnitude, size, 1, 0);
#endif
    if (positive == NULL || !negative) {
        return positive;
    }
    PyObject *result = PyNumber_Negative(positive);
    Py_DECREF(positive);
    return result;
}

static PyObject *big_to_object(ErlNifEnv *env, ERL_NIF_TERM term) {
    ErlNifBinary encoded;
    if (!enif_term_to_binary(env, term, &encoded)) {
        return PyErr_NoMemory();
    }
    PyObject *result = NULL;
    const unsigned char *data = encoded.data;
    if (encoded.size > SMALL_BIG_HEADER && data[0] == EXT_VERSION && data[1] == EXT_SMALL_BIG &&
        data[2] <= encoded.size - SMALL_BIG_HEADER) {
        result = from_magnitude(data + SMALL_BIG_HEADER, data[2], data[3] != 0);
    } else if (encoded.size > LARGE_BIG_HEADER && data[0] == EXT_VERSION &&
               data[1] == EXT_LARGE_BIG) {
        size_t size =
            (size_t)data[2] << 24 | (size_t)data[3] << 16 | (size_t)data[4] << 8 | data[5];
        if (size <= encoded.size - LARGE_BIG_HEADER) {
            result = from_magnitude(data + LARGE_BIG_HEADER, size, data[6] != 0);
        }
    }
    enif_release_binary(&encoded);
    if (result == NULL && !PyErr_Occurred()) {
        PyErr_SetString(PyExc_SystemError, "unexpected external format of a big integer");
    }
    return result;
}

PyObject *integer_to_object(ErlNifEnv *env, ERL_NIF_TERM term) {
    ErlNifSInt64 small;
    if (enif_get_int64(env, term, &small)) {
        return PyLong_FromLongLong(small);
    }
    ErlNifUInt64 positive;
    if (enif_get_uint64(env, term, &positive)) {
        return PyLong_FromUnsignedLongLong(positive);
    }
    return big_to_object(env, term);
}

/* Bytes that hold the magnitude of a non-negative int; may be one too many. 0 with an exception
 * set. */
static size_t magnitude_size(PyObject *positive) {
#if PY_VERSION_HEX >= 0x030D0000
    Py_ssize_t size = PyLong_AsNativeBytes(positive, NULL, 0, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
    return size < 0 ? 0 : (size_t)size;
#else
    size_t bits = _PyLong_NumBits(positive);
    if (bits == (size_t)-1 && PyErr_Occurred()) {
        return 0;
    }
    return bits / 8 + 1;
#endif
}

static bool write_magnitude(PyObject *positive, unsigned char *magnitude, size_t size) {
#if PY_VERSION_HEX >= 0x030D0000
    return PyLong_AsNativeBytes(positive, magnitude, (Py_ssize_t)size,
                                Py_ASNATIVEBYTES_LITTLE_ENDIAN) >= 0;
#else
    return _PyLong_AsByteArray((PyLongObject *)positive, magnitude, size, 1, 0) == 0;
#endif
}

static bool big_from_positive(ErlNifEnv *env, PyObject *positive, bool negative, ERL_NIF_TERM *term,
                              size_t *weight) {
    size_t size = magnitude_size(positive);
    if (size == 0) {
        return false;
    }
    if (size > UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "int too large for an Erlang integer");
        return false;
    }
    unsigned char *encoded = PyMem_Malloc(LARGE_BIG_HEADER + size);
    if (encoded == NULL) {
        PyErr_NoMemory();
        return false;
    }
    unsigned char *magnitude = encoded + LARGE_BIG_HEADER;
    if (!write_magnitude(positive, magnitude, size)) {
        PyMem_Free(encoded);
        return false;
    }
    while (size > 1 && magnitude[size - 1] == 0) {
        size--;
    }
    unsigned char *start = encoded;
    if (size <= UINT8_MAX) {
        start = magnitude - SMALL_BIG_HEADER;
        start[1] = EXT_SMALL_BIG;
        start[2] = (unsigned char)size;
    } else {
        start[1] = EXT_LARGE_BIG;
        start[2] = (unsigned char)(size >> 24);
        start[3] = (unsigned char)(size >> 16);
        start[4] = (unsigned char)(size >> 8);
        start[5] = (unsigned char)size;
    }
    start[0] = EXT_VERSION;
    magnitude[-1] = negative;
    size_t read = enif_binary_to_term(env, start, (size_t)(magnitude - start) + size, term, 0);
    PyMem_Free(encoded);
    if (read == 0) {
        PyErr_SetString(PyExc_OverflowError, "int too large for an Erlang integer");
        return false;
    }
    *weight += sizeof(ERL_NIF_TERM) + size;
    return true;
}

bool integer_from_object(ErlNifEnv *env, PyObject *integer, ERL_NIF_TERM *term, size_t *weight) {
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(integer, &overflow);
    if (overflow == 0) {
        if (value == -1 && PyErr_Occurred()) {
            return false;
        }
        *term = enif_make_int64(env, value);
        *weight += sizeof(ERL_NIF_TERM);
        return true;
    }
    if (overflow > 0) {
        return big_from_positive(env, integer, false, term, weight);
    }
    /* int's own negation: a subclass may have another one. */
    PyObject *positive = PyLong_Type.tp_as_number->nb_negative(integer);
    if (positive == NULL) {
        return false;
    }
    bool good = big_from_positive(env, positive, true, term, weight);
    Py_DECREF(positive);
    return good;
}
