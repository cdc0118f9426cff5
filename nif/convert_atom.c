/*
 * Atoms, both ways.
 *
 * erl_nif.h reads and writes only atoms of Latin-1 characters before OTP 26; all others go through
 * the external term format, https://www.erlang.org/doc/apps/erts/erl_ext_dist.html
 * (SMALL_ATOM_UTF8_EXT, ATOM_UTF8_EXT).
 */
#include "convert_internal.h"
#include "python_types.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

convert_atoms special_atoms;

enum {
    EXT_VERSION = 131,
    EXT_ATOM_UTF8 = 118,
    EXT_SMALL_ATOM_UTF8 = 119,
    ATOM_UTF8_HEADER = 4,       /* version, tag, length in two bytes */
    SMALL_ATOM_UTF8_HEADER = 3, /* version, tag, length in one byte */
    ATOM_MAX_BYTES = 4 * ATOM_MAX_CHARACTERS,
};

/* ---- The cache ---- */

typedef struct atom_entry {
    ERL_NIF_TERM term; /* 0, which is no term, marks a free entry */
    PyObject *string;
    PyObject *object;
} atom_entry;

/* Open addressing with linear probing; the capacity is a power of two and at most two thirds are
 * used. */
struct atom_cache {
#ifdef Py_GIL_DISABLED
    PyMutex mutex;
#endif
    atom_entry *entries;
    size_t capacity;
    size_t count;
};

#ifdef Py_GIL_DISABLED
#define CACHE_LOCK(cache) PyMutex_Lock(&(cache)->mutex)
#define CACHE_UNLOCK(cache) PyMutex_Unlock(&(cache)->mutex)
#else
#define CACHE_LOCK(cache) ((void)(cache))
#define CACHE_UNLOCK(cache) ((void)(cache))
#endif

static atom_entry *cache_slot(const atom_cache *cache, ERL_NIF_TERM term) {
    size_t mask = cache->capacity - 1;
    size_t index = (size_t)(((uint64_t)term * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & mask;
    while (cache->entries[index].term != 0 && cache->entries[index].term != term) {
        index = (index + 1) & mask;
    }
    return &cache->entries[index];
}

static bool cache_grow(atom_cache *cache) {
    atom_cache larger = {.capacity = cache->capacity * 2, .count = cache->count};
    larger.entries = PyMem_RawCalloc(larger.capacity, sizeof(atom_entry));
    if (larger.entries == NULL) {
        PyErr_NoMemory();
        return false;
    }
    for (size_t i = 0; i < cache->capacity; i++) {
        if (cache->entries[i].term != 0) {
            *cache_slot(&larger, cache->entries[i].term) = cache->entries[i];
        }
    }
    PyMem_RawFree(cache->entries);
    cache->entries = larger.entries;
    cache->capacity = larger.capacity;
    return true;
}

static PyObject *wide_atom_text(ErlNifEnv *env, ERL_NIF_TERM term) {
    ErlNifBinary encoded;
    if (!enif_term_to_binary(env, term, &encoded)) {
        return PyErr_NoMemory();
    }
    const unsigned char *data = encoded.data;
    size_t header = 0;
    size_t size = 0;
    if (encoded.size >= SMALL_ATOM_UTF8_HEADER && data[1] == EXT_SMALL_ATOM_UTF8) {
        header = SMALL_ATOM_UTF8_HEADER;
        size = data[2];
    } else if (encoded.size >= ATOM_UTF8_HEADER && data[1] == EXT_ATOM_UTF8) {
        header = ATOM_UTF8_HEADER;
        size = (size_t)data[2] << 8 | data[3];
    }
    PyObject *text = NULL;
    if (header != 0 && size <= encoded.size - header) {
        text = PyUnicode_DecodeUTF8((const char *)data + header, (Py_ssize_t)size, "strict");
    } else {
        PyErr_SetString(PyExc_SystemError, "unexpected external format of an atom");
    }
    enif_release_binary(&encoded);
    return text;
}

static PyObject *atom_text(ErlNifEnv *env, ERL_NIF_TERM term) {
    char text[ATOM_MAX_CHARACTERS + 1];
    unsigned length;
    if (enif_get_atom_length(env, term, &length, ERL_NIF_LATIN1) &&
        enif_get_atom(env, term, text, sizeof text, ERL_NIF_LATIN1)) {
        return PyUnicode_DecodeLatin1(text, (Py_ssize_t)length, "strict");
    }
    return wide_atom_text(env, term);
}

/* Adds an entry and takes the references to string and object, also when it fails. */
static bool cache_add(atom_cache *cache, ERL_NIF_TERM term, PyObject *string, PyObject *object) {
    CACHE_LOCK(cache);
    bool good = (cache->count + 1) * 3 <= cache->capacity * 2 || cache_grow(cache);
    atom_entry *entry = good ? cache_slot(cache, term) : NULL;
    if (good && entry->term == 0) {
        *entry = (atom_entry){term, string, object};
        cache->count++;
        string = object = NULL;
    }
    CACHE_UNLOCK(cache);
    Py_XDECREF(string);
    Py_XDECREF(object);
    return good;
}

/* Copies the entry of an atom to *found, adding it first if need be. The references in it are
 * borrowed. */
static bool cache_find(python_state *state, ErlNifEnv *env, ERL_NIF_TERM term, atom_entry *found) {
    atom_cache *cache = state->atoms;
    for (int tries = 0; tries < 2; tries++) {
        CACHE_LOCK(cache);
        *found = *cache_slot(cache, term);
        CACHE_UNLOCK(cache);
        if (found->term != 0) {
            return true;
        }
        PyObject *text = atom_text(env, term);
        if (text == NULL) {
            return false;
        }
        PyUnicode_InternInPlace(&text);
        if (!cache_add(cache, term, text, Py_NewRef(text))) {
            return false;
        }
    }
    PyErr_SetString(PyExc_SystemError, "an atom did not stay in the cache");
    return false;
}

PyObject *atom_to_object(python_state *state, ErlNifEnv *env, ERL_NIF_TERM term) {
    atom_entry entry;
    return cache_find(state, env, term, &entry) ? Py_NewRef(entry.object) : NULL;
}

PyObject *atom_to_python_string(ErlNifEnv *env, ERL_NIF_TERM term) {
    atom_entry entry;
    return cache_find(python_state_get(), env, term, &entry) ? entry.string : NULL;
}

PyObject *name_to_python_string(ErlNifEnv *env, ERL_NIF_TERM term, const char *what) {
    ErlNifBinary binary;
    if (enif_is_atom(env, term)) {
        return Py_XNewRef(atom_to_python_string(env, term));
    }
    if (enif_inspect_binary(env, term, &binary)) {
        PyObject *text =
            PyUnicode_DecodeUTF8((const char *)binary.data, (Py_ssize_t)binary.size, "strict");
        if (text != NULL || !PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
            return text;
        }
        PyErr_Clear();
    }
    return PyErr_Format(PyExc_TypeError, "the name of a %s must be an atom or a binary of UTF-8",
                        what);
}

/* ---- New atoms from Python ---- */

/* Of the node, not of an interpreter: all of them fill the same atom table, which the VM cannot
 * shrink. */
static atomic_ulong atom_limit = 10000;
static atomic_ulong atoms_created;

void convert_set_atom_limit(unsigned long limit) { atomic_store(&atom_limit, limit); }

/* Counts one more new atom; ValueError when there is none left. */
static bool take_new_atom(void) {
    unsigned long created = atomic_load(&atoms_created);
    do {
        unsigned long limit = atomic_load(&atom_limit);
        if (created >= limit) {
            PyErr_Format(PyExc_ValueError,
                         "Python may create at most %lu new Erlang atoms (atoms are never freed)",
                         limit);
            return false;
        }
    } while (!atomic_compare_exchange_weak(&atoms_created, &created, created + 1));
    return true;
}

static bool wide_atom_from_string(ErlNifEnv *env, PyObject *string, ERL_NIF_TERM *term) {
    PyObject *utf8 = PyUnicode_AsUTF8String(string);
    if (utf8 == NULL) {
        return false;
    }
    size_t size = (size_t)PyBytes_GET_SIZE(utf8);
    unsigned char encoded[ATOM_UTF8_HEADER + ATOM_MAX_BYTES] = {
        EXT_VERSION, EXT_ATOM_UTF8, (unsigned char)(size >> 8), (unsigned char)size};
    memcpy(encoded + ATOM_UTF8_HEADER, PyBytes_AS_STRING(utf8), size);
    Py_DECREF(utf8);
    size += ATOM_UTF8_HEADER;
    if (enif_binary_to_term(env, encoded, size, term, ERL_NIF_BIN2TERM_SAFE) != 0) {
        return true;
    }
    if (!take_new_atom()) {
        return false;
    }
    if (enif_binary_to_term(env, encoded, size, term, 0) != 0) {
        return true;
    }
    PyErr_SetString(PyExc_ValueError, "Erlang refuses an atom of this text");
    return false;
}

bool atom_from_string(ErlNifEnv *env, PyObject *string, ERL_NIF_TERM *term) {
    Py_ssize_t length = PyUnicode_GET_LENGTH(string);
    if (length > ATOM_MAX_CHARACTERS) {
        PyErr_Format(PyExc_ValueError, "an Erlang atom has at most %d characters, not %zd",
                     ATOM_MAX_CHARACTERS, length);
        return false;
    }
    if (PyUnicode_KIND(string) != PyUnicode_1BYTE_KIND) {
        return wide_atom_from_string(env, string, term);
    }
    const char *text = (const char *)PyUnicode_1BYTE_DATA(string);
    if (enif_make_existing_atom_len(env, text, (size_t)length, term, ERL_NIF_LATIN1)) {
        return true;
    }
    if (!take_new_atom()) {
        return false;
    }
    *term = enif_make_atom_len(env, text, (size_t)length);
    return true;
}

/* ---- Setup ---- */

static bool add_special(python_state *state, ERL_NIF_TERM term, const char *name,
                        PyObject *object) {
    PyObject *string = object == NULL ? NULL : PyUnicode_InternFromString(name);
    if (string == NULL) {
        Py_XDECREF(object);
        return false;
    }
    return cache_add(state->atoms, term, string, object);
}

bool convert_atom_setup(python_state *state) {
    enum { FIRST_CAPACITY = 1024 };
    /* No environment is needed to make an atom, but erl_nif.h does not promise that. */
    ErlNifEnv *env = enif_alloc_env();
    state->atoms = PyMem_RawCalloc(1, sizeof *state->atoms);
    if (env == NULL || state->atoms == NULL) {
        if (env != NULL) {
            enif_free_env(env);
        }
        PyErr_NoMemory();
        return false;
    }
    special_atoms = (convert_atoms){
        .true_atom = enif_make_atom(env, "true"),
        .false_atom = enif_make_atom(env, "false"),
        .none = enif_make_atom(env, "none"),
        .nil = enif_make_atom(env, "nil"),
        .undefined = enif_make_atom(env, "undefined"),
        .nan = enif_make_atom(env, "nan"),
        .infinity = enif_make_atom(env, "infinity"),
        .neg_infinity = enif_make_atom(env, "neg_infinity"),
        .bytes = enif_make_atom(env, "bytes"),
    };
    enif_free_env(env);
    state->atoms->capacity = FIRST_CAPACITY;
    state->atoms->entries = PyMem_RawCalloc(FIRST_CAPACITY, sizeof(atom_entry));
    if (state->atoms->entries == NULL) {
        PyErr_NoMemory();
        return false;
    }
    return add_special(state, special_atoms.true_atom, "true", Py_NewRef(Py_True)) &&
           add_special(state, special_atoms.false_atom, "false", Py_NewRef(Py_False)) &&
           add_special(state, special_atoms.none, "none", Py_NewRef(Py_None)) &&
           add_special(state, special_atoms.nil, "nil", Py_NewRef(Py_None)) &&
           add_special(state, special_atoms.undefined, "undefined", Py_NewRef(Py_None)) &&
           add_special(state, special_atoms.nan, "nan", PyFloat_FromDouble(Py_NAN)) &&
           add_special(state, special_atoms.infinity, "infinity",
                       PyFloat_FromDouble(Py_HUGE_VAL)) &&
           add_special(state, special_atoms.neg_infinity, "neg_infinity",
                       PyFloat_FromDouble(-Py_HUGE_VAL));
}
