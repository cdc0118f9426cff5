%% @doc Mixed load for a given time, in rounds; after each round everything is counted. `make soak SECONDS=1800'.
-module(py_soak).

-export([main/1, run/2, report/1, problems/1, short/0]).

-define(PROCESSES, 100).

%% What a fresh VM runs for `make soak': the number of seconds, as text.
main([Seconds]) ->
    {ok, _} = application:ensure_all_started(erlang_python),
    Samples = run(list_to_integer(Seconds), round_seconds(list_to_integer(Seconds))),
    io:format("~ts", [report(Samples)]),
    case problems(Samples) of
        [] ->
            io:format("soak passed~n"),
            halt(0);
        Problems ->
            io:format("soak FAILED: ~p~n", [Problems]),
            halt(1)
    end.

round_seconds(Seconds) -> max(2, min(30, Seconds div 8)).

%% The samples of all rounds, first one first: maps of counts.
run(Seconds, RoundSeconds) ->
    quiet_logger(),
    register_callbacks(),
    Rounds = max(4, Seconds div RoundSeconds),
    [one_round(N, RoundSeconds) || N <- lists:seq(1, Rounds)].

%% Python's exceptions in spawned tasks are part of the load.
quiet_logger() -> logger:set_primary_config(level, critical).

register_callbacks() ->
    ok = py_callback:register(soak_echo, fun([X]) -> X end).

one_round(N, Seconds) ->
    Stop = erlang:monotonic_time(millisecond) + Seconds * 1000,
    Counter = counters:new(3, []),
    Workers = [spawn_monitor(fun() -> work(I, Stop, Counter) end) || I <- lists:seq(1, ?PROCESSES)],
    Killer = spawn_monitor(fun() -> kill(Stop) end),
    Restarter = spawn_monitor(fun() -> restart(N, Stop) end),
    Lost = [await(W, Seconds) || W <- [Killer, Restarter | Workers]],
    register_callbacks(),
    Python = settled(fun() -> sample_python() end, 20),
    {Mailboxes, Queued} = at_rest(100),
    maps:merge(Python, #{
        round => N,
        done => counters:get(Counter, 1),
        refused => counters:get(Counter, 2),
        wrong => counters:get(Counter, 3),
        lost => length([L || L <- Lost, L =/= ok]),
        processes => erlang:system_info(process_count),
        ports => erlang:system_info(port_count),
        ets => length(ets:all()),
        atoms => erlang:system_info(atom_count),
        binary_kb => erlang:memory(binary) div 1024,
        tasks => maps:get(tasks, py:memory()),
        loops => maps:get(loops, py:memory()),
        mailboxes => Mailboxes,
        own_mailbox => element(2, process_info(self(), message_queue_len)),
        queued => Queued
    }).

%% The messages and calls that wait, for nobody once all that were just on their way have arrived.
at_rest(Tries) ->
    Lengths = [process_info(P, message_queue_len) || P <- processes(), P =/= self()],
    Mailboxes = lists:sum([L || {message_queue_len, L} <- Lengths]),
    Queued = lists:sum([Q || #{queued := Q} <- contexts()]),
    case Mailboxes + Queued of
        Waiting when Waiting > 0, Tries > 0 ->
            timer:sleep(50),
            at_rest(Tries - 1);
        _ ->
            {Mailboxes, Queued}
    end.

await({Pid, Monitor}, Seconds) ->
    receive
        {'DOWN', Monitor, process, Pid, normal} -> ok;
        {'DOWN', Monitor, process, Pid, Reason} -> Reason
    after (Seconds + 60) * 1000 ->
        Stack = process_info(Pid, current_stacktrace),
        exit(Pid, kill),
        {stuck, Stack}
    end.

%% The last of a few equal samples: threads and sockets need a moment to end.
settled(Sample, 0) ->
    Sample();
settled(Sample, N) ->
    First = Sample(),
    timer:sleep(300),
    Second = Sample(),
    Same = [fds, threads, python_threads],
    case maps:with(Same, First) =:= maps:with(Same, Second) of
        true -> Second;
        false -> settled(Sample, N - 1)
    end.

sample_python() ->
    garbage_collect(),
    [garbage_collect(P) || P <- processes()],
    {ok, Sample} = py:call(soaking, sample, [], #{}, 60000),
    maps:from_list([{binary_to_atom(Key), Value} || {Key, Value} <- maps:to_list(Sample)]).

contexts() ->
    {ok, #{contexts := Contexts}} = py:info(),
    Contexts.

%% ---- the load

work(I, Stop, Counter) ->
    case erlang:monotonic_time(millisecond) < Stop of
        true ->
            counters:add(Counter, classify(catch one(rand:uniform(16), I)), 1),
            work(I, Stop, Counter);
        false ->
            receive Message -> exit({left, Message}) after 0 -> ok end
    end.

classify(ok) -> 1;
%% The application is away for a moment, or somebody replaced the context.
classify({refused, _}) -> 2;
classify({'EXIT', {{badmatch, {error, Reason}}, _}}) when is_atom(Reason) -> 2;
classify({'EXIT', {{badmatch, {error, {Class, _}}}, _}}) when Class =:= 'SystemExit'; Class =:= 'KeyboardInterrupt' -> 2;
classify({'EXIT', {{badmatch, {error, {'SystemExit', _, _}}}, _}}) -> 2;
classify({'EXIT', {{badmatch, {error, {<<"erlang.", _/binary>>, _}}}, _}}) -> 2;
classify({'EXIT', {noproc, _}}) -> 2;
classify({'EXIT', {{not_started, _}, _}}) -> 2;
classify({'EXIT', {not_started, _}}) -> 2;
classify({'EXIT', {closed, _}}) -> 2;
classify({'EXIT', {{shutdown, _}, _}}) -> 2;
classify({'EXIT', {shutdown, _}}) -> 2;
classify({'EXIT', {killed, _}}) -> 2;
classify(Other) ->
    %% Callbacks are unknown for a moment after a restart.
    case {Other, whereis(py_callback)} of
        {{'EXIT', {{badmatch, {error, {'NameError', _}}}, _}}, _} ->
            2;
        _ ->
            io:format(standard_error, "soak: ~P~n", [Other, 30]),
            3
    end.

one(1, I) -> {ok, V} = py:call(operator, add, [I, 1]), ok = equal(V, I + 1);
one(2, I) -> {ok, V} = py:eval(<<"[x * n for x in range(10)]">>, #{n => I}), ok = equal(length(V), 10);
one(3, I) -> {ok, V} = py_event_loop:run(operator, mul, [I, 2]), ok = equal(V, I * 2);
one(4, I) -> {ok, V} = py_event_loop:run(asyncio, sleep, [0.002, I]), ok = equal(V, I);
one(5, I) ->
    References = [py_event_loop_pool:create_task(asyncio, sleep, [0.001, N]) || N <- lists:seq(1, 10)],
    Results = [py_event_loop:await(R, 20000) || R <- References],
    [ok = equal(Result, {ok, N}) || {Result, N} <- lists:zip(Results, lists:seq(1, 10)), element(1, Result) =:= ok],
    _ = I,
    case [R || {error, _} = R <- Results] of [] -> ok; [E | _] -> {ok, _} = E, ok end;
one(6, I) -> {ok, V} = py:call(soaking, nested, [I]), ok = equal(V, I);
one(7, I) -> {ok, V} = py_event_loop_pool:run(soaking, nested_async, [I], #{timeout => 20000}), ok = equal(V, I);
one(8, _) -> {ok, V} = py_event_loop_pool:run(soaking, echo, [5, 20000], #{timeout => 20000}), ok = equal(V, 100000);
one(9, _) -> {ok, V} = py_event_loop_pool:run(soaking, timers, [100], #{timeout => 20000}), ok = equal(V, 50);
one(10, _) -> {ok, V} = py_event_loop_pool:run(soaking, gather, [20], #{timeout => 20000}), ok = equal(V, 190);
one(11, _) -> {ok, V} = py_event_loop_pool:run(soaking, in_executor, [], #{timeout => 20000}), ok = equal(V, 4950);
one(12, _) ->
    case py:call(soaking, fail, [<<"soak">>], #{}, #{traceback => true}) of
        {error, {'ValueError', <<"soak">>, _}} -> ok;
        Other -> {ok, _} = Other, ok
    end;
one(13, _) ->
    Reference = py_event_loop:create_task(asyncio, sleep, [1000]),
    ok = py_event_loop:cancel(Reference),
    case py_event_loop:await(Reference, 20000) of
        {error, cancelled} -> ok;
        Other -> {ok, _} = Other, ok
    end;
one(14, _) ->
    case py:call(time, sleep, [0.01], #{}, 1) of
        {error, timeout} -> ok;
        Other -> {ok, none} = Other, ok
    end;
one(15, I) ->
    Value = #{I => [I, {I, <<"binary">>}, 1.5, self()], <<"big">> => 1 bsl 200},
    {ok, V} = py:call(operator, getitem, [[Value], 0]),
    ok = equal(maps:get(I, V), maps:get(I, Value));
one(16, I) -> {ok, V} = py:call(builtins, len, [binary:copy(<<"x">>, 10000 + I)]), ok = equal(V, 10000 + I).

equal(Same, Same) -> ok;
equal(Got, Wanted) -> {wrong, Got, Wanted}.

%% Callers that are killed in the middle of something.
kill(Stop) ->
    case erlang:monotonic_time(millisecond) < Stop of
        true ->
            Pid = spawn(fun() -> work(rand:uniform(100), Stop, counters:new(3, [])) end),
            timer:sleep(rand:uniform(5)),
            exit(Pid, kill),
            kill(Stop);
        false ->
            ok
    end.

%% In every second round the application stops and starts under load; in the others a context is replaced.
restart(N, Stop) ->
    timer:sleep(max(0, (Stop - erlang:monotonic_time(millisecond)) div 2)),
    case N rem 2 of
        0 ->
            ok = application:stop(erlang_python),
            {ok, _} = application:ensure_all_started(erlang_python),
            register_callbacks();
        1 ->
            Context = py:context(1),
            _ = py:interrupt(Context),
            ok = py:replace(Context)
    end.

%% ---- judging

columns() ->
    [
        round, done, refused, wrong, lost, rss_kb, fds, threads, objects, blocks, tasks, loops, processes, ets, mailboxes,
        own_mailbox, queued, binary_kb
    ].

%% A table, one line for each round.
report(Samples) ->
    Line = fun(Values) -> [[io_lib:format("~11ts", [Value]) || Value <- Values], "\n"] end,
    Rows = [Line([integer_to_list(maps:get(C, S)) || C <- columns()]) || S <- Samples],
    [Line([atom_to_list(C) || C <- columns()]), Rows, io_lib:format("rss slope over the second half: ~.1f kB per round~n", [slope(Samples)])].

%% Least squares over the second half.
slope(Samples) ->
    Half = lists:nthtail(length(Samples) div 2, Samples),
    Points = [{maps:get(round, S), maps:get(rss_kb, S)} || S <- Half],
    N = length(Points),
    MeanX = lists:sum([X || {X, _} <- Points]) / N,
    MeanY = lists:sum([Y || {_, Y} <- Points]) / N,
    Square = lists:sum([(X - MeanX) * (X - MeanX) || {X, _} <- Points]),
    case Square == 0 of
        true -> 0.0;
        false -> lists:sum([(X - MeanX) * (Y - MeanY) || {X, Y} <- Points]) / Square
    end.

%% What is wrong with the samples. Threads and descriptors come and go with contexts and restarts, so the last round is
%% compared with the highest of the first half.
problems(Samples) ->
    {First, _} = lists:split(max(2, length(Samples) div 2), Samples),
    Base = lists:foldl(fun(S, Highest) -> maps:map(fun(K, V) -> max(V, maps:get(K, S)) end, Highest) end, hd(First), First),
    Last = lists:last(Samples),
    Wrong = [{Key, maps:get(round, S), maps:get(Key, S)} || S <- Samples, Key <- [wrong, lost, mailboxes, own_mailbox, queued], maps:get(Key, S) =/= 0],
    Grown = [
        {Key, maps:get(Key, Base), maps:get(Key, Last)}
     || {Key, Room} <- [{fds, 8}, {threads, 8}, {objects, 2000}, {blocks, 5000}, {ets, 0}, {processes, 4}, {loops, 4}, {ports, 0}],
        maps:get(Key, Last) > maps:get(Key, Base) + Room
    ],
    Slope = slope(Samples),
    Leak = [{rss_kb_per_round, Slope} || Slope > 0.02 * maps:get(rss_kb, Base)],
    Idle = [{no_work, maps:get(round, S)} || S <- Samples, maps:get(done, S) < 100],
    Wrong ++ Grown ++ Leak ++ Idle.

%% For scripts/asan.sh.
short() ->
    [] = [Problem || Problem <- problems(run(8, 2)), lists:member(element(1, Problem), [wrong, lost])].
