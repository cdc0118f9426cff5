#include "wake_state.h"

#include <errno.h>
#include <stdbool.h>
#include <unistd.h>

static void write_signal(int fd) {
#ifdef __linux__
    const uint64_t signal = 1; /* what an eventfd takes */
#else
    const char signal = 0;
#endif
    while (write(fd, &signal, sizeof(signal)) < 0 && errno == EINTR) {
    }
}

void wake_notify(wake_state *wake) {
    __atomic_store_n(&wake->notified, 1, __ATOMIC_SEQ_CST);
    wake_signal(wake);
}

void wake_signal(wake_state *wake) {
    if (__atomic_load_n(&wake->state, __ATOMIC_SEQ_CST) != WAKE_SLEEPING) {
        return;
    }
    __atomic_fetch_add(&wake->writers, 1, __ATOMIC_SEQ_CST);
    uint32_t sleeping = WAKE_SLEEPING;
    if (__atomic_compare_exchange_n(&wake->state, &sleeping, WAKE_SIGNALLED, false,
                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        write_signal(wake->fd);
    }
    __atomic_fetch_sub(&wake->writers, 1, __ATOMIC_SEQ_CST);
}
