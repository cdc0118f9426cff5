#define PY_SSIZE_T_CLEAN
#include "sandbox.h"

#include "python_state.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define BIT(rule) (1u << (rule))

static _Atomic unsigned denied_rules = (BIT(SANDBOX_RULES) - 1) & ~BIT(SANDBOX_CTYPES);
static pid_t vm_process;

typedef struct rule_text {
    const char *key;
    const char *advice;
} rule_text;

static const rule_text rule_texts[SANDBOX_RULES] = {
    [SANDBOX_SUBPROCESS] =
        {"subprocess",
         "run programs with an Erlang port (open_port/2, os:cmd/1) in a function that Python calls "
         "with erlang.call()"},
    [SANDBOX_FORK] =
        {"fork", "the child would be a copy of the Erlang VM without its threads. Run programs "
                 "with an Erlang port (open_port/2) in a function that Python calls with "
                 "erlang.call(), and parallel Python on py_event_loop_pool; multiprocessing "
                 "works with the start method 'spawn' where subprocess is allowed"},
    [SANDBOX_EXEC] = {"exec", "it would replace the Erlang VM. Run programs with an Erlang port "
                              "(open_port/2) in a function that Python calls with erlang.call()"},
    [SANDBOX_EXIT] = {"exit", "it would end the Erlang VM. Raise an exception, or have Erlang call "
                              "init:stop/0 or erlang:halt/1 with erlang.call()"},
    [SANDBOX_SIGNALS] = {"signals",
                         "signals belong to the Erlang VM. Handle them in Erlang (os:set_signal/2, "
                         "erl_signal_server), stop the VM with init:stop/0, and use "
                         "loop.call_later() or erlang:send_after/3 for alarms"},
    [SANDBOX_FAULTHANDLER] = {"faulthandler",
                              "the handlers of fatal signals belong to the Erlang VM. Use "
                              "faulthandler.dump_traceback() or py:interrupt/1"},
    [SANDBOX_LIMITS] = {"limits",
                        "the limits are those of the whole Erlang VM. Set them where it is "
                        "started (ulimit, systemd, the container), and Python's memory with "
                        "the environment key python_memory_limit"},
    [SANDBOX_DESCRIPTORS] = {"descriptors",
                             "it would close descriptors of the Erlang VM. Close those that you "
                             "opened, one by one"},
    [SANDBOX_CTYPES] = {"ctypes",
                        "it reaches every byte of the Erlang VM. Use an extension module, "
                        "or a port program (open_port/2)"},
    [SANDBOX_IDENTITY] = {"identity",
                          "it would change who and where the whole Erlang VM is. Start the VM as "
                          "the user and in the session, root and namespaces that it is to have"},
};

void sandbox_set_policy(unsigned denied) {
    atomic_store_explicit(&denied_rules, denied, memory_order_relaxed);
    if ((denied & BIT(SANDBOX_SUBPROCESS)) == 0 || (denied & BIT(SANDBOX_FORK)) == 0) {
        struct sigaction current;
        if (sigaction(SIGCHLD, NULL, &current) == 0 && !(current.sa_flags & SA_SIGINFO) &&
            current.sa_handler == SIG_IGN) {
            signal(SIGCHLD, SIG_DFL);
        }
    }
}

/* A forked child is not the VM: there the rules would keep Python from its own exec and _exit. */
static bool denies(sandbox_rule rule) {
    return (atomic_load_explicit(&denied_rules, memory_order_relaxed) & BIT(rule)) != 0 &&
           getpid() == vm_process;
}

static int deny(sandbox_rule rule, const char *what) {
    /* The class is the main interpreter's. */
    bool own = PyInterpreterState_Get() == PyInterpreterState_Main();
    PyObject *type = own ? python_state_get()->sandbox_error : NULL;
    PyErr_Format(type != NULL ? type : PyExc_RuntimeError,
                 "%s is blocked inside the Erlang VM: %s (docs/security.md; to allow it, set "
                 "{sandbox, #{%s => allow}} in the environment of erlang_python)",
                 what, rule_texts[rule].advice, rule_texts[rule].key);
    return -1;
}

bool sandbox_permits(sandbox_rule rule, const char *what) {
    return !denies(rule) || deny(rule, what) == 0;
}

/* ---- Audit events ---- */

static bool long_item(PyObject *tuple, Py_ssize_t index, long *value) {
    if (tuple == NULL || !PyTuple_Check(tuple) || index >= PyTuple_GET_SIZE(tuple)) {
        return false;
    }
    *value = PyLong_AsLong(PyTuple_GET_ITEM(tuple, index));
    if (*value == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    return true;
}

/* The helper process through which ERTS starts ports: the VM aborts when it dies. */
static bool is_port_helper(long process) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/stat", process);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    char name[32] = "";
    long parent = 0;
    int fields = fscanf(file, "%*d (%31[^)]) %*c %ld", name, &parent);
    fclose(file);
    return fields == 2 && parent == (long)getpid() && strncmp(name, "erl_child_setup", 15) == 0;
}

/* The system takes the number of any thread for that of its process. */
static bool is_own(long process) {
    char path[64];
    if (process == (long)getpid()) {
        return true;
    }
    snprintf(path, sizeof path, "/proc/self/task/%ld", process);
    return process > 0 && access(path, F_OK) == 0;
}

static bool kill_reaches_vm(PyObject *args, bool group) {
    long process;
    long number;
    if (!long_item(args, 0, &process) || !long_item(args, 1, &number)) {
        return true;
    }
    if (number == 0) {
        return false;
    }
    /* The system's killpg(1) is kill(-1). */
    if (process == 0 || process == (group ? 1 : -1)) {
        return true;
    }
    if (group || process < 0) {
        long leader = group ? process : -process;
        return leader == (long)getpgrp() || is_port_helper(leader);
    }
    return is_own(process) || is_port_helper(process);
}

/* Of a terminal or socket: what sends signals to the VM, or types for whoever sits before it. */
static bool is_signal_request(unsigned long request) {
    static const unsigned long requests[] = {
#ifdef FIOASYNC
        FIOASYNC,
#endif
#ifdef FIOSETOWN
        FIOSETOWN,
#endif
#ifdef SIOCSPGRP
        SIOCSPGRP,
#endif
#ifdef TIOCSPGRP
        TIOCSPGRP,
#endif
#ifdef TIOCNOTTY
        TIOCNOTTY,
#endif
#ifdef TIOCSTI
        TIOCSTI,
#endif
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        if (requests[i] == request) {
            return true;
        }
    }
    return false;
}

/* SIGIO, which these are the ways to get, ends a process that has no handler for it. */
static bool asks_for_signals(PyObject *args) {
    long command;
    long value;
    if (!long_item(args, 1, &command)) {
        return true;
    }
    switch (command) {
    case F_SETOWN:
#ifdef F_SETSIG
    case F_SETSIG:
#endif
#ifdef F_NOTIFY
    case F_NOTIFY:
#endif
#ifdef F_SETLEASE
    case F_SETLEASE:
#endif
        return true;
    case F_SETFL:
        return long_item(args, 2, &value) && (value & O_ASYNC) != 0;
    default:
        return false;
    }
}

static bool limit_value(PyObject *limits, Py_ssize_t index, rlim_t *value) {
    PyObject *item = PySequence_GetItem(limits, index);
    long long number = item != NULL ? PyLong_AsLongLong(item) : -1;
    bool good = item != NULL && !PyErr_Occurred();
    Py_XDECREF(item);
    PyErr_Clear();
    *value = number == -1 ? RLIM_INFINITY : (rlim_t)number;
    return good;
}

/* More of something harms nobody; programs raise their number of descriptors, for example. */
static bool lowers_limit(PyObject *args, Py_ssize_t first) {
    long resource;
    struct rlimit current;
    rlim_t soft;
    rlim_t hard;
    PyObject *limits = PyTuple_Check(args) && PyTuple_GET_SIZE(args) > first + 1
                           ? PyTuple_GET_ITEM(args, first + 1)
                           : Py_None;
    if (limits == Py_None) {
        return false;
    }
    return !long_item(args, first, &resource) || getrlimit((int)resource, &current) != 0 ||
           !limit_value(limits, 0, &soft) || !limit_value(limits, 1, &hard) ||
           soft < current.rlim_cur || hard < current.rlim_max;
}

static int audit_os(const char *event, PyObject *args) {
    const char *name = event + 3;
    switch (name[0]) {
    case 'f':
        if (strcmp(name, "fork") == 0 || strcmp(name, "forkpty") == 0 ||
            strcmp(name, "fork1") == 0) {
            return denies(SANDBOX_FORK) ? deny(SANDBOX_FORK, event) : 0;
        }
        return 0;
    case 'e':
        return strcmp(name, "exec") == 0 && denies(SANDBOX_EXEC) ? deny(SANDBOX_EXEC, event) : 0;
    case 's':
    case 'p':
        if (strcmp(name, "system") == 0 || strcmp(name, "posix_spawn") == 0 ||
            strcmp(name, "spawn") == 0) {
            return denies(SANDBOX_SUBPROCESS) ? deny(SANDBOX_SUBPROCESS, event) : 0;
        }
        return 0;
    case 'k':
        if (strcmp(name, "kill") == 0 || strcmp(name, "killpg") == 0) {
            return denies(SANDBOX_SIGNALS) && kill_reaches_vm(args, name[4] != '\0')
                       ? deny(SANDBOX_SIGNALS, event)
                       : 0;
        }
        return 0;
    default:
        return 0;
    }
}

static int audit_other(const char *event, PyObject *args) {
    if (strcmp(event, "subprocess.Popen") == 0) {
        return denies(SANDBOX_SUBPROCESS) ? deny(SANDBOX_SUBPROCESS, event) : 0;
    }
    if (strcmp(event, "pty.spawn") == 0) {
        return denies(SANDBOX_FORK) ? deny(SANDBOX_FORK, event) : 0;
    }
    if (strcmp(event, "signal.pthread_kill") == 0) {
        long number;
        bool probe = long_item(args, 1, &number) && number == 0;
        return !probe && denies(SANDBOX_SIGNALS) ? deny(SANDBOX_SIGNALS, event) : 0;
    }
    if (strcmp(event, "resource.setrlimit") == 0) {
        return denies(SANDBOX_LIMITS) && lowers_limit(args, 0) ? deny(SANDBOX_LIMITS, event) : 0;
    }
    if (strcmp(event, "resource.prlimit") == 0) {
        long process;
        bool own = !long_item(args, 0, &process) || process == 0 || is_own(process);
        return own && denies(SANDBOX_LIMITS) && lowers_limit(args, 1) ? deny(SANDBOX_LIMITS, event)
                                                                      : 0;
    }
    if (strcmp(event, "fcntl.fcntl") == 0) {
        return denies(SANDBOX_SIGNALS) && asks_for_signals(args) ? deny(SANDBOX_SIGNALS, event) : 0;
    }
    if (strcmp(event, "fcntl.ioctl") == 0) {
        long request;
        return denies(SANDBOX_SIGNALS) && long_item(args, 1, &request) &&
                       is_signal_request((unsigned long)request)
                   ? deny(SANDBOX_SIGNALS, event)
                   : 0;
    }
    if (strncmp(event, "ctypes.", 7) == 0) {
        return denies(SANDBOX_CTYPES) ? deny(SANDBOX_CTYPES, event) : 0;
    }
    return 0;
}

/* Runs for every event of every interpreter, imports and id() included: two characters decide for
 * nearly all. */
static int audit(const char *event, PyObject *args, void *data) {
    (void)data;
    switch (event[0]) {
    case 'o':
        return event[1] == 's' && event[2] == '.' ? audit_os(event, args) : 0;
    case 's':
        return event[1] == 'u' || event[1] == 'i' ? audit_other(event, args) : 0;
    case 'p':
        return event[1] == 't' ? audit_other(event, args) : 0;
    case 'r':
        return event[1] == 'e' ? audit_other(event, args) : 0;
    case 'c':
        return event[1] == 't' ? audit_other(event, args) : 0;
    case 'f':
        return event[1] == 'c' ? audit_other(event, args) : 0;
    default:
        return 0;
    }
}

bool sandbox_install_hook(void) {
    vm_process = getpid();
    return PySys_AddAuditHook(audit, NULL) == 0;
}

bool sandbox_setup(python_state *state, PyObject *module) {
    /* Libraries that have something else to do without a program, such as ctypes.util, catch
     * OSError. */
    PyObject *bases = PyTuple_Pack(2, PyExc_RuntimeError, PyExc_PermissionError);
    if (bases == NULL) {
        return false;
    }
    state->sandbox_error =
        PyErr_NewExceptionWithDoc("erlang.SandboxError",
                                  "Raised for what would harm the Erlang VM: a RuntimeError that "
                                  "names the alternative, and a "
                                  "PermissionError as well so that code with a fallback takes it.",
                                  bases, NULL);
    Py_DECREF(bases);
    return state->sandbox_error != NULL &&
           PyModule_AddObjectRef(module, "SandboxError", state->sandbox_error) == 0;
}
