#!/bin/sh
# Builds priv/ (both libraries and the Python package) through CMake; rebar3 runs it before it compiles.
#
#   scripts/build.sh [configure]     with `configure`, only configures
#
# Environment: PYTHON=/path/to/python3 (empty: look it up again), PERF_BUILD=ON|OFF. Both are remembered.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd -P)
build=$root/_build/cmake

# From `make run`: the options of that make are not for the one that CMake starts.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES

stop() {
    echo "erlang_python: $1" >&2
    exit 1
}

command -v cmake >/dev/null || stop "no cmake found: install it (Debian, Ubuntu: apt-get install cmake)."
if [ -z "${CMAKE_GENERATOR:-}" ] && ! command -v make >/dev/null; then
    stop "no make found: install it (Debian, Ubuntu: apt-get install make)."
fi

mkdir -p "$build"
# Two builds at once, say rebar3 in two terminals, would write the same files.
if command -v flock >/dev/null; then
    exec 9>"$root/_build/cmake.lock"
    flock 9
fi

# A cache that came with a copied or moved folder belongs to another place.
if [ -f "$build/CMakeCache.txt" ] &&
    ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root/c_src" "$build/CMakeCache.txt"; then
    rm -rf "$build"
    mkdir -p "$build"
fi

# Go refuses to work without a folder for its cache.
if [ -z "${HOME:-}${GOCACHE:-}${XDG_CACHE_HOME:-}" ]; then
    export GOCACHE="$build/go-cache"
    export GOPATH="${GOPATH:-$build/go-path}"
fi

log=$build/configure.log
if ! cmake -S c_src -B "$build" ${PERF_BUILD:+"-DPERF_BUILD=$PERF_BUILD"} >"$log" 2>&1; then
    grep '^erlang_python: ' "$log" >&2 || cat "$log" >&2
    exit 1
fi
[ "${1:-}" = configure ] && exit 0

# One line about a missing tool says it all; anything else is for whoever changed the sources, and is printed as is.
exec cmake --build "$build"
