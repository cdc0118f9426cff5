#include "caller.h"

#include "_cgo_export.h"
#include "atoms.h"
#include "callback_state.h"
#include "callback_thread.h"
#include "convert.h"
#include "python_types.h"

static _Thread_local task *current;

/* The process that act_for() names, and the task (or NULL) in which it does. */
static _Thread_local const ErlNifPid *represented;
static _Thread_local task *represented_in;

task *caller_enter(task *t) {
    task *previous = current;
    current = t;
    return previous;
}

void caller_leave(task *previous) { current = previous; }

uint64_t caller_origin(void) { return current != NULL ? current->origin : 0; }

PyObject *caller_bind(task *t) {
    PyObject *token = NULL;
    PyObject *process = opaque_from_term(t->env, t->caller.pid);
    if (process != NULL) {
        token = PyContextVar_Set(callback_state_get()->process_variable, process);
        Py_DECREF(process);
    }
    PyErr_Clear();
    return token;
}

void caller_unbind(PyObject *token) {
    if (token != NULL) {
        /* What the task raised goes on. */
        PyObject *type;
        PyObject *value;
        PyObject *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        PyContextVar_Reset(callback_state_get()->process_variable, token);
        Py_DECREF(token);
        PyErr_Clear();
        PyErr_Restore(type, value, traceback);
    }
}

bool caller_process(ErlNifPid *process) {
    if (represented != NULL && represented_in == current) {
        *process = *represented;
        return true;
    }
    if (current != NULL && current->kind != TASK_RESOLVE) {
        *process = current->caller;
        return true;
    }
    PyObject *value = NULL;
    if (PyContextVar_Get(callback_state_get()->process_variable, NULL, &value) != 0) {
        PyErr_Clear();
        return false;
    }
    if (value == NULL) {
        return false;
    }
    bool found = opaque_local_process(value, process);
    Py_DECREF(value);
    return found;
}

static PyObject *process_error(const char *format, PyObject *object) {
    return PyErr_Format(callback_state_get()->process_error, format, object);
}

static PyObject *caller_self(PyObject *module, PyObject *unused) {
    ErlNifPid process;
    if (!caller_process(&process)) {
        PyErr_SetString(callback_state_get()->process_error,
                        "this code runs on behalf of no Erlang process");
        return NULL;
    }
    ErlNifEnv *env = callback_env_take();
    if (env == NULL) {
        return NULL;
    }
    PyObject *pid = opaque_from_term(env, process.pid);
    callback_env_return(env);
    return pid;
}

/* The atom of a name without making a new one: a name that is no atom is registered nowhere. */
static bool find_atom(ErlNifEnv *env, PyObject *name, ERL_NIF_TERM *atom) {
    Py_ssize_t size;
    if (!PyUnicode_IS_COMPACT_ASCII(name)) {
        /* Only the external format knows these before OTP 26, and it makes the atom. */
        PyObject *wrapped = PyObject_CallOneArg((PyObject *)python_state_get()->atom_type, name);
        bool good = wrapped != NULL && python_to_term(env, wrapped, 0, atom, NULL);
        Py_XDECREF(wrapped);
        return good;
    }
    const char *text = PyUnicode_AsUTF8AndSize(name, &size);
    if (text == NULL) {
        return false;
    }
    if (!enif_make_existing_atom_len(env, text, (size_t)size, atom, ERL_NIF_LATIN1)) {
        *atom = atoms.undefined;
    }
    return true;
}

/* False, without an exception, when no process has the name. */
static bool find_process(ErlNifEnv *env, PyObject *name, ErlNifPid *process) {
    ERL_NIF_TERM atom;
    return find_atom(env, name, &atom) && enif_whereis_pid(NULL, atom, process);
}

static PyObject *caller_whereis(PyObject *module, PyObject *name) {
    if (!PyUnicode_Check(name)) {
        PyErr_SetString(PyExc_TypeError, "the name of a process is a str");
        return NULL;
    }
    ErlNifEnv *env = callback_env_take();
    if (env == NULL) {
        return NULL;
    }
    ErlNifPid process;
    PyObject *result = NULL;
    if (find_process(env, name, &process)) {
        result = opaque_from_term(env, process.pid);
    } else if (!PyErr_Occurred()) {
        result = Py_NewRef(Py_None);
    }
    callback_env_return(env);
    return result;
}

/* Sends to what is not a local process by way of the sender process, which blocks for connections
 * instead of Python. */
static bool send_remote(ErlNifEnv *env, ERL_NIF_TERM destination, ERL_NIF_TERM message) {
    ErlNifPid sender;
    ERL_NIF_TERM name = enif_make_atom(env, "py_callback_sender");
    if (!enif_whereis_pid(NULL, name, &sender) ||
        !enif_send(
            NULL, &sender, env,
            enif_make_tuple3(env, enif_make_atom(env, "python_send"), destination, message))) {
        PyErr_SetString(callback_state_get()->process_error,
                        "the application erlang_python is not running");
        return false;
    }
    return true;
}

/* {name, node}: two strs. */
static bool remote_name(ErlNifEnv *env, PyObject *destination, ERL_NIF_TERM *term) {
    ERL_NIF_TERM parts[2];
    for (int i = 0; i < 2; i++) {
        PyObject *part = PyTuple_GET_ITEM(destination, i);
        PyObject *atom = PyUnicode_Check(part)
                             ? PyObject_CallOneArg((PyObject *)python_state_get()->atom_type, part)
                             : NULL;
        if (atom == NULL) {
            if (!PyErr_Occurred()) {
                PyErr_SetString(PyExc_TypeError, "a remote name is (name, node), two strs");
            }
            return false;
        }
        bool good = python_to_term(env, atom, 0, &parts[i], NULL);
        Py_DECREF(atom);
        if (!good) {
            return false;
        }
    }
    *term = enif_make_tuple_from_array(env, parts, 2);
    return true;
}

static bool send_to(ErlNifEnv *env, PyObject *destination, PyObject *object) {
    ERL_NIF_TERM message;
    ERL_NIF_TERM term;
    ErlNifPid process;
    if (!python_to_term(env, object, 0, &message, NULL)) {
        return false;
    }
    if (PyUnicode_Check(destination)) {
        if (!find_process(env, destination, &process)) {
            if (!PyErr_Occurred()) {
                process_error("no process is registered as %R", destination);
            }
            return false;
        }
    } else if (PyTuple_CheckExact(destination) && PyTuple_GET_SIZE(destination) == 2) {
        return remote_name(env, destination, &term) && send_remote(env, term, message);
    } else if (Py_TYPE(destination) == python_state_get()->pid_type &&
               opaque_to_term(env, destination, &term)) {
        if (!enif_get_local_pid(env, term, &process)) {
            return send_remote(env, term, message);
        }
    } else {
        PyErr_Format(PyExc_TypeError,
                     "send to a Pid, a registered name or (name, node), not to %.200s",
                     Py_TYPE(destination)->tp_name);
        return false;
    }
    if (!enif_send(NULL, &process, env, message)) {
        process_error("%R is not alive", destination);
        return false;
    }
    return true;
}

static PyObject *caller_send(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "send(destination, message) takes two arguments");
        return NULL;
    }
    ErlNifEnv *env = callback_env_take();
    if (env == NULL) {
        return NULL;
    }
    bool sent = send_to(env, args[0], args[1]);
    callback_env_return(env);
    if (!sent) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *caller_act_for(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    ErlNifPid process;
    if (count < 2 || !opaque_local_process(args[0], &process)) {
        PyErr_SetString(PyExc_TypeError, "act_for(pid, function, *args) takes a local Pid first");
        return NULL;
    }
    const ErlNifPid *previous = represented;
    task *previous_in = represented_in;
    represented = &process;
    represented_in = current;
    PyObject *value = PyObject_Vectorcall(args[1], args + 2, (size_t)count - 2, NULL);
    represented = previous;
    represented_in = previous_in;
    return value;
}

static PyMethodDef caller_methods[] = {
    {"act_for", (PyCFunction)(void (*)(void))caller_act_for, METH_FASTCALL,
     "act_for(pid, function, *args)\n--\n\nCalls a function on behalf of an Erlang process."},
    {"self", caller_self, METH_NOARGS,
     "self()\n--\n\nThe Erlang process on whose behalf this code runs."},
    {"whereis", caller_whereis, METH_O,
     "whereis(name)\n--\n\nThe local process that is registered under the name, or None."},
    {"send_message", (PyCFunction)(void (*)(void))caller_send, METH_FASTCALL,
     "send_message(destination, message)\n--\n\nSends a message to a Pid, a name or (name, node)."},
    {NULL, NULL, 0, NULL},
};

bool caller_setup(PyObject *module) {
    callback_state *state = callback_state_get();
    state->process_variable = PyContextVar_New("erlang.self", NULL);
    return state->process_variable != NULL &&
           PyModule_AddObjectRef(module, "process_variable", state->process_variable) == 0 &&
           PyModule_AddFunctions(module, caller_methods) == 0;
}
