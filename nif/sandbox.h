/*
 * What Python code must not do to the VM that it lives in: fork, replace or end its process, change
 * its signals and limits. docs/security.md has the table of rules, events and functions.
 *
 * Two mechanisms. An audit hook (PEP 578) sees what CPython announces; it is added before Python
 * starts and cannot be removed. Functions that announce nothing are guarded: the C function in
 * their PyMethodDef is replaced, so that every object made from it in any interpreter, a
 * re-imported module's included, runs the guard.
 *
 * It keeps honest code from accidents. It is no wall against code that wants out: whoever may load
 * C extensions or use ctypes can do anything.
 */
#ifndef ERLANG_PYTHON_SANDBOX_H
#define ERLANG_PYTHON_SANDBOX_H

#include "python_state.h"

#include <stdbool.h>
#include <stdint.h>

/* Rule names are the keys of the application environment's `sandbox`; py_sandbox.erl has the same
 * bits. */
typedef enum sandbox_rule {
    SANDBOX_SUBPROCESS,
    SANDBOX_FORK,
    SANDBOX_EXEC,
    SANDBOX_EXIT,
    SANDBOX_SIGNALS,
    SANDBOX_FAULTHANDLER,
    SANDBOX_LIMITS,
    SANDBOX_DESCRIPTORS,
    SANDBOX_CTYPES,
    SANDBOX_IDENTITY,
    SANDBOX_RULES,
} sandbox_rule;

/*
 * Sets which rules deny: bit 1 << rule. Any thread, any time; before the first call everything but
 * ctypes is denied. Where subprocesses or fork are allowed it gives SIGCHLD its default action,
 * since the kernel keeps no exit status of children while SIGCHLD is ignored, as the VM has it.
 */
void sandbox_set_policy(unsigned denied);

/* Adds the audit hook. Call before Python is initialised; false without memory. */
bool sandbox_install_hook(void);

/* Guards the functions that announce nothing. Call once with the GIL, before code of users runs.
 * False with an exception set. */
bool sandbox_install_guards(void);

/* True when the rule lets the call go on; else erlang.SandboxError is set, whose text begins with
 * `what`. */
bool sandbox_permits(sandbox_rule rule, const char *what);

/* Makes the type erlang.SandboxError and adds it to module. False with an exception set. */
bool sandbox_setup(python_state *state, PyObject *module);

#endif
