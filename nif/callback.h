/*
 * Python calling Erlang: the functions of _erlang that send a call and wait for its answer
 * (callback.c), and what the core (callback.go, waiter.go) shares with them.
 */
#ifndef ERLANG_PYTHON_CALLBACK_H
#define ERLANG_PYTHON_CALLBACK_H

#include "python_state.h"
#include "task.h"

typedef enum answer_status {
    ANSWER_OK,             /* term: the value */
    ANSWER_ERROR,          /* term: {Class, Reason, Stack, Message}, the last two binaries */
    ANSWER_NOT_REGISTERED, /* term: the name, a binary */
    ANSWER_CLOSED, /* no term: the application stopped, or its callback server was restarted */
} answer_status;

/* The answer to a call. The thread that waits owns it, but for the moment in which the answer is
 * written. */
typedef struct answer {
    ErlNifEnv *env;
    ERL_NIF_TERM term;
    int32_t status; /* answer_status */
} answer;

/* What core_call_wait() answers. */
enum {
    CALL_ANSWERED,
    CALL_NESTED,      /* the callback wants a task run on this very thread */
    CALL_TIMEOUT,     /* nothing will be answered any more */
    CALL_INTERRUPTED, /* the thread is to look for an exception that another one raised in it */
};

/* An empty answer with an environment, or NULL. */
answer *answer_new(void);

/* Empties it for the next call. */
void answer_reset(answer *a);

void answer_free(answer *a);

/* ---- Jobs of a thread of their own; they take and release the GIL of thread_state ---- */

/* Gives up a reference to a Python object. */
void callback_drop(void *thread_state, void *object);

/* Has a future on a loop that is not ours resolved; takes the reference to the future, frees env.
 */
void callback_resolve_threadsafe(void *thread_state, void *future, int status, ErlNifEnv *env,
                                 ERL_NIF_TERM term);

/* ---- Needs the GIL ---- */

/* Resolves the future of a TASK_RESOLVE task. None, or NULL with an exception set. */
PyObject *callback_resolve(task *t);

/* Sends the call that erlang.schedule() asks for; its answer is the task's. False with an exception
 * set. */
bool callback_schedule(task *t, PyObject *name, PyObject *const *args, Py_ssize_t count);

/* Waits in the innermost call of the thread of a waiter, of which it is; what was answered, or NULL
 * with an exception set. */
PyObject *callback_await(uint64_t waiter, int64_t deadline);

/* Makes the interpreter look for exceptions that other threads raised in this one; false when one
 * is set now. */
bool callback_check_interrupt(void);

/* Seconds, or None or NULL, to a monotonic time or -1 for never. False with an exception set. */
bool callback_deadline(PyObject *timeout, int64_t *deadline);

/* A future of the running loop, and that loop's handle (0: it is not ours). NULL with an exception
 * set. */
PyObject *callback_future(uint64_t *handle);

/* Adds the functions to the module. False with an exception set. */
bool callback_setup(PyObject *module);

#endif
