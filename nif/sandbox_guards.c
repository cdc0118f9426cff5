/* Guards for functions that CPython does not audit: see sandbox.h. */
#include "sandbox.h"

#include "descriptors.h"

#include <signal.h>
#include <string.h>

typedef enum guard_action {
    GUARD_DENY,  /* denied by the rule, or the original */
    GUARD_CHILD, /* the same; the original starts a process, which must not inherit our blocked
                    signals */
    GUARD_TIMER, /* denied only when it asks for the process to be ended at the end */
    GUARD_MAIN,  /* denied on Python's main thread; elsewhere the original raises ValueError */
    GUARD_CLOSE, /* denied for the descriptors of others, which the first argument may be one of */
    GUARD_OVER,  /* the same with the second argument, which may be one of 0 to 2 */
} guard_action;

#define GUARDS(GUARD)                                                                              \
    GUARD(posix, _exit, SANDBOX_EXIT, GUARD_DENY)                                                  \
    GUARD(posix, abort, SANDBOX_EXIT, GUARD_DENY)                                                  \
    GUARD(posix, closerange, SANDBOX_DESCRIPTORS, GUARD_DENY)                                      \
    GUARD(posix, close, SANDBOX_DESCRIPTORS, GUARD_CLOSE)                                          \
    GUARD(posix, dup2, SANDBOX_DESCRIPTORS, GUARD_OVER)                                            \
    GUARD(posix, login_tty, SANDBOX_IDENTITY, GUARD_DENY)                                          \
    GUARD(posix, setuid, SANDBOX_IDENTITY, GUARD_DENY)                                             \
    GUARD(posix, setgid, SANDBOX_IDENTITY, GUARD_DENY)                                             \
    GUARD(posix, seteuid, SANDBOX_IDENTITY, GUARD_DENY)                                            \
    GUARD(posix, setegid, SANDBOX_IDENTITY, GUARD_DENY)                                            \
    GUARD(posix, setreuid, SANDBOX_IDENTITY, GUARD_DENY)                                           \
    GUARD(posix, setregid, SANDBOX_IDENTITY, GUARD_DENY)                                           \
    GUARD(posix, setresuid, SANDBOX_IDENTITY, GUARD_DENY)                                          \
    GUARD(posix, setresgid, SANDBOX_IDENTITY, GUARD_DENY)                                          \
    GUARD(posix, setgroups, SANDBOX_IDENTITY, GUARD_DENY)                                          \
    GUARD(posix, initgroups, SANDBOX_IDENTITY, GUARD_DENY)                                         \
    GUARD(posix, setsid, SANDBOX_IDENTITY, GUARD_DENY)                                             \
    GUARD(posix, setpgid, SANDBOX_IDENTITY, GUARD_DENY)                                            \
    GUARD(posix, setpgrp, SANDBOX_IDENTITY, GUARD_DENY)                                            \
    GUARD(posix, tcsetpgrp, SANDBOX_IDENTITY, GUARD_DENY)                                          \
    GUARD(posix, chroot, SANDBOX_IDENTITY, GUARD_DENY)                                             \
    GUARD(posix, unshare, SANDBOX_IDENTITY, GUARD_DENY)                                            \
    GUARD(posix, setns, SANDBOX_IDENTITY, GUARD_DENY)                                              \
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
    GUARD(_signal, sigwait, SANDBOX_SIGNALS, GUARD_DENY)                                           \
    GUARD(_signal, sigwaitinfo, SANDBOX_SIGNALS, GUARD_DENY)                                       \
    GUARD(_signal, sigtimedwait, SANDBOX_SIGNALS, GUARD_DENY)                                      \
    GUARD(_signal, signal, SANDBOX_SIGNALS, GUARD_MAIN)                                            \
    GUARD(_signal, set_wakeup_fd, SANDBOX_SIGNALS, GUARD_MAIN)                                     \
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

/* Users' code gets there by destructors. */
static unsigned long main_thread;

/* True when the call may go on; false with an exception set. */
static bool enter(guard_index index, sigset_t *mask) {
    const guard *g = &guards[index];
    if (g->action == GUARD_MAIN && PyThread_get_thread_ident() != main_thread) {
        return true;
    }
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

/*
 * The call of os.close() or os.dup2(). An argument that is no int is replaced by what it says once,
 * or it could say another number the next time.
 */
static PyObject *call_with_descriptor(guard_index index, PyObject *self, PyObject *const *args,
                                      Py_ssize_t count, PyObject *names) {
    typedef PyObject *(*keyword_call)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);
    enum { MOST = 4 };
    const guard *g = &guards[index];
    const keyword_call original = (keyword_call)(void (*)(void))originals[index];
    const char *wanted = g->action == GUARD_CLOSE ? "fd" : "fd2";
    Py_ssize_t place = g->action == GUARD_CLOSE ? 0 : 1;
    Py_ssize_t total = count + (names != NULL ? PyTuple_GET_SIZE(names) : 0);
    for (Py_ssize_t i = count; place >= count && i < total; i++) {
        if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i - count), wanted) == 0) {
            place = i;
            break;
        }
    }
    if (place >= total || total > MOST) {
        return original(self, args, count, names); /* which raises TypeError */
    }
    PyObject *number = PyNumber_Index(args[place]);
    if (number == NULL) {
        return NULL;
    }
    PyObject *vector[MOST];
    for (Py_ssize_t i = 0; i < total; i++) {
        vector[i] = i == place ? number : args[i];
    }
    int overflow;
    long descriptor = PyLong_AsLongAndOverflow(number, &overflow);
    bool standard = descriptor >= 0 && descriptor <= 2;
    bool denied = overflow == 0 && (g->action == GUARD_CLOSE || !standard) &&
                  descriptors_of_others(descriptor) && !sandbox_permits(g->rule, g->name);
    PyObject *result = denied ? NULL : original(self, vector, count, names);
    Py_DECREF(number);
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
        if ((action) == GUARD_CLOSE || (action) == GUARD_OVER) {                                   \
            return call_with_descriptor(index, self, args, count, names);                          \
        }                                                                                          \
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
    guard_action action = guards[index].action;
    bool good = stub != NULL && ((action != GUARD_CLOSE && action != GUARD_OVER) ||
                                 stub == stubs[index].fast_keyword);
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
    main_thread = PyThread_get_thread_ident();
    descriptors_remember();
    for (guard_index index = 0; index < GUARD_COUNT; index++) {
        if (!install(index)) {
            return false;
        }
    }
    return true;
}
