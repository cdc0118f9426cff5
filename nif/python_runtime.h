/* Starting Python, and the threads that run it. */
#ifndef ERLANG_PYTHON_PYTHON_RUNTIME_H
#define ERLANG_PYTHON_PYTHON_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Creates a detached thread with a stack of stack_size bytes that runs core_thread_main(handle)
 * (Go). Only synchronous signals reach it: the BEAM handles all others on threads of its own.
 * Returns 0 or an errno.
 */
int python_thread_create(uint64_t handle, size_t stack_size);

/*
 * Starts Python on the calling thread, which becomes Python's main thread and must stay alive and
 * attached for good. executable: path of the python3 whose prefix, standard library and (in a
 * virtual environment) packages are used. package_path: folder of the `erlang` package, put on
 * sys.path. stack_size: of threads that Python starts, in bytes. On success the GIL is released and
 * the result is NULL; otherwise the reason, to be freed with free().
 */
char *python_runtime_start(const char *executable, const char *package_path, size_t stack_size);

/*
 * Puts count folders on sys.path, behind that of the package, in place of those of the last call.
 * On an attached thread, without the GIL. NULL, or the reason, to be freed with free().
 */
char *python_runtime_set_paths(void *thread_state, const char *const *paths, size_t count);

/*
 * Attaches the calling thread to the main interpreter for the thread's life and returns its
 * PyThreadState, with the GIL released; NULL when out of memory. Keeping it for life is a fifth
 * faster than creating it per call, and keeps threading.local() alive between calls.
 */
void *python_thread_attach(void);

/* Ends the attachment: the last act of a thread that python_thread_attach()ed. Takes and releases
 * the GIL. */
void python_thread_detach(void *thread_state);

/* threading.get_ident() of the calling thread. */
unsigned long python_thread_identity(void);

#endif
