/*
 * What those who submit tasks to an event loop see of it, so that they need not enter Go, which
 * costs them more than all the rest of a submission.
 *
 * It is the loopDoor of an eventLoop (loop_door.go): Go's memory, pinned from the loop's beginning
 * until its resource is gone, so a NIF that has a term of the loop may use it, also when the loop
 * is closed. The flags are Go's atomic.Bool.
 */
#ifndef ERLANG_PYTHON_LOOP_DOOR_H
#define ERLANG_PYTHON_LOOP_DOOR_H

#include "task_queue.h"
#include "wake_state.h"

typedef struct loop_door {
    task_queue queue;
    alignas(TASK_LINE) wake_state wake;
    alignas(TASK_LINE) uint64_t handle;
    uint32_t destroyed; /* refuses everything */
    uint32_t awake;     /* its thread runs or spins */
    uint32_t quick;     /* a submitter may spin for his answer */
    uint32_t undriven;  /* its thread is to be started with the next task */
} loop_door;

/* The layout, for the check that Go means the same. */
enum {
    LOOP_DOOR_WAKE_OFFSET = offsetof(loop_door, wake),
    LOOP_DOOR_HANDLE_OFFSET = offsetof(loop_door, handle),
    LOOP_DOOR_DESTROYED_OFFSET = offsetof(loop_door, destroyed),
    LOOP_DOOR_AWAKE_OFFSET = offsetof(loop_door, awake),
    LOOP_DOOR_QUICK_OFFSET = offsetof(loop_door, quick),
    LOOP_DOOR_UNDRIVEN_OFFSET = offsetof(loop_door, undriven),
};

#endif
