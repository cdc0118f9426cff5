#include "schedule.h"

#include "callback.h"
#include "callback_state.h"
#include "resolve.h"

#include <structmember.h>
#include <time.h>

typedef enum marker_kind {
    MARKER_ERLANG, /* schedule */
    MARKER_PYTHON, /* schedule_py */
    MARKER_INLINE, /* schedule_inline */
} marker_kind;

typedef struct marker {
    PyObject_HEAD marker_kind kind;
    PyObject
        *callable;    /* found in the names of who asked, or NULL: to be found by module and name */
    PyObject *module; /* str; NULL for MARKER_ERLANG */
    PyObject *name;   /* str */
    PyObject *arguments; /* tuple */
    PyObject *keywords;  /* dict or NULL */
} marker;

/* ---- The type ---- */

static int marker_traverse(marker *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->callable);
    Py_VISIT(self->arguments);
    Py_VISIT(self->keywords);
    return 0;
}

static int marker_clear(marker *self) {
    Py_CLEAR(self->callable);
    Py_CLEAR(self->arguments);
    Py_CLEAR(self->keywords);
    return 0;
}

static void marker_dealloc(marker *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    marker_clear(self);
    Py_XDECREF(self->module);
    Py_XDECREF(self->name);
    callback_state *state = callback_state_get();
    if (state->spare_marker == NULL) {
        state->spare_marker = (PyObject *)self;
    } else {
        PyObject_GC_Del(self);
    }
    Py_DECREF(type);
}

static PyObject *marker_repr(marker *self) {
    switch (self->kind) {
    case MARKER_ERLANG:
        return PyUnicode_FromFormat("<erlang.ScheduleMarker of Erlang function %R>", self->name);
    case MARKER_PYTHON:
    case MARKER_INLINE:
        break;
    }
    return PyUnicode_FromFormat("<erlang.ScheduleMarker of %U.%U>", self->module, self->name);
}

static PyType_Slot marker_slots[] = {
    {Py_tp_dealloc, marker_dealloc},
    {Py_tp_traverse, marker_traverse},
    {Py_tp_clear, marker_clear},
    {Py_tp_repr, marker_repr},
    {Py_tp_doc, "What erlang.schedule(), schedule_py() and schedule_inline() return; it takes "
                "effect when the\n"
                "function that Erlang called returns it."},
    {0, NULL},
};

static PyType_Spec marker_spec = {
    .name = "erlang.ScheduleMarker",
    .basicsize = sizeof(marker),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = marker_slots,
};

/* Takes nothing; adds a reference to each part that is kept. */
static PyObject *marker_new(marker_kind kind, PyObject *callable, PyObject *module, PyObject *name,
                            PyObject *arguments, PyObject *keywords) {
    callback_state *state = callback_state_get();
    marker *self;
    if (state->spare_marker != NULL) {
        self = (marker *)PyObject_Init(state->spare_marker, state->marker_type);
        state->spare_marker = NULL;
    } else {
        self = PyObject_GC_New(marker, state->marker_type);
        if (self == NULL) {
            return NULL;
        }
    }
    self->kind = kind;
    self->callable = Py_XNewRef(callable);
    self->module = Py_XNewRef(module);
    self->name = Py_NewRef(name);
    self->arguments = Py_NewRef(arguments);
    self->keywords = Py_XNewRef(keywords);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

bool schedule_is_marker(PyObject *value) {
    return Py_TYPE(value) == callback_state_get()->marker_type;
}

bool schedule_is_erlang(PyObject *object) { return ((marker *)object)->kind == MARKER_ERLANG; }

/* ---- The time slice ---- */

#define SLICE_NANOSECONDS 1000000
/* The clock is looked at once in as many steps. */
#define STEPS_PER_LOOK 32

static _Thread_local int slice_used; /* percent */

static int64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void schedule_begin_slice(void) { slice_used = 0; }

static PyObject *schedule_consume_time_slice(PyObject *module, PyObject *argument) {
    long percent = PyLong_AsLong(argument);
    if (percent == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (percent < 1 || percent > 100) {
        PyErr_SetString(PyExc_ValueError, "percent is an integer from 1 to 100");
        return NULL;
    }
    slice_used += (int)percent;
    if (slice_used < 100) {
        Py_RETURN_FALSE;
    }
    slice_used = 0;
    Py_RETURN_TRUE;
}

/* ---- Steps ---- */

PyObject *schedule_step(PyObject *object) {
    marker *self = (marker *)object;
    PyObject *value = NULL;
    PyObject *callable = self->callable != NULL ? Py_NewRef(self->callable)
                                                : resolve_named(self->module, self->name);
    schedule_begin_slice();
    if (callable != NULL) {
        value = PyObject_VectorcallDict(callable, &PyTuple_GET_ITEM(self->arguments, 0),
                                        (size_t)PyTuple_GET_SIZE(self->arguments), self->keywords);
        Py_DECREF(callable);
    }
    Py_DECREF(object);
    return value;
}

static bool is_inline(PyObject *value) {
    return value != NULL && schedule_is_marker(value) && ((marker *)value)->kind == MARKER_INLINE;
}

PyObject *schedule_inline_steps(PyObject *value) {
    if (!is_inline(value)) {
        return value;
    }
    int64_t end = monotonic_ns() + SLICE_NANOSECONDS;
    do {
        for (int i = 0; i < STEPS_PER_LOOK && is_inline(value); i++) {
            value = schedule_step(value);
        }
    } while (is_inline(value) && monotonic_ns() < end);
    return value;
}

bool schedule_send(task *t, PyObject *object) {
    marker *self = (marker *)object;
    return callback_schedule(t, self->name, &PyTuple_GET_ITEM(self->arguments, 0),
                             PyTuple_GET_SIZE(self->arguments));
}

/* ---- The functions ---- */

static PyObject *schedule_schedule(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    if (count < 1 || !PyUnicode_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "the name of the Erlang function, a str, is missing");
        return NULL;
    }
    PyObject *arguments = PyTuple_New(count - 1);
    if (arguments == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 1; i < count; i++) {
        PyTuple_SET_ITEM(arguments, i - 1, Py_NewRef(args[i]));
    }
    PyObject *result = marker_new(MARKER_ERLANG, NULL, NULL, args[0], arguments, NULL);
    Py_DECREF(arguments);
    return result;
}

enum { PARAMETER_MODULE, PARAMETER_FUNC, PARAMETER_ARGS, PARAMETER_KWARGS, PARAMETERS };

static const char *const parameter_names[PARAMETERS] = {"module", "func", "args", "kwargs"};

/* The parameters (module, func, args=None, kwargs=None) of a call; borrowed, NULL for None. */
static bool parse_parameters(PyObject *const *args, Py_ssize_t count, PyObject *names,
                             PyObject **values) {
    if (count > PARAMETERS) {
        PyErr_Format(PyExc_TypeError, "at most %d arguments are expected, not %zd", PARAMETERS,
                     count);
        return false;
    }
    for (int i = 0; i < PARAMETERS; i++) {
        values[i] = i < count ? args[i] : NULL;
    }
    Py_ssize_t named = names != NULL ? PyTuple_GET_SIZE(names) : 0;
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        int index = 0;
        while (index < PARAMETERS &&
               PyUnicode_CompareWithASCIIString(name, parameter_names[index]) != 0) {
            index++;
        }
        if (index == PARAMETERS || values[index] != NULL) {
            PyErr_Format(PyExc_TypeError, "unexpected or repeated argument %R", name);
            return false;
        }
        values[index] = args[count + i];
    }
    for (int i = PARAMETER_MODULE; i <= PARAMETER_FUNC; i++) {
        if (values[i] == NULL || !PyUnicode_Check(values[i])) {
            PyErr_Format(PyExc_TypeError, "%s must be a str", parameter_names[i]);
            return false;
        }
    }
    for (int i = PARAMETER_ARGS; i < PARAMETERS; i++) {
        if (values[i] == Py_None) {
            values[i] = NULL;
        }
    }
    if (values[PARAMETER_KWARGS] != NULL && !PyDict_Check(values[PARAMETER_KWARGS])) {
        PyErr_SetString(PyExc_TypeError, "kwargs must be a dict");
        return false;
    }
    return true;
}

/* A tuple, because the function may change the list that it is called with. */
static PyObject *arguments_of(PyObject *given) {
    if (given == NULL) {
        return PyTuple_New(0);
    }
    PyObject *sequence = PySequence_Fast(given, "args must be a sequence");
    PyObject *arguments = sequence != NULL ? PySequence_Tuple(sequence) : NULL;
    Py_XDECREF(sequence);
    return arguments;
}

static PyObject *new_python_marker(marker_kind kind, PyObject *callable, PyObject **values) {
    PyObject *arguments = arguments_of(values[PARAMETER_ARGS]);
    if (arguments == NULL) {
        return NULL;
    }
    PyObject *result = marker_new(kind, callable, values[PARAMETER_MODULE], values[PARAMETER_FUNC],
                                  arguments, values[PARAMETER_KWARGS]);
    Py_DECREF(arguments);
    return result;
}

static PyObject *schedule_schedule_py(PyObject *module, PyObject *const *args, Py_ssize_t count,
                                      PyObject *names) {
    PyObject *values[PARAMETERS];
    if (!parse_parameters(args, count, names, values)) {
        return NULL;
    }
    return new_python_marker(MARKER_PYTHON, NULL, values);
}

/* Literals are interned, so that most of the time a look at the pointers will do. */
static bool same_text(PyObject *left, PyObject *right) {
    return left == right || PyUnicode_Compare(left, right) == 0;
}

/*
 * What the caller itself would find under the name if module is its own or '__main__': its globals,
 * then its locals, which are looked at last because their dict may have to be made. A new
 * reference, since the arguments may be an iterable whose code removes the name. NULL without an
 * exception: not found.
 */
static PyObject *find_in_caller(PyObject *module, PyObject *name) {
    callback_state *state = callback_state_get();
    PyObject *globals = PyEval_GetGlobals();
    if (globals == NULL) {
        return NULL;
    }
    PyObject *own_name = PyDict_GetItemWithError(globals, state->string_name);
    if (own_name != module && !same_text(module, state->string_main) &&
        (own_name == NULL || !PyUnicode_Check(own_name) || !same_text(own_name, module))) {
        return NULL;
    }
    PyObject *found = PyDict_GetItemWithError(globals, name);
    if (found == NULL && !PyErr_Occurred()) {
        PyObject *locals = PyEval_GetLocals();
        found =
            locals != NULL && PyDict_Check(locals) ? PyDict_GetItemWithError(locals, name) : NULL;
    }
    return Py_XNewRef(found);
}

static PyObject *schedule_schedule_inline(PyObject *module, PyObject *const *args, Py_ssize_t count,
                                          PyObject *names) {
    PyObject *values[PARAMETERS];
    if (!parse_parameters(args, count, names, values)) {
        return NULL;
    }
    PyObject *callable = find_in_caller(values[PARAMETER_MODULE], values[PARAMETER_FUNC]);
    if (callable == NULL && PyErr_Occurred()) {
        return NULL;
    }
    PyObject *result = new_python_marker(MARKER_INLINE, callable, values);
    Py_XDECREF(callable);
    return result;
}

static PyMethodDef schedule_methods[] = {
    {"schedule", (PyCFunction)(void (*)(void))schedule_schedule, METH_FASTCALL,
     "schedule(callback_name, *args)\n--\n\nA marker: the result is that of the registered Erlang "
     "function."},
    {"schedule_py", (PyCFunction)(void (*)(void))schedule_schedule_py,
     METH_FASTCALL | METH_KEYWORDS,
     "schedule_py(module, func, args=None, kwargs=None)\n--\n\nA marker: the function is called "
     "after what else is queued had its turn."},
    {"schedule_inline", (PyCFunction)(void (*)(void))schedule_schedule_inline,
     METH_FASTCALL | METH_KEYWORDS,
     "schedule_inline(module, func, args=None, kwargs=None)\n--\n\nA marker: the function is "
     "called at once when the caller has returned."},
    {"consume_time_slice", schedule_consume_time_slice, METH_O,
     "consume_time_slice(percent)\n--\n\nTrue when the time slice is used up: yield."},
    {NULL, NULL, 0, NULL},
};

bool schedule_setup(PyObject *module) {
    callback_state *state = callback_state_get();
    PyObject *type = PyType_FromModuleAndSpec(module, &marker_spec, NULL);
    state->marker_type = (PyTypeObject *)type;
    state->string_main = PyUnicode_InternFromString("__main__");
    state->string_name = PyUnicode_InternFromString("__name__");
    return type != NULL && state->string_main != NULL && state->string_name != NULL &&
           PyModule_AddType(module, (PyTypeObject *)type) == 0 &&
           PyModule_AddFunctions(module, schedule_methods) == 0;
}
