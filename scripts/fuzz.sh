#!/bin/sh
# Runs each fuzz target of the pure Go packages for SECONDS (default 60). What is found is kept by Go in testdata/ and is
# then a test case.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
sh scripts/build.sh configure
# shellcheck disable=SC1091
. ./_build/cmake/go.env
unset CGO_CFLAGS CGO_LDFLAGS GOAMD64
cd nif
grep -rlE '^func Fuzz' --include='*_test.go' internal | sort | while read -r file; do
    package=./$(dirname "$file")
    sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | while read -r target; do
        echo "==== $package $target"
        go test -run '^$' -fuzz "^$target\$" -fuzztime "${seconds}s" -fuzzminimizetime 1s -parallel 2 "$package"
    done
done
