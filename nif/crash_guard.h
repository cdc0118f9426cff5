#ifndef ERLANG_PYTHON_CRASH_GUARD_H
#define ERLANG_PYTHON_CRASH_GUARD_H

/* Puts a handler for signals that somebody sends before Go's. Once the Go runtime runs; a second
 * call does nothing. */
void crash_guard_enclose(void);

#endif
