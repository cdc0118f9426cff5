#!/bin/sh
# The conversion of values in both directions under valgrind's memcheck, outside the VM: the VM's just-in-time compiler
# does not run under it, so the functions of the VM that the conversion calls are test/valgrind/fake_enif.c. Fails on
# the first invalid or uninitialised access in it. Both ways to build maps are run: that of OTP 27.3 and the one before.
#
#   scripts/valgrind.sh [number of random values]
set -eu
cd "$(dirname "$0")/.."
count=${1:-300}
command -v valgrind >/dev/null || {
    echo "erlang_python: no valgrind found: install it (Debian, Ubuntu: apt-get install valgrind)." >&2
    exit 1
}
sh scripts/build.sh configure
# shellcheck disable=SC1091
. ./_build/cmake/go.env
python=$(cat _build/cmake/python-executable)
out=_build/valgrind
mkdir -p "$out"
# The flags are quoted for cgo, which knows the quotes of a shell.
eval "set -- $CGO_CFLAGS"
"${CC:-cc}" -std=gnu11 -Wall -Wextra -Wno-unused-parameter -g "$@" -O1 -fPIE -Inif -Itest/valgrind \
    nif/convert*.c nif/python_types*.c nif/python_error.c nif/python_state.c test/valgrind/*.c \
    -o "$out/conversion" $("$python" -c '
import sysconfig
get = sysconfig.get_config_var
print("-L" + get("LIBDIR"), "-Wl,-rpath," + get("LIBDIR"), "-lpython" + get("LDVERSION"), "-lm -lpthread")')
# PYTHONMALLOC: each object is a block of its own. Leaks are looked for by counting environments: CPython does not give
# everything back. CPython itself has errors under memcheck (int.from_bytes() looks at a digit that is not there); what
# counts are those with a function of the conversion in their stack.
status=0
for version in 13.1 16.0; do
    FAKE_ERTS_VERSION=$version PYTHONMALLOC=malloc PYTHONPATH=test/hostile PYTHONDONTWRITEBYTECODE=1 \
        PYTHONHOME=$("$python" -c 'import sys; print(sys.base_prefix)') \
        valgrind --leak-check=no --main-stacksize=67108864 --num-callers=50 --error-limit=no \
        --log-file="$out/log.$version" "$out/conversion" test/valgrind/values.py "$count" || status=1
    # Errors are separated by lines with nothing but the process in them.
    awk '
        { sub(/^==[0-9]+== ?/, "") }
        /^$/ { if (ours) { printf "%s\n", text; bad++ } text = ""; ours = 0; next }
        { text = text $0 "\n" }
        /\((convert_[a-z0-9_]+|python_types[a-z_]*|python_error|python_state|fake_enif)\.c:/ { ours = 1 }
        END { print "errors in the conversion, as of ERTS '"$version"': " bad + 0; exit bad > 0 }' "$out/log.$version" || status=1
done
exit $status
