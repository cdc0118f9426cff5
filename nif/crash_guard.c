/*
 * Keeps the signal of a crash.
 *
 * The Go runtime answers a crash in C code (SIGSEGV, SIGBUS, ...) by raising SIGQUIT, on which the
 * BEAM halts with exit status 0, as if all were well. Go forwards a crash in C code to the handler
 * that was there before its own, so a handler that restores the default action is put in place
 * first: the faulting instruction then runs again and the process dies of the proper signal, with a
 * core dump where those are enabled. Faults in Go code stay Go panics.
 *
 * A signal that was sent (kill, raise) and not caused by a fault is not forwarded by Go;
 * crash_guard_enclose() puts a handler before Go's own that sees to those.
 */
#include "crash_guard.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
enum { CRASH_SIGNALS = sizeof(crash_signals) / sizeof(crash_signals[0]) };

/* Of the BEAM, which ignores SIGFPE. Go would ignore it as well and run into the same fault again,
 * for ever. */
static sigset_t ignored;

static struct sigaction of_go[CRASH_SIGNALS];

static bool was_sent(const siginfo_t *info) { return info->si_code <= 0; }

static void die_of_signal(int number, siginfo_t *info, void *context) {
    (void)context;
    if (was_sent(info) && sigismember(&ignored, number)) {
        return;
    }
    signal(number, SIG_DFL);
    if (was_sent(info)) {
        raise(number);
    }
}

static void sort_signal(int number, siginfo_t *info, void *context) {
    if (was_sent(info)) {
        die_of_signal(number, info, context);
        return;
    }
    for (size_t i = 0; i < CRASH_SIGNALS; i++) {
        if (crash_signals[i] == number) {
            of_go[i].sa_sigaction(number, info, context);
        }
    }
}

/* 101 is the first priority free for programs: Go's own constructor has none and runs later. */
__attribute__((constructor(101))) static void crash_guard_install(void) {
    sigemptyset(&ignored);
    for (size_t i = 0; i < CRASH_SIGNALS; i++) {
        struct sigaction current;
        if (sigaction(crash_signals[i], NULL, &current) != 0 || (current.sa_flags & SA_SIGINFO) ||
            !(current.sa_handler == SIG_DFL || current.sa_handler == SIG_IGN)) {
            continue;
        }
        if (current.sa_handler == SIG_IGN) {
            sigaddset(&ignored, crash_signals[i]);
        }
        struct sigaction guard;
        memset(&guard, 0, sizeof(guard));
        guard.sa_sigaction = die_of_signal;
        guard.sa_flags = SA_ONSTACK | SA_SIGINFO;
        sigaction(crash_signals[i], &guard, NULL);
    }
}

void crash_guard_enclose(void) {
    for (size_t i = 0; i < CRASH_SIGNALS; i++) {
        struct sigaction current;
        if (sigaction(crash_signals[i], NULL, &current) != 0 || !(current.sa_flags & SA_SIGINFO) ||
            current.sa_sigaction == die_of_signal || current.sa_sigaction == sort_signal) {
            continue;
        }
        of_go[i] = current;
        current.sa_sigaction = sort_signal;
        sigaction(crash_signals[i], &current, NULL);
    }
}
