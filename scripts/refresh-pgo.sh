#!/bin/sh
# Refreshes nif/default.pgo, the profile by which the Go compiler optimises the core: runs the same work as a program
# does (tasks from one process and from fifty, functions and coroutines) on a PERF_BUILD with the profiler on.
#
# ERLANG_PYTHON_CPUPROFILE=<file> makes the core write its CPU profile there while the VM runs.
#
#   scripts/refresh-pgo.sh [<seconds>]
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-30}
profile=$PWD/_build/default.pgo

PERF_BUILD=ON rebar3 compile
mkdir -p _build/examples
erlc -o _build/examples scripts/pgo_work.erl
rm -f "$profile"
ERLANG_PYTHON_CPUPROFILE=$profile erl -noshell -pa _build/default/lib/erlang_python/ebin _build/examples \
    -eval "pgo_work:main($seconds)" </dev/null

. ./_build/cmake/go.env
# Fails on a profile that is empty or broken off.
go tool pprof -top -nodecount=10 "$profile"
"$(cat _build/cmake/python-executable)" scripts/strip_profile.py "$profile" nif/default.pgo
echo "nif/default.pgo: $(wc -c <nif/default.pgo) bytes"
