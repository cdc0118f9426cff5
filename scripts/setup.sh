#!/bin/sh
# Installs, with apt, what is missing to build and run (`setup.sh run`), to test (`setup.sh test`) or to run CPython's own
# asyncio tests as well (`setup.sh conformance`), and nothing else: a Go, Python or Erlang that is there already, from
# wherever, is used. Without apt it prints what to install.
set -eu
purpose=${1:-run}
root=$(cd "$(dirname "$0")/.." && pwd -P)

missing=""
lacks() {
    for package in "$@"; do
        case " $missing " in *" $package "*) ;; *) missing="$missing $package" ;; esac
    done
}

has() { command -v "$1" >/dev/null 2>&1; }

stop() {
    echo "erlang_python: $1" >&2
    exit 1
}

# ---- what is there

compiler_works() {
    probe=$(mktemp -d)
    printf '#include <stdio.h>\nint main(void) { return 0; }\n' >"$probe/probe.c"
    ${CC:-cc} "$probe/probe.c" -o "$probe/probe" >/dev/null 2>&1 && result=0 || result=1
    rm -rf "$probe"
    return $result
}

# go_minor <go>: the N of its version 1.N. GOTOOLCHAIN=local, because what is installed counts.
go_minor() {
    version=$(cd / && GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || return 1
    version=${version#*go1.}
    echo "${version%%[!0-9]*}"
}

# A Go that is new enough, or one (from 1.21 on) that can fetch the toolchain of go.mod through the module proxy.
go_works() {
    fetching=""
    for go in "$(command -v go || :)" /usr/local/go/bin/go /usr/lib/go-*/bin/go; do
        [ -x "$go" ] && minor=$(go_minor "$go") && [ -n "$minor" ] || continue
        [ "$minor" -lt 24 ] || return 0
        [ "$minor" -lt 21 ] || fetching=$go
    done
    [ -n "$fetching" ] || return 1
    toolchain=$(sed -n 's/^toolchain //p' "$root/nif/go.mod")
    (cd / && GOTOOLCHAIN=$toolchain "$fetching" version)
}

# The Python that the build will choose: PYTHON, or the first python3 of PATH that is new enough.
chosen_python() {
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON"
        return
    fi
    old_ifs=$IFS
    IFS=:
    for folder in $PATH; do
        if [ -x "$folder/python3" ] &&
            "$folder/python3" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            IFS=$old_ifs
            echo "$folder/python3"
            return
        fi
    done
    IFS=$old_ifs
    return 1
}

# ask_python <statement of the condition>
ask_python() {
    "$python" -c "
import os, sys, sysconfig
sys.exit(not ($1))" >/dev/null 2>&1
}

check_python() {
    if ! python=$(chosen_python); then
        [ -z "${PYTHON:-}" ] || stop "PYTHON=$PYTHON is not an executable."
        lacks python3 python3-dev python3-venv
        [ "$purpose" != conformance ] || lacks libpython3-testsuite
        return
    fi
    if ! ask_python "os.path.exists(sysconfig.get_path('include') + '/Python.h')" ||
        ! ask_python "any(os.path.exists(os.path.join(f, sysconfig.get_config_var('INSTSONAME') or '-')) for f in (sysconfig.get_config_var('LIBDIR'), sys.base_prefix + '/lib'))"; then
        case $("$python" -c 'import sys; print(sys.base_prefix)') in
        /usr) lacks python3-dev ;;
        *) echo "erlang_python: $python has no development files of its own; the build will say what it needs." >&2 ;;
        esac
    fi
    [ "$purpose" != run ] || return 0
    if ! ask_python "__import__('venv') and __import__('ensurepip')"; then
        lacks python3-venv
    fi
    # Debian leaves CPython's tests out of the standard library; the package has the name of the minor version.
    if [ "$purpose" = conformance ] && ! ask_python "__import__('test.test_asyncio')"; then
        lacks "libpython$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-testsuite"
    fi
}

# Applications of Erlang/OTP by name, and PropEr; prints those that are missing.
missing_applications() {
    erl -noshell -noinput -boot start_clean -eval '
        [io:format("~s ", [A]) || A <- init:get_plain_arguments(), code:lib_dir(list_to_atom(A)) =:= {error, bad_name}],
        halt().' -extra "$@"
}

check_erlang() {
    if ! has erl; then
        lacks erlang-base erlang-dev
    elif ! erl -noshell -noinput -boot start_clean -eval '
            halt(case filelib:is_regular(code:root_dir() ++ "/usr/include/erl_nif.h") of true -> 0; false -> 1 end).'; then
        lacks erlang-dev
    fi
    has rebar3 || lacks rebar3
    [ "$purpose" != run ] || return 0
    wanted="common_test dialyzer proper"
    ! has erl || wanted=$(missing_applications $wanted)
    for application in $wanted; do
        lacks "erlang-$(echo "$application" | tr _ -)"
    done
}

compiler_works || lacks gcc libc6-dev
has make || lacks make
has cmake || lacks cmake
[ -e /etc/ssl/certs/ca-certificates.crt ] || [ -n "${SSL_CERT_FILE:-}" ] || lacks ca-certificates
go_works || lacks go
check_python
check_erlang
if [ "$purpose" != run ]; then
    has git || lacks git
    has openssl || lacks openssl
    has mix || lacks elixir
fi
[ -n "$missing" ] || exit 0

# ---- what to do about it

if ! has apt-get; then
    echo "erlang_python: this is no Debian or Ubuntu; install these yourself (names are Debian's, go is Go 1.24 or newer):" >&2
    echo "erlang_python:$missing" >&2
    exit 1
fi

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif has sudo; then
        sudo -E "$@"
    else
        stop "not root and no sudo; as root run: apt-get install$missing (go is golang-go, Go 1.24 or newer)"
    fi
}

export DEBIAN_FRONTEND=noninteractive

# candidate <package>: the version that apt would install, empty if none.
candidate() {
    apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: \([0-9].*\)$/\1/p'
}

# go_package <minor...>: the first package that apt offers with a Go 1.minor.
go_package() {
    default=$(candidate golang-go)
    default=${default#*:1.}
    for minor in "$@"; do
        if [ "${default%%[!0-9]*}" = "$minor" ]; then
            echo golang-go
            return
        elif [ -n "$(candidate "golang-1.$minor-go")" ]; then
            echo "golang-1.$minor-go"
            return
        fi
    done
    return 1
}

# Debian's backports, from the mirror that this machine uses already.
add_backports() {
    . /etc/os-release
    [ "${ID:-}" = debian ] && [ -n "${VERSION_CODENAME:-}" ] || return 1
    [ -z "$(apt-get indextargets "Codename: $VERSION_CODENAME-backports" 'Created-By: Packages')" ] || return 0
    mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $VERSION_CODENAME" 'Created-By: Packages' |
        sed -n 1p)
    list=/etc/apt/sources.list.d/$VERSION_CODENAME-backports.list
    echo "erlang_python: Debian $VERSION_CODENAME has no Go 1.24 or newer; adding its backports in $list"
    echo "deb ${mirror:-http://deb.debian.org/debian} $VERSION_CODENAME-backports main" |
        as_root tee "$list" >/dev/null
    as_root apt-get update -q
}

as_root apt-get update -q
case " $missing " in
*" go "*)
    new="30 29 28 27 26 25 24"
    # Word splitting is wanted: lists of numbers.
    if go=$(go_package $new) || { add_backports && go=$(go_package $new); } || go=$(go_package 23 22 21); then
        missing=$(echo " $missing " | sed "s/ go / $go /")
    else
        stop "apt offers no Go 1.21 or newer: install Go 1.24 or newer from https://go.dev/dl to /usr/local/go and start again."
    fi
    ;;
esac

echo "erlang_python: installing$missing" | tr -s ' '
# Word splitting is wanted: a list of packages.
as_root apt-get install -q -y --no-install-recommends $missing

case " $missing " in
*" golang-"*)
    go_works || stop "Go from $go could not fetch a newer Go; install Go 1.24 or newer from https://go.dev/dl to /usr/local/go."
    ;;
esac
