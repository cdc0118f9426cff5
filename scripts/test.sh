#!/bin/bash
# Sets up, builds and runs all tests; a failing suite does not stop the others. The last line counts the tests of all
# suites: `N passed, N failed, N skipped`. Output of each suite is kept in _build/test-logs/.
#
#   scripts/test.sh [suite...]      only these (see the end of this file)
set -uo pipefail
cd "$(dirname "$0")/.."
export ERL_AFLAGS="${ERL_AFLAGS:-} -kernel shell_history disabled"

only=("$@")
logs=_build/test-logs
total_passed=0
total_failed=0
total_skipped=0
summary=()
failures=()

# suite <name> <counter> <command...>: runs the command, then `counter <log>`, which prints `passed failed skipped`.
suite() {
    local name=$1 counter=$2 passed failed skipped status started=$SECONDS
    shift 2
    if [ ${#only[@]} -gt 0 ] && [[ " ${only[*]} " != *" $name "* ]]; then
        return
    fi
    echo
    echo "==== $name"
    "$@" </dev/null 2>&1 | tee "$logs/$name.log"
    status=${PIPESTATUS[0]}
    read -r passed failed skipped < <("$counter" "$logs/$name.log" "$status")
    # A suite that broke off, or that ran nothing at all, has failed whatever it counted.
    if { [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; } || [ $((passed + failed + skipped)) -eq 0 ]; then
        failed=$((failed + 1))
    fi
    total_passed=$((total_passed + passed))
    total_failed=$((total_failed + failed))
    total_skipped=$((total_skipped + skipped))
    summary+=("$(printf '%-18s %6d passed %4d failed %4d skipped %5d s' \
        "$name" "$passed" "$failed" "$skipped" $((SECONDS - started)))")
    if [ "$failed" -gt 0 ]; then
        failures+=("$(printf '==== failed in %s\n%s' "$name" "$(failures_in "$name" "$logs/$name.log")")")
    fi
}

# failures_in <suite> <log>: what failed and why, or else the log's end; at most 60 lines. They are printed again at the
# very end, since that is what is left where a long log is kept in part.
failures_in() {
    local plain
    plain=$(mktemp)
    sed 's/\x1b\[[0-9;]*m//g' "$2" >"$plain"
    case $1 in
        common-test) grep -A 15 'SUITE ==> .*FAILED' "$plain" ;;
        pytest) sed -n '/ short test summary info /,$p' "$plain" ;;
        go-test) grep -A 15 -e '--- FAIL: ' "$plain" ;;
        conformance) grep -E '^(FAIL|ERROR): ' "$plain" ;;
    esac | cut -c 1-300 | head -n 60 | grep . || tail -n 20 "$plain" | cut -c 1-300
    rm -f "$plain"
}

# sum <extended pattern with one number in it> <file>: the sum of that number over all matches.
sum() {
    sed 's/\x1b\[[0-9;]*m//g' "$2" | grep -oE -- "$1" | grep -oE '[0-9]+' | awk '{ n += $1 } END { print n + 0 }'
}

count_lines() { grep -c -- "$1" "$2" || :; }

# A command that is one test.
count_one() { if [ "$2" -eq 0 ]; then echo 1 0 0; else echo 0 1 0; fi; }

count_go() { echo "$(count_lines '--- PASS: ' "$1") $(count_lines '--- FAIL: ' "$1") $(count_lines '--- SKIP: ' "$1")"; }

# Common Test as rebar3 sums it up: `All 3 tests passed.` or `Failed 1 tests. Skipped 2 (2, 0) tests. Passed 3 tests.`
count_ct() {
    local all
    all=$(sum '[Aa]ll [0-9]+ tests passed' "$1")
    echo "$((all + $(sum 'Passed [0-9]+ tests' "$1"))) $(sum 'Failed [0-9]+ tests' "$1") $(sum 'Skipped [0-9]+ \(' "$1")"
}

# pytest's last line: `1 failed, 5 passed, 2 skipped in 0.12s`; errors (fixtures, collection) are failures.
count_pytest() {
    local last
    last=$(mktemp)
    grep -E ' in [0-9.]+s' "$1" | tail -n 1 >"$last"
    echo "$(sum '[0-9]+ passed' "$last") $(sum '[0-9]+ (failed|errors?\b)' "$last") $(sum '[0-9]+ (skipped|xfailed)' "$last")"
    rm -f "$last"
}

# A last line of `N passed, N failed, N skipped`.
count_total() {
    local last
    last=$(mktemp)
    tail -n 1 "$1" >"$last"
    echo "$(sum '[0-9]+ passed' "$last") $(sum '[0-9]+ failed' "$last") $(sum '[0-9]+ skipped' "$last")"
    rm -f "$last"
}

run_gofmt() {
    local unformatted
    unformatted=$(cd nif && gofmt -l .) || return 1
    [ -z "$unformatted" ] || {
        echo "not formatted: $unformatted"
        return 1
    }
}
run_vet() (cd nif && go vet ./...)
# The race detector is C code of its own that must not get the flags of the core.
run_go_test() (
    unset CGO_CFLAGS CGO_LDFLAGS GOAMD64
    cd nif && CGO_ENABLED=1 go test -race -v ./internal/...
)
run_pytest() {
    PYTHONPATH=python "$ERLANG_PYTHON_TEST_VENV/bin/python" -m pytest -p no:cacheprovider test/python
}

sh scripts/setup.sh test || exit 1
sh scripts/setup.sh conformance || exit 1
rebar3 compile || exit 1
mkdir -p "$logs"
rm -f "$logs"/*
eval "$(sh scripts/go-env.sh)" || exit 1
# Common Test suites that run Python tests inside the VM find pytest there.
ERLANG_PYTHON_TEST_VENV=$(sh scripts/venv.sh venv test/requirements.txt) || exit 1
export ERLANG_PYTHON_TEST_VENV

suite gofmt count_one run_gofmt
suite go-vet count_one run_vet
suite libraries count_one sh scripts/check-libraries.sh
suite go-test count_go run_go_test
suite pytest count_pytest run_pytest
suite common-test count_ct rebar3 ct
suite conformance count_total bash scripts/conformance.sh
suite xref count_one rebar3 xref
suite dialyzer count_one rebar3 dialyzer
suite as-dependency count_one sh scripts/as-dependency.sh
suite as-mix-dependency count_one sh scripts/as-mix-dependency.sh

echo
[ ${#failures[@]} -eq 0 ] || printf '%s\n\n' "${failures[@]}"
printf '%s\n' "${summary[@]}"
echo "$total_passed passed, $total_failed failed, $total_skipped skipped" | tee "$logs/total"
[ "$total_failed" -eq 0 ] && [ "$total_passed" -gt 0 ]
