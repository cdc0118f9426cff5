%% How tasks of event loops end, or never begin: cancelled in the queue, with their loop, with its owner; and what they
%% leave behind for others.
-module(task_end_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

all() ->
    [
        destroyed_loop_runs_no_more, stopped_application_runs_no_more, killed_owner_answers_for_a_stuck_loop,
        destroyed_loop_is_replaced, destroyed_by_others, cleaning_up_takes_its_time, queued_before_the_start,
        cancelled_in_the_queue, cancelled_behind_others, cancelled_chain, cancelled_chain_behind_others, cancelled_for_nothing, cancelled_again,
        spawned_tasks_end_with_their_loop, own_context, contexts_of_failing_tasks, silent_result, one_loop_for_a_worker, slow_tasks_and_timers, tasks_beside_a_busy_coroutine,
        bad_arguments
    ].

suite() ->
    [{timetrap, {seconds, 90}}].

init_per_testcase(_Case, Config) ->
    ok = test_support:start([{event_loop_pool_size, 2}]),
    test_support:python("
        import asyncio, contextvars, decimal, threading, time
        import erlang

        marks = []
        gate = threading.Event()
        entered = threading.Event()
        variable = contextvars.ContextVar('variable', default='unset')

        def mark(n):
            marks.append(n)
            return n

        async def mark_async(n):
            marks.append(n)
            return n

        def block():
            entered.set()
            return gate.wait(60)

        def chain(n):
            marks.append(n)
            time.sleep(0.001)
            return erlang.schedule_py('__main__', 'chain', [n + 1])

        async def cleans_up():
            entered.set()
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.5)
                marks.append('cleaned up')

        chain_entered = threading.Event()

        def slow_chain(n):
            marks.append(n)
            chain_entered.set()
            gate.wait(60)
            return erlang.schedule_py('__main__', 'chain', [n + 1])

        turns = 0

        def mark_turn(n):
            marks.append(turns)
            return n

        async def busy():
            global turns
            while not gate.is_set():
                turns += 1
                end = time.monotonic() + 0.004
                while time.monotonic() < end:
                    pass
                await asyncio.sleep(0)

        def set_variable(value):
            variable.set(value)
            decimal.getcontext().prec = 3

        def set_and_fail(value):
            variable.set(value)
            raise ValueError(value)

        async def look():
            return look_now()

        def look_now():
            return variable.get(), str(decimal.Decimal(1) / 3)

        def set_for_coroutine(value):
            variable.set(value)
            return look()

        def slow(n):
            time.sleep(0.002)
            marks.append(n)

        async def timer():
            await asyncio.sleep(0.01)
            marks.append('timer')
    "),
    Config.

end_per_testcase(_Case, _Config) ->
    _ = py:exec(<<"gate.set()">>),
    ok = test_support:stop().

marks() ->
    {ok, Marks} = py:eval(<<"list(marks)">>),
    Marks.

%% The loop's thread is inside Python code that returns when the gate is opened.
block() ->
    Task = py_event_loop:create_task('__main__', block, []),
    {ok, true} = py:eval(<<"entered.wait(20)">>),
    Task.

open() ->
    ok = py:exec(<<"gate.set()">>).

%%% Loops that end

destroyed_loop_runs_no_more(_) ->
    {ok, Loop} = py_nif:event_loop_new(),
    Submit = fun(Function, Arguments) ->
        Reference = make_ref(),
        ok = py_nif:submit_task(Loop, self(), Reference, '__main__', Function, Arguments, #{}),
        Reference
    end,
    Running = Submit(block, []),
    ok = py_nif:process_ready_tasks(Loop),
    {ok, true} = py:eval(<<"entered.wait(20)">>),
    Queued = [Submit(mark, [N]) || N <- lists:seq(1, 200)],
    ok = py_nif:event_loop_destroy(Loop),
    %% All are answered while the thread is still inside the function.
    ?assertEqual([{error, closed} || _ <- [Running | Queued]], py_event_loop:await_all([Running | Queued], 20000)),
    open(),
    test_support:eventually(fun() -> py_nif:event_loop_info(Loop) =:= {error, closed} end),
    timer:sleep(200),
    ?assertEqual([], marks()),
    [] = test_support:mailbox().

stopped_application_runs_no_more(_) ->
    Running = block(),
    Queued = [py_event_loop:create_task('__main__', mark, [N]) || N <- lists:seq(1, 500)],
    ok = test_support:stop(),
    ?assertEqual([{error, closed} || _ <- [Running | Queued]], py_event_loop:await_all([Running | Queued], 20000)),
    ok = test_support:start(),
    open(),
    timer:sleep(200),
    ?assertEqual([], marks()),
    [] = test_support:mailbox().

killed_owner_answers_for_a_stuck_loop(_) ->
    Running = block(),
    Self = self(),
    Waiting = spawn_link(fun() -> Self ! {self(), py_event_loop:run('__main__', mark, [1], #{timeout => infinity})} end),
    test_support:eventually(fun() -> maps:get(queued, element(2, py_event_loop:info())) =:= 1 end),
    Old = whereis(py_event_loop),
    ok = test_support:kill(Old),
    {error, closed} = py_event_loop:await(Running, 20000),
    receive {Waiting, Result} -> {error, closed} = Result after 20000 -> error(timeout) end,
    %% Until its successor has a loop, tasks are refused.
    test_support:eventually(fun() -> py_event_loop:run('__main__', mark, [2], #{timeout => 20000}) =:= {ok, 2} end),
    open(),
    ?assertEqual([2], marks()).

%% Both functions that this takes are public.
destroyed_loop_is_replaced(_) ->
    [
        begin
            Begin(),
            {ok, Loop} = Module:get_loop(),
            ok = py_nif:event_loop_destroy(Loop),
            test_support:eventually(fun() -> {ok, Loop} =/= Module:get_loop() end),
            {ok, 2.0} = Module:run(math, sqrt, [4.0])
        end
     || Module <- [py_event_loop, py_event_loop_pool],
        %% Whether it has a thread or not.
        Begin <- [fun() -> ok end, fun() -> {ok, 2.0} = Module:run(math, sqrt, [4.0]) end]
    ],
    {ok, 3.0} = py_event_loop:run(math, sqrt, [9.0]).

%% The loop's thread, the message to its owner and the last term that refers to the loop end in any order.
destroyed_by_others(_) ->
    [
        begin
            {ok, Loop} = py_event_loop:new_loop(),
            N rem 2 =:= 0 andalso ({ok, 2.0} = py_event_loop:run_on(Loop, math, sqrt, [4.0], #{})),
            _ = spawn(fun() -> py_nif:event_loop_destroy(Loop) end),
            receive {event_loop_ended, Ended} -> ?assertEqual(Loop, Ended) after 20000 -> error(timeout) end,
            N rem 10 =:= 0 andalso garbage_collect()
        end
     || N <- lists:seq(1, 200)
    ].

%% For the sanitizers.
run_cases() ->
    ok = test_support:in_process(fun() -> _ = destroyed_by_others([]), ok end).

%% Its worker is gone when it parks.
cleaning_up_takes_its_time(_) ->
    [
        begin
            Task = py_event_loop_pool:create_task('__main__', cleans_up, []),
            {ok, true} = py:eval(<<"entered.wait(20)">>),
            timer:sleep(50),
            {ok, Loop} = py_event_loop_pool:get_loop(),
            ok = End(Loop),
            {error, _} = py_event_loop_pool:await(Task, 20000),
            test_support:eventually(fun() -> marks() =:= [<<"cleaned up">>] end),
            ok = py:exec(<<"marks.clear(); entered.clear()">>),
            test_support:eventually(fun() -> maps:get(abandoned, py_event_loop_pool:get_stats()) =:= 0 end),
            test_support:eventually(fun() -> {ok, Loop} =/= py_event_loop_pool:get_loop() end)
        end
     || End <- [fun py_nif:event_loop_destroy/1, fun py_event_loop_pool:restart_loop/1]
    ].

queued_before_the_start(_) ->
    ok = test_support:stop(),
    {ok, Loop} = py_nif:event_loop_new(),
    {ok, _} = py_event_worker:start_link(early, Loop),
    Submit = fun() ->
        Reference = make_ref(),
        ok = py_nif:submit_task(Loop, self(), Reference, math, sqrt, [4.0], #{}),
        Reference
    end,
    Early = Submit(),
    timer:sleep(50),
    ok = test_support:start(),
    {ok, 2.0} = py_event_loop:await(Early, 20000),
    {ok, 2.0} = py_event_loop:await(Submit(), 20000),
    ok = py_nif:event_loop_destroy(Loop).

%%% Cancelling

cancelled_in_the_queue(_) ->
    Running = block(),
    Tasks = [py_event_loop:create_task('__main__', F, [N]) || N <- lists:seq(1, 5), F <- [mark, mark_async]],
    Kept = py_event_loop:create_task('__main__', mark, [kept]),
    [ok = py_event_loop:cancel(Task) || Task <- Tasks],
    open(),
    ?assertEqual([{error, cancelled} || _ <- Tasks], py_event_loop:await_all(Tasks, 20000)),
    {ok, <<"kept">>} = py_event_loop:await(Kept),
    {ok, true} = py_event_loop:await(Running),
    ?assertEqual([<<"kept">>], marks()),
    %% What is done keeps its result, and the next tasks are not meant.
    ok = py_event_loop:cancel(Kept),
    {ok, 7} = py_event_loop:run('__main__', mark, [7]).

%% In the middle of a long queue, and at its end.
cancelled_behind_others(_) ->
    Running = block(),
    Tasks = [py_event_loop:create_task('__main__', mark, [N]) || N <- lists:seq(1, 1000)],
    {Cancelled, Others} = lists:partition(fun({N, _}) -> N rem 3 =:= 0 orelse N > 990 end, lists:enumerate(Tasks)),
    [ok = py_event_loop:cancel(Task) || {_, Task} <- Cancelled],
    open(),
    {ok, true} = py_event_loop:await(Running),
    ?assertEqual([{error, cancelled} || _ <- Cancelled], py_event_loop:await_all([T || {_, T} <- Cancelled], 20000)),
    ?assertEqual([{ok, N} || {N, _} <- Others], py_event_loop:await_all([T || {_, T} <- Others], 20000)),
    ?assertEqual([N || {N, _} <- Others], marks()).

cancelled_chain(_) ->
    Task = py_event_loop:create_task('__main__', chain, [0]),
    test_support:eventually(fun() -> length(marks()) > 3 end),
    ok = py_event_loop:cancel(Task),
    {error, cancelled} = py_event_loop:await(Task, 20000),
    Length = length(marks()),
    timer:sleep(50),
    ?assertEqual(Length, length(marks())).

%% The next step of the chain goes behind tasks that came after the cancellation.
cancelled_chain_behind_others(_) ->
    Task = py_event_loop:create_task('__main__', slow_chain, [0]),
    {ok, true} = py:eval(<<"chain_entered.wait(20)">>),
    ok = py_event_loop:cancel(Task),
    Others = [py_event_loop:create_task('__main__', mark_async, [other]) || _ <- lists:seq(1, 500)],
    open(),
    {error, cancelled} = py_event_loop:await(Task, 20000),
    [{ok, _} = Result || Result <- py_event_loop:await_all(Others, 20000)],
    ?assertEqual([0], [Mark || Mark <- marks(), is_integer(Mark)]).

%% References of no task, while the loop does not turn.
cancelled_for_nothing(_) ->
    Running = block(),
    [ok = py_event_loop:cancel(make_ref()) || _ <- lists:seq(1, 20000)],
    Kept = py_event_loop:create_task('__main__', mark, [kept]),
    open(),
    {ok, true} = py_event_loop:await(Running),
    {ok, <<"kept">>} = py_event_loop:await(Kept).

%% While the loop is at what the first cancellation brought about.
cancelled_again(_) ->
    Self = self(),
    ok = py:register_function(task_end_cancel, fun([]) ->
        Self ! {refused, self()},
        receive go_on -> none end
    end),
    test_support:python("
        async def refuses_once():
            entered.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                erlang.call('task_end_cancel')
            await asyncio.sleep(60)
    "),
    Task = py_event_loop:create_task('__main__', refuses_once, []),
    {ok, true} = py:eval(<<"entered.wait(20)">>),
    ok = py_event_loop:cancel(Task),
    Refused = receive {refused, Pid} -> Pid after 20000 -> error(timeout) end,
    ok = py_event_loop:cancel(Task),
    Refused ! go_on,
    {error, cancelled} = py_event_loop:await(Task, 20000).

%% Nobody waits for them, so the log says that they were dropped.
spawned_tasks_end_with_their_loop(_) ->
    _ = block(),
    [ok = py_event_loop:spawn_task('__main__', mark, [N]) || N <- lists:seq(1, 100)],
    {ok, Loop} = py_event_loop:get_loop(),
    {ok, Logged} = test_support:logged(fun() -> ok = py_nif:event_loop_destroy(Loop) end, 2),
    ?assertMatch([_], [Text || Text <- Logged, string:find(Text, "100 tasks of spawn_task") =/= nomatch]),
    open(),
    timer:sleep(100),
    ?assertEqual([], marks()).

%%% What tasks leave behind

own_context(_) ->
    Fresh = {<<"unset">>, <<"0.3333333333333333333333333333">>},
    [
        begin
            {ok, none} = Module:run('__main__', set_variable, [<<"leaked">>]),
            {ok, Fresh} = Module:run('__main__', look_now, []),
            {ok, Fresh} = Module:run('__main__', look, []),
            %% Its own coroutine is part of the task.
            {ok, {<<"mine">>, _}} = Module:run('__main__', set_for_coroutine, [<<"mine">>]),
            {ok, Fresh} = Module:run('__main__', look, [])
        end
     || Module <- [py_event_loop, py_event_loop_pool]
    ].

contexts_of_failing_tasks(_) ->
    {error, {'ValueError', _}} = py_event_loop:run('__main__', set_and_fail, [<<"leaked">>]),
    {error, {'SystemExit', _}} = py_event_loop:run(sys, exit, [1]),
    {error, _} = py_event_loop:run('__main__', no_such_function, []),
    {ok, {<<"unset">>, _}} = py_event_loop:run('__main__', look_now, []).

%% Nobody hears of the result, so it need not be one that Erlang could have.
silent_result(_) ->
    {ok, Logged} = test_support:logged(
        fun() ->
            ok = py_event_loop:spawn_task(builtins, object, []),
            ok = py_event_loop:spawn_task(math, sqrt, [-1.0]),
            {ok, _} = py_event_loop:run(math, sqrt, [4.0])
        end,
        1
    ),
    ?assertMatch([_], Logged),
    ?assertNotEqual(nomatch, string:find(Logged, "ValueError")).

one_loop_for_a_worker(_) ->
    {ok, One} = py_nif:event_loop_new(),
    {ok, Two} = py_nif:event_loop_new(),
    {ok, Worker} = py_event_worker:start_link(one, One),
    {error, ebusy} = py_nif:event_loop_set_worker(Two, Worker),
    ok = py_nif:event_loop_set_worker(One, Worker),
    {error, ebusy} = py_nif:event_loop_set_router(Two, Worker),
    {error, esrch} = py_nif:event_loop_set_worker(Two, test_support:in_process(fun() -> self() end)),
    ok = py_nif:event_loop_destroy(One),
    ok = py_nif:event_loop_destroy(Two).

%% By the number of slow tasks that run before a timer which is due, not by the time that they take.
slow_tasks_and_timers(_) ->
    Running = block(),
    Timer = py_event_loop:create_task('__main__', timer, []),
    Slow = [py_event_loop:create_task('__main__', slow, [N]) || N <- lists:seq(1, 300)],
    open(),
    {ok, true} = py_event_loop:await(Running),
    {ok, none} = py_event_loop:await(Timer, 20000),
    _ = py_event_loop:await_all(Slow, 60000),
    {Before, [<<"timer">> | _]} = lists:splitwith(fun is_integer/1, marks()),
    ?assert(length(Before) < 100, length(Before)).

%% By the turns of the coroutine in which the tasks were run.
tasks_beside_a_busy_coroutine(_) ->
    Busy = py_event_loop:create_task('__main__', busy, []),
    test_support:eventually(fun() -> {ok, N} = py:eval(<<"turns">>), N > 20 end),
    Tasks = [py_event_loop:create_task('__main__', mark_turn, [N]) || N <- lists:seq(1, 1000)],
    ?assertEqual([{ok, N} || N <- lists:seq(1, 1000)], py_event_loop:await_all(Tasks, 60000)),
    open(),
    {ok, none} = py_event_loop:await(Busy),
    Turns = lists:last(marks()) - hd(marks()),
    ?assert(Turns < 300, Turns).

bad_arguments(_) ->
    Reference = make_ref(),
    ?assertError({bad_argument, args, [1 | 2]}, py_event_loop:run(math, sqrt, [1 | 2])),
    ?assertError({bad_argument, args, [1 | 2]}, py_event_loop:spawn_task(math, sqrt, [1 | 2])),
    ?assertError({bad_argument, args, [1 | 2]}, py_event_loop_pool:create_task(math, sqrt, [1 | 2])),
    {ok, Loop} = py_event_loop:get_loop(),
    ?assertError(badarg, py_nif:submit_task(Loop, self(), Reference, math, sqrt, [1 | 2], #{})),
    [
        begin
            ?assertError({bad_argument, timeout, Timeout}, py_event_loop:await(Reference, Timeout)),
            ?assertError({bad_argument, timeout, Timeout}, py_event_loop:await_all([Reference], Timeout)),
            ?assertError({bad_argument, timeout, Timeout}, py_event_loop_pool:await(Reference, Timeout))
        end
     || Timeout <- [-1, 1 bsl 32, foo, 1.0]
    ],
    ?assertError({bad_argument, reference, foo}, py_event_loop:await_all([Reference, foo])),
    ?assertError({bad_argument, references, foo}, py_event_loop:await_all(foo)),
    ?assertError({bad_argument, references, [Reference | foo]}, py_event_loop:await_all([Reference | foo])),
    ?assertError({bad_argument, loop, foo}, py_event_loop:info(foo)),
    {ok, Worker} = py_event_worker:start_link(odd, element(2, py_nif:event_loop_new())),
    [Worker ! Message || Message <- [{park, 1, foo}, {park, 1, -1}, {timer, Reference, -1}, {timeout, Reference, -1}]],
    _ = sys:get_state(Worker).
