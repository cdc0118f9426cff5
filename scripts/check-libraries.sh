#!/bin/sh
# Checks the libraries of priv/ for what would show only at run time, and late:
#
#   - every symbol but those of the BEAM (enif_*) is resolved; cgo's link lets missing ones pass
#   - loading them leaves the handling of denormal numbers alone (start-up code of -ffast-math would change it)
#   - they find each other without LD_LIBRARY_PATH, from any folder
set -eu
cd "$(dirname "$0")/.."
[ "$(uname -s)" = Linux ] || { echo "skipped: only on Linux"; exit 0; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp priv/py_nif.so priv/libpy_core.so "$scratch/"

missing=$(env -u LD_LIBRARY_PATH ldd -r "$scratch/py_nif.so" 2>&1 | grep -E 'not found|undefined symbol' | grep -v 'undefined symbol: enif_' || :)
if [ -n "$missing" ]; then
    echo "$missing"
    echo "failed: unresolved symbols or libraries"
    exit 1
fi

cat >"$scratch/denormals.c" <<'END'
#include <dlfcn.h>
#include <float.h>
#include <stdio.h>

int main(int count, char **arguments) {
    volatile double smallest = DBL_MIN;
    if (count < 2 || dlopen(arguments[1], RTLD_LAZY) == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 2;
    }
    return smallest / 2 == 0.0;
}
END
${CC:-cc} -O0 "$scratch/denormals.c" -o "$scratch/denormals" -ldl
if ! "$scratch/denormals" "$scratch/libpy_core.so"; then
    echo "failed: loading libpy_core.so changes the handling of denormal numbers, or does not work"
    exit 1
fi
echo "libraries: ok"
