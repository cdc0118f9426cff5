/* Which file descriptors are not Python's: sandbox_guards.c keeps Python from closing them. */
#ifndef ERLANG_PYTHON_DESCRIPTORS_H
#define ERLANG_PYTHON_DESCRIPTORS_H

#include <stdbool.h>

/* Remembers what is open, which is the VM's. Call once, before code of users runs. */
void descriptors_remember(void);

/*
 * Whether a descriptor was open when the VM started Python and is the same still, or is one with
 * which the core waits. What the VM opened since (sockets, files, pipes of ports) cannot be told
 * from what Python opens.
 */
bool descriptors_of_others(long descriptor);

#endif
