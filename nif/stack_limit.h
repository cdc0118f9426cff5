/* Keeps recursion within the stacks of Python's threads. */
#ifndef ERLANG_PYTHON_STACK_LIMIT_H
#define ERLANG_PYTHON_STACK_LIMIT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Gives threads that Python starts stacks of stack_size bytes too, and bounds
 * sys.setrecursionlimit() before Python 3.12 by what fits into them. Call once with the GIL, before
 * code of users runs. False with an exception set.
 */
bool stack_limit_install(size_t stack_size);

#endif
