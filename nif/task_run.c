#include "task_run.h"

#include "_cgo_export.h"
#include "atoms.h"
#include "callback.h"
#include "caller.h"
#include "convert.h"
#include "convert_packed.h"
#include "gil.h"
#include "interrupt.h"
#include "python_error.h"
#include "resolve.h"
#include "schedule.h"
#include "task_pool.h"

#include <stdlib.h>

/* As many arguments as this need no allocation. */
#define SMALL_ARGUMENTS 16

typedef struct argument_vector {
    PyObject **items; /* positional first, then the values of names */
    size_t count;
    size_t positional;
    PyObject *names; /* tuple of str, or NULL */
    PyObject *small[SMALL_ARGUMENTS];
} argument_vector;

static void arguments_clear(argument_vector *arguments) {
    for (size_t i = 0; i < arguments->count; i++) {
        Py_DECREF(arguments->items[i]);
    }
    if (arguments->items != arguments->small) {
        free(arguments->items);
    }
    Py_XDECREF(arguments->names);
}

static bool arguments_push(argument_vector *arguments, PyObject *item) {
    if (item == NULL) {
        return false;
    }
    arguments->items[arguments->count++] = item;
    return true;
}

/* Only an atom and a binary can be the same name; Python would keep the last of the two. */
static bool names_differ(PyObject *names, size_t atoms) {
    Py_ssize_t count = PyTuple_GET_SIZE(names);
    if (atoms == 0 || atoms == (size_t)count) {
        return true;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        for (Py_ssize_t j = 0; j < i; j++) {
            if (PyUnicode_Compare(PyTuple_GET_ITEM(names, j), name) == 0) {
                PyErr_Format(PyExc_TypeError,
                             "keyword argument %U is given as an atom and as a binary", name);
                return false;
            }
        }
    }
    return true;
}

static bool arguments_add_keywords(argument_vector *arguments, ErlNifEnv *env, ERL_NIF_TERM map,
                                   size_t size) {
    arguments->names = PyTuple_New((Py_ssize_t)size);
    if (arguments->names == NULL) {
        return false;
    }
    ErlNifMapIterator iterator;
    if (!enif_map_iterator_create(env, map, &iterator, ERL_NIF_MAP_ITERATOR_FIRST)) {
        PyErr_NoMemory();
        return false;
    }
    bool good = true;
    Py_ssize_t index = 0;
    size_t atoms = 0;
    ERL_NIF_TERM key;
    ERL_NIF_TERM value;
    while (good && enif_map_iterator_get_pair(env, &iterator, &key, &value)) {
        PyObject *name = name_to_python_string(env, key, "keyword argument");
        good = name != NULL;
        if (good) {
            PyTuple_SET_ITEM(arguments->names, index++, name);
            atoms += enif_is_atom(env, key) ? 1 : 0;
            good = arguments_push(arguments, term_to_python(env, value));
        }
        enif_map_iterator_next(env, &iterator);
    }
    enif_map_iterator_destroy(env, &iterator);
    return good && names_differ(arguments->names, atoms);
}

/* The positional arguments from the task's own memory. */
static bool arguments_unpack(argument_vector *arguments, const task *t) {
    const unsigned char *from = t->packed_arguments;
    for (unsigned i = 0; i < t->packed_count; i++) {
        if (!arguments_push(arguments, packed_to_object(t->env, &from))) {
            return false;
        }
    }
    return true;
}

static bool arguments_read(argument_vector *arguments, const task *t) {
    ERL_NIF_TERM list = t->arguments;
    ERL_NIF_TERM head;
    while (enif_get_list_cell(t->env, list, &head, &list)) {
        if (!arguments_push(arguments, term_to_python(t->env, head))) {
            return false;
        }
    }
    return true;
}

static bool arguments_fill(argument_vector *arguments, const task *t) {
    unsigned length = t->packed_count;
    const size_t keywords = t->keyword_count;
    arguments->items = arguments->small;
    arguments->count = 0;
    arguments->names = NULL;
    if (!t->packed && !enif_get_list_length(t->env, t->arguments, &length)) {
        PyErr_SetString(PyExc_TypeError, "arguments must be a proper list");
        return false;
    }
    arguments->positional = length;
    if (length + keywords > SMALL_ARGUMENTS) {
        arguments->items = malloc((length + keywords) * sizeof(PyObject *));
        if (arguments->items == NULL) {
            arguments->items = arguments->small;
            PyErr_NoMemory();
            return false;
        }
    }
    return (t->packed ? arguments_unpack(arguments, t) : arguments_read(arguments, t)) &&
           (keywords == 0 || arguments_add_keywords(arguments, t->env, t->keywords, keywords));
}

static PyObject *evaluate_call(task *t) {
    PyObject *callable = resolve_callable(t->env, t->module, t->function);
    if (callable == NULL) {
        return NULL;
    }
    PyObject *value = NULL;
    argument_vector arguments;
    if (arguments_fill(&arguments, t)) {
        value =
            PyObject_Vectorcall(callable, arguments.items, arguments.positional, arguments.names);
    }
    arguments_clear(&arguments);
    Py_DECREF(callable);
    return value;
}

/* A new reference: the code that is compiled and run may take __main__ out of sys.modules. */
static PyObject *main_namespace(void) {
    PyObject *module = PyImport_AddModule("__main__");
    return module != NULL ? Py_XNewRef(PyModule_GetDict(module)) : NULL;
}

static PyObject *compile_source(task *t, int start) {
    ErlNifBinary binary;
    PyObject *source =
        enif_inspect_binary(t->env, t->function, &binary)
            ? PyUnicode_DecodeUTF8((const char *)binary.data, (Py_ssize_t)binary.size, "strict")
            : name_to_python_string(t->env, t->function, "variable");
    if (source == NULL) {
        return NULL;
    }
    PyObject *code = NULL;
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(source, &size);
    if (text != NULL && strlen(text) != (size_t)size) {
        PyErr_SetString(PyExc_ValueError, "source code cannot contain null bytes");
    } else if (text != NULL) {
        PyCompilerFlags flags = {.cf_flags = PyCF_SOURCE_IS_UTF8 | PyCF_IGNORE_COOKIE,
                                 .cf_feature_version = PY_MINOR_VERSION};
        code = Py_CompileStringExFlags(text, "<erlang>", start, &flags, -1);
    }
    Py_DECREF(source);
    return code;
}

/* Anything but a str would be there and could not be found. */
static bool are_names(PyObject *names) {
    PyObject *name;
    Py_ssize_t position = 0;
    while (PyDict_Next(names, &position, &name, NULL)) {
        if (!PyUnicode_CheckExact(name)) {
            PyErr_Format(PyExc_TypeError, "the name of a variable must be a str, not %s",
                         Py_TYPE(name)->tp_name);
            return false;
        }
    }
    return true;
}

/*
 * The names that the caller gives join a copy of __main__'s: as locals they would not be seen
 * inside comprehensions and lambdas.
 */
static PyObject *evaluate_expression(task *t) {
    PyObject *namespace = main_namespace();
    if (namespace == NULL) {
        return NULL;
    }
    PyObject *globals = NULL;
    if (t->keyword_count > 0) {
        PyObject *names = term_to_python(t->env, t->keywords);
        globals = names != NULL && are_names(names) ? PyDict_Copy(namespace) : NULL;
        if (globals != NULL && PyDict_Update(globals, names) != 0) {
            Py_CLEAR(globals);
        }
        Py_XDECREF(names);
        Py_DECREF(namespace);
        if (globals == NULL) {
            return NULL;
        }
    } else {
        globals = namespace;
    }
    PyObject *code = compile_source(t, Py_eval_input);
    PyObject *value = code != NULL ? PyEval_EvalCode(code, globals, globals) : NULL;
    Py_XDECREF(code);
    Py_DECREF(globals);
    return value;
}

static PyObject *execute_statements(task *t) {
    PyObject *namespace = main_namespace();
    PyObject *code = namespace != NULL ? compile_source(t, Py_file_input) : NULL;
    PyObject *value = code != NULL ? PyEval_EvalCode(code, namespace, namespace) : NULL;
    Py_XDECREF(code);
    Py_XDECREF(namespace);
    return value;
}

static PyObject *evaluate(task *t) {
    if (t->kind == TASK_RESOLVE) {
        return callback_resolve(t);
    }
    if (t->object != NULL) {
        PyObject *marker = t->object;
        t->object = NULL;
        return schedule_step(marker);
    }
    schedule_begin_slice();
    switch (t->kind) {
    case TASK_CALL:
        return evaluate_call(t);
    case TASK_EVAL:
        return evaluate_expression(t);
    case TASK_EXEC:
        return execute_statements(t);
    case TASK_RESOLVE:
        break;
    }
    PyErr_SetString(PyExc_SystemError, "unknown kind of task");
    return NULL;
}

PyObject *task_evaluate(task *t) {
    interrupt_frame frame;
    task *previous = caller_enter(t);
    interrupt_enter(&frame, t);
    PyObject *value = schedule_inline_steps(evaluate(t));
    interrupt_leave(&frame);
    caller_leave(previous);
    return value;
}

/* An awaitable that nobody will await: say what to do instead of "cannot convert coroutine". */
static void reject_coroutine(PyObject *coroutine) {
    PyObject *closed = PyObject_CallMethod(coroutine, "close", NULL);
    Py_XDECREF(closed);
    PyErr_Clear();
    PyErr_SetString(PyExc_TypeError, "the function returned a coroutine: use py:async_call or "
                                     "py_event_loop:run to run it on an event loop");
}

ERL_NIF_TERM task_value_result(task *t, PyObject *value) {
    ERL_NIF_TERM term;
    size_t weight = 0;
    unsigned flags = t->flags & TASK_FLAG_ARRAYS_AS_BINARY ? CONVERT_ARRAYS_AS_BINARY : 0;
    if (PyCoro_CheckExact(value)) {
        reject_coroutine(value);
        return task_exception_result(t);
    }
    if (!python_to_term(t->env, value, flags, &term, &weight)) {
        return task_exception_result(t);
    }
    t->weight = weight;
    return task_ok(t, term);
}

/* Nobody waits for a silent task's result, so its exception goes to the log. */
static void report_exception(task *t, ERL_NIF_TERM reason) {
    ErlNifEnv *env = enif_alloc_env();
    if (env != NULL) {
        core_log_exception(env, enif_make_tuple3(env, enif_make_copy(env, t->module),
                                                 enif_make_copy(env, t->function),
                                                 enif_make_copy(env, reason)));
    }
}

ERL_NIF_TERM task_exception_result(task *t) {
    bool silent = task_silent(t);
    ERL_NIF_TERM reason =
        python_error_take(t->env, silent || (t->flags & TASK_FLAG_TRACEBACK) != 0);
    if (silent) {
        report_exception(t, reason);
    }
    return task_error(t, reason);
}

static task_outcome finish(task *t, ERL_NIF_TERM result) {
    return task_finish(t, result) ? TASK_RECYCLE : TASK_GONE;
}

/* Takes the marker. */
static task_outcome proceed(task *t, PyObject *marker) {
    if (!schedule_is_erlang(marker)) {
        t->object = marker;
        return TASK_AGAIN;
    }
    bool sent = schedule_send(t, marker);
    Py_DECREF(marker);
    return sent ? TASK_GONE : finish(t, task_exception_result(t));
}

task_outcome task_deliver(task *t, PyObject *value) {
    if (value == NULL) {
        return finish(t, task_exception_result(t));
    }
    if (schedule_is_marker(value)) {
        return proceed(t, value);
    }
    if (task_silent(t) && !PyCoro_CheckExact(value)) {
        /* Nobody hears of it, whether it can be converted or not. */
        Py_DECREF(value);
        return finish(t, atoms.ok);
    }
    task_outcome outcome;
    if (t->kind != TASK_EXEC && task_awaited(t) &&
        packed_from_object(value, t->value, sizeof(t->value)) > 0) {
        outcome = task_finish_direct(t) ? TASK_RECYCLE : TASK_GONE;
    } else {
        outcome = finish(t, t->kind == TASK_EXEC ? atoms.ok : task_value_result(t, value));
    }
    Py_DECREF(value);
    return outcome;
}

task_outcome task_run(task *t, task_living *living) {
    return task_wanted(t, living) ? task_deliver(t, task_evaluate(t)) : TASK_RECYCLE;
}

size_t task_run_batch(void *thread_state, uint64_t thread, task *const *tasks, size_t count,
                      bool *again) {
    task *retired[TASK_BATCH];
    size_t retired_count = 0;
    size_t further = 0;
    interrupt_frame frame;
    task_living living = {.until = 0};
    gil_acquire(thread_state);
    interrupt_enter_thread(&frame, thread);
    for (size_t i = 0; i < count; i++) {
        task_outcome outcome = task_run(tasks[i], &living);
        if (outcome == TASK_RECYCLE && task_pool_retire(tasks[i])) {
            retired[retired_count++] = tasks[i];
        }
        again[i] = outcome == TASK_AGAIN;
        further += again[i];
    }
    interrupt_leave(&frame);
    gil_release();
    task_pool_keep(retired, retired_count);
    return further;
}
