%% What bench_callbacks.py measures inside a VM: Python calling Erlang.
-module(bench_callback_cases).

-export([prepare/0, latency/1, throughput/1, threads/2, async_calls/1, async_one_by_one/1, send/1, chain/2, nested/1]).

-define(CODE, bench_calling).

%% @doc Registers the functions that the cases call.
-spec prepare() -> true.
prepare() ->
    ok = py_callback:register(bench_identity, fun([X]) -> X end),
    ok = py_callback:register(bench_nested, fun([Depth]) ->
        {ok, Value} = py:call(?CODE, nested, [Depth]),
        Value
    end),
    true.

-spec latency(pos_integer()) -> map().
latency(Count) -> call(latency, [Count]).

-spec throughput(pos_integer()) -> float().
throughput(Count) -> call(throughput, [Count]).

-spec threads(pos_integer(), pos_integer()) -> float().
threads(Number, Each) -> call(threads, [Number, Each]).

-spec async_calls(pos_integer()) -> float().
async_calls(Count) -> run(async_calls, [Count]).

-spec async_one_by_one(pos_integer()) -> float().
async_one_by_one(Count) -> run(async_one_by_one, [Count]).

%% @doc Messages per second; all of them have arrived when it returns.
-spec send(pos_integer()) -> float().
send(Count) ->
    Receiver = spawn_link(fun() -> discard(Count) end),
    Monitor = monitor(process, Receiver),
    Rate = call(send, [Receiver, Count]),
    receive {'DOWN', Monitor, process, Receiver, normal} -> Rate end.

discard(0) -> ok;
discard(Count) -> receive _ -> discard(Count - 1) end.

%% @doc Steps per second of inline or queued.
-spec chain(atom(), pos_integer()) -> float().
chain(Kind, Count) ->
    Seconds = bench_clock:seconds(fun() -> Count = call(Kind, [Count]) end),
    Count / Seconds.

%% @doc Levels per second of nested calls, up to a depth and back again and again.
-spec nested(pos_integer()) -> float().
nested(Depth) ->
    Times = 50,
    Seconds = bench_clock:seconds(fun() -> [Depth = call(nested, [Depth]) || _ <- lists:seq(1, Times)] end),
    Depth * Times / Seconds.

call(Function, Arguments) ->
    {ok, Value} = py:call(?CODE, Function, Arguments),
    atoms(Value).

run(Function, Arguments) ->
    {ok, Value} = py_event_loop:run(?CODE, Function, Arguments, #{timeout => 600000}),
    Value.

%% bench_vm answers maps with atoms as keys.
atoms(Map) when is_map(Map) -> maps:from_list([{binary_to_atom(Key), Value} || {Key, Value} <- maps:to_list(Map)]);
atoms(Value) -> Value.
