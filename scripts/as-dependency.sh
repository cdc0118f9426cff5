#!/bin/sh
# Uses this repository as a user would: a fresh rebar3 application in an empty folder, with the committed state of the
# repository as its only dependency (git, file://). Runs the main job in it, then from a release of it.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd -P)
branch=$(git -C "$root" rev-parse HEAD)

folder=$(mktemp -d)
keep() {
    echo "failed; the application is in $folder" >&2
    trap - EXIT
    exit 1
}
trap keep EXIT
echo "application: $folder/app, dependency: $branch"

mkdir -p "$folder/app/src"
cd "$folder/app"
cat >rebar.config <<END
{erl_opts, [debug_info]}.
{deps, [{erlang_python, {git, "file://$root", {ref, "$branch"}}}]}.
{relx, [{release, {app, "1.0.0"}, [app]}, {dev_mode, false}, {include_erts, false}, {extended_start_script, true}]}.
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

# A release takes only what the dependency built; leaving the repository's own build on the path would hide a gap.
env -u ERL_LIBS rebar3 compile
cd /
erl -noshell -pa "$folder"/app/_build/default/lib/*/ebin -s main_job run_and_halt

cd "$folder/app"
env -u ERL_LIBS rebar3 release
mv _build/default/rel/app "$folder/release"
rm -rf "$folder/app"
cd /
env -u ERL_LIBS erl -noshell -boot "$folder/release/releases/1.0.0/start" \
    -boot_var RELEASE_DIR "$folder/release" -mode embedded \
    -config "$folder/release/releases/1.0.0/sys.config" -s main_job run_and_halt

trap - EXIT
rm -rf "$folder"
echo "as dependency and in a release: ok"
