#!/bin/sh
# Runs an example inside the Erlang VM, on ErlangEventLoop:
#
#   sh examples/run.sh [--show-loops] [--keep-policy] <program.py> [argument...]
#   sh examples/run.sh <module.erl>
#
#   --show-loops   prints, on standard error, the class of every event loop that runs
#   --keep-policy  leaves asyncio's policy alone: for programs that choose the loop themselves
#
# A Python program runs as `python3 <program.py>` would run it; asyncio.run() makes an ErlangEventLoop. Of an Erlang
# module, main/0 runs. The packages of the virtual environment _build/venv (scripts/real-programs-setup.sh) are there.
#
# ERLANG_PYTHON_EBIN: the compiled application, if not that of `rebar3 compile`.
set -eu
examples=$(cd "$(dirname "$0")" && pwd -P)
root=$(dirname "$examples")
ebin=${ERLANG_PYTHON_EBIN:-$root/_build/default/lib/erlang_python/ebin}
[ $# -gt 0 ] || {
    sed -n 's/^#   sh/usage: sh/p' "$0" >&2
    exit 2
}
[ -e "$ebin/erlang_python.app" ] || (cd "$root" && rebar3 compile) >&2

# Compiled in memory: several examples may start at once. +Bd: Ctrl-C ends the VM.
exec erl -noshell +Bd -pa "$ebin" -eval '
    File = filename:join(hd(init:get_plain_arguments()), "examples/run_example.erl"),
    {ok, Module, Code} = compile:file(File, [binary, report]),
    {module, Module} = code:load_binary(Module, File, Code),
    Module:main().' -extra "$root" "$@"
