#!/bin/bash
# The C parts and the shim with AddressSanitizer and UndefinedBehaviorSanitizer, in the VM: runs the given cases
# (default: conversion, errors, destructors, callbacks, many threads and a short soak) and fails on the first report.
#
#   scripts/asan.sh [Module:Function...]      functions of the test modules that take no argument
#
# Suppressions: leaks are not looked for, since neither the VM, nor Python, nor Go give everything back at the end;
# CPython and the VM are not instrumented. SIGSEGV stays Go's and CPython's, which handle stack overflows.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$(pwd -P)
cases=("$@")
if [ ${#cases[@]} -eq 0 ]; then
    cases=(py_hostile_SUITE:run_values py_hostile_SUITE:run_exceptions py_hostile_SUITE:run_destructors
        py_hostile_SUITE:run_exit py_hostile_SUITE:run_deep_terms py_hostile_SUITE:run_huge_results
        py_hostile_SUITE:run_imports py_hostile_SUITE:run_crowd py_hostile_SUITE:run_killed_callers
        py_hostile_SUITE:run_stop_under_load py_hostile_SUITE:run_killed_workers py_sandbox_SUITE:try_all
        py_hostile_SUITE:run_closed_selector py_hostile_SUITE:run_replaced_keys py_hostile_SUITE:run_odd_futures
        py_hostile_SUITE:run_vanishing_names py_hostile_SUITE:run_wrong_process py_hostile_SUITE:run_native_module
        py_interrupt_SUITE:run_only_the_task_meant py_interrupt_SUITE:run_replace_idle
        py_channel_SUITE:run_cases py_stream_SUITE:run_cases task_end_SUITE:run_cases py_soak:short)
fi

rebar3 as test compile >&2
app=_build/asan/lib/erlang_python
mkdir -p "$app/priv"
rm -rf "$app/ebin"
cp -R _build/test/lib/erlang_python/ebin "$app/ebin"
cp -R priv/python "$app/priv/"
erlc +nowarn_export_all -o "$app/ebin" test/test_support.erl test/py_vm.erl test/py_soak.erl \
    test/py_{hostile,sandbox,interrupt,memory,fault,channel,stream}_SUITE.erl test/task_end_SUITE.erl
ln -sfn "$root/test/hostile" "$app/ebin/hostile"

# shellcheck disable=SC1091
. _build/cmake/go.env
sanitize="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g -O1"
(
    cd nif
    CGO_CFLAGS="$CGO_CFLAGS $sanitize" CGO_LDFLAGS="$CGO_LDFLAGS -fsanitize=address,undefined" \
        go build -buildmode=c-shared -o "$root/$app/priv/libpy_core.so" \
        -ldflags "-extldflags '-Wl,-soname,libpy_core.so -Wl,-z,nodelete -fsanitize=address,undefined'" .
)
erts=$(erl -noshell -eval 'io:format("~s", [filename:join([code:root_dir(), "erts-" ++ erlang:system_info(version), "include"])]), halt().')
python=$(sed -n "s/.*-isystem *'\{0,1\}\([^' ]*python[^' ]*\)'\{0,1\}.*/\1/p" _build/cmake/go.env | head -n 1)
# shellcheck disable=SC2086
${CC:-cc} -std=gnu11 -fPIC -shared $sanitize -Inif -isystem "$erts" ${python:+-isystem "$python"} c_src/shim.c \
    -o "$app/priv/py_nif.so" -L"$app/priv" -lpy_core -Wl,-rpath,'$ORIGIN' -Wl,-z,nodelete

export LD_PRELOAD="$(${CC:-cc} -print-file-name=libasan.so) $(${CC:-cc} -print-file-name=libubsan.so)"
export ASAN_OPTIONS=detect_leaks=0:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_abort=0:use_sigaltstack=0:abort_on_error=1
export UBSAN_OPTIONS=print_stacktrace=1:abort_on_error=1
export PYTHONMALLOC=${PYTHONMALLOC:-malloc} ERL_CRASH_DUMP_SECONDS=0
failed=0
for case in "${cases[@]}"; do
    module=${case%%:*}
    function=${case##*:}
    if timeout 600 erl -noshell +B -kernel logger_level critical -pa "$app/ebin" \
        -erlang_python python_path "[\"$root/test/hostile\"]" -eval "
            {ok, _} = application:ensure_all_started(erlang_python),
            $module:$function(), true = py_vm:answers(), init:stop()." >"_build/asan/log" 2>&1; then
        echo "ok      $case"
    else
        echo "FAILED  $case"
        tail -n 60 _build/asan/log
        failed=1
    fi
done
exit $failed
