#!/bin/sh
# Removes what scripts/build.sh made; rebar3 runs it after `rebar3 clean`.
set -eu
cd "$(dirname "$0")/.."
rm -rf _build/cmake _build/cmake.lock priv/py_nif.so priv/libpy_core.so priv/python
