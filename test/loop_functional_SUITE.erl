%% The functional tests of the event loop (test/python/loop), which run on stock asyncio by pytest, on ErlangEventLoop
%% inside a VM of their own.
-module(loop_functional_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, on_erlang_event_loop/1]).

suite() -> [{timetrap, {minutes, 20}}].

all() -> [on_erlang_event_loop].

%% pytest is in the virtual environment that the suites of real programs use too.
init_per_suite(Config) ->
    Script = outside_program:file("scripts/venv.sh"),
    Requirements = outside_program:file("test/requirements.txt"),
    {0, _} = outside_program:run("sh", [Script, "venv", Requirements], #{timeout => 600000}),
    Config.

end_per_suite(_Config) -> ok.

on_erlang_event_loop(Config) ->
    Certificates = certificates(?config(priv_dir, Config)),
    {ok, Peer, _Node} = peer:start_link(#{
        connection => standard_io, wait_boot => 60000, args => ["-pa" | code:get_path()]
    }),
    try
        ok = peer:call(Peer, application, load, [erlang_python]),
        ok = peer:call(Peer, application, set_env, [erlang_python, venv, outside_program:file("_build/venv")]),
        Tests = outside_program:file("test/python"),
        ok = peer:call(Peer, application, set_env, [erlang_python, python_path, [Tests]]),
        {ok, _} = peer:call(Peer, application, ensure_all_started, [erlang_python]),
        Arguments = [<<"erlang">>, unicode:characters_to_binary(Certificates)],
        Options = #{timeout => 1100000, traceback => true},
        {ok, Result} = peer:call(
            Peer, py, call, [run_functional, run_functional, Arguments, #{}, Options], 1150000
        ),
        #{<<"passed">> := Passed, <<"failures">> := Failures} = Result,
        ct:pal("functional tests on ErlangEventLoop: ~p passed, ~p failed", [Passed, length(Failures)]),
        ?assertEqual([], Failures),
        ?assert(Passed > 400)
    after
        peer:stop(Peer)
    end.

certificates(Folder) ->
    Arguments = [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout", filename:join(Folder, "key.pem"), "-out", filename:join(Folder, "certificate.pem")
    ],
    {0, _} = outside_program:run("openssl", Arguments),
    Folder.
