/*
 * The half of a wake.Waker (internal/wake) that C uses: waking a loop without entering Go, which
 * costs a thread that has waited 15 us and wakes Go's own housekeeping thread.
 *
 * A state is Go's memory, pinned by core_wake_pin() until core_wake_unpin(); it may be used by any
 * thread in between, also after its waker was closed.
 */
#ifndef ERLANG_PYTHON_WAKE_STATE_H
#define ERLANG_PYTHON_WAKE_STATE_H

#include <stdint.h>

/* wake.State, whose documentation says what the fields are. To cgo, which does not know
 * _Atomic, they are plain. */
typedef struct {
    uint32_t state;
    int32_t writers;
    uint32_t notified;
    int32_t fd;
} wake_state;

/* wake.Waker.Notify: ends the owner's sleep, or its next one, and says so. From any thread, at any
 * time. */
void wake_notify(wake_state *wake);

#endif
