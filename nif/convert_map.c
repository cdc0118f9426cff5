/*
 * Maps from arrays of keys and values.
 *
 * Before OTP 27.3 enif_make_map_from_arrays() dereferences a null pointer for more than 128 keys on
 * a thread that is no scheduler (its sort asks the scheduler for a random number), and all Python
 * runs on such threads. There, larger maps are built key by key. Measured: 1,000 keys in 0.16 ms,
 * 100,000 in 65 ms.
 */
#include "convert_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    SAFE_KEYS = 128,
    FIRST_COMPACTION = 4096, /* keys; before that the garbage of the steps is not worth a copy */
    KEY_TEXT_SIZE = 160,
};

/* Whether the emulator is at least that of OTP 27.3, erts 15.2.3. */
static bool emulator_is_fixed;

void convert_map_setup(void) {
    static const long fixed[] = {15, 2, 3};
    ErlNifSysInfo info;
    enif_system_info(&info, sizeof info);
    const char *text = info.erts_version;
    emulator_is_fixed = true;
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        char *end;
        long number = strtol(text, &end, 10);
        if (number != fixed[i]) {
            emulator_is_fixed = number > fixed[i];
            return;
        }
        text = *end == '.' ? end + 1 : end;
    }
}

bool map_is_built_in_steps(size_t count) { return count > SAFE_KEYS && !emulator_is_fixed; }

static int compare_terms(const void *left, const void *right) {
    return enif_compare(*(const ERL_NIF_TERM *)left, *(const ERL_NIF_TERM *)right);
}

/* Names one of the keys that are equal. Sorts the keys, which are of no use any more. */
static bool colliding_keys(ERL_NIF_TERM *keys, size_t count) {
    char printed[KEY_TEXT_SIZE] = "";
    qsort(keys, count, sizeof *keys, compare_terms);
    for (size_t i = 1; i < count; i++) {
        if (enif_is_identical(keys[i - 1], keys[i])) {
            if (enif_snprintf(printed, sizeof printed, "%T", keys[i]) < 0) {
                printed[0] = '\0';
            }
            printed[sizeof printed - 1] = '\0';
            break;
        }
    }
    PyObject *name = PyUnicode_DecodeUTF8(printed, (Py_ssize_t)strlen(printed), "replace");
    if (name != NULL) {
        PyErr_Format(PyExc_ValueError, "two keys of a dict are the same Erlang term: %U", name);
        Py_DECREF(name);
    }
    return false;
}

/* Replaces *env and *map by an environment that holds the map and nothing else. */
static bool compact(ErlNifEnv **env, ERL_NIF_TERM *map) {
    ErlNifEnv *fresh = enif_alloc_env();
    if (fresh == NULL) {
        return false;
    }
    *map = enif_make_copy(fresh, *map);
    enif_free_env(*env);
    *env = fresh;
    return true;
}

/*
 * The map with all the keys, or with fewer if some are equal, built in *env. Each step leaves a
 * copy of the path to its key behind: compacted every time the map has doubled, which costs less
 * than the page faults that it saves.
 */
static bool put_all(ErlNifEnv **env, ERL_NIF_TERM *keys, ERL_NIF_TERM *values, size_t count,
                    ERL_NIF_TERM *map) {
    size_t next_compaction = FIRST_COMPACTION;
    *map = enif_make_new_map(*env);
    for (size_t i = 0; i < count; i++) {
        if (!enif_make_map_put(*env, *map, keys[i], values[i], map)) {
            return false;
        }
        if (i == next_compaction) {
            if (!compact(env, map)) {
                return false;
            }
            next_compaction *= 2;
        }
    }
    return true;
}

static bool build_in_steps(ErlNifEnv *env, ERL_NIF_TERM *keys, ERL_NIF_TERM *values, size_t count,
                           ERL_NIF_TERM *term) {
    ErlNifEnv *scratch = enif_alloc_env();
    ERL_NIF_TERM map;
    size_t size = 0;
    bool good = scratch != NULL && put_all(&scratch, keys, values, count, &map) &&
                enif_get_map_size(scratch, map, &size);
    if (!good) {
        PyErr_NoMemory();
    } else if (size != count) {
        good = colliding_keys(keys, count);
    } else {
        *term = enif_make_copy(env, map);
    }
    if (scratch != NULL) {
        enif_free_env(scratch);
    }
    return good;
}

bool map_from_arrays(ErlNifEnv *env, ERL_NIF_TERM *keys, ERL_NIF_TERM *values, size_t count,
                     ERL_NIF_TERM *term) {
    if (count == 0) {
        *term = enif_make_new_map(env);
        return true;
    }
    if (map_is_built_in_steps(count)) {
        return build_in_steps(env, keys, values, count, term);
    }
    return enif_make_map_from_arrays(env, keys, values, count, term) || colliding_keys(keys, count);
}
