#!/bin/sh
# Mixed load for SECONDS (default 60) in a VM of its own; a table of what is counted after each round, and status 0 when
# nothing was lost or has grown. PYTHONMALLOC=debug and PYTHONDEVMODE=1 may be set.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-${SECONDS_TO_RUN:-60}}
rebar3 as test compile >&2
build=_build/test/lib/erlang_python
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
erlc -o "$out" test/py_soak.erl
ERL_CRASH_DUMP_SECONDS=0 erl -noshell -pa "$build/ebin" "$out" \
    -erlang_python python_path "[\"$(pwd)/test/hostile\"]" contexts 16 event_loop_pool_size 2 \
    -run py_soak main "$seconds"
