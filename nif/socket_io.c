#include "socket_io.h"

#include "gil.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#define RECEIVE_SIZE (256 * 1024) /* selector_events._SelectorTransport.max_size */

/* The system call itself is short; what is copied in it beyond this is worth handing over the GIL.
 */
#define LONG_COPY (64 * 1024)

static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;

static void make_buffer_key(void) { pthread_key_create(&buffer_key, free); }

/* The calling thread's buffer, freed when the thread ends; NULL with MemoryError set. */
static char *receive_buffer(void) {
    pthread_once(&buffer_once, make_buffer_key);
    char *buffer = pthread_getspecific(buffer_key);
    if (buffer == NULL) {
        buffer = malloc(RECEIVE_SIZE);
        if (buffer == NULL || pthread_setspecific(buffer_key, buffer) != 0) {
            free(buffer);
            PyErr_NoMemory();
            return NULL;
        }
    }
    return buffer;
}

/*
 * MSG_DONTWAIT, below and for send(): whether a socket blocks is a property that it shares with its
 * duplicates, in other processes too. One that somebody made blocking must not stop all of Python.
 */
static PyObject *io_recv(PyObject *module, PyObject *argument) {
    int fd = PyObject_AsFileDescriptor(argument);
    if (fd < 0) {
        return NULL;
    }
    char *buffer = receive_buffer();
    if (buffer == NULL) {
        return NULL;
    }
    for (;;) {
        ssize_t size;
        if (gil_wanted()) {
            Py_BEGIN_ALLOW_THREADS;
            size = recv(fd, buffer, RECEIVE_SIZE, MSG_DONTWAIT);
            Py_END_ALLOW_THREADS;
        } else {
            size = recv(fd, buffer, RECEIVE_SIZE, MSG_DONTWAIT);
        }
        if (size >= 0) {
            return PyBytes_FromStringAndSize(buffer, size);
        }
        if (errno != EINTR) {
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        if (PyErr_CheckSignals() != 0) {
            return NULL;
        }
    }
}

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: the VM ignores SIGPIPE for the whole process */
#endif

#define SEND_FLAGS (MSG_NOSIGNAL | MSG_DONTWAIT)

static PyObject *send_buffer(int fd, const Py_buffer *data) {
    for (;;) {
        ssize_t size;
        if (data->len > LONG_COPY || gil_wanted()) {
            Py_BEGIN_ALLOW_THREADS;
            size = send(fd, data->buf, (size_t)data->len, SEND_FLAGS);
            Py_END_ALLOW_THREADS;
        } else {
            size = send(fd, data->buf, (size_t)data->len, SEND_FLAGS);
        }
        if (size >= 0) {
            return PyLong_FromSsize_t(size);
        }
        if (errno != EINTR) {
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        if (PyErr_CheckSignals() != 0) {
            return NULL;
        }
    }
}

static PyObject *io_send(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "socket_send(fd, data) takes two arguments");
        return NULL;
    }
    int fd = PyObject_AsFileDescriptor(args[0]);
    Py_buffer data;
    if (fd < 0 || PyObject_GetBuffer(args[1], &data, PyBUF_SIMPLE) != 0) {
        return NULL;
    }
    PyObject *sent = send_buffer(fd, &data);
    PyBuffer_Release(&data);
    return sent;
}

static PyMethodDef methods[] = {
    {"socket_recv", io_recv, METH_O,
     "socket_recv(fd) -> bytes: what a non-blocking stream socket has, at most 256 KiB. Raises as "
     "socket.recv() does."},
    {"socket_send", (PyCFunction)(void (*)(void))io_send, METH_FASTCALL,
     "socket_send(fd, data) -> int: how many bytes a non-blocking stream socket took. Raises as "
     "socket.send() does."},
    {NULL, NULL, 0, NULL},
};

bool socket_io_setup(PyObject *module) { return PyModule_AddFunctions(module, methods) == 0; }
