#!/bin/sh
# Uses this project as its users do: a fresh rebar3 application in an empty folder with it as the only dependency, from
# git by a file:// address. Runs the main job in that application, then in a release of it.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd -P)

folder=$(mktemp -d)
keep() {
    echo "failed; the application is in $folder" >&2
    trap - EXIT
    exit 1
}
trap keep EXIT

files=$(sh "$root/scripts/tracked-files.sh" "$folder/erlang_python")
echo "application: $folder/app, dependency: $files files of $root"

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
