/*
 * What is registered with a Selector: a selectors.SelectorKey for each descriptor, as selectors.py
 * keeps them, and the same descriptors in the core's poll set. The methods raise what selectors.py
 * raises; all functions need the GIL.
 */
#ifndef ERLANG_PYTHON_SELECTOR_KEYS_H
#define ERLANG_PYTHON_SELECTOR_KEYS_H

#include "selector.h"

PyObject *selector_register(selector *self, PyObject *args, PyObject *kwargs);
PyObject *selector_unregister(selector *self, PyObject *file);
PyObject *selector_modify(selector *self, PyObject *args, PyObject *kwargs);
PyObject *selector_get_key(selector *self, PyObject *file);
PyObject *selector_get_map(selector *self, PyObject *unused);

/* What selectors._SelectorMapping asks of its selector. */
PyObject *selector_fileobj_lookup(selector *self, PyObject *file);

/* A new reference to the key of a descriptor, or NULL with an exception set, KeyError for one that
 * is not registered. */
PyObject *selector_key(selector *self, int fd);

/* The events of a key; 0, without an exception, where somebody put something else there. */
unsigned selector_key_events(PyObject *key);

/* NULL, with the exception set: of a closed selector, and OSError for a negative errno. */
PyObject *selector_closed_error(void);
PyObject *selector_os_error(int status);

#endif
