#include "convert_packed.h"

#include "convert_internal.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

_Static_assert(sizeof(ERL_NIF_TERM) == sizeof(uint64_t), "terms of 64 bits are packed");

/* A tag, and behind it a word, or one byte with a length and as many bytes. */
typedef enum packed_tag { PACKED_INTEGER, PACKED_FLOAT, PACKED_ATOM, PACKED_BINARY } packed_tag;

enum {
    WORD_SIZE = 1 + sizeof(uint64_t),
    BINARY_HEAD = 2,
};

static size_t put_word(packed_tag tag, const void *word, unsigned char *to, size_t room) {
    if (room < WORD_SIZE) {
        return 0;
    }
    to[0] = (unsigned char)tag;
    memcpy(to + 1, word, sizeof(uint64_t));
    return WORD_SIZE;
}

static size_t put_binary(const void *data, size_t size, unsigned char *to, size_t room) {
    if (size > UINT8_MAX || room < BINARY_HEAD + size) {
        return 0;
    }
    to[0] = PACKED_BINARY;
    to[1] = (unsigned char)size;
    if (size > 0) {
        memcpy(to + BINARY_HEAD, data, size);
    }
    return BINARY_HEAD + size;
}

size_t packed_from_term(ErlNifEnv *env, ERL_NIF_TERM term, unsigned char *to, size_t room) {
    ErlNifSInt64 integer;
    double real;
    ErlNifBinary binary;
    switch (enif_term_type(env, term)) {
    case ERL_NIF_TERM_TYPE_INTEGER:
        return enif_get_int64(env, term, &integer) ? put_word(PACKED_INTEGER, &integer, to, room)
                                                   : 0;
    case ERL_NIF_TERM_TYPE_FLOAT:
        return enif_get_double(env, term, &real) ? put_word(PACKED_FLOAT, &real, to, room) : 0;
    case ERL_NIF_TERM_TYPE_ATOM:
        return put_word(PACKED_ATOM, &term, to, room);
    case ERL_NIF_TERM_TYPE_BITSTRING:
        return enif_inspect_binary(env, term, &binary)
                   ? put_binary(binary.data, binary.size, to, room)
                   : 0;
    default:
        return 0;
    }
}

static uint64_t word_of(const unsigned char *from) {
    uint64_t word;
    memcpy(&word, from + 1, sizeof(word));
    return word;
}

static double real_of(const unsigned char *from) {
    double real;
    memcpy(&real, from + 1, sizeof(real));
    return real;
}

ERL_NIF_TERM packed_to_term(ErlNifEnv *env, const unsigned char *from) {
    ERL_NIF_TERM term;
    switch ((packed_tag)from[0]) {
    case PACKED_INTEGER:
        return enif_make_int64(env, (ErlNifSInt64)word_of(from));
    case PACKED_FLOAT:
        return enif_make_double(env, real_of(from));
    case PACKED_BINARY:
        memcpy(enif_make_new_binary(env, from[1], &term), from + BINARY_HEAD, from[1]);
        return term;
    case PACKED_ATOM:
        break;
    }
    return (ERL_NIF_TERM)word_of(from);
}

static size_t put_atom(ERL_NIF_TERM atom, unsigned char *to, size_t room) {
    return put_word(PACKED_ATOM, &atom, to, room);
}

size_t packed_from_object(PyObject *object, unsigned char *to, size_t room) {
    PyTypeObject *type = Py_TYPE(object);
    if (type == &PyFloat_Type) {
        double real = PyFloat_AS_DOUBLE(object);
        return isfinite(real) ? put_word(PACKED_FLOAT, &real, to, room) : 0;
    }
    if (type == &PyLong_Type) {
        int overflow;
        long long integer = PyLong_AsLongLongAndOverflow(object, &overflow);
        return overflow == 0 ? put_word(PACKED_INTEGER, &integer, to, room) : 0;
    }
    if (object == Py_None) {
        return put_atom(none_atom(), to, room);
    }
    if (type == &PyBool_Type) {
        return put_atom(object == Py_True ? special_atoms.true_atom : special_atoms.false_atom, to,
                        room);
    }
    if (type == &PyUnicode_Type && PyUnicode_IS_COMPACT_ASCII(object)) {
        return put_binary(PyUnicode_1BYTE_DATA(object), (size_t)PyUnicode_GET_LENGTH(object), to,
                          room);
    }
    if (type == &PyBytes_Type) {
        return put_binary(PyBytes_AS_STRING(object), (size_t)PyBytes_GET_SIZE(object), to, room);
    }
    return 0;
}

PyObject *packed_to_object(ErlNifEnv *env, const unsigned char **from) {
    const unsigned char *value = *from;
    *from += value[0] == PACKED_BINARY ? BINARY_HEAD + (size_t)value[1] : WORD_SIZE;
    switch ((packed_tag)value[0]) {
    case PACKED_INTEGER:
        return PyLong_FromLongLong((long long)word_of(value));
    case PACKED_FLOAT:
        return PyFloat_FromDouble(real_of(value));
    case PACKED_BINARY:
        return bytes_to_object(value + BINARY_HEAD, value[1]);
    case PACKED_ATOM:
        break;
    }
    return atom_to_object(python_state_get(), env, (ERL_NIF_TERM)word_of(value));
}
