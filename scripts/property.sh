#!/bin/sh
# The low-level calls in random order, from several processes, against a model (test/prop_low_level.erl): at least COMMANDS
# of them (default 100000, at most 10000000). The last line counts what was run, descriptors and memory; status 0 when all
# was as the model says.
set -eu
cd "$(dirname "$0")/.."
commands=${1:-100000}
case $commands in
'' | *[!0-9]*)
    echo "property: COMMANDS is a number" >&2
    exit 2
    ;;
esac
if [ "${#commands}" -gt 8 ] || [ "$commands" -gt 10000000 ] || [ "$commands" -lt 1 ]; then
    echo "property: from 1 to 10000000 commands" >&2
    exit 2
fi
rebar3 as test compile >&2
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
erlc -o "$out" test/prop_low_level.erl test/test_support.erl test/low_level_support.erl
ERL_CRASH_DUMP_SECONDS=0 erl -noshell -kernel logger_level error -pa _build/test/lib/erlang_python/ebin "$out" \
    -run prop_low_level main "$commands"
