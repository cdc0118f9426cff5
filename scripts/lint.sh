#!/bin/sh
# Checks the formatting of C, Go and Python (`lint.sh`), or puts it right (`lint.sh fix`).
set -eu
cd "$(dirname "$0")/.."
mode=${1:-check}
status=0

command -v clang-format >/dev/null || {
    echo "erlang_python: no clang-format found: install it (Debian, Ubuntu: apt-get install clang-format)." >&2
    exit 1
}
sh scripts/build.sh configure
. ./_build/cmake/go.env
ruff=$(sh scripts/venv.sh venv-lint scripts/requirements-lint.txt)/bin/ruff

c_files=$(find nif c_src test/valgrind \( -name '*.c' -o -name '*.h' \) -print)
# Word splitting is wanted: names of this repository have no spaces.
if [ "$mode" = fix ]; then
    clang-format -i $c_files
    gofmt -w nif
    "$ruff" check --fix . || status=1
    "$ruff" format .
else
    clang-format --dry-run -Werror $c_files || status=1
    unformatted=$(gofmt -l nif)
    [ -z "$unformatted" ] || { echo "not formatted by gofmt: $unformatted"; status=1; }
    "$ruff" check . || status=1
    "$ruff" format --check . || status=1
fi
exit $status
