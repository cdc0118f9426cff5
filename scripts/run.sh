#!/bin/sh
# Sets up, builds and shows the tour (examples/tour.erl), then an Erlang shell where there is a terminal.
set -eu
cd "$(dirname "$0")/.."

sh scripts/setup.sh run
rebar3 compile

mkdir -p _build/examples
erlc -o _build/examples examples/tour.erl
erl -noshell -pa _build/default/lib/erlang_python/ebin _build/examples -eval 'tour:main()' </dev/null

if [ -t 0 ] && [ -t 1 ]; then
    echo
    echo "An Erlang shell with the application started; try  py_event_loop:run(math, sqrt, [2.0]).  End with  q()."
    exec erl -pa _build/default/lib/erlang_python/ebin _build/examples -eval \
        '{ok, _} = application:ensure_all_started(erlang_python)'
fi
