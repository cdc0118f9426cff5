#!/bin/sh
# Uses this project as its users do: a fresh rebar3 application in an empty folder with it as the only dependency, from
# git by a file:// address. Runs the main job in that application, then in a release of it.
#
# The dependency is a repository of the tracked files, as they are in the working tree: a file that somebody forgot to
# add is missing, a change that is not committed yet counts.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd -P)

folder=$(mktemp -d)
keep() {
    echo "failed; the application is in $folder" >&2
    trap - EXIT
    exit 1
}
trap keep EXIT

# `safe.directory`: continuous integration often runs as another user than the one who cloned.
git_here() { git -c safe.directory='*' -c user.name=as-dependency -c user.email=as-dependency@localhost "$@"; }
mkdir "$folder/erlang_python"
(cd "$root" && git_here ls-files -z | xargs -0 sh -c 'for f; do [ ! -e "$f" ] || echo "$f"; done' sh) >"$folder/files"
tar -C "$root" -cf - -T "$folder/files" | tar -C "$folder/erlang_python" -xf -
git_here init -q -b main "$folder/erlang_python"
git_here -C "$folder/erlang_python" add -A
git_here -C "$folder/erlang_python" commit -q -m "The tracked files"
echo "application: $folder/app, dependency: $(wc -l <"$folder/files") files of $root"

mkdir -p "$folder/app/src"
cd "$folder/app"
cat >rebar.config <<END
{erl_opts, [debug_info]}.
{deps, [{erlang_python, {git, "file://$folder/erlang_python", {branch, "main"}}}]}.
{relx, [
    {release, {app, "1.0.0"}, [app]},
    {dev_mode, false}, {include_erts, false}, {extended_start_script, false}, {src_tests, false}
]}.
END
cat >src/app.app.src <<'END'
{application, app, [{description, "Uses erlang_python"}, {vsn, "1.0.0"}, {registered, []},
    {applications, [kernel, stdlib, erlang_python]}, {env, []}, {modules, []}]}.
END
cat >src/main_job.erl <<'END'
-module(main_job).
-export([run/0, run_and_halt/0]).

run() ->
    {ok, _} = application:ensure_all_started(app),
    {ok, 4.0} = py_event_loop:run(math, sqrt, [16.0]),
    {ok, <<"done">>} = py_event_loop:run(asyncio, sleep, [0.1, done]),
    io:format("main job: ok, libraries in ~ts~n", [code:priv_dir(erlang_python)]).

run_and_halt() ->
    try run() of
        ok -> halt(0)
    catch
        Class:Reason:Stack ->
            io:format("main job: ~p:~p~n~p~n", [Class, Reason, Stack]),
            halt(1)
    end.
END

export ERL_CRASH_DUMP="$folder/erl_crash.dump"
unset ERL_LIBS

rebar3 compile
cd /
erl -noshell -pa "$folder"/app/_build/default/lib/*/ebin -s main_job run_and_halt

cd "$folder/app"
rebar3 release
# What the release does not contain itself must not be found in the build folder.
mv _build/default/rel/app "$folder/release"
rm -rf "$folder/app"
cd /
"$folder/release/bin/app" -noshell -s main_job run_and_halt

trap - EXIT
rm -rf "$folder"
echo "as dependency and in a release: ok"
