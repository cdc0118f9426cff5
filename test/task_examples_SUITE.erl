%% The examples of tasks in examples/, as they are run from a shell.
-module(task_examples_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

all() -> [concurrent_http_requests, background_processing, parallel_processing, reactor_echo].

suite() -> [{timetrap, {minutes, 2}}].

concurrent_http_requests(_Config) ->
    ?assertEqual(
        <<"GET /users\nGET /posts\nGET /comments\n3 requests of 1000 ms: at once\n">>,
        run("concurrent_http_requests.erl")
    ).

background_processing(_Config) ->
    ?assertEqual(
        <<"5 responses without waiting for the collector\n5 events arrived\n">>, run("background_processing.erl")
    ).

parallel_processing(_Config) ->
    %% "GET /items/1" has 12 letters, from 10 on 13.
    Letters = integer_to_binary(9 * 12 + 31 * 13),
    ?assertEqual(
        <<"40 items, ", Letters/binary, " letters\nin less than the 8000 ms of one after another: true\n">>,
        run("parallel_processing.erl")
    ).

reactor_echo(_Config) ->
    ?assertEqual(
        <<"hello\nfrom\nErlang\n1 connection open, 1 in all\na client at 127.0.0.1 is gone\n">>, run("reactor_echo.erl")
    ).

%% What the example prints; it ends with status 0.
run(Name) ->
    Examples = filename:join(test_support:root(), "examples"),
    Port = open_port({spawn_executable, os:find_executable("sh")}, [
        {args, [filename:join(Examples, "run.sh"), filename:join(Examples, Name)]},
        {env, [
            {"ERLANG_PYTHON_EBIN", filename:absname(filename:dirname(code:which(py)))},
            {"ERL_FLAGS", false},
            {"ERL_AFLAGS", false},
            {"ERL_ZFLAGS", false}
        ]},
        exit_status,
        stderr_to_stdout,
        binary
    ]),
    {Status, Output} = test_support:erl_exit(Port, 60000),
    ?assertEqual({0, Output}, {Status, Output}),
    Output.
