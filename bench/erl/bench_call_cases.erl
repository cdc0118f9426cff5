%% What bench_calls.py measures inside a VM: py:call, and the conversion of large values.
-module(bench_call_cases).

-export([latency/1, throughput/2, convert/2]).

%% @doc Time of single calls from one process, one after the other, after as many that are not counted.
-spec latency(pos_integer()) -> map().
latency(Count) ->
    Call = fun() ->
        {ok, 4.0} = py:call(math, sqrt, [16.0]),
        ok
    end,
    _ = bench_clock:samples(Count, Call),
    Samples = bench_clock:samples(Count, Call),
    (bench_clock:summary(Samples))#{calls => length(Samples)}.

%% @doc Calls per second from so many processes at once, without the cost of reading the clock for each. Processes
%% exist before the clock starts.
-spec throughput(pos_integer(), pos_integer()) -> map().
throughput(Processes, Count) ->
    Each = Count div Processes,
    #{
        calls => Each * Processes,
        per_second => bench_processes:rate(Processes, Each, fun() -> {ok, 4.0} = py:call(math, sqrt, [16.0]) end)
    }.

%% @doc Milliseconds to pass a value to Python (to `len'), and to get the one that bench_values made. The value exists
%% before the clock starts; one round of each that is not counted goes ahead.
-spec convert(atom(), pos_integer()) -> map().
convert(Shape, Size) ->
    Value = value(Shape, Size),
    {ok, Size} = py:call(bench_values, make, [Shape, Size]),
    Send = fun() -> {ok, _} = py:call(builtins, len, [Value]) end,
    Receive = fun() -> {ok, _} = py:call(bench_values, get, []) end,
    {ok, Size} = Send(),
    {ok, Got} = Receive(),
    true = same(Shape, Value, Got),
    #{
        elements => Size,
        to_python_ms => 1000 * bench_clock:seconds(Send),
        to_erlang_ms => 1000 * bench_clock:seconds(Receive)
    }.

%% Bytes go to Python tagged and come back plain.
same(bytes, {bytes, Bytes}, Got) -> Bytes =:= Got;
same(_, Value, Got) -> Value =:= Got.

value(integers, Size) ->
    lists:seq(0, Size - 1);
value(text, Size) ->
    binary:copy(<<"x">>, Size);
value(bytes, Size) ->
    {bytes, binary:copy(<<255>>, Size)};
value(string_keys, Size) ->
    maps:from_list([{<<"key_", (integer_to_binary(N))/binary>>, N} || N <- lists:seq(0, Size - 1)]);
value(documents, Size) ->
    [document(N) || N <- lists:seq(0, Size - 1)].

document(N) ->
    #{
        <<"id">> => N,
        <<"name">> => <<"user ", (integer_to_binary(N))/binary>>,
        <<"active">> => N rem 2 =:= 0,
        <<"score">> => N / 4,
        <<"tags">> => [<<"alpha">>, <<"beta">>, <<"gamma">>],
        <<"address">> => #{<<"city">> => <<"Berlin">>, <<"zip">> => <<"10115">>, <<"lines">> => [1, 2, 3]}
    }.
