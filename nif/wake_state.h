/*
 * The half of a wake.Waker (internal/wake) that C uses: waking a loop without entering Go, which
 * costs a thread that has waited 15 us and wakes Go's own housekeeping thread.
 *
 * A state is Go's memory, pinned by core_wake_pin() until core_wake_unpin(); it may be used by any
 * thread in between, also after its waker was closed.
 */
#ifndef ERLANG_PYTHON_WAKE_STATE_H
#define ERLANG_PYTHON_WAKE_STATE_H

#include <stddef.h>
#include <stdint.h>

/* wake.State, whose documentation says what the fields are. To cgo, which does not know
 * _Atomic, they are plain. */
typedef struct {
    uint32_t state;
    int32_t writers;
    uint32_t notified;
    int32_t fd;
    char padding[48]; /* to a cache line */
} wake_state;

/* States of a waker and the layout, for the check that Go means the same. */
enum {
    WAKE_SLEEPING = 1,
    WAKE_SIGNALLED = 2,
    WAKE_STATE_OFFSET = offsetof(wake_state, state),
    WAKE_WRITERS_OFFSET = offsetof(wake_state, writers),
    WAKE_NOTIFIED_OFFSET = offsetof(wake_state, notified),
    WAKE_FD_OFFSET = offsetof(wake_state, fd),
};

/* wake.Waker.Wake: ends the owner's sleep, or the one that it is about to begin. What it is woken
 * for must be visible before. From any thread, at any time. */
void wake_signal(wake_state *wake);

/* wake.Waker.Notify: the same, and says so. */
void wake_notify(wake_state *wake);

#endif
