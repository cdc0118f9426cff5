%% Tasks on the pool: which loop runs them, what loops share (nothing), and loops that are replaced.
-module(py_event_loop_pool_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

-import(test_support, [eventually/1, milliseconds/1, mailbox/0, python/1]).

all() ->
    [
        documented_api,
        documented_stats,
        same_calls_as_the_loop,
        default_size,
        loops_start_with_their_first_task,
        a_process_keeps_its_loop,
        tasks_of_a_process_start_in_order,
        processes_are_spread,
        sleeps_of_many_processes,
        sixty_four_loops,
        loops_share_nothing,
        many_processes,
        restart_by_number,
        restart_by_reference,
        restart_of_a_healthy_loop,
        restart_of_a_loop_that_never_ran,
        restart_answers_everybody,
        threads_wake_loops_that_are_restarted,
        restart_while_tasks_are_submitted,
        batch_that_ends_its_loop,
        restarted_thread_that_comes_back,
        interruptible_code_ends,
        code_that_catches_the_interrupt_ends,
        interrupted_loop_cleans_up,
        restarts_at_the_moment_of_the_interrupt,
        restart_of_what_is_no_loop,
        loop_that_python_took_apart_is_replaced,
        killed_pool,
        killed_worker_loses_no_task
    ].

suite() -> [{timetrap, {minutes, 2}}].

init_per_testcase(sixty_four_loops, Config) ->
    started([{event_loop_pool_size, 64}], Config);
%% Without a linger the loop has a worker again as soon as one was killed.
init_per_testcase(killed_worker_loses_no_task, Config) ->
    started([{event_loop_pool_size, 4}, {event_loop_linger_us, 0}], Config);
init_per_testcase(default_size, Config) ->
    started([], Config);
init_per_testcase(_Case, Config) ->
    started([{event_loop_pool_size, 4}], Config).

started(Environment, Config) ->
    ok = test_support:start(Environment),
    ok = define(),
    Config.

end_per_testcase(_Case, _Config) ->
    ok = test_support:stop(),
    case mailbox() of
        [] -> ok;
        Messages -> {fail, {left, Messages}}
    end.

define() ->
    python("
        import asyncio, threading, time

        pool_seen = {}

        async def pool_see(process, number):
            pool_seen.setdefault(process, []).append(number)
            await asyncio.sleep(0)
            return threading.get_ident()

        def pool_take(process):
            return pool_seen.pop(process)

        async def pool_sleep(seconds):
            begin = time.monotonic()
            await asyncio.sleep(seconds)
            return time.monotonic() - begin

        def pool_thread():
            return threading.get_ident()

        def pool_loop():
            return id(asyncio.get_running_loop())

        def pool_block(seconds):
            time.sleep(seconds)
            return 'blocked'

        async def pool_take_apart():
            asyncio.get_running_loop()._selector.close()

        pool_threads = {}

        def pool_wakers():
            loop = asyncio.get_running_loop()
            ends = []

            def wake():
                try:
                    while True:
                        loop.call_soon_threadsafe(int)
                except RuntimeError as error:
                    ends.append(type(error).__name__)

            threads = [threading.Thread(target=wake) for _ in range(4)]
            for thread in threads:
                thread.start()
            pool_threads[id(ends)] = threads, ends
            return id(ends)

        def pool_wakers_ended(key):
            threads, ends = pool_threads.pop(key)
            for thread in threads:
                thread.join()
            assert len(ends) == len(threads)
            return sorted(set(ends))

        def pool_spin():
            while True:
                pass

        def pool_spin_until(end):
            while time.monotonic() < end:
                pass

        pool_caught = []

        def pool_catch():
            try:
                pool_spin()
            except SystemExit as interrupt:
                pool_caught.append(type(interrupt).__name__)
            pool_spin()

        pool_cleaned = []

        async def pool_cleans_up():
            try:
                await asyncio.sleep(3600)
            finally:
                await asyncio.sleep(0)
                pool_cleaned.append(True)
    ").

%%% What the documents show

documented_api(_Config) ->
    %% Get event loop for current process (always the same loop for same PID)
    {ok, LoopRef} = py_event_loop_pool:get_loop(),
    ?assertEqual({ok, LoopRef}, py_event_loop_pool:get_loop()),
    %% Submit task and await result
    Ref = py_event_loop_pool:create_task(math, sqrt, [16.0]),
    {ok, 4.0} = py_event_loop_pool:await(Ref),
    %% Blocking call
    {ok, 4.0} = py_event_loop_pool:run(math, sqrt, [16.0]),
    %% Fire-and-forget
    ok = py_event_loop_pool:spawn_task(logging, info, [<<"message">>]),
    %% Pool statistics
    #{num_loops := N, supported := true} = py_event_loop_pool:get_stats(),
    ?assertEqual(4, N).

documented_stats(_Config) ->
    {ok, 4.0} = py_event_loop_pool:run(math, sqrt, [16.0]),
    #{loops := Loops, restarts := Restarts, abandoned := 0} = py_event_loop_pool:get_stats(),
    ?assert(is_integer(Restarts)),
    eventually(fun() ->
        [1] =:= [Done || #{done := Done} <- maps:get(loops, py_event_loop_pool:get_stats()), Done > 0]
    end),
    ?assertEqual(4, length(Loops)).

%% Whatever py_event_loop offers, the pool does too, with the same arguments.
same_calls_as_the_loop(_Config) ->
    Internal = [{start_link, 0}, {init, 1}, {handle_call, 3}, {handle_cast, 2}, {terminate, 2}, {module_info, 0},
        {module_info, 1}, {run_on, 5}, {create_task_on, 6}, {spawn_task_on, 5}, {task_flags, 1}, {new_loop, 0},
        {ended, 1}, {handle_info, 2}, {stream_on, 5}, {stream_start_on, 5}],
    Calls = py_event_loop:module_info(exports) -- Internal,
    ?assert(lists:member({info, 1}, Calls)),
    ?assertEqual([], Calls -- py_event_loop_pool:module_info(exports)),
    {ok, Loop} = py_event_loop_pool:get_loop(),
    {ok, #{done := Before}} = py_event_loop_pool:info(),
    Options = #{timeout => 10000, kwargs => #{}, traceback => true, arrays => binary, on_caller_death => finish},
    ?assertEqual({ok, 4.0}, py_event_loop_pool:run(math, sqrt, [16.0], Options)),
    {error, {'ValueError', _, [_ | _]}} = py_event_loop_pool:run(math, sqrt, [-1], Options),
    Ref = py_event_loop_pool:create_task(math, sqrt, [-1], #{}, #{traceback => true}),
    ?assertMatch([{error, {'ValueError', _, [_ | _]}}], py_event_loop_pool:await_all([Ref], 10000)),
    ?assertError({bad_option, timout, 5}, py_event_loop_pool:run(math, sqrt, [1], #{timout => 5})),
    eventually(fun() ->
        {ok, #{done := Done}} = py_event_loop_pool:info(Loop),
        Done >= Before + 3
    end).

default_size(_Config) ->
    #{num_loops := N} = py_event_loop_pool:get_stats(),
    ?assertEqual(erlang:system_info(schedulers), N).

loops_start_with_their_first_task(_Config) ->
    States = fun() -> lists:sort([State || #{state := State} <- maps:get(loops, py_event_loop_pool:get_stats())]) end,
    ?assertEqual([not_started, not_started, not_started, not_started], States()),
    {ok, 4.0} = py_event_loop_pool:run(math, sqrt, [16.0]),
    ?assertEqual(3, length([S || S <- States(), S =:= not_started])).

%%% Affinity

a_process_keeps_its_loop(_Config) ->
    {ok, Thread} = run(pool_thread, []),
    ?assertEqual([{ok, Thread} || _ <- lists:seq(1, 100)], [run(pool_thread, []) || _ <- lists:seq(1, 100)]),
    {ok, Loop} = run(pool_loop, []),
    ?assertEqual({ok, Loop}, run(pool_loop, [])).

tasks_of_a_process_start_in_order(_Config) ->
    in_processes(50, fun(N) ->
        Refs = [py_event_loop_pool:create_task('__main__', pool_see, [N, I]) || I <- lists:seq(1, 100)],
        Threads = lists:usort(py_event_loop_pool:await_all(Refs, 60000)),
        ?assertMatch([{ok, _}], Threads),
        ?assertEqual({ok, lists:seq(1, 100)}, run(pool_take, [N]))
    end).

processes_are_spread(_Config) ->
    Threads = in_processes(100, fun(_) -> run(pool_thread, []) end),
    ?assertEqual(4, length(lists:usort(Threads))).

%%% Load

%% 24 sleeps of half a second take 12 s one after another.
sleeps_of_many_processes(_Config) ->
    _ = in_processes(24, fun(_) -> run(pool_sleep, [0]) end),
    {Time, Slept} = milliseconds(fun() -> in_processes(24, fun(_) -> run(pool_sleep, [0.5]) end) end),
    [?assert(Seconds >= 0.5) || {ok, Seconds} <- Slept],
    ?assertEqual(24, length(Slept)),
    ct:pal("24 sleeps of half a second: ~b ms", [Time]),
    ?assert(Time < 9000).

sixty_four_loops(_Config) ->
    #{num_loops := 64} = py_event_loop_pool:get_stats(),
    %% Every loop gets its sleepers.
    Loops = py_event_loop_pool:loops(),
    Begin = erlang:monotonic_time(millisecond),
    Refs = [
        begin
            Ref = make_ref(),
            ok = py_nif:event_loop_create_task(Loop, Ref, 0, '__main__', pool_sleep, [2.0], #{}, 0),
            Ref
        end
     || Loop <- Loops, _ <- lists:seq(1, 1000)
    ],
    Submitted = erlang:monotonic_time(millisecond) - Begin,
    Results = test_results(Refs),
    ?assertEqual(64000, length(Results)),
    Late = [Seconds - 2.0 || {ok, Seconds} <- Results],
    ?assertEqual(64000, length(Late)),
    ct:pal("64 loops, 1,000 sleepers each: submitted in ~b ms, late by at most ~.3f s", [Submitted, lists:max(Late)]),
    ?assert(lists:min(Late) >= 0),
    %% Waking 64,000 coroutines takes Python a while by itself.
    ?assert(lists:max(Late) < 10).

test_results(Refs) ->
    Count = length(Refs),
    [
        receive
            {async_result, _, Result} -> Result
        after 60000 -> error(lost)
        end
     || _ <- lists:seq(1, Count)
    ].

loops_share_nothing(_Config) ->
    Ids = [run_on(Loop, pool_loop, []) || Loop <- py_event_loop_pool:loops()],
    ?assertEqual(4, length(lists:usort(Ids))),
    Threads = [run_on(Loop, pool_thread, []) || Loop <- py_event_loop_pool:loops()],
    ?assertEqual(4, length(lists:usort(Threads))),
    %% One that blocks does not stop the others.
    [Blocked | Others] = py_event_loop_pool:loops(),
    Ref = make_ref(),
    ok = py_nif:event_loop_create_task(Blocked, Ref, 0, '__main__', pool_block, [1.5], #{}, 0),
    {Time, _} = milliseconds(fun() -> [run_on(Loop, pool_sleep, [0.01]) || Loop <- Others] end),
    ?assert(Time < 1400),
    ?assertEqual({ok, <<"blocked">>}, py_event_loop_pool:await(Ref)).

many_processes(_Config) ->
    Results = in_processes(2000, fun(N) -> py_event_loop_pool:run(operator, add, [N, 1]) end),
    ?assertEqual([{ok, N + 1} || N <- lists:seq(1, 2000)], lists:sort(Results)).

%%% Restarts

restart_by_number(_Config) ->
    restart(fun(Loop) ->
        [Number] = [N || {N, L} <- lists:enumerate(py_event_loop_pool:loops()), L =:= Loop],
        Number
    end).

restart_by_reference(_Config) ->
    restart(fun(Loop) -> Loop end).

restart(Name) ->
    #{restarts := Restarts} = py_event_loop_pool:get_stats(),
    {ok, Stuck} = py_event_loop_pool:get_loop(),
    Waiting = py_event_loop_pool:create_task('__main__', pool_sleep, [60]),
    Running = py_event_loop_pool:create_task('__main__', pool_block, [4]),
    taken(Stuck),
    Queued = py_event_loop_pool:create_task(math, sqrt, [16.0]),
    {Time, ok} = milliseconds(fun() -> py_event_loop_pool:restart_loop(Name(Stuck)) end),
    %% While the thread is still stuck.
    ?assert(Time < 3500),
    ?assertEqual(
        [{error, loop_restarted} || _ <- lists:seq(1, 3)],
        py_event_loop_pool:await_all([Waiting, Running, Queued])
    ),
    %% At once, on a loop of its own.
    {Again, {ok, 4.0}} = milliseconds(fun() -> py_event_loop_pool:run(math, sqrt, [16.0]) end),
    ?assert(Again + Time < 3500),
    {ok, New} = py_event_loop_pool:get_loop(),
    ?assertNotEqual(Stuck, New),
    ?assertMatch(#{num_loops := 4, abandoned := 1}, py_event_loop_pool:get_stats()),
    ?assertEqual(Restarts + 1, maps:get(restarts, py_event_loop_pool:get_stats())),
    ?assertEqual({error, closed}, py_event_loop:info(Stuck)),
    ?assertEqual({error, not_found}, py_event_loop_pool:restart_loop(Stuck)),
    eventually(fun() -> maps:get(abandoned, py_event_loop_pool:get_stats()) =:= 0 end).

restart_of_a_healthy_loop(_Config) ->
    Refs = [py_event_loop_pool:create_task('__main__', pool_sleep, [60]) || _ <- lists:seq(1, 100)],
    timer:sleep(50),
    {ok, Loop} = py_event_loop_pool:get_loop(),
    ok = py_event_loop_pool:restart_loop(Loop),
    ?assertEqual([{error, loop_restarted} || _ <- Refs], py_event_loop_pool:await_all(Refs)),
    ?assertEqual({ok, 4.0}, py_event_loop_pool:run(math, sqrt, [16.0])),
    eventually(fun() -> maps:get(abandoned, py_event_loop_pool:get_stats()) =:= 0 end).

restart_of_a_loop_that_never_ran(_Config) ->
    [ok = py_event_loop_pool:restart_loop(N) || N <- [1, 2, 3, 4, 1, 1]],
    ?assertEqual({ok, 4.0}, py_event_loop_pool:run(math, sqrt, [16.0])),
    ?assertMatch(#{num_loops := 4, abandoned := 0}, py_event_loop_pool:get_stats()).

%% Many of each kind, of many processes; those that let their tasks finish are answered as well.
restart_answers_everybody(_Config) ->
    {ok, Loop} = py_event_loop_pool:get_loop(),
    Me = self(),
    Submit = fun(Function, Arguments, Flags) ->
        Ref = make_ref(),
        ok = py_nif:event_loop_create_task(Loop, Ref, 0, '__main__', Function, Arguments, #{}, Flags),
        Ref
    end,
    Callers = [
        spawn_link(fun() ->
            Waiting = [Submit(pool_sleep, [60], Flags) || Flags <- [0, 4], _ <- lists:seq(1, 50)],
            Me ! ready,
            receive queue -> ok end,
            Queued = [Submit(pool_thread, [], Flags) || Flags <- [0, 4], _ <- lists:seq(1, 50)],
            Me ! ready,
            Me ! {answers, lists:usort(py_event_loop:await_all(Waiting ++ Queued, 20000))}
        end)
     || _ <- lists:seq(1, 20)
    ],
    [receive ready -> ok end || _ <- Callers],
    Running = Submit(pool_block, [2], 0),
    taken(Loop),
    [Caller ! queue || Caller <- Callers],
    [receive ready -> ok end || _ <- Callers],
    ok = py_event_loop_pool:restart_loop(Loop),
    [receive {answers, Answers} -> ?assertEqual([{error, loop_restarted}], Answers) end || _ <- Callers],
    ?assertEqual({error, loop_restarted}, py_event_loop:await(Running)),
    eventually(fun() -> maps:get(abandoned, py_event_loop_pool:get_stats()) =:= 0 end).

%% Whenever it happens, a task is answered, and once.
restart_while_tasks_are_submitted(_Config) ->
    Me = self(),
    Callers = [
        spawn_link(fun() ->
            Answers = submit_until(os:system_time(millisecond) + 3000, []),
            {messages, Left} = process_info(self(), messages),
            Me ! {answers, lists:usort(Answers), Left}
        end)
     || _ <- lists:seq(1, 8)
    ],
    [
        begin
            timer:sleep(20),
            ok = py_event_loop_pool:restart_loop(1 + N rem 4)
        end
     || N <- lists:seq(1, 100)
    ],
    Answers = lists:usort(lists:append([receive {answers, A, []} -> A end || _ <- Callers])),
    ?assertEqual([], Answers -- [{ok, 4.0}, {ok, none}, {error, loop_restarted}, {error, closed}]),
    ?assert(lists:member({ok, 4.0}, Answers)),
    eventually(fun() -> maps:get(abandoned, py_event_loop_pool:get_stats()) =:= 0 end).

submit_until(End, Answers) ->
    case os:system_time(millisecond) < End of
        true ->
            Refs =
                [py_event_loop_pool:create_task(math, sqrt, [16.0]) || _ <- lists:seq(1, 20)] ++
                    [py_event_loop_pool:create_task(asyncio, sleep, [0.001]) || _ <- lists:seq(1, 20)],
            One = py_event_loop_pool:run(math, sqrt, [16.0]),
            submit_until(End, lists:usort([One | py_event_loop_pool:await_all(Refs, 20000)] ++ Answers));
        false ->
            Answers
    end.

%% Waking uses what belongs to the loop, which may end at that moment.
threads_wake_loops_that_are_restarted(_Config) ->
    [
        begin
            {ok, Threads} = py_event_loop_pool:run('__main__', pool_wakers, []),
            timer:sleep(5),
            {ok, Loop} = py_event_loop_pool:get_loop(),
            ok = py_event_loop_pool:restart_loop(Loop),
            ?assertEqual({ok, [<<"RuntimeError">>]}, py:call('__main__', pool_wakers_ended, [Threads]))
        end
     || _ <- lists:seq(1, 30)
    ],
    eventually(fun() -> maps:get(abandoned, py_event_loop_pool:get_stats()) =:= 0 end).

%% Tasks that a loop ran before one of them took it apart are answered, and what they used is used again.
batch_that_ends_its_loop(_Config) ->
    [
        begin
            {ok, Loop} = py_event_loop_pool:get_loop(),
            Blocker = py_event_loop_pool:create_task('__main__', pool_block, [0.02]),
            Before = [py_event_loop_pool:create_task(math, sqrt, [16.0]) || _ <- lists:seq(1, 20)],
            End = py_event_loop_pool:create_task('__main__', pool_take_apart, []),
            After = [py_event_loop_pool:create_task(math, sqrt, [16.0]) || _ <- lists:seq(1, 20)],
            ?assertEqual([{ok, 4.0} || _ <- Before], py_event_loop_pool:await_all(Before)),
            ?assertEqual({ok, <<"blocked">>}, py_event_loop_pool:await(Blocker)),
            _ = py_event_loop_pool:await_all([End | After]),
            eventually(fun() -> py_event_loop_pool:get_loop() =/= {ok, Loop} end),
            ?assertEqual({ok, 4.0}, py_event_loop_pool:run(math, sqrt, [16.0]))
        end
     || _ <- lists:seq(1, 10)
    ].

restarted_thread_that_comes_back(_Config) ->
    Ref = py_event_loop_pool:create_task('__main__', pool_block, [1.3]),
    {ok, Loop} = py_event_loop_pool:get_loop(),
    taken(Loop),
    ok = py_event_loop_pool:restart_loop(Loop),
    ?assertEqual({error, loop_restarted}, py_event_loop_pool:await(Ref)),
    ?assertMatch(#{abandoned := 1}, py_event_loop_pool:get_stats()),
    eventually(fun() -> maps:get(abandoned, py_event_loop_pool:get_stats()) =:= 0 end),
    timer:sleep(50).

%% Python code that does not come back by itself gets a SystemExit.
interruptible_code_ends(_Config) ->
    Ref = py_event_loop_pool:create_task('__main__', pool_spin, []),
    {ok, Loop} = py_event_loop_pool:get_loop(),
    taken(Loop),
    ok = py_event_loop_pool:restart_loop(Loop),
    ?assertEqual({error, loop_restarted}, py_event_loop_pool:await(Ref)),
    ?assertEqual({ok, 4.0}, py_event_loop_pool:run(math, sqrt, [16.0])),
    eventually(fun() -> maps:get(abandoned, py_event_loop_pool:get_stats()) =:= 0 end).

%% Once is not enough for code that catches it.
code_that_catches_the_interrupt_ends(_Config) ->
    Ref = py_event_loop_pool:create_task('__main__', pool_catch, []),
    {ok, Loop} = py_event_loop_pool:get_loop(),
    taken(Loop),
    ok = py_event_loop_pool:restart_loop(Loop),
    ?assertEqual({error, loop_restarted}, py_event_loop_pool:await(Ref)),
    eventually(fun() -> maps:get(abandoned, py_event_loop_pool:get_stats()) =:= 0 end),
    ?assertEqual({ok, [<<"SystemExit">>]}, py:eval(<<"pool_caught">>)).

%% Coroutines of a loop that is interrupted are cancelled like those of one that stops by itself.
interrupted_loop_cleans_up(_Config) ->
    {ok, Loop} = py_event_loop_pool:get_loop(),
    Waiting = py_event_loop_pool:create_task('__main__', pool_cleans_up, []),
    eventually(fun() -> {ok, #{running := R}} = py_event_loop:info(Loop), R =:= 1 end),
    Stuck = py_event_loop_pool:create_task('__main__', pool_spin, []),
    taken(Loop),
    ok = py_event_loop_pool:restart_loop(Loop),
    ?assertEqual([{error, loop_restarted}, {error, loop_restarted}], py_event_loop_pool:await_all([Waiting, Stuck])),
    eventually(fun() -> maps:get(abandoned, py_event_loop_pool:get_stats()) =:= 0 end),
    ?assertEqual({ok, [true]}, py:eval(<<"pool_cleaned">>)).

%% Threads that come back just when they would be interrupted leave nothing locked: the loops after them work.
restarts_at_the_moment_of_the_interrupt(_Config) ->
    [restart_all_at_the_interrupt() || _ <- lists:seq(1, 10)].

restart_all_at_the_interrupt() ->
    {ok, Now} = py:call(time, monotonic, []),
    Refs = [
        py_event_loop:create_task_on(Loop, '__main__', pool_spin_until, [Now + 0.98 + rand:uniform() / 10], #{}, 0)
     || Loop <- py_event_loop_pool:loops()
    ],
    timer:sleep(20),
    [ok = py_event_loop_pool:restart_loop(N) || N <- lists:seq(1, 4)],
    %% On a machine that stood still for a second a task may have come to its end.
    ?assertEqual([], py_event_loop_pool:await_all(Refs) -- lists:append([[{error, loop_restarted}, {ok, none}] || _ <- Refs])),
    eventually(fun() -> maps:get(abandoned, py_event_loop_pool:get_stats()) =:= 0 end),
    [
        ?assertEqual(
            {ok, <<"slept">>},
            py_event_loop:await(py_event_loop:create_task_on(Loop, asyncio, sleep, [0.01, slept], #{}, 0), 20000)
        )
     || Loop <- py_event_loop_pool:loops()
    ].

restart_of_what_is_no_loop(_Config) ->
    {ok, Single} = py_event_loop:get_loop(),
    [
        ?assertEqual({error, not_found}, py_event_loop_pool:restart_loop(Loop))
     || Loop <- [0, 5, -1, make_ref(), Single]
    ],
    ?assertError({bad_argument, loop, foo}, py_event_loop_pool:restart_loop(foo)),
    ok = test_support:stop(),
    ?assertEqual({error, not_started}, py_event_loop_pool:restart_loop(1)),
    ?assertEqual({error, not_started}, py_event_loop_pool:get_loop()).

%%% Supervision

loop_that_python_took_apart_is_replaced(_Config) ->
    {ok, Loop} = py_event_loop_pool:get_loop(),
    #{restarts := Restarts} = py_event_loop_pool:get_stats(),
    Others = py_event_loop_pool:loops() -- [Loop],
    Waiting = py_event_loop_pool:create_task('__main__', pool_sleep, [60]),
    eventually(fun() -> {ok, #{running := R}} = py_event_loop:info(Loop), R =:= 1 end),
    _ = py_event_loop_pool:run('__main__', pool_take_apart, []),
    ?assertEqual({error, closed}, py_event_loop_pool:await(Waiting)),
    eventually(fun() -> py_event_loop_pool:get_loop() =/= {ok, Loop} end),
    ?assertEqual({ok, 4.0}, py_event_loop_pool:run(math, sqrt, [16.0])),
    ?assertEqual([], Others -- py_event_loop_pool:loops()),
    %% The loop is in place before it is counted.
    eventually(fun() -> maps:get(restarts, py_event_loop_pool:get_stats()) =:= Restarts + 1 end),
    ?assertMatch(#{num_loops := 4, abandoned := 0}, py_event_loop_pool:get_stats()).

killed_pool(_Config) ->
    Old = py_event_loop_pool:loops(),
    Ref = py_event_loop_pool:create_task('__main__', pool_sleep, [60]),
    timer:sleep(20),
    test_support:kill(whereis(py_event_loop_pool)),
    ?assertEqual({error, closed}, py_event_loop_pool:await(Ref)),
    eventually(fun() -> py_event_loop_pool:loops() =/= Old end),
    ?assertEqual({ok, 4.0}, py_event_loop_pool:run(math, sqrt, [16.0])),
    ?assertEqual({ok, 4.0}, py_event_loop:run(math, sqrt, [16.0])),
    [?assertEqual({error, closed}, py_event_loop:info(Loop)) || Loop <- Old],
    #{num_loops := 4} = py_event_loop_pool:get_stats().

%% A loop that is parked, with its worker killed again and again.
killed_worker_loses_no_task(_Config) ->
    Refs = [py_event_loop_pool:create_task('__main__', pool_sleep, [0.5 + N / 100]) || N <- lists:seq(1, 20)],
    Killed = [
        begin
            timer:sleep(25),
            Workers = [Pid || {_, Pid, _, _} <- supervisor:which_children(py_event_worker_sup), is_pid(Pid)],
            [exit(Worker, kill) || Worker <- Workers],
            length(Workers)
        end
     || _ <- lists:seq(1, 30)
    ],
    ct:pal("killed ~b", [lists:sum(Killed)]),
    ?assert(lists:sum(Killed) > 5),
    Results = py_event_loop_pool:await_all(Refs, 30000),
    [?assertMatch({ok, Seconds} when Seconds < 20, Result) || Result <- Results],
    ?assertEqual({ok, 4.0}, py_event_loop_pool:run(math, sqrt, [16.0])).

%%% Helpers

%% Waits until the loop's thread has taken all tasks that were submitted.
taken(Loop) ->
    eventually(fun() ->
        {ok, #{queued := Queued}} = py_event_loop:info(Loop),
        Queued =:= 0
    end).

run(Function, Arguments) ->
    py_event_loop_pool:run('__main__', Function, Arguments, #{timeout => 60000}).

run_on(Loop, Function, Arguments) ->
    {ok, Result} = py_event_loop:run_on(Loop, '__main__', Function, Arguments, #{}),
    Result.

%% What a function gives in each of so many processes.
in_processes(Count, Function) ->
    Me = self(),
    Pids = [spawn_link(fun() -> Me ! {result, self(), Function(N)} end) || N <- lists:seq(1, Count)],
    [receive {result, Pid, Result} -> Result after 60000 -> error(lost) end || Pid <- Pids].
