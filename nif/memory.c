#define PY_SSIZE_T_CLEAN
#include "memory.h"

#include <Python.h>
#include <stdatomic.h>
#include <stdlib.h>

#if defined(__APPLE__)
#include <malloc/malloc.h>
#define BLOCK_SIZE(block) malloc_size(block)
#elif defined(__FreeBSD__)
#include <malloc_np.h>
#define BLOCK_SIZE(block) malloc_usable_size(block)
#else
#include <malloc.h>
#define BLOCK_SIZE(block) malloc_usable_size(block)
#endif

/* Signed: blocks from before the counting are given back as well. */
static _Atomic int64_t counted;
static _Atomic int64_t most;
static _Atomic int64_t limit = INT64_MAX;
static PyMemAllocatorEx raw;
static PyObjectArenaAllocator arenas;
static bool installed;

static _Thread_local bool exempted;

static bool fits(size_t size) {
    return (size <= INT64_MAX &&
            (int64_t)size <= atomic_load_explicit(&limit, memory_order_relaxed) -
                                 atomic_load_explicit(&counted, memory_order_relaxed)) ||
           exempted;
}

static void count(int64_t size) {
    int64_t now = atomic_fetch_add_explicit(&counted, size, memory_order_relaxed) + size;
    int64_t before = atomic_load_explicit(&most, memory_order_relaxed);
    while (now > before && !atomic_compare_exchange_weak_explicit(
                               &most, &before, now, memory_order_relaxed, memory_order_relaxed)) {
    }
}

static void *raw_malloc(void *context, size_t size) {
    (void)context;
    void *block = fits(size) ? raw.malloc(raw.ctx, size) : NULL;
    if (block != NULL) {
        count((int64_t)BLOCK_SIZE(block));
    }
    return block;
}

static void *raw_calloc(void *context, size_t number, size_t size) {
    (void)context;
    bool sane = size == 0 || number <= SIZE_MAX / size;
    void *block = sane && fits(number * size) ? raw.calloc(raw.ctx, number, size) : NULL;
    if (block != NULL) {
        count((int64_t)BLOCK_SIZE(block));
    }
    return block;
}

static void *raw_realloc(void *context, void *old, size_t size) {
    (void)context;
    int64_t before = old != NULL ? (int64_t)BLOCK_SIZE(old) : 0;
    bool grows = size > (size_t)before;
    if (grows && !fits(size - (size_t)before)) {
        return NULL;
    }
    void *block = raw.realloc(raw.ctx, old, size);
    if (block != NULL) {
        count((int64_t)BLOCK_SIZE(block) - before);
    }
    return block;
}

static void raw_free(void *context, void *block) {
    (void)context;
    if (block != NULL) {
        atomic_fetch_sub_explicit(&counted, (int64_t)BLOCK_SIZE(block), memory_order_relaxed);
        raw.free(raw.ctx, block);
    }
}

/* Without an arena small objects come from the raw domain, whose bound is what raises. */
static void *arena_alloc(void *context, size_t size) {
    (void)context;
    void *arena = fits(size) ? arenas.alloc(arenas.ctx, size) : NULL;
    if (arena != NULL) {
        count((int64_t)size);
    }
    return arena;
}

static void arena_free(void *context, void *arena, size_t size) {
    (void)context;
    atomic_fetch_sub_explicit(&counted, (int64_t)size, memory_order_relaxed);
    arenas.free(arenas.ctx, arena, size);
}

static bool chosen(const char *name) {
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0';
}

void memory_install(void) {
    /* The blocks of the debug allocators begin before the address that is given out. */
    if (installed || chosen("PYTHONMALLOC") || chosen("PYTHONDEVMODE")) {
        return;
    }
    installed = true;
    PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &raw);
    PyMemAllocatorEx counting_raw = {NULL, raw_malloc, raw_calloc, raw_realloc, raw_free};
    PyMem_SetAllocator(PYMEM_DOMAIN_RAW, &counting_raw);
    PyObject_GetArenaAllocator(&arenas);
    PyObjectArenaAllocator counting_arenas = {NULL, arena_alloc, arena_free};
    PyObject_SetArenaAllocator(&counting_arenas);
}

void memory_set_limit(size_t bytes) {
    atomic_store(&limit, bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes);
}

void memory_exempt(bool exempt) { exempted = exempt; }

bool memory_counted(uint64_t *bytes, uint64_t *highest) {
    int64_t now = atomic_load(&counted);
    int64_t top = atomic_load(&most);
    *bytes = now > 0 ? (uint64_t)now : 0;
    *highest = top > 0 ? (uint64_t)top : 0;
    return installed;
}
