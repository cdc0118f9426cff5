%% Code that lies to the event loop or reaches behind it. Each case in a VM of its own, which must answer afterwards and
%% stop with status 0 (py_vm.erl). docs/robustness.md has a row for each case.
-module(py_hostile_loop_SUITE).

-compile([export_all, nowarn_export_all]).

all() ->
    [
        futures, awaitables, task_factories, executors, reached_behind, second_selector, schedule_arguments,
        process_variable, timer_heap, blocking_socket, wrong_arguments
    ].

suite() -> [{timetrap, {minutes, 5}}].

run(Case) -> run(Case, #{}).

run(Case, Options) -> ok = py_vm:run_case(?MODULE, Case, Options).

names(Module, Kind) ->
    {ok, Names} = py:call(Module, names, [Kind]),
    Names.

%% Everybody has one answer, and nobody else's.
futures(_) -> run(futures).

run_futures() ->
    Names = names(awaitables, <<"FUTURES">>),
    [
        begin
            Others = [py_event_loop:create_task(operator, add, [N, 1]) || N <- lists:seq(1, 20)],
            {Name, true} = {Name, is_answer(py_event_loop:run(awaitables, future, [Name], #{timeout => 20000}))},
            Expected = [{ok, N + 1} || N <- lists:seq(1, 20)],
            Expected = py_event_loop:await_all(Others, 20000)
        end
     || _ <- lists:seq(1, 20), Name <- Names
    ],
    {ok, <<"early">>} = py_event_loop:run(awaitables, future, [<<"calls_back_at_once">>]),
    {ok, <<"early">>} = py_event_loop:run(awaitables, future, [<<"calls_back_and_raises">>]),
    {error, {'ValueError', <<"no callbacks">>}} = py_event_loop:run(awaitables, future, [<<"takes_no_callbacks">>]),
    {error, closed} = py_event_loop:run(awaitables, future, [<<"forgets_callbacks">>]),
    receive Message -> error({left, Message}) after 200 -> ok end,
    ok.

is_answer({ok, _}) -> true;
is_answer({error, timeout}) -> false;
is_answer({error, {Class, Text}}) -> (is_atom(Class) orelse is_binary(Class)) andalso is_binary(Text);
is_answer({error, Reason}) -> is_atom(Reason).

awaitables(_) -> run(awaitables).

run_awaitables() ->
    [
        {Name, Function, true} = {Name, Function, is_answer(py_event_loop:run(awaitables, Function, [Name], #{timeout => 20000}))}
     || Name <- names(awaitables, <<"AWAITABLES">>), Function <- [awaitable, waits_for]
    ],
    {error, {'ValueError', <<"in __await__">>}} = py_event_loop:run(awaitables, waits_for, [<<"await_raises">>]),
    {error, {'RuntimeError', _}} = py_event_loop:run(awaitables, waits_for, [<<"yields_number">>]),
    {error, {'RuntimeError', _}} = py_event_loop:run(awaitables, waits_for, [<<"itself">>]),
    ok.

%% A loop whose own task broke it; others go on.
on_own_loop(Fun) ->
    {ok, Loop} = py_nif:event_loop_new(),
    ok = py_nif:event_loop_start(Loop),
    Result = Fun(Loop),
    py_vm:answers(),
    ok = py_nif:event_loop_destroy(Loop),
    Result.

task_factories(_) -> run(task_factories).

run_task_factories() ->
    [
        on_own_loop(fun(Loop) ->
            {ok, Name} = py_event_loop:run_on(Loop, awaitables, set_factory, [Name], #{timeout => 5000}),
            %% Nobody runs what is left of a loop whose selector is closed.
            [
                {Name, true} = {Name, is_answer(py_event_loop:run_on(Loop, asyncio, sleep, [0.001], #{timeout => 5000}))}
             || _ <- lists:seq(1, 5), Name =/= <<"closes_selector">>
            ],
            _ = py_event_loop:run_on(Loop, asyncio, sleep, [0.001], #{timeout => 300})
        end)
     || Name <- names(awaitables, <<"FACTORIES">>)
    ],
    ok.

executors(_) -> run(executors).

run_executors() ->
    [
        {Name, true} = {Name, is_answer(py_event_loop:run(awaitables, in_executor, [Name], #{timeout => 20000}))}
     || Name <- names(awaitables, <<"EXECUTORS">>)
    ],
    ok.

reached_behind(_) -> run(reached_behind).

run_reached_behind() ->
    {ok, Names} = py:call(internals, names, []),
    [
        on_own_loop(fun(Loop) ->
            _ = py_event_loop:run_on(Loop, internals, attempt, [Name], #{timeout => 3000}),
            _ = py_event_loop:run_on(Loop, operator, add, [1, 2], #{timeout => 300}),
            _ = py_event_loop:run_on(Loop, asyncio, sleep, [0.01], #{timeout => 300})
        end)
     || Name <- Names
    ],
    ok.

second_selector(_) -> run(second_selector).

%% The loop that Erlang made belongs to one selector: the batch that runs is not taken from under it.
run_second_selector() ->
    on_own_loop(fun(Loop) ->
        [
            begin
                References = [
                    py_event_loop:create_task_on(Loop, operator, add, [N, 1], #{}, 0)
                 || N <- lists:seq(1, 50)
                ],
                Reached = py_event_loop:create_task_on(Loop, internals, second_selector, [], #{}, 0),
                More = [py_event_loop:create_task_on(Loop, operator, add, [N, 1], #{}, 0) || N <- lists:seq(51, 100)],
                {ok, <<"OSError">>} = py_event_loop:await(Reached, 10000),
                Expected = [{ok, N + 1} || N <- lists:seq(1, 100)],
                Expected = py_event_loop:await_all(References ++ More, 10000)
            end
         || _ <- lists:seq(1, 20)
        ]
    end),
    ok.

schedule_arguments(_) -> run(schedule_arguments).

run_schedule_arguments() ->
    [
        begin
            {ok, 100} = py:call(internals, victim_deleted, [], #{}, 20000),
            {ok, none} = py:call(internals, arguments_cleared, [], #{}, 20000)
        end
     || _ <- lists:seq(1, 20)
    ],
    ok.

process_variable(_) -> run(process_variable).

run_process_variable() ->
    ok = py_callback:register(hostile_echo, fun([X]) -> X end),
    {ok, Seen} = py_event_loop:run(internals, wrong_process, [make_ref()], #{timeout => 20000}),
    8 = length(Seen),
    ok.

timer_heap(_) -> run(timer_heap).

run_timer_heap() ->
    {ok, <<"alive">>} = py:call(internals, hostile_heap, [], #{}, 20000),
    ok.

blocking_socket(_) -> run(blocking_socket).

%% Who waits for a socket that blocks would keep the GIL, and all Python code would stand still.
run_blocking_socket() ->
    {ok, [<<"BlockingIOError">>, <<"BlockingIOError">>]} =
        py:call(internals, blocking_socket, [3.0], #{}, 30000),
    ok.

wrong_arguments(_) -> run(wrong_arguments).

run_wrong_arguments() ->
    {ok, Calls} = py:call(internals, wrong_arguments, [], #{}, 60000),
    true = Calls > 1000,
    ok.
