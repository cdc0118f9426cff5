/*
 * NIF resources: what an Erlang term holds of a Go object is a handle, not a pointer (but for
 * loop_door.h); the object is looked up in a registry (resource.go), and a handle whose object is
 * gone finds nothing.
 */
#ifndef ERLANG_PYTHON_RESOURCE_H
#define ERLANG_PYTHON_RESOURCE_H

#include <erl_nif.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum resource_kind {
    RESOURCE_CONTEXT, /* a Python context: py:context/0 */
    RESOURCE_BINDING, /* the tie of a process to its context; never seen by Erlang, only monitors */
    RESOURCE_WATCH,   /* the tie of suspended tasks to their process; only monitors */
    RESOURCE_LOOP,    /* an event loop; the object that enif_select knows its poll set by */
    RESOURCE_FD,      /* a registration of a file descriptor with a loop */
    RESOURCE_TIMER,   /* a timer of a loop */
    RESOURCE_CHANNEL, /* a channel from Erlang to Python; monitors its owner */
    RESOURCE_PROCESS, /* a process of the system; monitors its owner */
    RESOURCE_KINDS,
} resource_kind;

typedef struct resource {
    uint64_t handle;
    struct loop_door *door; /* of a RESOURCE_LOOP, for as long as the resource lives */
} resource;

/* Opened by the shim's load function. */
extern ErlNifResourceType *resource_types[RESOURCE_KINDS];

/* A new resource object with one reference, to be given up by enif_release_resource(); NULL without
 * memory. */
resource *resource_new(resource_kind kind, uint64_t handle);

/* The handle in a term, or 0 when the term is no resource of that kind. */
uint64_t resource_handle(ErlNifEnv *env, ERL_NIF_TERM term, resource_kind kind);

#endif
