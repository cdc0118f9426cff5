/*
 * Keeps the signal of a crash.
 *
 * The Go runtime answers a crash in C code (SIGSEGV, SIGBUS, ...) by raising SIGQUIT, on which the BEAM halts with
 * exit status 0, as if all were well. Go forwards a crash in C code to the handler that was there before its own, so
 * a handler that restores the default action is put in place first: the faulting instruction then runs again and the
 * process dies of the proper signal, with a core dump where those are enabled. Faults in Go code stay Go panics.
 */
#include <signal.h>
#include <string.h>

static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};

static void die_of_signal(int number) { signal(number, SIG_DFL); }

/* 101 is the first priority free for programs: Go's own constructor has none and runs later. */
__attribute__((constructor(101))) static void crash_guard_install(void) {
    for (size_t i = 0; i < sizeof(crash_signals) / sizeof(crash_signals[0]); i++) {
        struct sigaction current;
        if (sigaction(crash_signals[i], NULL, &current) == 0 &&
            !(current.sa_flags & SA_SIGINFO) && current.sa_handler == SIG_DFL) {
            struct sigaction guard;
            memset(&guard, 0, sizeof(guard));
            guard.sa_handler = die_of_signal;
            guard.sa_flags = SA_ONSTACK;
            sigaction(crash_signals[i], &guard, NULL);
        }
    }
}
