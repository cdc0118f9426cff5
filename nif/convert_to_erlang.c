#include "convert_internal.h"

#include <limits.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum {
    INLINE_TERMS = 64,               /* containers of small results need no allocation */
    TUPLE_MAX_ARITY = (1 << 24) - 1, /* of the BEAM, which does not check it here */
};

/* ---- Room for elements ---- */

static bool grow(term_builder *builder, size_t needed) {
    size_t capacity = builder->capacity > SIZE_MAX / 2 ? SIZE_MAX : builder->capacity * 2;
    if (capacity < needed) {
        capacity = needed;
    }
    if (capacity > SIZE_MAX / sizeof(ERL_NIF_TERM)) {
        PyErr_NoMemory();
        return false;
    }
    ERL_NIF_TERM *terms = PyMem_RawRealloc(builder->terms_allocated ? builder->terms : NULL,
                                           capacity * sizeof(ERL_NIF_TERM));
    if (terms == NULL) {
        PyErr_NoMemory();
        return false;
    }
    if (!builder->terms_allocated) {
        memcpy(terms, builder->terms, builder->count * sizeof(ERL_NIF_TERM));
    }
    builder->terms = terms;
    builder->capacity = capacity;
    builder->terms_allocated = true;
    return true;
}

size_t builder_reserve(term_builder *builder, size_t count) {
    size_t base = builder->count;
    if (count > builder->capacity - base) {
        if (count > SIZE_MAX - base) {
            PyErr_NoMemory();
            return SIZE_MAX;
        }
        if (!grow(builder, base + count)) {
            return SIZE_MAX;
        }
    }
    builder->count = base + count;
    return base;
}

/* ---- Size ---- */

/* The VM ends itself when it gets no memory for a term, so terms must stay far below what there is.
 */
static _Atomic size_t size_limit = SIZE_MAX;

void convert_set_size_limit(size_t limit) { atomic_store(&size_limit, limit); }

static _Atomic ERL_NIF_TERM configured_none;

void convert_set_none(ERL_NIF_TERM atom) { atomic_store(&configured_none, atom); }

ERL_NIF_TERM none_atom(void) {
    ERL_NIF_TERM atom = atomic_load_explicit(&configured_none, memory_order_relaxed);
    return atom != 0 ? atom : special_atoms.none;
}

bool builder_weigh(term_builder *builder, size_t bytes) {
    builder->weight += bytes;
    size_t limit = atomic_load_explicit(&size_limit, memory_order_relaxed);
    if (builder->weight > limit) {
        PyErr_Format(PyExc_MemoryError,
                     "the Erlang term would be larger than %zu bytes (environment key "
                     "max_term_bytes)",
                     limit);
        return false;
    }
    return true;
}

/* ---- Scalars ---- */

bool build_bytes(term_builder *builder, const void *data, size_t size, ERL_NIF_TERM *term) {
    if (!builder_weigh(builder, size + 2 * sizeof(ERL_NIF_TERM))) {
        return false;
    }
    unsigned char *copy = enif_make_new_binary(builder->env, size, term);
    if (copy == NULL) {
        PyErr_NoMemory();
        return false;
    }
    if (size != 0) {
        memcpy(copy, data, size);
    }
    return true;
}

bool build_string(term_builder *builder, PyObject *string, ERL_NIF_TERM *term) {
    if (PyUnicode_IS_COMPACT_ASCII(string)) {
        return build_bytes(builder, PyUnicode_1BYTE_DATA(string),
                           (size_t)PyUnicode_GET_LENGTH(string), term);
    }
    /* Not PyUnicode_AsUTF8AndSize: it would keep the encoded text for as long as the str lives. */
    PyObject *utf8 = PyUnicode_AsUTF8String(string);
    if (utf8 == NULL) {
        return false;
    }
    bool good = build_bytes(builder, PyBytes_AS_STRING(utf8), (size_t)PyBytes_GET_SIZE(utf8), term);
    Py_DECREF(utf8);
    return good;
}

/* Small ones are weighed with what contains them; of large ones a list may have many, which are one
 * object. */
bool build_integer(term_builder *builder, PyObject *integer, ERL_NIF_TERM *term) {
    size_t before = builder->weight;
    return integer_from_object(builder->env, integer, term, &builder->weight) &&
           (builder->weight - before <= sizeof(ERL_NIF_TERM) || builder_weigh(builder, 0));
}

bool build_float(term_builder *builder, double value, ERL_NIF_TERM *term) {
    builder->weight += 2 * sizeof(ERL_NIF_TERM);
    if (isfinite(value)) {
        *term = enif_make_double(builder->env, value);
    } else if (isnan(value)) {
        *term = special_atoms.nan;
    } else {
        *term = value > 0 ? special_atoms.infinity : special_atoms.neg_infinity;
    }
    return true;
}

/* ---- Containers ---- */

static bool changed(const char *what) {
    PyErr_Format(PyExc_RuntimeError, "%s changed during its conversion to an Erlang term", what);
    return false;
}

static PyObject *list_item(PyObject *list, Py_ssize_t index) {
#ifdef Py_GIL_DISABLED
    return PyList_GetItemRef(list, index);
#else
    return Py_NewRef(PyList_GET_ITEM(list, index));
#endif
}

/* Room for the elements of a list, which is weighed before they are built; SIZE_MAX with an
 * exception set. */
static size_t reserve_list(term_builder *builder, size_t count) {
    if (count > UINT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "too many elements for an Erlang list");
        return SIZE_MAX;
    }
    if (!builder_weigh(builder, count * 2 * sizeof(ERL_NIF_TERM))) {
        return SIZE_MAX;
    }
    return builder_reserve(builder, count);
}

static void make_list(term_builder *builder, size_t base, size_t count, ERL_NIF_TERM *term) {
    *term = enif_make_list_from_array(builder->env, builder->terms + base, (unsigned)count);
    builder->count = base;
}

bool build_list(term_builder *builder, PyObject *list, ERL_NIF_TERM *term) {
    Py_ssize_t size = PyList_GET_SIZE(list);
    size_t base = reserve_list(builder, (size_t)size);
    if (base == SIZE_MAX) {
        return false;
    }
    for (Py_ssize_t i = 0; i < size; i++) {
        PyObject *item = list_item(list, i);
        ERL_NIF_TERM element;
        if (item == NULL) {
            return false;
        }
        bool good = build_term(builder, item, &element);
        Py_DECREF(item);
        if (!good) {
            return false;
        }
        if (PyList_GET_SIZE(list) != size) {
            return changed("list");
        }
        builder->terms[base + (size_t)i] = element;
    }
    make_list(builder, base, (size_t)size, term);
    return true;
}

bool build_tuple(term_builder *builder, PyObject *tuple, ERL_NIF_TERM *term) {
    Py_ssize_t size = PyTuple_GET_SIZE(tuple);
    if (size > TUPLE_MAX_ARITY) {
        PyErr_Format(PyExc_OverflowError, "an Erlang tuple has at most %d elements, not %zd",
                     TUPLE_MAX_ARITY, size);
        return false;
    }
    if (!builder_weigh(builder, ((size_t)size + 1) * sizeof(ERL_NIF_TERM))) {
        return false;
    }
    size_t base = builder_reserve(builder, (size_t)size);
    if (base == SIZE_MAX) {
        return false;
    }
    for (Py_ssize_t i = 0; i < size; i++) {
        ERL_NIF_TERM element;
        if (!build_term(builder, PyTuple_GET_ITEM(tuple, i), &element)) {
            return false;
        }
        builder->terms[base + (size_t)i] = element;
    }
    *term = enif_make_tuple_from_array(builder->env, builder->terms + base, (unsigned)size);
    builder->count = base;
    return true;
}

bool build_map_from_reserved(term_builder *builder, size_t base, size_t count, ERL_NIF_TERM *term) {
    ERL_NIF_TERM *keys = builder->terms + base;
    if (!builder_weigh(builder, (2 * count + 3) * sizeof(ERL_NIF_TERM))) {
        return false;
    }
    if (!map_from_arrays(builder->env, keys, keys + count, count, term)) {
        return false;
    }
    builder->count = base;
    return true;
}

/* The keys go to builder->terms[base], the values behind them. */
static bool build_pairs(term_builder *builder, PyObject *dict, size_t base, size_t size) {
    PyObject *key;
    PyObject *value;
    Py_ssize_t position = 0;
    size_t count = 0;
    while (PyDict_Next(dict, &position, &key, &value)) {
        if (count == size) {
            return changed("dict");
        }
        ERL_NIF_TERM key_term;
        ERL_NIF_TERM value_term;
        Py_INCREF(key);
        Py_INCREF(value);
        bool good = build_term(builder, key, &key_term) && build_term(builder, value, &value_term);
        Py_DECREF(key);
        Py_DECREF(value);
        if (!good) {
            return false;
        }
        if ((size_t)PyDict_GET_SIZE(dict) != size) {
            return changed("dict");
        }
        builder->terms[base + count] = key_term;
        builder->terms[base + size + count] = value_term;
        count++;
    }
    return count == size || changed("dict");
}

/*
 * A map that is built in steps is copied in the end: its elements go to an environment of their
 * own, so that they do not travel twice with the result.
 */
static bool build_dict_in_scratch(term_builder *builder, PyObject *dict, size_t size,
                                  ERL_NIF_TERM *term) {
    ErlNifEnv *env = builder->env;
    ErlNifEnv *scratch = enif_alloc_env();
    if (scratch == NULL) {
        PyErr_NoMemory();
        return false;
    }
    size_t base = builder_reserve(builder, 2 * size);
    builder->env = scratch;
    bool good = base != SIZE_MAX && build_pairs(builder, dict, base, size);
    builder->env = env;
    good = good && build_map_from_reserved(builder, base, size, term);
    enif_free_env(scratch);
    return good;
}

static bool build_stable_dict(term_builder *builder, PyObject *dict, ERL_NIF_TERM *term) {
    size_t size = (size_t)PyDict_GET_SIZE(dict);
    if (map_is_built_in_steps(size)) {
        return build_dict_in_scratch(builder, dict, size, term);
    }
    size_t base = builder_reserve(builder, 2 * size);
    return base != SIZE_MAX && build_pairs(builder, dict, base, size) &&
           build_map_from_reserved(builder, base, size, term);
}

bool build_dict(term_builder *builder, PyObject *dict, ERL_NIF_TERM *term) {
#ifdef Py_GIL_DISABLED
    /* Another thread may write while PyDict_Next walks. */
    PyObject *copy = PyDict_Copy(dict);
    bool good = copy != NULL && build_stable_dict(builder, copy, term);
    Py_XDECREF(copy);
    return good;
#else
    return build_stable_dict(builder, dict, term);
#endif
}

bool build_set(term_builder *builder, PyObject *set, ERL_NIF_TERM *term) {
    /* The set's own iterator, whatever a subclass has; it notices when the set changes. */
    PyObject *iterator = PySet_Type.tp_iter(set);
    if (iterator == NULL) {
        return false;
    }
    size_t size = (size_t)PySet_GET_SIZE(set);
    size_t base = reserve_list(builder, size);
    bool good = base != SIZE_MAX;
    size_t count = 0;
    while (good) {
        PyObject *item = PyIter_Next(iterator);
        if (item == NULL) {
            good = !PyErr_Occurred() && (count == size || changed("set"));
            break;
        }
        ERL_NIF_TERM element;
        good = (count < size || changed("set")) && build_term(builder, item, &element);
        Py_DECREF(item);
        if (good) {
            builder->terms[base + count] = element;
            count++;
        }
    }
    Py_DECREF(iterator);
    if (good) {
        make_list(builder, base, size, term);
    }
    return good;
}

/* ---- Any object ---- */

bool build_term(term_builder *builder, PyObject *object, ERL_NIF_TERM *term) {
    PyTypeObject *type = Py_TYPE(object);
    if (type == &PyUnicode_Type) {
        return build_string(builder, object, term);
    }
    if (type == &PyLong_Type) {
        return build_integer(builder, object, term);
    }
    if (type == &PyFloat_Type) {
        return build_float(builder, PyFloat_AS_DOUBLE(object), term);
    }
    if (object == Py_None || type == &PyBool_Type) {
        *term = object == Py_None   ? none_atom()
                : object == Py_True ? special_atoms.true_atom
                                    : special_atoms.false_atom;
        builder->weight += sizeof(ERL_NIF_TERM);
        return true;
    }
    if (type == &PyBytes_Type) {
        return build_bytes(builder, PyBytes_AS_STRING(object), (size_t)PyBytes_GET_SIZE(object),
                           term);
    }
    if (!nesting_enter(&builder->level)) {
        return false;
    }
    bool good;
    if (type == &PyDict_Type) {
        good = build_dict(builder, object, term);
    } else if (type == &PyList_Type) {
        good = build_list(builder, object, term);
    } else if (type == &PyTuple_Type) {
        good = build_tuple(builder, object, term);
    } else {
        good = build_other(builder, object, term);
    }
    nesting_leave(&builder->level);
    return good;
}

bool python_to_term(ErlNifEnv *env, PyObject *object, unsigned flags, ERL_NIF_TERM *term,
                    size_t *weight) {
    ERL_NIF_TERM inline_terms[INLINE_TERMS];
    term_builder builder = {
        .env = env,
        .state = python_state_get(),
        .flags = flags,
        .level = {.stack_limit = convert_stack_limit()},
        .weight = weight != NULL ? *weight : 0,
        .terms = inline_terms,
        .capacity = INLINE_TERMS,
    };
    bool good = build_term(&builder, object, term) && builder_weigh(&builder, 0);
    if (builder.terms_allocated) {
        PyMem_RawFree(builder.terms);
    }
    if (weight != NULL) {
        *weight = builder.weight;
    }
    return good;
}
