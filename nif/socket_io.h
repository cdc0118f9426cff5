/*
 * Receiving and sending on the loop's stream sockets.
 *
 * asyncio asks socket.recv() for 256 KiB at a time. glibc maps a buffer of that size for each call,
 * shrinks it to what came and unmaps it when the bytes are freed: three system calls and page
 * faults for each kilobyte received, measured as a third of a TCP echo's time. Here the kernel
 * fills a buffer that the thread keeps, and the bytes object is made of what came.
 */
#ifndef ERLANG_PYTHON_SOCKET_IO_H
#define ERLANG_PYTHON_SOCKET_IO_H

#include "python_state.h"

/* Adds socket_recv() and socket_send() to the module. false with an exception set. */
bool socket_io_setup(PyObject *module);

#endif
