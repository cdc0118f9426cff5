/*
 * The NIF library that erlang:load_nif opens: a table that forwards to the Go core (nif/), and the
 * resource types. No logic: what decides is in Go. The core is a library of its own because a Go
 * runtime cannot be unloaded.
 */
#include <erl_nif.h>

#include "../nif/nif_table.h"
#include "../nif/resource.h"

#define DECLARE(name, arity, flags)                                                                \
    extern ERL_NIF_TERM core_##name(ErlNifEnv *, int, const ERL_NIF_TERM *);
NIF_TABLE(DECLARE)

#define ENTRY(name, arity, flags) {#name, arity, core_##name, flags},
static ErlNifFunc functions[] = {NIF_TABLE(ENTRY)};

extern int core_load(ErlNifEnv *env, ERL_NIF_TERM load_info);
extern void core_resource_down(int kind, uint64_t handle, ErlNifPid *pid);
extern void core_resource_stop(int kind, uint64_t handle, int fd);
extern void core_resource_gone(int kind, uint64_t handle);

#define CALLBACKS(Kind, kind)                                                                      \
    static void kind##_gone(ErlNifEnv *env, void *object) {                                        \
        (void)env;                                                                                 \
        core_resource_gone(Kind, ((resource *)object)->handle);                                    \
    }                                                                                              \
    static void kind##_stop(ErlNifEnv *env, void *object, ErlNifEvent event, int direct) {         \
        (void)env, (void)direct;                                                                   \
        core_resource_stop(Kind, ((resource *)object)->handle, (int)event);                        \
    }                                                                                              \
    static void kind##_down(ErlNifEnv *env, void *object, ErlNifPid *pid, ErlNifMonitor *mon) {    \
        (void)env, (void)mon;                                                                      \
        core_resource_down(Kind, ((resource *)object)->handle, pid);                               \
    }

CALLBACKS(RESOURCE_CONTEXT, context)
CALLBACKS(RESOURCE_BINDING, binding)
CALLBACKS(RESOURCE_WATCH, watch)
CALLBACKS(RESOURCE_LOOP, loop)
CALLBACKS(RESOURCE_FD, fd)
CALLBACKS(RESOURCE_TIMER, timer)
CALLBACKS(RESOURCE_CHANNEL, channel)
CALLBACKS(RESOURCE_PROCESS, process)

#define OPEN(Kind, kind)                                                                           \
    do {                                                                                           \
        ErlNifResourceTypeInit callbacks = {                                                       \
            .dtor = kind##_gone, .stop = kind##_stop, .down = kind##_down, .members = 3};          \
        resource_types[Kind] = enif_init_resource_type(                                            \
            env, #kind, &callbacks, ERL_NIF_RT_CREATE | ERL_NIF_RT_TAKEOVER, NULL);                \
        if (resource_types[Kind] == NULL) {                                                        \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

static int load(ErlNifEnv *env, void **private_data, ERL_NIF_TERM load_info) {
    (void)private_data;
    OPEN(RESOURCE_CONTEXT, context);
    OPEN(RESOURCE_BINDING, binding);
    OPEN(RESOURCE_WATCH, watch);
    OPEN(RESOURCE_LOOP, loop);
    OPEN(RESOURCE_FD, fd);
    OPEN(RESOURCE_TIMER, timer);
    OPEN(RESOURCE_CHANNEL, channel);
    OPEN(RESOURCE_PROCESS, process);
    return core_load(env, load_info);
}

/* A second version of the core cannot be loaded beside the first one, nor the first one be
 * unloaded. */
static int upgrade(ErlNifEnv *env, void **private_data, void **old_private_data,
                   ERL_NIF_TERM load_info) {
    (void)env, (void)private_data, (void)old_private_data, (void)load_info;
    return 1;
}

ERL_NIF_INIT(py_nif, functions, load, NULL, upgrade, NULL)
