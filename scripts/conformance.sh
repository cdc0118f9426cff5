#!/bin/bash
# CPython's own asyncio tests on ErlangEventLoop, each group in an Erlang VM of its own with a time limit. Writes the
# section of the Python in use in docs/conformance.md (when all groups are run). The last line counts the tests.
#
#   scripts/conformance.sh [group...]      a group is a module of test.test_asyncio, such as test_events
#
# Environment: GROUP_SECONDS, the time limit of a group (default 300).
set -uo pipefail
cd "$(dirname "$0")/.."

all="test_events test_streams test_tasks test_futures test_futures2 test_sock_lowlevel test_sendfile test_server
    test_ssl test_sslproto test_buffered_proto test_unix_events test_base_events test_selector_events test_context
    test_locks test_queues test_runners test_taskgroups test_timeouts test_pep492 test_threads test_waitfor"
limit=${GROUP_SECONDS:-300}

python=$(cat _build/cmake/python-executable) || {
    echo "erlang_python: build first (rebar3 compile)." >&2
    exit 1
}
version=$("$python" -c 'import platform; print(platform.python_version())') || exit 1
"$python" -c 'import test.test_asyncio' 2>/dev/null || {
    echo "erlang_python: $python has no test.test_asyncio (Debian: apt-get install libpython3.11-testsuite)." >&2
    exit 1
}
# Groups that came with later versions.
for group in test_eager_task_factory test_staggered; do
    if "$python" -c "import test.test_asyncio.$group" 2>/dev/null; then
        all="$all $group"
    fi
done
groups=${*:-$all}
results=_build/conformance/$version
mkdir -p "$results"
[ $# -gt 0 ] || rm -f "$results"/*.json

run='
    [Group, File, Limit, Folder] = init:get_plain_arguments(),
    {ok, _} = application:ensure_all_started(erlang_python),
    ok = py:exec(<<"import sys; sys.path.insert(0, ", (list_to_binary(io_lib:format("~p", [Folder])))/binary, ")">>),
    Arguments = [list_to_binary(Group), list_to_binary(File), list_to_integer(Limit)],
    case py:call(run_group, run_group_to_file, Arguments, #{}, #{timeout => infinity, traceback => true}) of
        {ok, true} -> halt(0);
        {ok, false} -> halt(1);
        Error -> io:format(standard_error, "~p~n", [Error]), halt(2)
    end.'

failed=0
for group in $groups; do
    file=$results/$group.json
    rm -f "$file"
    # The inner limit writes where every thread is before the outer one ends the VM.
    timeout --kill-after=10 $((limit + 20)) erl -noshell -noinput -pa _build/default/lib/*/ebin \
        -eval "$run" -extra "$group" "$PWD/$file" "$limit" "$PWD/test/conformance" \
        >"$results/$group.log" 2>&1
    status=$?
    if ! "$python" test/conformance/table.py line "$file"; then
        echo "$group: no result, exit status $status; the end of $results/$group.log:"
        tail -n 40 "$results/$group.log"
        failed=1
    elif [ "$status" -ne 0 ]; then
        failed=1
    fi
done
if [ $# -eq 0 ] && [ "$failed" -eq 0 ]; then
    "$python" test/conformance/table.py document "$results" docs/conformance.md || failed=1
fi
"$python" test/conformance/table.py total "$results" $groups || failed=1
exit "$failed"
