/* What the files of the conversion share with each other and with nobody else. */
#ifndef ERLANG_PYTHON_CONVERT_INTERNAL_H
#define ERLANG_PYTHON_CONVERT_INTERNAL_H

#include "convert.h"

/* Atoms with a meaning of their own; the same in every environment and interpreter. */
typedef struct convert_atoms {
    ERL_NIF_TERM true_atom, false_atom, none, nil, undefined;
    ERL_NIF_TERM nan, infinity, neg_infinity;
    ERL_NIF_TERM bytes;
} convert_atoms;

extern convert_atoms special_atoms;

/* The atom that Python's None becomes. */
ERL_NIF_TERM none_atom(void);

/* ---- convert_stack.c ---- */

/*
 * The lowest address that the calling thread's stack pointer may reach in a conversion, or 0 where
 * the bounds of the stack are not known (then only the depth counts).
 */
uintptr_t convert_stack_limit(void);

/* Where a conversion stands; enter before each nested level and leave after it. */
typedef struct nesting {
    uintptr_t stack_limit;
    int depth;
} nesting;

/* Sets RecursionError and returns false. */
bool nesting_too_deep(const nesting *level);

static inline bool nesting_enter(nesting *level) {
    if (level->depth >= CONVERT_MAX_DEPTH ||
        (uintptr_t)__builtin_frame_address(0) < level->stack_limit) {
        return nesting_too_deep(level);
    }
    level->depth++;
    return true;
}

static inline void nesting_leave(nesting *level) { level->depth--; }

/* ---- convert_atom.c ---- */

/* Creates state->atoms and special_atoms. Returns false with an exception set. */
bool convert_atom_setup(python_state *state);

/* A new reference to the object that an atom stands for: True, False, None, a special float, or a
 * str. */
PyObject *atom_to_object(python_state *state, ErlNifEnv *env, ERL_NIF_TERM term);

/* The atom with the text of a str; ValueError when it is too long or would be one new atom too
 * many. */
bool atom_from_string(ErlNifEnv *env, PyObject *string, ERL_NIF_TERM *term);

/* ---- convert_integer.c ---- */

/* A new reference to the int of an integer term of any size. */
PyObject *integer_to_object(ErlNifEnv *env, ERL_NIF_TERM term);

/* The term of an int (or a subclass) of any size that Erlang can hold, else OverflowError. Adds to
 * *weight. */
bool integer_from_object(ErlNifEnv *env, PyObject *integer, ERL_NIF_TERM *term, size_t *weight);

/* ---- convert_map.c ---- */

/* Learns which emulator this is. */
void convert_map_setup(void);

/* Whether a map of so many keys takes the slow way, which copies the keys and values that it is
 * given. */
bool map_is_built_in_steps(size_t count);

/*
 * The map of count keys and values in env; they must belong to env too, unless it is built in
 * steps. Reorders the keys and returns false with ValueError if some are equal.
 */
bool map_from_arrays(ErlNifEnv *env, ERL_NIF_TERM *keys, ERL_NIF_TERM *values, size_t count,
                     ERL_NIF_TERM *term);

/* ---- convert_to_python.c ---- */

/* What a binary becomes: str when it is valid UTF-8, else bytes. */
PyObject *bytes_to_object(const unsigned char *data, size_t size);

/* ---- convert_to_erlang.c ---- */

/* One conversion of a Python object, from the outermost call to its end. */
typedef struct term_builder {
    ErlNifEnv *env;
    python_state *state;
    unsigned flags;
    nesting level;
    size_t weight;
    /* Elements of the containers that are being walked, innermost last: one allocation for all of
     * them. */
    ERL_NIF_TERM *terms;
    size_t count;
    size_t capacity;
    bool terms_allocated;
} term_builder;

/* The term of any object. */
bool build_term(term_builder *builder, PyObject *object, ERL_NIF_TERM *term);

bool build_string(term_builder *builder, PyObject *string, ERL_NIF_TERM *term);
bool build_integer(term_builder *builder, PyObject *integer, ERL_NIF_TERM *term);
bool build_float(term_builder *builder, double value, ERL_NIF_TERM *term);
bool build_list(term_builder *builder, PyObject *list, ERL_NIF_TERM *term);
bool build_tuple(term_builder *builder, PyObject *tuple, ERL_NIF_TERM *term);
bool build_dict(term_builder *builder, PyObject *dict, ERL_NIF_TERM *term);
bool build_set(term_builder *builder, PyObject *set, ERL_NIF_TERM *term);

/* Adds to the weight; false with MemoryError set when the term gets larger than it may. */
bool builder_weigh(term_builder *builder, size_t bytes);

/* A binary with a copy of size bytes. */
bool build_bytes(term_builder *builder, const void *data, size_t size, ERL_NIF_TERM *term);

/*
 * Makes room for count more elements and returns where they begin; SIZE_MAX with MemoryError set.
 * An index, because the array moves when a nested container needs room. Give them back by setting
 * builder->count to it again.
 */
size_t builder_reserve(term_builder *builder, size_t count);

/* The map of count keys at builder->terms[base] and their values behind them; ValueError for equal
 * keys. */
bool build_map_from_reserved(term_builder *builder, size_t base, size_t count, ERL_NIF_TERM *term);

/* ---- convert_objects.c ---- */

/* The term of an object whose type is none of the exact built-in ones that build_term() knows. */
bool build_other(term_builder *builder, PyObject *object, ERL_NIF_TERM *term);

/* ---- convert_buffer.c ---- */

/* The bytes of anything that exports a buffer (but not one of object pointers) as a binary. */
bool build_buffer(term_builder *builder, PyObject *object, ERL_NIF_TERM *term);

/* Arrays and buffers. Sets *handled to false when the object is neither (then nothing else is set).
 */
bool build_array_or_buffer(term_builder *builder, PyObject *object, ERL_NIF_TERM *term,
                           bool *handled);

#endif
