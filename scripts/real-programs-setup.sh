#!/bin/sh
# Installs what the tests of real programs (test/py_real_programs_SUITE.erl, test/py_doc_examples_SUITE.erl) need and is
# missing: PostgreSQL, Redis, nc, curl and wrk from Debian, and _build/venv with the packages of test/requirements.txt.
#
# Exit status 3: something is missing and there is no apt to install it with.
set -eu
cd "$(dirname "$0")/.."

# Debian keeps the server's programs out of PATH.
has_postgresql() { command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; }
# The nc of Debian's netcat-openbsd: the one that knows -N.
has_nc() { command -v nc >/dev/null && nc -h 2>&1 | grep -q -e '-N'; }

missing=""
has_postgresql || missing="$missing postgresql"
command -v redis-server >/dev/null || missing="$missing redis-server"
has_nc || missing="$missing netcat-openbsd"
command -v curl >/dev/null || missing="$missing curl"
command -v wrk >/dev/null || missing="$missing wrk"
command -v openssl >/dev/null || missing="$missing openssl"

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -E "$@"; fi
}

if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null; then
        echo "real programs need these, and there is no apt to install them (names are Debian's):$missing"
        exit 3
    fi
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get update -q
    # Word splitting is wanted: a list of packages.
    as_root apt-get install -q -y --no-install-recommends $missing
fi

sh scripts/venv.sh venv test/requirements.txt
