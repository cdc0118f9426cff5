/* The built-in module _erlang, which the Python package `erlang` is made on. */
#ifndef ERLANG_PYTHON_ERLANG_MODULE_H
#define ERLANG_PYTHON_ERLANG_MODULE_H

#include "python_state.h"

PyMODINIT_FUNC PyInit__erlang(void);

#endif
