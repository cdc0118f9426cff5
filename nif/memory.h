/* How much memory Python has, and a bound for it. */
#ifndef ERLANG_PYTHON_MEMORY_H
#define ERLANG_PYTHON_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Counts what Python takes from the system: the arenas of small objects, and every block of the raw
 * domain, which larger objects come from. Call after Py_PreInitialize and before Python is
 * initialised. Does nothing when PYTHONMALLOC or PYTHONDEVMODE chose allocators of their own.
 */
void memory_install(void);

/* Sets the bound in bytes, SIZE_MAX for none; allocations beyond it raise MemoryError in Python.
 * Any thread. */
void memory_set_limit(size_t limit);

/* While exempt, the calling thread's allocations are not bounded: for those whose failure ends the
 * process. */
void memory_exempt(bool exempt);

/* Bytes that Python has, and the most that it ever had; false when they are not counted. Any
 * thread. */
bool memory_counted(uint64_t *bytes, uint64_t *highest);

#endif
