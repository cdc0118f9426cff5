/* Guards for functions that CPython does not audit: see sandbox.h. */
#include "sandbox.h"

#include <signal.h>
#include <string.h>

typedef enum guard_action {
    GUARD_DENY,  /* denied by the rule, or the original */
    GUARD_CHILD, /* the same; the original starts a process, which must not inherit our blocked
                    signals */
    GUARD_TIMER, /* denied only when it asks for the process to be ended at the end */
} guard_action;

#define GUARDS(GUARD)                                                                              \
    GUARD(posix, _exit, SANDBOX_EXIT, GUARD_DENY)                                                  \
    GUARD(posix, abort, SANDBOX_EXIT, GUARD_DENY)                                                  \
    GUARD(posix, closerange, SANDBOX_DESCRIPTORS, GUARD_DENY)                                      \
    GUARD(posix, system, SANDBOX_SUBPROCESS, GUARD_CHILD)                                          \
    GUARD(posix, posix_spawn, SANDBOX_SUBPROCESS, GUARD_CHILD)                                     \
    GUARD(posix, posix_spawnp, SANDBOX_SUBPROCESS, GUARD_CHILD)                                    \
    GUARD(posix, fork, SANDBOX_FORK, GUARD_CHILD)                                                  \
    GUARD(posix, forkpty, SANDBOX_FORK, GUARD_CHILD)                                               \
    GUARD(_posixsubprocess, fork_exec, SANDBOX_SUBPROCESS, GUARD_CHILD)                            \
    GUARD(_signal, raise_signal, SANDBOX_SIGNALS, GUARD_DENY)                                      \
    GUARD(_signal, alarm, SANDBOX_SIGNALS, GUARD_DENY)                                             \
    GUARD(_signal, setitimer, SANDBOX_SIGNALS, GUARD_DENY)                                         \
    GUARD(_signal, siginterrupt, SANDBOX_SIGNALS, GUARD_DENY)                                      \
    GUARD(_signal, pidfd_send_signal, SANDBOX_SIGNALS, GUARD_DENY)                                 \
    GUARD(faulthandler, register, SANDBOX_FAULTHANDLER, GUARD_DENY)                                \
    GUARD(faulthandler, unregister, SANDBOX_FAULTHANDLER, GUARD_DENY)                              \
    GUARD(faulthandler, dump_traceback_later, SANDBOX_FAULTHANDLER, GUARD_TIMER)                   \
    GUARD(faulthandler, _sigsegv, SANDBOX_FAULTHANDLER, GUARD_DENY)                                \
    GUARD(faulthandler, _sigabrt, SANDBOX_FAULTHANDLER, GUARD_DENY)                                \
    GUARD(faulthandler, _sigfpe, SANDBOX_FAULTHANDLER, GUARD_DENY)                                 \
    GUARD(faulthandler, _read_null, SANDBOX_FAULTHANDLER, GUARD_DENY)                              \
    GUARD(faulthandler, _stack_overflow, SANDBOX_FAULTHANDLER, GUARD_DENY)                         \
    GUARD(faulthandler, _fatal_error_c_thread, SANDBOX_FAULTHANDLER, GUARD_DENY)

/* What users call the modules. */
#define NAME_posix "os"
#define NAME__posixsubprocess "_posixsubprocess"
#define NAME__signal "signal"
#define NAME_faulthandler "faulthandler"

typedef enum guard_index {
#define INDEX(module, function, rule, action) GUARD_##module##_##function,
    GUARDS(INDEX)
#undef INDEX
        GUARD_COUNT,
} guard_index;

typedef struct guard {
    const char *module;
    const char *function;
    const char *name; /* as users know it */
    sandbox_rule rule;
    guard_action action;
} guard;

static const guard guards[GUARD_COUNT] = {
#define ROW(module, function, rule, action)                                                        \
    {#module, #function, NAME_##module "." #function "()", rule, action},
    GUARDS(ROW)
#undef ROW
};

static PyCFunction originals[GUARD_COUNT];

/* Whether faulthandler.dump_traceback_later(timeout, repeat, file, exit) is to end the process. */
static bool asks_for_exit(PyObject *args, PyObject *keywords) {
    PyObject *value = PyTuple_GET_SIZE(args) > 3 ? PyTuple_GET_ITEM(args, 3) : NULL;
    if (value == NULL && keywords != NULL) {
        value = PyDict_GetItemString(keywords, "exit");
    }
    int truth = value != NULL ? PyObject_IsTrue(value) : 0;
    PyErr_Clear();
    return truth != 0;
}

/* True when the call may go on; false with an exception set. */
static bool enter(guard_index index, sigset_t *mask) {
    const guard *g = &guards[index];
    if (!sandbox_permits(g->rule, g->name)) {
        return false;
    }
    if (g->action == GUARD_CHILD) {
        /* Python's threads block what is for the VM; a child with SIGTERM blocked could not be
         * terminated. */
        sigset_t none;
        sigemptyset(&none);
        pthread_sigmask(SIG_SETMASK, &none, mask);
    }
    return true;
}

static PyObject *leave(guard_index index, const sigset_t *mask, PyObject *result) {
    if (guards[index].action == GUARD_CHILD) {
        pthread_sigmask(SIG_SETMASK, mask, NULL);
    }
    return result;
}

/* One function for each calling convention, since a PyMethodDef does not tell its function which
 * one it is. */
typedef PyObject *(*fast_function)(PyObject *, PyObject *const *, Py_ssize_t);
typedef PyObject *(*fast_keyword_function)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);
typedef PyObject *(*keyword_function)(PyObject *, PyObject *, PyObject *);

#define STUBS(module, function, rule, action)                                                      \
    static PyObject *plain_##module##function(PyObject *self, PyObject *argument) {                \
        const guard_index index = GUARD_##module##_##function;                                     \
        sigset_t mask;                                                                             \
        return enter(index, &mask) ? leave(index, &mask, originals[index](self, argument)) : NULL; \
    }                                                                                              \
    static PyObject *keyword_##module##function(PyObject *self, PyObject *args, PyObject *names) { \
        const guard_index index = GUARD_##module##_##function;                                     \
        const keyword_function original = (keyword_function)(void (*)(void))originals[index];      \
        sigset_t mask;                                                                             \
        if ((action) == GUARD_TIMER && !asks_for_exit(args, names)) {                              \
            return original(self, args, names);                                                    \
        }                                                                                          \
        return enter(index, &mask) ? leave(index, &mask, original(self, args, names)) : NULL;      \
    }                                                                                              \
    static PyObject *fast_##module##function(PyObject *self, PyObject *const *args,                \
                                             Py_ssize_t count) {                                   \
        const guard_index index = GUARD_##module##_##function;                                     \
        const fast_function original = (fast_function)(void (*)(void))originals[index];            \
        sigset_t mask;                                                                             \
        return enter(index, &mask) ? leave(index, &mask, original(self, args, count)) : NULL;      \
    }                                                                                              \
    static PyObject *fast_keyword_##module##function(PyObject *self, PyObject *const *args,        \
                                                     Py_ssize_t count, PyObject *names) {          \
        const guard_index index = GUARD_##module##_##function;                                     \
        const fast_keyword_function original =                                                     \
            (fast_keyword_function)(void (*)(void))originals[index];                               \
        sigset_t mask;                                                                             \
        return enter(index, &mask) ? leave(index, &mask, original(self, args, count, names))       \
                                   : NULL;                                                         \
    }
GUARDS(STUBS)

typedef struct guard_stubs {
    PyCFunction plain;
    PyCFunction keyword;
    PyCFunction fast;
    PyCFunction fast_keyword;
} guard_stubs;

static const guard_stubs stubs[GUARD_COUNT] = {
#define STUB_ROW(module, function, rule, action)                                                   \
    {plain_##module##function, (PyCFunction)(void (*)(void))keyword_##module##function,            \
     (PyCFunction)(void (*)(void))fast_##module##function,                                         \
     (PyCFunction)(void (*)(void))fast_keyword_##module##function},
    GUARDS(STUB_ROW)
#undef STUB_ROW
};

static PyCFunction stub_for(guard_index index, int flags) {
    switch (flags & (METH_VARARGS | METH_KEYWORDS | METH_NOARGS | METH_O | METH_FASTCALL)) {
    case METH_VARARGS:
    case METH_NOARGS:
    case METH_O:
        return stubs[index].plain;
    case METH_VARARGS | METH_KEYWORDS:
        return stubs[index].keyword;
    case METH_FASTCALL:
        return stubs[index].fast;
    case METH_FASTCALL | METH_KEYWORDS:
        return stubs[index].fast_keyword;
    default:
        return NULL;
    }
}

/* A function that this Python does not have needs no guard. */
static bool install(guard_index index) {
    PyObject *module = PyImport_ImportModule(guards[index].module);
    PyObject *function =
        module != NULL ? PyObject_GetAttrString(module, guards[index].function) : NULL;
    Py_XDECREF(module);
    if (function == NULL) {
        bool absent = PyErr_ExceptionMatches(PyExc_AttributeError) ||
                      PyErr_ExceptionMatches(PyExc_ImportError);
        if (absent) {
            PyErr_Clear();
        }
        return absent;
    }
    PyMethodDef *definition =
        PyCFunction_Check(function) ? ((PyCFunctionObject *)function)->m_ml : NULL;
    PyCFunction stub = definition != NULL ? stub_for(index, definition->ml_flags) : NULL;
    bool good = stub != NULL;
    if (good) {
        originals[index] = definition->ml_meth;
        definition->ml_meth = stub;
    } else {
        PyErr_Format(PyExc_SystemError, "cannot guard %s", guards[index].name);
    }
    Py_DECREF(function);
    return good;
}

bool sandbox_install_guards(void) {
    for (guard_index index = 0; index < GUARD_COUNT; index++) {
        if (!install(index)) {
            return false;
        }
    }
    return true;
}
