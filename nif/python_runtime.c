#include "python_runtime.h"

#include "_cgo_export.h"
#include "erlang_module.h"
#include "gil.h"
#include "memory.h"
#include "python_state.h"
#include "sandbox.h"
#include "stack_limit.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *thread_main(void *argument) {
    uint64_t handle = *(uint64_t *)argument;
    free(argument);
    core_thread_main(handle);
    return NULL;
}

int python_thread_create(uint64_t handle, size_t stack_size) {
    uint64_t *argument = malloc(sizeof(*argument));
    if (argument == NULL) {
        return ENOMEM;
    }
    *argument = handle;
    pthread_attr_t attributes;
    int status = pthread_attr_init(&attributes);
    if (status != 0) {
        free(argument);
        return status;
    }
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    status = pthread_attr_setstacksize(&attributes, stack_size);
    if (status == 0) {
        sigset_t blocked;
        sigset_t previous;
        sigfillset(&blocked);
        sigdelset(&blocked, SIGSEGV);
        sigdelset(&blocked, SIGBUS);
        sigdelset(&blocked, SIGFPE);
        sigdelset(&blocked, SIGILL);
        sigdelset(&blocked, SIGABRT);
        sigdelset(&blocked, SIGTRAP);
        sigdelset(&blocked, SIGSYS);
        sigdelset(&blocked, SIGURG); /* Go preempts goroutines with it */
        sigdelset(&blocked, SIGPROF);
        pthread_sigmask(SIG_SETMASK, &blocked, &previous);
        pthread_t thread;
        status = pthread_create(&thread, &attributes, thread_main, argument);
        pthread_sigmask(SIG_SETMASK, &previous, NULL);
    }
    pthread_attr_destroy(&attributes);
    if (status != 0) {
        free(argument);
    }
    return status;
}

static char *describe(const char *what, const char *detail) {
    size_t size = strlen(what) + (detail != NULL ? strlen(detail) : 0) + 3;
    char *text = malloc(size);
    if (text != NULL) {
        snprintf(text, size, "%s%s%s", what, detail != NULL ? ": " : "",
                 detail != NULL ? detail : "");
    }
    return text;
}

static char *describe_exception(const char *what) {
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *text = value != NULL ? PyObject_Str(value) : NULL;
    const char *utf8 = text != NULL ? PyUnicode_AsUTF8(text) : NULL;
    char *reason = describe(what, utf8 != NULL ? utf8 : "unknown error");
    PyErr_Clear();
    Py_XDECREF(text);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return reason;
}

static PyStatus configure(PyConfig *config, const char *executable) {
    PyConfig_InitPythonConfig(config);
    config->install_signal_handlers = 0; /* signals are the VM's */
    config->parse_argv = 0;
    /* The output goes through the VM's own descriptors, where it must not wait for a full block. */
    config->buffered_stdio = 0;
    PyStatus status = PyConfig_SetBytesString(config, &config->program_name, executable);
    if (PyStatus_Exception(status)) {
        return status;
    }
    /* Without it the first python3 on PATH decides, which may be a launcher with another prefix. */
    status = PyConfig_SetBytesString(config, &config->executable, executable);
    if (PyStatus_Exception(status)) {
        return status;
    }
    wchar_t *arguments[] = {L""};
    return PyConfig_SetArgv(config, 1, arguments);
}

static bool prepend_path(const char *folder) {
    PyObject *path = PySys_GetObject("path");
    PyObject *entry = PyUnicode_DecodeFSDefault(folder);
    if (path == NULL || entry == NULL) {
        Py_XDECREF(entry);
        return false;
    }
    int present = PySequence_Contains(path, entry);
    bool done = present > 0 || (present == 0 && PyList_Insert(path, 0, entry) == 0);
    Py_DECREF(entry);
    return done;
}

/* The input is the VM's: whoever reads it takes what was typed for the Erlang shell, and blocks. */
static bool close_input(void) {
    PyObject *io = PyImport_ImportModule("io");
    PyObject *input = io != NULL ? PyObject_CallMethod(io, "open", "s", "/dev/null") : NULL;
    bool done = input != NULL && PySys_SetObject("stdin", input) == 0 &&
                PySys_SetObject("__stdin__", input) == 0;
    Py_XDECREF(input);
    Py_XDECREF(io);
    return done;
}

static bool import_module(const char *name) {
    PyObject *module = PyImport_ImportModule(name);
    Py_XDECREF(module);
    return module != NULL;
}

char *python_runtime_start(const char *executable, const char *package_path, size_t stack_size) {
    /* Extension modules do not name libpython themselves: its symbols must be global before any is
     * loaded. */
    if (dlopen(ERLANG_PYTHON_LIBRARY, RTLD_NOW | RTLD_GLOBAL) == NULL) {
        return describe("cannot open " ERLANG_PYTHON_LIBRARY, dlerror());
    }
    PyPreConfig preconfig;
    PyPreConfig_InitPythonConfig(&preconfig);
    preconfig.parse_argv = 0;
    /* Coercion would set LC_CTYPE for the whole VM and its ports. */
    preconfig.coerce_c_locale = 0;
    preconfig.coerce_c_locale_warn = 0;
    PyStatus status = Py_PreInitialize(&preconfig);
    if (PyStatus_Exception(status)) {
        return describe("cannot pre-initialise Python", status.err_msg);
    }
    memory_install();
    if (PyImport_AppendInittab("_erlang", PyInit__erlang) != 0) {
        return describe("cannot add the module _erlang", NULL);
    }
    if (!sandbox_install_hook()) {
        return describe("cannot add the audit hook", NULL);
    }
    PyConfig config;
    status = configure(&config, executable);
    if (!PyStatus_Exception(status)) {
        status = Py_InitializeFromConfig(&config);
    }
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) {
        return describe("cannot start Python", status.err_msg);
    }
    bool ready = prepend_path(package_path);
    /* threading takes the thread that imports it first for Python's main thread. */
    ready = ready && sandbox_install_guards() && stack_limit_install(stack_size) &&
            gil_bound_switch_interval() && close_input() && import_module("threading") &&
            import_module("erlang");
    char *reason = ready ? NULL : describe_exception("cannot load the erlang package");
    PyEval_SaveThread();
    return reason;
}

char *python_runtime_set_paths(void *thread_state, const char *const *paths, size_t count) {
    PyEval_RestoreThread(thread_state);
    PyObject *module = PyImport_ImportModule("erlang._info");
    PyObject *list = module != NULL ? PyList_New(0) : NULL;
    bool good = list != NULL;
    for (size_t i = 0; good && i < count; i++) {
        PyObject *path = PyUnicode_DecodeFSDefault(paths[i]);
        good = path != NULL && PyList_Append(list, path) == 0;
        Py_XDECREF(path);
    }
    PyObject *done = good ? PyObject_CallMethod(module, "set_python_path", "O", list) : NULL;
    char *reason = done == NULL ? describe_exception("cannot set python_path") : NULL;
    Py_XDECREF(done);
    Py_XDECREF(list);
    Py_XDECREF(module);
    PyEval_SaveThread();
    return reason;
}

void *python_thread_attach(void) {
    /* PyGILState_Ensure() ends the process when it gets no memory. */
    memory_exempt(true);
    PyGILState_Ensure();
    memory_exempt(false);
    return PyEval_SaveThread();
}

void python_thread_detach(void *thread_state) {
    PyEval_RestoreThread(thread_state);
    PyGILState_Release(PyGILState_UNLOCKED);
}

unsigned long python_thread_identity(void) { return PyThread_get_thread_ident(); }
