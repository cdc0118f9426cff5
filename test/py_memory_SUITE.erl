%% Limits on memory, terms and loops: docs/robustness.md. Each case in a VM of its own.
-module(py_memory_SUITE).

-compile([export_all, nowarn_export_all]).

all() -> [python_memory, counting, term_size, loops, contexts, queued, debug_allocators].

suite() -> [{timetrap, {minutes, 3}}].

run(Case, Environment) -> run(Case, Environment, #{}).

run(Case, Environment, Options) ->
    Function = list_to_atom("run_" ++ atom_to_list(Case)),
    Path = filename:join(filename:dirname(code:which(?MODULE)), "hostile"),
    ok = py_vm:run(?MODULE, Function, [], Options#{env => [{python_path, [Path]} | Environment]}).

%% MemoryError for large blocks, for many small objects and for what grows; afterwards all is as before.
python_memory(_) -> run(python_memory, [{python_memory_limit, 100000000}]).

run_python_memory() ->
    lists:foreach(
        fun(Expression) ->
            {Expression, {error, {'MemoryError', _}}} = {Expression, py:eval(Expression, #{}, 60000)},
            {ok, _} = py:call(gc, collect, []),
            #{python := Now, most := Most, limit := 100000000} = py:memory(),
            true = Now < 60000000,
            true = Most =< 101000000
        end,
        [
            <<"bytes(10**9)">>, <<"[None] * 10**8">>, <<"len([object() for i in range(10**8)])">>,
            <<"len({i: str(i) for i in range(10**8)})">>, <<"'x' * 10**9">>, <<"2 ** 10**10">>
        ]
    ),
    {error, {'MemoryError', _}} = py:call(odd, grow, [], #{}, 60000),
    {error, {'MemoryError', _}} = py_event_loop:run(odd, grow, [], #{timeout => 60000}),
    ok.

counting(_) -> run(counting, []).

run_counting() ->
    #{python := Before, limit := infinity} = py:memory(),
    ok = py:exec(<<"kept = bytearray(50_000_000)">>),
    #{python := With} = py:memory(),
    true = With - Before >= 50000000,
    true = With - Before < 52000000,
    ok = py:exec(<<"del kept">>),
    #{python := After} = py:memory(),
    true = After - Before < 1000000,
    ok.

term_size(_) -> run(term_size, [{max_term_bytes, 10000000}]).

run_term_size() ->
    [
        {error, {'MemoryError', <<"the Erlang term would be larger than 10000000 bytes", _/binary>>}} = py:eval(Expression)
     || Expression <- [
            <<"bytes(10_000_001)">>, <<"'x' * 10_000_001">>, <<"[[1] * 1000] * 1000">>, <<"[()] * 700_000">>,
            <<"{i: i for i in range(700_000)}">>, <<"((1,) * 1000,) * 2000">>, <<"memoryview(bytes(10_000_001))">>,
            <<"[1.5] * 600_000">>, <<"[1 << 10_000_000] * 100_000">>, <<"(-(1 << 1_000_000), ) * 100_000">>,
            <<"dict.fromkeys(range(100_000), 1 << 10_000_000)">>
        ]
    ],
    %% Arguments of a call of Erlang are one message.
    ok = py_callback:register(hostile_size, fun(Arguments) -> iolist_size(Arguments) end),
    Call = fun(Size) ->
        py:eval(iolist_to_binary(io_lib:format("__import__('erlang').call('hostile_size', *[bytes(~b)] * 4)", [Size])))
    end,
    {ok, 8000000} = Call(2000000),
    {error, {'MemoryError', <<"the Erlang term would be larger", _/binary>>}} = Call(3000000),
    {ok, Binary} = py:eval(<<"bytes(9_999_000)">>),
    9999000 = byte_size(Binary),
    ok.

loops(_) -> run(loops, [{event_loop_limit, 20}, {event_loop_pool_size, 2}]).

%% There is an end to loops, and loops that are ended make room.
run_loops() ->
    {Loops, {error, _}} = open(200, []),
    true = length(Loops) > 5,
    {error, {'OSError', _}} = py:call(erlang, new_event_loop, []),
    [ok = py_nif:event_loop_destroy(Loop) || Loop <- Loops],
    test_support:eventually(fun() -> element(1, py_nif:event_loop_new()) =:= ok end),
    ok.

open(0, Loops) ->
    {Loops, none};
open(N, Loops) ->
    case py_nif:event_loop_new() of
        {ok, Loop} -> open(N - 1, [Loop | Loops]);
        Error -> {Loops, Error}
    end.

contexts(_) -> run(contexts, [{contexts, 3}]).

%% More processes than contexts share them.
run_contexts() ->
    Pids = [spawn_monitor(fun() -> {ok, _} = py:call(time, sleep, [0.01]) end) || _ <- lists:seq(1, 60)],
    [receive {'DOWN', M, process, P, Why} -> normal = Why end || {P, M} <- Pids],
    {ok, #{contexts := Contexts}} = py:info(),
    true = length(Contexts) =< 3,
    {'EXIT', _} = (catch py:context(4)),
    ok.

queued(_) -> run(queued, [{contexts, 1}, {context_queue_limit, 10}, {task_queue_limit, 10}, {event_loop_pool_size, 1}]).

%% A full queue refuses at once.
run_queued() ->
    Context = py:context(),
    ok = py:cast(time, sleep, [1.2]),
    test_support:eventually(fun() ->
        {ok, #{queued := Queued, busy_ns := Busy}} = py_nif:context_info(Context),
        Queued =:= 0 andalso Busy > 0
    end),
    Casts = [py:cast(operator, add, [1, 2]) || _ <- lists:seq(1, 30)],
    true = lists:member({error, busy}, Casts),
    true = length([ok || ok <- Casts]) =< 11,
    {error, busy} = py:call(Context, operator, add, [1, 2]),
    test_support:eventually(fun() -> py:call(Context, operator, add, [1, 2]) =:= {ok, 3} end),
    ok = py_event_loop:spawn_task(time, sleep, [1.2]),
    References = [py_event_loop:create_task(operator, add, [1, 2]) || _ <- lists:seq(1, 30)],
    Results = py_event_loop:await_all(References, 20000),
    true = lists:member({error, busy}, Results),
    true = lists:member({ok, 3}, Results),
    ok.

debug_allocators(_) -> run(debug_allocators, [], #{os_env => [{"PYTHONMALLOC", "debug"}]}).

run_debug_allocators() ->
    #{python := undefined, most := undefined} = py:memory(),
    {ok, <<"aaa">>} = py:eval(<<"'a' * 3">>),
    ok.
