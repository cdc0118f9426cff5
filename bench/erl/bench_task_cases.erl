%% What bench_tasks.py measures inside a VM: tasks on py_event_loop and on py_event_loop_pool.
-module(bench_task_cases).

-export([sequential/3, sequential_await/3, processes/3, collect/3, all_at_once/1, cold/3, hold/1, release/1]).

%% {Module, Function, Arguments, Expected result}
-type work() :: {atom(), atom(), [term()], term()}.

%% The answers have the number of tasks that were timed, and of `all' that ran, with those that warm up: as many as are
%% timed, during which memory grows and the threads find their processors.

%% @doc One process that waits for each task: `run'.
-spec sequential(py_event_loop | py_event_loop_pool, atom(), pos_integer()) -> map().
sequential(Api, Name, Count) ->
    {Module, Function, Arguments, Expected} = work(Name),
    Work = fun() -> {ok, Expected} = Api:run(Module, Function, Arguments) end,
    _ = bench_processes:rate(1, Count, Work),
    #{tasks => Count, all => 2 * Count, per_second => bench_processes:rate(1, Count, Work)}.

%% @doc The same by `create_task' and `await'.
-spec sequential_await(py_event_loop | py_event_loop_pool, atom(), pos_integer()) -> map().
sequential_await(Api, Name, Count) ->
    processes(Api, 1, Name, Count).

%% @doc 50 processes on the pool, each of which waits for each of its tasks: `create_task' and `await', as in the
%% documentation's "Parallel Processing".
-spec processes(pos_integer(), atom(), pos_integer()) -> map().
processes(Processes, Name, Count) ->
    processes(py_event_loop_pool, Processes, Name, Count).

processes(Api, Processes, Name, Count) ->
    {Module, Function, Arguments, Expected} = work(Name),
    Work = fun() -> {ok, Expected} = Api:await(Api:create_task(Module, Function, Arguments)) end,
    Each = Count div Processes,
    _ = bench_processes:rate(Processes, Each, Work),
    #{
        tasks => Each * Processes,
        all => 2 * Each * Processes,
        per_second => bench_processes:rate(Processes, Each, Work)
    }.

%% @doc One process that submits Count tasks, then awaits them all; the mean of Repeats such rounds.
-spec collect(atom(), pos_integer(), pos_integer()) -> map().
collect(Name, Count, Repeats) ->
    Task = work(Name),
    ok = lists:foreach(fun(_) -> ok = submit_and_await(Task, Count) end, lists:seq(1, Repeats)),
    Rates = [
        bench_clock:rate(Count, fun() -> ok = submit_and_await(Task, Count) end)
     || _ <- lists:seq(1, Repeats)
    ],
    #{tasks => Count * Repeats, all => 2 * Count * Repeats, per_second => lists:sum(Rates) / length(Rates)}.

-spec submit_and_await(work(), pos_integer()) -> ok.
submit_and_await({Module, Function, Arguments, Expected}, Count) ->
    References = [py_event_loop_pool:create_task(Module, Function, Arguments) || _ <- lists:seq(1, Count)],
    lists:foreach(fun(Reference) -> {ok, Expected} = py_event_loop_pool:await(Reference, 60000) end, References).

%% @doc Seconds from the first submission of so many `asyncio.sleep(0)' to the last result, and how many completed.
-spec all_at_once(pos_integer()) -> map().
all_at_once(Count) ->
    Begin = erlang:monotonic_time(nanosecond),
    References = [py_event_loop:create_task(asyncio, sleep, [0]) || _ <- lists:seq(1, Count)],
    Results = [py_event_loop:await(Reference, 60000) || Reference <- References],
    Seconds = (erlang:monotonic_time(nanosecond) - Begin) / 1.0e9,
    #{tasks => length([ok || {ok, none} <- Results]), seconds => Seconds}.

%% @doc Time of single tasks with a pause before each, in which everything goes to sleep.
-spec cold(run | await, pos_integer(), pos_integer()) -> map().
cold(Kind, PauseMilliseconds, Count) ->
    Samples = [cold_sample(Kind, PauseMilliseconds) || _ <- lists:seq(1, Count)],
    (bench_clock:summary(Samples))#{tasks => length(Samples)}.

cold_sample(Kind, Pause) ->
    receive after Pause -> ok end,
    [Sample] = bench_clock:samples(1, fun() -> single(Kind) end),
    Sample.

single(run) ->
    {ok, 4.0} = py_event_loop:run(math, sqrt, [16.0]),
    ok;
single(await) ->
    {ok, 4.0} = py_event_loop:await(py_event_loop:create_task(math, sqrt, [16.0])),
    ok.

%% @doc Leaves that many tasks waiting, which end when {@link release/1} is called or the VM ends.
-spec hold(non_neg_integer()) -> map().
hold(Count) ->
    Parent = self(),
    Holder = spawn(fun() ->
        [_ | _] = [py_event_loop:create_task(bench_functions, wait, []) || _ <- lists:seq(1, Count)],
        Parent ! {self(), held},
        receive release -> ok end
    end),
    true = register(bench_holder, Holder),
    receive {Holder, held} -> ok end,
    {ok, Count} = wait_for(Count),
    #{tasks => Count}.

%% The tasks are queued; all have begun to wait when Python has counted them.
wait_for(Count) ->
    case py_event_loop:run(bench_functions, waiting, []) of
        {ok, Count} -> {ok, Count};
        {ok, _} -> receive after 20 -> wait_for(Count) end
    end.

%% @doc Ends them: the process that submitted them dies. Returns how many were left of the loop's tasks afterwards.
-spec release(pos_integer()) -> map().
release(Milliseconds) ->
    Monitor = monitor(process, bench_holder),
    bench_holder ! release,
    receive {'DOWN', Monitor, _, _, _} -> ok end,
    #{left => left(Milliseconds)}.

left(Milliseconds) ->
    case py_event_loop:run(bench_functions, waiting, []) of
        {ok, 0} -> 0;
        {ok, Left} when Milliseconds =< 0 -> Left;
        {ok, _} -> receive after 20 -> left(Milliseconds - 20) end
    end.

-spec work(atom()) -> work().
work(sqrt) -> {math, sqrt, [16.0], 4.0};
work(noop) -> {bench_functions, noop, [], none};
work(sleep0) -> {bench_functions, sleep0, [], none}.
