/*
 * Channels: messages from Erlang, or from Python, to whichever Python code receives. The queue is
 * in the core (channel.go); here is what converts, and the functions of _erlang.
 */
#ifndef ERLANG_PYTHON_CHANNEL_H
#define ERLANG_PYTHON_CHANNEL_H

#include "python_state.h"

/* A message: a term in an environment of its own, which whoever has the message frees. */
typedef struct channel_message {
    ErlNifEnv *env; /* NULL: no message */
    ERL_NIF_TERM term;
} channel_message;

/* What core_channel_take() and core_channel_push() answer. */
enum {
    CHANNEL_OK,
    CHANNEL_EMPTY,
    CHANNEL_BUSY,
    CHANNEL_CLOSED,
};

/* What core_channel_wait() answers instead of the id of a call. */
enum {
    CHANNEL_ENDED = 0, /* the application does not run */
    CHANNEL_LOOK = 1,  /* there is something to be had already */
};

/* A copy of the term; without memory its env is NULL. */
channel_message channel_copy(ERL_NIF_TERM term);

/* Adds the functions. False with an exception set. */
bool channel_setup(PyObject *module);

#endif
