#include "resource.h"

ErlNifResourceType *resource_types[RESOURCE_KINDS];

resource *resource_new(resource_kind kind, uint64_t handle) {
    resource *object = enif_alloc_resource(resource_types[kind], sizeof(resource));
    if (object != NULL) {
        object->handle = handle;
        object->door = NULL;
    }
    return object;
}

uint64_t resource_handle(ErlNifEnv *env, ERL_NIF_TERM term, resource_kind kind) {
    void *object;
    if (!enif_get_resource(env, term, resource_types[kind], &object)) {
        return 0;
    }
    return ((resource *)object)->handle;
}
