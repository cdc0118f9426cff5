/*
 * The functions of erl_nif.h that the conversion uses, without a VM: every term is a block of its
 * own, freed with its environment, so that valgrind sees each byte that is read beyond a term,
 * after its environment, or before it was written.
 */
#include "fake_enif.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct block {
    struct block *next;
    ErlNifTermType type;
    size_t size; /* bytes, elements or pairs */
    union {
        ErlNifSInt64 integer;
        double number;
        unsigned char *bytes; /* binaries, big integers in the external format, atoms */
        ERL_NIF_TERM *terms;  /* tuples; keys and values of maps */
        struct {
            ERL_NIF_TERM head;
            ERL_NIF_TERM tail;
        } cell;
    } u;
} block;

struct enif_environment_t {
    block *blocks;
};

static long environments;

long fake_environments(void) { return environments; }

static block *block_of(ERL_NIF_TERM term) { return (block *)term; }

ErlNifEnv *enif_alloc_env(void) {
    environments++;
    return calloc(1, sizeof(ErlNifEnv));
}

static bool has_bytes(const block *b) {
    return b->type == ERL_NIF_TERM_TYPE_BITSTRING || b->type == ERL_NIF_TERM_TYPE_ATOM ||
           (b->type == ERL_NIF_TERM_TYPE_INTEGER && b->size > 0);
}

static bool has_terms(const block *b) {
    return b->type == ERL_NIF_TERM_TYPE_TUPLE || b->type == ERL_NIF_TERM_TYPE_MAP;
}

void enif_free_env(ErlNifEnv *env) {
    while (env->blocks != NULL) {
        block *b = env->blocks;
        env->blocks = b->next;
        if (has_bytes(b)) {
            free(b->u.bytes);
        } else if (has_terms(b)) {
            free(b->u.terms);
        }
        free(b);
    }
    free(env);
    environments--;
}

static block *make(ErlNifEnv *env, ErlNifTermType type, size_t size) {
    block *b = malloc(sizeof(*b));
    b->type = type;
    b->size = size;
    b->next = env->blocks;
    env->blocks = b;
    return b;
}

/* ---- Atoms: one block for each, never freed */

static ErlNifEnv atoms;

static block *find_atom(const char *text, size_t size) {
    for (block *b = atoms.blocks; b != NULL; b = b->next) {
        if (b->size == size && memcmp(b->u.bytes, text, size) == 0) {
            return b;
        }
    }
    return NULL;
}

/* In UTF-8. */
static ERL_NIF_TERM atom(const char *text, size_t size) {
    block *b = find_atom(text, size);
    if (b == NULL) {
        b = make(&atoms, ERL_NIF_TERM_TYPE_ATOM, size);
        b->u.bytes = malloc(size + 1);
        memcpy(b->u.bytes, text, size);
    }
    return (ERL_NIF_TERM)b;
}

/* Latin-1 as UTF-8; the size of the result. */
static size_t latin1_to_utf8(const char *text, size_t size, char *utf8) {
    size_t length = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned char character = (unsigned char)text[i];
        if (character >= 0x80) {
            utf8[length++] = (char)(0xC0 | character >> 6);
            utf8[length++] = (char)(0x80 | (character & 0x3F));
        } else {
            utf8[length++] = (char)character;
        }
    }
    return length;
}

ERL_NIF_TERM enif_make_atom(ErlNifEnv *env, const char *name) {
    (void)env;
    return atom(name, strlen(name));
}

ERL_NIF_TERM enif_make_atom_len(ErlNifEnv *env, const char *name, size_t size) {
    char utf8[512];
    (void)env;
    return atom(utf8, latin1_to_utf8(name, size, utf8));
}

int enif_make_existing_atom_len(ErlNifEnv *env, const char *name, size_t size, ERL_NIF_TERM *term,
                                ErlNifCharEncoding encoding) {
    char utf8[512];
    (void)env, (void)encoding;
    block *b = find_atom(utf8, latin1_to_utf8(name, size, utf8));
    *term = (ERL_NIF_TERM)b;
    return b != NULL;
}

int enif_is_atom(ErlNifEnv *env, ERL_NIF_TERM term) {
    (void)env;
    return block_of(term)->type == ERL_NIF_TERM_TYPE_ATOM;
}

/* Latin-1 of an atom, or false when it has other characters. */
static bool atom_latin1(const block *b, char *text, unsigned *length) {
    *length = 0;
    for (size_t i = 0; i < b->size; i++) {
        unsigned char byte = b->u.bytes[i];
        if (byte >= 0x80) {
            if (byte > 0xC3) {
                return false;
            }
            byte = (unsigned char)((byte & 0x03) << 6 | (b->u.bytes[++i] & 0x3F));
        }
        text[(*length)++] = (char)byte;
    }
    return true;
}

int enif_get_atom_length(ErlNifEnv *env, ERL_NIF_TERM term, unsigned *length,
                         ErlNifCharEncoding encoding) {
    char text[1024];
    (void)encoding;
    return enif_is_atom(env, term) && atom_latin1(block_of(term), text, length);
}

int enif_get_atom(ErlNifEnv *env, ERL_NIF_TERM term, char *buffer, unsigned size,
                  ErlNifCharEncoding encoding) {
    char text[1024];
    unsigned length;
    (void)encoding;
    if (!enif_is_atom(env, term) || !atom_latin1(block_of(term), text, &length) || length >= size) {
        return 0;
    }
    memcpy(buffer, text, length);
    buffer[length] = '\0';
    return (int)length + 1;
}

/* ---- Numbers */

ERL_NIF_TERM enif_make_int64(ErlNifEnv *env, ErlNifSInt64 value) {
    block *b = make(env, ERL_NIF_TERM_TYPE_INTEGER, 0);
    b->u.integer = value;
    return (ERL_NIF_TERM)b;
}

int enif_get_int64(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifSInt64 *value) {
    const block *b = block_of(term);
    (void)env;
    if (b->type != ERL_NIF_TERM_TYPE_INTEGER || b->size > 0) {
        return 0;
    }
    *value = b->u.integer;
    return 1;
}

int enif_get_uint64(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifUInt64 *value) {
    ErlNifSInt64 small;
    if (!enif_get_int64(env, term, &small) || small < 0) {
        return 0;
    }
    *value = (ErlNifUInt64)small;
    return 1;
}

ERL_NIF_TERM enif_make_double(ErlNifEnv *env, double value) {
    block *b = make(env, ERL_NIF_TERM_TYPE_FLOAT, 0);
    b->u.number = value;
    return (ERL_NIF_TERM)b;
}

int enif_get_double(ErlNifEnv *env, ERL_NIF_TERM term, double *value) {
    (void)env;
    *value = block_of(term)->u.number;
    return block_of(term)->type == ERL_NIF_TERM_TYPE_FLOAT;
}

/* ---- Binaries and the external format */

static ERL_NIF_TERM make_bytes(ErlNifEnv *env, ErlNifTermType type, const void *data, size_t size) {
    block *b = make(env, type, size);
    b->u.bytes = malloc(size);
    if (data != NULL) {
        memcpy(b->u.bytes, data, size);
    }
    return (ERL_NIF_TERM)b;
}

unsigned char *enif_make_new_binary(ErlNifEnv *env, size_t size, ERL_NIF_TERM *term) {
    *term = make_bytes(env, ERL_NIF_TERM_TYPE_BITSTRING, NULL, size);
    return block_of(*term)->u.bytes;
}

int enif_inspect_binary(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifBinary *binary) {
    (void)env;
    if (block_of(term)->type != ERL_NIF_TERM_TYPE_BITSTRING) {
        return 0;
    }
    binary->data = block_of(term)->u.bytes;
    binary->size = block_of(term)->size;
    return 1;
}

size_t enif_binary_to_term(ErlNifEnv *env, const unsigned char *data, size_t size,
                           ERL_NIF_TERM *term, unsigned flags) {
    enum { ATOM_UTF8 = 118 };
    if (data[1] == ATOM_UTF8) {
        size_t length = (size_t)data[2] << 8 | data[3];
        if (flags != 0 && find_atom((const char *)data + 4, length) == NULL) {
            return 0;
        }
        *term = atom((const char *)data + 4, length);
        return size;
    }
    *term = make_bytes(env, ERL_NIF_TERM_TYPE_INTEGER, data, size);
    return size;
}

int enif_term_to_binary(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifBinary *binary) {
    enum { VERSION = 131, ATOM_UTF8 = 118, HEADER = 4 };
    const block *b = block_of(term);
    size_t header = b->type == ERL_NIF_TERM_TYPE_ATOM ? HEADER : 0;
    (void)env;
    binary->size = header + b->size;
    binary->data = malloc(binary->size);
    if (header != 0) {
        unsigned char prefix[HEADER] = {VERSION, ATOM_UTF8, (unsigned char)(b->size >> 8),
                                        (unsigned char)b->size};
        memcpy(binary->data, prefix, HEADER);
    }
    memcpy(binary->data + header, b->u.bytes, b->size);
    return 1;
}

void enif_release_binary(ErlNifBinary *binary) { free(binary->data); }

/* ---- Lists and tuples; the empty list is a cell of size 0 */

static ERL_NIF_TERM make_cell(ErlNifEnv *env, size_t size, ERL_NIF_TERM head, ERL_NIF_TERM tail) {
    block *b = make(env, ERL_NIF_TERM_TYPE_LIST, size);
    b->u.cell.head = head;
    b->u.cell.tail = tail;
    return (ERL_NIF_TERM)b;
}

ERL_NIF_TERM enif_make_list(ErlNifEnv *env, unsigned count, ...) {
    (void)count;
    return make_cell(env, 0, 0, 0);
}

ERL_NIF_TERM enif_make_list_cell(ErlNifEnv *env, ERL_NIF_TERM head, ERL_NIF_TERM tail) {
    return make_cell(env, 1, head, tail);
}

ERL_NIF_TERM enif_make_list_from_array(ErlNifEnv *env, const ERL_NIF_TERM *terms, unsigned count) {
    ERL_NIF_TERM list = make_cell(env, 0, 0, 0);
    for (unsigned i = count; i > 0; i--) {
        list = make_cell(env, 1, terms[i - 1], list);
    }
    return list;
}

int enif_get_list_cell(ErlNifEnv *env, ERL_NIF_TERM list, ERL_NIF_TERM *head, ERL_NIF_TERM *tail) {
    const block *b = block_of(list);
    (void)env;
    if (b->type != ERL_NIF_TERM_TYPE_LIST || b->size == 0) {
        return 0;
    }
    *head = b->u.cell.head;
    *tail = b->u.cell.tail;
    return 1;
}

int enif_get_list_length(ErlNifEnv *env, ERL_NIF_TERM list, unsigned *length) {
    ERL_NIF_TERM head;
    *length = 0;
    while (enif_get_list_cell(env, list, &head, &list)) {
        ++*length;
    }
    return block_of(list)->type == ERL_NIF_TERM_TYPE_LIST;
}

static ERL_NIF_TERM make_terms(ErlNifEnv *env, ErlNifTermType type, size_t size, size_t count) {
    block *b = make(env, type, size);
    b->u.terms = malloc(count * sizeof(ERL_NIF_TERM));
    return (ERL_NIF_TERM)b;
}

ERL_NIF_TERM enif_make_tuple_from_array(ErlNifEnv *env, const ERL_NIF_TERM *terms, unsigned count) {
    ERL_NIF_TERM tuple = make_terms(env, ERL_NIF_TERM_TYPE_TUPLE, count, count);
    memcpy(block_of(tuple)->u.terms, terms, count * sizeof(ERL_NIF_TERM));
    return tuple;
}

int enif_get_tuple(ErlNifEnv *env, ERL_NIF_TERM term, int *arity, const ERL_NIF_TERM **terms) {
    (void)env;
    *arity = (int)block_of(term)->size;
    *terms = block_of(term)->u.terms;
    return block_of(term)->type == ERL_NIF_TERM_TYPE_TUPLE;
}

/* ---- Order: any total one will do */

static int order(size_t left, size_t right) { return left < right ? -1 : left > right; }

int enif_compare(ERL_NIF_TERM left, ERL_NIF_TERM right) {
    const block *a = block_of(left);
    const block *b = block_of(right);
    int result = order(a->type, b->type);
    if (result == 0) {
        result = order(a->size, b->size);
    }
    if (result != 0 || a == b) {
        return result;
    }
    if (has_bytes(a)) {
        return memcmp(a->u.bytes, b->u.bytes, a->size);
    }
    if (has_terms(a)) {
        size_t count = a->type == ERL_NIF_TERM_TYPE_MAP ? 2 * a->size : a->size;
        for (size_t i = 0; result == 0 && i < count; i++) {
            result = enif_compare(a->u.terms[i], b->u.terms[i]);
        }
        return result;
    }
    if (a->type == ERL_NIF_TERM_TYPE_LIST) {
        if (a->size == 0) {
            return 0;
        }
        result = enif_compare(a->u.cell.head, b->u.cell.head);
        return result != 0 ? result : enif_compare(a->u.cell.tail, b->u.cell.tail);
    }
    return memcmp(&a->u, &b->u, sizeof a->u.integer);
}

int enif_is_identical(ERL_NIF_TERM left, ERL_NIF_TERM right) {
    return enif_compare(left, right) == 0;
}

ErlNifUInt64 enif_hash(ErlNifHash type, ERL_NIF_TERM term, ErlNifUInt64 salt) {
    (void)type;
    return block_of(term)->size * 31 + salt;
}

/* ---- Maps: keys, then values */

ERL_NIF_TERM enif_make_new_map(ErlNifEnv *env) {
    return make_terms(env, ERL_NIF_TERM_TYPE_MAP, 0, 0);
}

static size_t find_key(const block *map, ERL_NIF_TERM key) {
    size_t i = 0;
    while (i < map->size && !enif_is_identical(map->u.terms[i], key)) {
        i++;
    }
    return i;
}

int enif_make_map_put(ErlNifEnv *env, ERL_NIF_TERM map, ERL_NIF_TERM key, ERL_NIF_TERM value,
                      ERL_NIF_TERM *result) {
    const block *old = block_of(map);
    size_t at = find_key(old, key);
    size_t size = old->size + (at == old->size);
    ERL_NIF_TERM fresh = make_terms(env, ERL_NIF_TERM_TYPE_MAP, size, 2 * size);
    ERL_NIF_TERM *terms = block_of(fresh)->u.terms;
    memcpy(terms, old->u.terms, old->size * sizeof(*terms));
    memcpy(terms + size, old->u.terms + old->size, old->size * sizeof(*terms));
    terms[at] = key;
    terms[size + at] = value;
    *result = fresh;
    return 1;
}

int enif_make_map_from_arrays(ErlNifEnv *env, ERL_NIF_TERM keys[], ERL_NIF_TERM values[],
                              size_t count, ERL_NIF_TERM *map) {
    *map = make_terms(env, ERL_NIF_TERM_TYPE_MAP, count, 2 * count);
    block *b = block_of(*map);
    for (size_t i = 0; i < count; i++) {
        b->size = i;
        if (find_key(b, keys[i]) < i) {
            return 0;
        }
        b->u.terms[i] = keys[i];
    }
    b->size = count;
    memcpy(b->u.terms + count, values, count * sizeof(*values));
    return 1;
}

int enif_get_map_size(ErlNifEnv *env, ERL_NIF_TERM map, size_t *size) {
    (void)env;
    *size = block_of(map)->size;
    return block_of(map)->type == ERL_NIF_TERM_TYPE_MAP;
}

int enif_map_iterator_create(ErlNifEnv *env, ERL_NIF_TERM map, ErlNifMapIterator *iterator,
                             ErlNifMapIteratorEntry entry) {
    (void)env, (void)entry;
    iterator->map = map;
    iterator->idx = 0;
    return block_of(map)->type == ERL_NIF_TERM_TYPE_MAP;
}

int enif_map_iterator_get_pair(ErlNifEnv *env, ErlNifMapIterator *iterator, ERL_NIF_TERM *key,
                               ERL_NIF_TERM *value) {
    const block *b = block_of(iterator->map);
    (void)env;
    if (iterator->idx >= b->size) {
        return 0;
    }
    *key = b->u.terms[iterator->idx];
    *value = b->u.terms[b->size + iterator->idx];
    return 1;
}

int enif_map_iterator_next(ErlNifEnv *env, ErlNifMapIterator *iterator) {
    (void)env;
    return ++iterator->idx < block_of(iterator->map)->size;
}

void enif_map_iterator_destroy(ErlNifEnv *env, ErlNifMapIterator *iterator) {
    (void)env, (void)iterator;
}

/* ---- The rest */

ErlNifTermType enif_term_type(ErlNifEnv *env, ERL_NIF_TERM term) {
    (void)env;
    return block_of(term)->type;
}

/* As a message is copied: nothing of the result is in the old environment. */
ERL_NIF_TERM enif_make_copy(ErlNifEnv *env, ERL_NIF_TERM term) {
    const block *b = block_of(term);
    if (b->type == ERL_NIF_TERM_TYPE_ATOM) {
        return term;
    }
    if (has_bytes(b)) {
        return make_bytes(env, b->type, b->u.bytes, b->size);
    }
    if (has_terms(b)) {
        size_t count = b->type == ERL_NIF_TERM_TYPE_MAP ? 2 * b->size : b->size;
        ERL_NIF_TERM copy = make_terms(env, b->type, b->size, count);
        for (size_t i = 0; i < count; i++) {
            block_of(copy)->u.terms[i] = enif_make_copy(env, b->u.terms[i]);
        }
        return copy;
    }
    if (b->type == ERL_NIF_TERM_TYPE_LIST) {
        ERL_NIF_TERM first = make_cell(env, b->size, 0, 0);
        block *last = block_of(first);
        while (b->size != 0) {
            last->u.cell.head = enif_make_copy(env, b->u.cell.head);
            b = block_of(b->u.cell.tail);
            last->u.cell.tail = make_cell(env, b->size, 0, 0);
            last = block_of(last->u.cell.tail);
        }
        return first;
    }
    block *copy = make(env, b->type, b->size);
    copy->u = b->u;
    return (ERL_NIF_TERM)copy;
}

int enif_get_local_pid(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifPid *pid) {
    (void)env, (void)term, (void)pid;
    return 0;
}

int enif_get_local_port(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifPort *port) {
    (void)env, (void)term, (void)port;
    return 0;
}

ERL_NIF_TERM fake_reference(ErlNifEnv *env) {
    block *b = make(env, ERL_NIF_TERM_TYPE_REFERENCE, 0);
    b->u.integer = (ErlNifSInt64)env;
    return (ERL_NIF_TERM)b;
}

int enif_snprintf(char *buffer, size_t size, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const block *b = block_of(va_arg(arguments, ERL_NIF_TERM));
    va_end(arguments);
    return snprintf(buffer, size, "<term of type %d, size %zu>", (int)b->type, b->size);
}

void enif_system_info(ErlNifSysInfo *info, size_t size) {
    static char version[32];
    const char *wanted = getenv("FAKE_ERTS_VERSION");
    (void)size;
    snprintf(version, sizeof version, "%s", wanted != NULL ? wanted : "13.1");
    memset(info, 0, sizeof *info);
    info->erts_version = version;
}
