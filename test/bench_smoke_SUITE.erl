%% The programs in bench/ run, in their quick mode, and their results are of the right kind. What they measure is not
%% judged here: that takes a quiet machine.
-module(bench_smoke_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1]).
-export([calls/1, callbacks/1, tasks/1, messages/1, isolated/1, loop/1, example/1]).

all() -> [calls, callbacks, tasks, messages, isolated, loop, example].

suite() -> [{timetrap, {minutes, 5}}].

init_per_suite(Config) ->
    {ok, Started} = application:ensure_all_started(erlang_python),
    [{started, Started}, {root, root(filename:dirname(code:which(?MODULE)))} | Config].

end_per_suite(Config) ->
    [ok = application:stop(Application) || Application <- lists:reverse(proplists:get_value(started, Config))].

calls(Config) ->
    Rows = run(Config, "bench_calls", []),
    [?assert(median(Case, Subject, Rows) > 0) || {Case, Subject} <- [
        {<<"call, 1 process">>, <<"p50">>},
        {<<"call, 50 processes">>, <<"rate">>},
        {<<"10,000 integers">>, <<"to Python">>},
        {<<"100 documents">>, <<"to Erlang">>},
        {<<"start to first call">>, <<"application">>},
        {<<"start to first call">>, <<"bare VM">>}
    ]],
    ?assertEqual(<<"erl">>, class(<<"threads after start">>, <<"bare VM">>, Rows)).

callbacks(Config) ->
    Rows = run(Config, "bench_callbacks", []),
    [?assert(median(Case, Subject, Rows) > 0) || {Case, Subject} <- [
        {<<"call, 1 thread">>, <<"p50">>},
        {<<"call, 16 threads">>, <<"rate">>},
        {<<"call, 16 threads">>, <<"control: plain Python, sockets">>},
        {<<"call, nested">>, <<"rate">>},
        {<<"async_call, all at once">>, <<"rate">>},
        {<<"send">>, <<"rate">>},
        {<<"schedule_inline">>, <<"rate">>}
    ]].

tasks(Config) ->
    Rows = run(Config, "bench_tasks", []),
    [?assert(median(Pattern, Work, Rows) > 0) ||
        Pattern <- [<<"sequential, loop">>, <<"50 processes, pool">>, <<"fire and collect 10,000">>],
        Work <- [<<"math.sqrt">>, <<"async def noop">>, <<"async def sleep(0)">>]],
    %% None is lost.
    ?assertEqual(10000, median(<<"10,000 at once">>, <<"completed">>, Rows)),
    Memory = median(<<"1,000 waiting tasks">>, <<"memory of each">>, Rows),
    ?assert(Memory < 100000, Memory).

isolated(Config) ->
    Rows = run(Config, "bench_isolated", []),
    [?assert(median(Case, Subject, Rows) > 0) || {Case, Subject} <- [
        {<<"call">>, <<"isolated, p50">>},
        {<<"call, 16 processes">>, <<"control: in the VM">>},
        {<<"documents, there and back">>, <<"isolated">>},
        {<<"two computations at once">>, <<"isolated">>},
        {<<"start">>, <<"isolated">>},
        {<<"memory of a process">>, <<"isolated">>}
    ]].

messages(Config) ->
    Rows = run(Config, "bench_messages", []),
    [?assert(median(Case, Subject, Rows) > 0) || {Case, Subject} <- [
        {<<"stream, as a list">>, <<"range">>},
        {<<"stream, messages">>, <<"window 1000">>},
        {<<"channel, integers">>, <<"blocking">>},
        {<<"channel, integers">>, <<"coroutine">>},
        {<<"there and back">>, <<"channel, blocking, p50">>},
        {<<"echo, 50 connections">>, <<"reactor">>}
    ]].

loop(Config) ->
    Rows = run(Config, "bench_loop", ["--loops", "erlang,asyncio,erlang task"]),
    Ours = <<"erlang._loop.ErlangEventLoop">>,
    Stock = <<"asyncio.unix_events._UnixSelectorEventLoop">>,
    [begin
        ?assertEqual(Class, class(Case, Subject, Rows)),
        ?assert(median(Case, Subject, Rows) > 0)
    end || Case <- [<<"call_soon chain">>, <<"tcp protocol, 50 connections">>, <<"udp, 1 connection">>],
        {Subject, Class} <- [{<<"erlang">>, Ours}, {<<"asyncio">>, Stock}]],
    ?assertEqual(Ours, class(<<"tcp streams, 1 connection">>, <<"erlang task">>, Rows)).

example(Config) ->
    {0, Output} = command(Config, "examples/benchmark_event_loop.py", ["--seconds", "0.1"]),
    [?assertMatch({match, _}, re:run(Output, Line, [multiline])) || Line <- [
        "^ErlangEventLoop", "^asyncio", "^Timer throughput: [0-9,]+ timers/sec$",
        "^Callback dispatch: [0-9,]+ callbacks/sec$", "^I/O ready detection: .*latency"
    ]].

%%% Internal

%% The rows of the results, by case and subject (a subject with a rate and quantiles has a row for each).
run(Config, Name, Options) ->
    {Status, Output} = command(Config, "bench/" ++ Name ++ ".py", ["--quick", "--rounds", "1" | Options]),
    ct:pal("~ts", [Output]),
    ?assertEqual(0, Status),
    File = filename:join([proplists:get_value(root, Config), "bench", "results", Name ++ "-quick.json"]),
    {ok, Text} = file:read_file(File),
    {ok, #{<<"name">> := Named, <<"quick">> := true, <<"rows">> := Rows}} = py:call(json, loads, [Text]),
    ?assertEqual(list_to_binary(Name), Named),
    [?assert(Min =< Median andalso Median =< Max)
     || #{<<"min">> := Min, <<"median">> := Median, <<"max">> := Max} <- Rows],
    maps:from_list([{{Case, Subject}, Row} || #{<<"case">> := Case, <<"subject">> := Subject} = Row <- Rows]).

median(Case, Subject, Rows) -> maps:get(<<"median">>, maps:get({Case, Subject}, Rows)).

class(Case, Subject, Rows) -> maps:get(<<"subject_class">>, maps:get({Case, Subject}, Rows)).

%% The program measures what this suite runs with: rebar3, which runs already, must not be asked to build again.
command(Config, Program, Options) ->
    #{executable := Python} = py:python_info(),
    Ebin = filename:dirname(code:which(py)),
    Port = open_port({spawn_executable, Python}, [
        {args, [Program | Options]}, {cd, proplists:get_value(root, Config)},
        {env, [{"ERLANG_PYTHON_EBIN", Ebin}]}, exit_status, stderr_to_stdout, binary
    ]),
    collect(Port, []).

collect(Port, Output) ->
    receive
        {Port, {data, Data}} -> collect(Port, [Output, Data]);
        {Port, {exit_status, Status}} -> {Status, iolist_to_binary(Output)}
    end.

%% The project's folder: above the one that the tests were compiled into.
root(Folder) ->
    case filelib:is_regular(filename:join(Folder, "bench/bench_loop.py")) of
        true -> Folder;
        false -> root(filename:dirname(Folder))
    end.
