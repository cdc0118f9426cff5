%% Tasks on one loop: results, errors, order, limits, cancellation, and what a task may do.
-module(py_event_loop_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

-import(test_support, [eventually/1, milliseconds/1, mailbox/0, python/1]).

all() ->
    [
        documented_run,
        documented_create_task,
        documented_await,
        documented_spawn_task,
        documented_thread_safety,
        names_are_atoms_or_binaries,
        awaitables,
        keywords,
        scalars_of_every_size,
        many_arguments,
        errors_name_what_is_wrong,
        wrong_arguments,
        options_are_checked,
        tasks_start_in_order,
        await_again_after_a_timeout,
        await_all,
        await_all_beside_others,
        run_timeout_leaves_no_late_message,
        run_timeouts_race_with_answers,
        run_timeout_cancels_the_coroutine,
        cancel,
        cancel_from_another_process,
        cancel_of_a_queued_task,
        cancel_of_a_finished_task,
        cancel_that_is_refused,
        cancellations_at_once_are_not_lost,
        cancellations_pile_up_nowhere,
        caller_death_cancels,
        caller_death_lets_finish,
        caller_death_drops_queued_tasks,
        killed_callers_leak_nothing,
        spawned_task_outlives_its_caller,
        spawned_exception_is_logged_once,
        created_exception_is_not_logged,
        system_exit_reaches_only_the_submitter,
        stop_of_the_loop_ends_nothing,
        queue_limit,
        hundred_thousand_yields,
        executor,
        getaddrinfo,
        server_in_a_task,
        tasks_of_tasks,
        slow_task_does_not_stop_others,
        timers_under_full_load,
        sockets_under_full_load,
        submission_from_many_processes,
        hundred_thousand_at_once,
        a_million_at_once,
        info,
        killed_owner,
        loop_that_python_took_apart_is_replaced,
        restart_of_the_application
    ].

suite() -> [{timetrap, {minutes, 2}}].

init_per_suite(Config) ->
    ok = test_support:start(),
    ok = define(),
    Config.

end_per_suite(_Config) ->
    ok = test_support:stop().

init_per_testcase(_Case, Config) ->
    {ok, _} = run(tasks_take_seen, []),
    {ok, _} = run(tasks_take_cancelled, []),
    Config.

%% No case leaves messages or tasks behind.
end_per_testcase(_Case, _Config) ->
    eventually(fun() -> running() =:= 0 end),
    case mailbox() of
        [] -> ok;
        Messages -> {fail, {left, Messages}}
    end.

define() ->
    python("
        import asyncio, socket, time

        tasks_seen = []
        tasks_cancelled = []

        async def tasks_echo(*args, **kwargs):
            await asyncio.sleep(0)
            return [list(args), kwargs]

        def tasks_plain(*args, **kwargs):
            return [list(args), kwargs]

        def tasks_list(*args):
            return list(args)

        async def tasks_sleep(seconds, name=None):
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                tasks_cancelled.append(name)
                raise
            tasks_seen.append(name)
            return name

        async def tasks_stubborn():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return 'refused'

        async def tasks_take_apart():
            asyncio.get_running_loop()._selector.close()

        def tasks_future(value):
            future = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.01, future.set_result, value)
            return future

        class TasksAwaitable:
            def __init__(self, value):
                self.value = value

            def __await__(self):
                yield from asyncio.sleep(0.01).__await__()
                return self.value

        def tasks_see(name):
            tasks_seen.append(name)

        def tasks_take_seen():
            seen = tasks_seen[:]
            tasks_seen.clear()
            return seen

        def tasks_take_cancelled():
            cancelled = tasks_cancelled[:]
            tasks_cancelled.clear()
            return cancelled

        def tasks_block(seconds):
            time.sleep(seconds)
            return 'blocked'

        async def tasks_raise(name):
            await asyncio.sleep(0.01)
            raise {'SystemExit': SystemExit, 'KeyboardInterrupt': KeyboardInterrupt,
                   'ValueError': ValueError}[name]('raised by a task')

        def tasks_raise_plainly(name):
            raise {'SystemExit': SystemExit, 'KeyboardInterrupt': KeyboardInterrupt,
                   'ValueError': ValueError}[name]('raised by a task')

        async def tasks_yield(times):
            for _ in range(times):
                await asyncio.sleep(0)
            return times

        async def tasks_executor():
            loop = asyncio.get_running_loop()
            return [await loop.run_in_executor(None, sum, [1, 2, 3]), await asyncio.to_thread(max, 4, 5)]

        async def tasks_resolve():
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo('localhost', 80, type=socket.SOCK_STREAM)
            return len(found) > 0

        async def tasks_serve():
            async def shout(reader, writer):
                while line := await reader.readline():
                    writer.write(line.upper())
                    await writer.drain()
                writer.close()

            server = await asyncio.start_server(shout, '127.0.0.1', 0)
            async with server:
                port = server.sockets[0].getsockname()[1]
                reader, writer = await asyncio.open_connection('127.0.0.1', port)
                writer.write(b'hello\\n')
                line = await reader.readline()
                writer.close()
                await writer.wait_closed()
                return line

        async def tasks_gather(count):
            return sum(await asyncio.gather(*(tasks_yield(n) for n in range(count))))

        async def tasks_nothing():
            pass

        async def tasks_lateness(seconds, times):
            late = 0
            for _ in range(times):
                begin = time.monotonic()
                await asyncio.sleep(seconds)
                late = max(late, time.monotonic() - begin - seconds)
            return late

        def tasks_stop_loop():
            asyncio.get_running_loop().stop()

        def tasks_loop_class():
            return type(asyncio.get_running_loop()).__name__
    ").

%%% What the documents show

documented_run(_Config) ->
    {ok, 4.0} = py_event_loop:run(math, sqrt, [16.0]),
    {ok, Result} = py_event_loop:run('__main__', tasks_echo, [a, 2], #{
        timeout => 10000,
        kwargs => #{headers => #{}}
    }),
    ?assertEqual([[<<"a">>, 2], #{<<"headers">> => #{}}], Result),
    ?assertEqual({ok, <<"ErlangEventLoop">>}, run(tasks_loop_class, [])).

documented_create_task(_Config) ->
    %% Submit task
    Ref = py_event_loop:create_task('__main__', tasks_sleep, [0.05, 1]),
    ?assert(is_reference(Ref)),
    %% Await result when needed
    {ok, 1} = py_event_loop:await(Ref).

documented_await(_Config) ->
    Task = fun() -> py_event_loop:create_task(math, sqrt, [16.0]) end,
    %% Default timeout (5 seconds)
    {ok, 4.0} = py_event_loop:await(Task()),
    %% Custom timeout
    {ok, 4.0} = py_event_loop:await(Task(), 10000),
    %% Infinite timeout
    {ok, 4.0} = py_event_loop:await(Task(), infinity).

documented_spawn_task(_Config) ->
    ok = py_event_loop:spawn_task('__main__', tasks_see, [event]),
    ok = py_event_loop:spawn_task('__main__', tasks_sleep, [0.01], #{name => named}),
    put(seen, []),
    eventually(fun() ->
        {ok, Seen} = run(tasks_take_seen, []),
        put(seen, get(seen) ++ Seen),
        get(seen) =:= [<<"event">>, <<"named">>]
    end).

%% From within a callback of Python.
documented_thread_safety(_Config) ->
    Me = self(),
    ok = py_callback:register(submit_a_task, fun([X]) ->
        Me ! {inner, py_event_loop:await(py_event_loop:create_task(math, sqrt, [X]))},
        submitted
    end),
    python("
        import erlang

        async def tasks_call_erlang():
            return await erlang.async_call('submit_a_task', 16.0)
    "),
    ?assertEqual({ok, <<"submitted">>}, run(tasks_call_erlang, [])),
    receive {inner, Result} -> ?assertEqual({ok, 4.0}, Result) after 5000 -> error(no_result) end,
    ok = py_callback:unregister(submit_a_task).

%%% Results and errors

names_are_atoms_or_binaries(_Config) ->
    [
        ?assertEqual({ok, 4.0}, py_event_loop:run(Module, Function, [16.0]))
     || Module <- [math, <<"math">>], Function <- [sqrt, <<"sqrt">>]
    ].

awaitables(_Config) ->
    ?assertEqual({ok, 1}, run(tasks_future, [1])),
    ?assertEqual({ok, 2}, run('TasksAwaitable', [2])),
    ?assertEqual({ok, 3}, py_event_loop:run(asyncio, sleep, [0, 3])).

%% The same on the loop and on the pool.
keywords(_Config) ->
    [
        begin
            Expected = {ok, [[1], #{<<"a">> => 2, <<"b">> => 3}]},
            Keywords = #{a => 2, <<"b">> => 3},
            ?assertEqual(Expected, Module:run('__main__', Function, [1], #{kwargs => Keywords})),
            ?assertEqual(Expected, Module:await(Module:create_task('__main__', Function, [1], Keywords)))
        end
     || Module <- [py_event_loop, py_event_loop_pool], Function <- [tasks_echo, tasks_plain]
    ].

%% What is small enough travels in the task itself, the rest in its environment; nobody can tell.
scalars_of_every_size(_Config) ->
    Binaries = [binary:copy(Part, N) || Part <- [<<"x">>, <<"é"/utf8>>, <<255>>, <<0>>], N <- lists:seq(0, 130)],
    Integers = [Sign * (1 bsl Bits) + Off || Bits <- [0, 7, 31, 58, 59, 60, 62, 63, 64, 65], Sign <- [1, -1], Off <- [-1, 0, 1]],
    Floats = [0.0, -0.0, 1.5, -1.0e308, 5.0e-324],
    Others = [true, false, none, infinity, neg_infinity, nan, [], [1, <<"a">>], {1, 2.0}, #{<<"k">> => 1}],
    [
        begin
            ?assertEqual({Value, {ok, Value}}, {Value, py_event_loop:run(copy, copy, [Value])}),
            ?assertEqual({Value, {ok, [Value, 1, Value]}}, {Value, run(tasks_list, [Value, 1, Value])}),
            Reference = py_event_loop:create_task(copy, copy, [Value]),
            ?assertEqual({Value, {ok, Value}}, {Value, py_event_loop:await(Reference)})
        end
     || Value <- Binaries ++ Integers ++ Floats ++ Others
    ],
    ok.

%% Around the number that needs no allocation, with and without keywords.
many_arguments(_Config) ->
    [
        begin
            Arguments = [element(1 + I rem 4, {I, I * 0.5, <<"a">>, true}) || I <- lists:seq(1, N)],
            ?assertEqual({ok, [Arguments, #{}]}, run(tasks_plain, Arguments)),
            ?assertEqual(
                {ok, [Arguments, #{<<"k">> => 1}]},
                py_event_loop:run('__main__', tasks_plain, Arguments, #{kwargs => #{k => 1}})
            )
        end
     || N <- lists:seq(0, 40)
    ],
    ok.

errors_name_what_is_wrong(_Config) ->
    [
        begin
            {error, {Class, Message}} = py_event_loop:run(Module, Function, Arguments),
            ?assertNotEqual(nomatch, string:find(Message, Text))
        end
     || {Class, Text, Module, Function, Arguments} <- [
            {'ModuleNotFoundError', "no_such_module", no_such_module, f, []},
            {'AttributeError', "no_such_function", math, no_such_function, []},
            {'TypeError', "sqrt", math, sqrt, [1, 2, 3]},
            {'ValueError', "domain", math, sqrt, [-1]},
            {'TypeError', "object", builtins, object, []},
            {'ValueError', "raised by a task", '__main__', tasks_raise, ['ValueError']},
            {'ValueError', "raised by a task", '__main__', tasks_raise_plainly, ['ValueError']}
        ]
    ],
    {error, {'ValueError', _, [_ | _]}} =
        py_event_loop:run('__main__', tasks_raise, ['ValueError'], #{traceback => true}),
    {error, {'ValueError', _, [_ | _]}} = py_event_loop:await(
        py_event_loop:create_task('__main__', tasks_raise, ['ValueError'], #{}, #{traceback => true})
    ).

wrong_arguments(_Config) ->
    [
        begin
            ?assertError({bad_argument, module, 1}, Call(1, f, [], #{})),
            ?assertError({bad_argument, function, "f"}, Call(math, "f", [], #{})),
            ?assertError({bad_argument, args, 1}, Call(math, sqrt, 1, #{})),
            ?assertError({_, kwargs, []}, Call(math, sqrt, [], []))
        end
     || Module <- [py_event_loop, py_event_loop_pool],
        Call <- [
            fun(M, F, A, K) -> Module:run(M, F, A, #{kwargs => K}) end,
            fun Module:create_task/4,
            fun Module:spawn_task/4
        ]
    ],
    ?assertError({bad_argument, reference, foo}, py_event_loop:await(foo)),
    ?assertError({bad_argument, reference, foo}, py_event_loop:cancel(foo)).

options_are_checked(_Config) ->
    ?assertError({bad_option, timout, 5}, py_event_loop:run(math, sqrt, [1], #{timout => 5})),
    ?assertError({bad_option, timeout, -1}, py_event_loop:run(math, sqrt, [1], #{timeout => -1})),
    ?assertError({bad_option, timeout, 1}, py_event_loop:create_task(math, sqrt, [1], #{}, #{timeout => 1})),
    ?assertError({bad_option, on_caller_death, no}, py_event_loop:create_task(math, sqrt, [1], #{}, #{on_caller_death => no})).

tasks_start_in_order(_Config) ->
    Numbers = lists:seq(1, 1000),
    Refs = [py_event_loop:create_task('__main__', order(N), [N]) || N <- Numbers],
    _ = py_event_loop:await_all(Refs),
    ?assertEqual({ok, Numbers}, run(tasks_take_seen, [])).

%% Functions and coroutines that end at once.
order(N) when N rem 2 =:= 0 -> tasks_see;
order(_) -> 'tasks_seen.append'.

%%% Waiting

await_again_after_a_timeout(_Config) ->
    Ref = py_event_loop:create_task('__main__', tasks_sleep, [1.0, again]),
    ?assertEqual({error, timeout}, py_event_loop:await(Ref, 10)),
    ?assertEqual({ok, <<"again">>}, py_event_loop:await(Ref)).

%% Answers that are not awaited yet survive a garbage collection, and so does the VM.
await_all_beside_others(_Config) ->
    [
        begin
            First = py_event_loop:create_task(math, sqrt, [16.0]),
            Others = [py_event_loop:create_task(math, sqrt, [16.0]) || _ <- lists:seq(1, 20)],
            ?assertEqual([{ok, 4.0} || _ <- Others], py_event_loop:await_all(Others)),
            true = erlang:garbage_collect(),
            ?assertEqual({ok, 4.0}, py_event_loop:await(First))
        end
     || _ <- lists:seq(1, 50)
    ].

await_all(_Config) ->
    Refs = [py_event_loop:create_task('__main__', tasks_sleep, [0.5, N]) || N <- lists:seq(1, 20)],
    {Time, Results} = milliseconds(fun() -> py_event_loop:await_all(Refs, 20000) end),
    ?assertEqual([{ok, N} || N <- lists:seq(1, 20)], Results),
    %% One after another they would take ten seconds.
    ?assert(Time < 8000),
    Slow = [py_event_loop:create_task('__main__', tasks_sleep, [1.3, N]) || N <- lists:seq(1, 3)],
    {Waited, Timeouts} = milliseconds(fun() -> py_event_loop:await_all(Slow, 50) end),
    ?assertEqual([{error, timeout} || _ <- Slow], Timeouts),
    ?assert(Waited < 1200),
    ?assertEqual([{ok, N} || N <- lists:seq(1, 3)], py_event_loop:await_all(Slow, infinity)).

run_timeout_leaves_no_late_message(_Config) ->
    {Time, Result} = milliseconds(fun() -> run(tasks_sleep, [1.3, late], #{timeout => 50}) end),
    ?assertEqual({error, timeout}, Result),
    ?assert(Time < 1200),
    timer:sleep(1400),
    ?assertEqual([], mailbox()),
    ?assertEqual({ok, []}, run(tasks_take_seen, [])),
    ?assertEqual({ok, [<<"late">>]}, run(tasks_take_cancelled, [])),
    ?assertEqual({error, timeout}, run(tasks_block, [1.0], #{timeout => 0})),
    timer:sleep(1200),
    ?assertEqual([], mailbox()).

run_timeouts_race_with_answers(_Config) ->
    Results = [run(tasks_sleep, [0.002, race], #{timeout => 2 + N rem 3}) || N <- lists:seq(1, 300)],
    [?assert(Result =:= {ok, <<"race">>} orelse Result =:= {error, timeout}) || Result <- Results],
    timer:sleep(50),
    ?assertEqual([], mailbox()).

run_timeout_cancels_the_coroutine(_Config) ->
    {error, timeout} = run(tasks_sleep, [60, forgotten], #{timeout => 20}),
    eventually(fun() -> run(tasks_take_cancelled, []) =:= {ok, [<<"forgotten">>]} end).

%%% Cancelling

cancel(_Config) ->
    [
        begin
            Ref = Module:create_task('__main__', tasks_sleep, [60, cancelled]),
            %% One that has not begun does not learn of it.
            eventually(fun() -> running_of(Module) =:= 1 end),
            ok = Module:cancel(Ref),
            ?assertEqual({error, cancelled}, Module:await(Ref)),
            ?assertEqual({ok, [<<"cancelled">>]}, run(tasks_take_cancelled, []))
        end
     || Module <- [py_event_loop, py_event_loop_pool]
    ].

cancel_from_another_process(_Config) ->
    Ref = py_event_loop:create_task('__main__', tasks_sleep, [60, other]),
    timer:sleep(20),
    ok = test_support:in_process(fun() -> py_event_loop:cancel(Ref) end),
    ?assertEqual({error, cancelled}, py_event_loop:await(Ref)).

%% Behind more tasks than one batch takes.
cancel_of_a_queued_task(_Config) ->
    Blocker = py_event_loop:create_task('__main__', tasks_block, [0.2]),
    Before = [py_event_loop:create_task('__main__', tasks_nothing, []) || _ <- lists:seq(1, 300)],
    Ref = py_event_loop:create_task('__main__', tasks_sleep, [60, queued]),
    After = [py_event_loop:create_task('__main__', tasks_nothing, []) || _ <- lists:seq(1, 300)],
    ok = py_event_loop:cancel(Ref),
    ?assertEqual({error, cancelled}, py_event_loop:await(Ref)),
    ?assertEqual({ok, <<"blocked">>}, py_event_loop:await(Blocker)),
    ?assertEqual([{ok, none} || _ <- Before ++ After], py_event_loop:await_all(Before ++ After)).

cancel_of_a_finished_task(_Config) ->
    Ref = py_event_loop:create_task(math, sqrt, [16.0]),
    receive {async_result, Ref, _} = Answer -> self() ! Answer after 20000 -> error(no_answer) end,
    ok = py_event_loop:cancel(Ref),
    ?assertEqual({ok, 4.0}, py_event_loop:await(Ref)),
    ok = py_event_loop:cancel(Ref),
    ok = py_event_loop:cancel(make_ref()).

cancel_that_is_refused(_Config) ->
    Ref = py_event_loop:create_task('__main__', tasks_stubborn, []),
    eventually(fun() -> running() =:= 1 end),
    ok = py_event_loop:cancel(Ref),
    ?assertEqual({ok, <<"refused">>}, py_event_loop:await(Ref)).

%% Each right after its task, while others cancel as well.
cancellations_at_once_are_not_lost(_Config) ->
    Pids = [
        spawn_monitor(fun() ->
            [
                begin
                    Ref = py_event_loop:create_task(asyncio, sleep, [3600]),
                    ok = py_event_loop:cancel(Ref),
                    {error, cancelled} = py_event_loop:await(Ref, 10000)
                end
             || _ <- lists:seq(1, 3000)
            ]
        end)
     || _ <- lists:seq(1, 16)
    ],
    [receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end || {Pid, Monitor} <- Pids].

%% Not with loops that have not started, either.
cancellations_pile_up_nowhere(_Config) ->
    [ok = py_event_loop:cancel(make_ref()) || _ <- lists:seq(1, 20000)],
    ?assertEqual({ok, 4.0}, py_event_loop:run(math, sqrt, [16.0])).

%%% Death of the caller

caller_death_cancels(_Config) ->
    [
        begin
            test_support:in_process(fun() ->
                Refs = [Module:create_task('__main__', tasks_sleep, [60, dead]) || _ <- lists:seq(1, 10)],
                eventually(fun() -> running_of(Module) =:= 10 end),
                length(Refs)
            end),
            eventually(fun() -> running_of(Module) =:= 0 end),
            {ok, Cancelled} = run(tasks_take_cancelled, []),
            ?assertEqual(10, length(Cancelled))
        end
     || Module <- [py_event_loop, py_event_loop_pool]
    ].

caller_death_lets_finish(_Config) ->
    [
        begin
            test_support:in_process(fun() ->
                _ = Module:create_task('__main__', tasks_sleep, [1.0, finished], #{}, #{on_caller_death => finish}),
                eventually(fun() -> running_of(Module) =:= 1 end)
            end),
            eventually(fun() -> run(tasks_take_seen, []) =:= {ok, [<<"finished">>]} end)
        end
     || Module <- [py_event_loop, py_event_loop_pool]
    ].

caller_death_drops_queued_tasks(_Config) ->
    Blocker = py_event_loop:create_task('__main__', tasks_block, [1.2]),
    test_support:in_process(fun() ->
        _ = [py_event_loop:create_task('__main__', tasks_see, [dropped]) || _ <- lists:seq(1, 100)],
        _ = py_event_loop:create_task('__main__', tasks_see, [kept], #{}, #{on_caller_death => finish})
    end),
    ?assertEqual({ok, <<"blocked">>}, py_event_loop:await(Blocker)),
    ?assertEqual({ok, [<<"kept">>]}, run(tasks_take_seen, [])).

killed_callers_leak_nothing(_Config) ->
    Submit = fun() ->
        Pid = spawn(fun() ->
            _ = [py_event_loop:create_task('__main__', tasks_sleep, [60, killed]) || _ <- lists:seq(1, 10)],
            receive never -> ok end
        end),
        rand:uniform(2) =:= 1 andalso timer:sleep(1),
        test_support:kill(Pid)
    end,
    [Submit() || _ <- lists:seq(1, 200)],
    eventually(fun() -> running() =:= 0 end),
    eventually(fun() -> queued() =:= 0 end).

spawned_task_outlives_its_caller(_Config) ->
    test_support:in_process(fun() -> ok = py_event_loop:spawn_task('__main__', tasks_sleep, [0.1, spawned]) end),
    eventually(fun() -> run(tasks_take_seen, []) =:= {ok, [<<"spawned">>]} end),
    ?assertEqual({ok, []}, run(tasks_take_cancelled, [])).

spawned_exception_is_logged_once(_Config) ->
    [
        begin
            {ok, [Text]} = test_support:logged(
                fun() ->
                    ok = Module:spawn_task('__main__', Function, ['ValueError']),
                    timer:sleep(100)
                end,
                1
            ),
            [
                ?assertNotEqual(nomatch, string:find(Text, Part))
             || Part <- ["ValueError", "raised by a task", atom_to_list(Function), "Traceback"]
            ],
            receive {logged, Again} -> error({logged_twice, Again}) after 0 -> ok end
        end
     || Module <- [py_event_loop, py_event_loop_pool], Function <- [tasks_raise, tasks_raise_plainly]
    ].

created_exception_is_not_logged(_Config) ->
    {ok, [Text]} = test_support:logged(
        fun() ->
            {error, {'ValueError', _}} = run(tasks_raise, ['ValueError']),
            timer:sleep(50),
            logger:error("the only one")
        end,
        1
    ),
    ?assertNotEqual(nomatch, string:find(Text, "the only one")).

system_exit_reaches_only_the_submitter(_Config) ->
    Other = py_event_loop:create_task('__main__', tasks_sleep, [0.3, other]),
    [
        begin
            {error, {Class, Message}} = run(Function, [Class]),
            ?assertEqual(<<"raised by a task">>, Message)
        end
     || Class <- ['SystemExit', 'KeyboardInterrupt'],
        Function <- [tasks_raise, tasks_raise_plainly],
        _ <- lists:seq(1, 5)
    ],
    ?assertEqual({ok, <<"other">>}, py_event_loop:await(Other)),
    ok = py_event_loop:spawn_task('__main__', tasks_raise, ['SystemExit']),
    timer:sleep(50),
    ?assertEqual({ok, 4.0}, py_event_loop:run(math, sqrt, [16.0])).

stop_of_the_loop_ends_nothing(_Config) ->
    Other = py_event_loop:create_task('__main__', tasks_sleep, [0.1, other]),
    {ok, none} = run(tasks_stop_loop, []),
    ?assertEqual({ok, <<"other">>}, py_event_loop:await(Other)).

%%% Limits and load

queue_limit(_Config) ->
    ok = test_support:start([{task_queue_limit, 10}]),
    ok = define(),
    Blocker = py_event_loop:create_task('__main__', tasks_block, [1.3]),
    eventually(fun() -> queued() =:= 0 end),
    Refs = [py_event_loop:create_task(math, sqrt, [16.0]) || _ <- lists:seq(1, 10)],
    ?assertEqual({error, busy}, py_event_loop:run(math, sqrt, [16.0])),
    ?assertEqual({error, busy}, py_event_loop:spawn_task(math, sqrt, [16.0])),
    Refused = py_event_loop:create_task(math, sqrt, [16.0]),
    ?assertEqual({error, busy}, py_event_loop:await(Refused, 0)),
    ?assertEqual({ok, <<"blocked">>}, py_event_loop:await(Blocker)),
    ?assertEqual([{ok, 4.0} || _ <- Refs], py_event_loop:await_all(Refs)),
    ?assertEqual({ok, 4.0}, py_event_loop:run(math, sqrt, [16.0])),
    ok = test_support:start(),
    ok = define().

hundred_thousand_yields(_Config) ->
    ?assertEqual({ok, 100000}, run(tasks_yield, [100000], #{timeout => 60000})).

executor(_Config) ->
    ?assertEqual({ok, [6, 5]}, run(tasks_executor, [])).

getaddrinfo(_Config) ->
    ?assertEqual({ok, true}, run(tasks_resolve, [])).

server_in_a_task(_Config) ->
    ?assertEqual([{ok, <<"HELLO\n">>} || _ <- lists:seq(1, 5)], [run(tasks_serve, []) || _ <- lists:seq(1, 5)]).

tasks_of_tasks(_Config) ->
    ?assertEqual({ok, 4950}, run(tasks_gather, [100])).

%% As far as Python itself lets them: it waits with the GIL released.
slow_task_does_not_stop_others(_Config) ->
    Blocker = test_support:in_process(fun() ->
        Ref = py_event_loop:create_task('__main__', tasks_block, [1.3], #{}, #{on_caller_death => finish}),
        eventually(fun() -> queued() =:= 0 end),
        {Time, {ok, 4.0}} = milliseconds(fun() -> py:call(math, sqrt, [16.0]) end),
        ?assert(Time < 1200),
        {ok, <<"blocked">>} = py_event_loop:await(Ref)
    end),
    ?assertEqual({ok, <<"blocked">>}, Blocker).

timers_under_full_load(_Config) ->
    Load = load(),
    {ok, Late} = run(tasks_lateness, [0.01, 50], #{timeout => 60000}),
    unload(Load),
    ct:pal("a timer was late by ~p s under load", [Late]),
    ?assert(Late < 10.0).

sockets_under_full_load(_Config) ->
    Load = load(),
    {Time, {ok, <<"HELLO\n">>}} = milliseconds(fun() -> run(tasks_serve, [], #{timeout => 60000}) end),
    unload(Load),
    ?assert(Time < 30000).

%% Processes that keep the loop's queue full.
load() ->
    [spawn_link(fun() -> work(window([])) end) || _ <- lists:seq(1, 4)].

window(Refs) -> Refs ++ [py_event_loop:create_task(math, sqrt, [16.0]) || _ <- lists:seq(1, 200)].

work([Ref | Refs]) ->
    receive
        {stop, From} ->
            _ = py_event_loop:await_all([Ref | Refs], infinity),
            From ! {stopped, self()}
    after 0 ->
        {ok, 4.0} = py_event_loop:await(Ref, infinity),
        work(Refs ++ [py_event_loop:create_task(math, sqrt, [16.0])])
    end.

unload(Load) ->
    [Pid ! {stop, self()} || Pid <- Load],
    [receive {stopped, Pid} -> ok end || Pid <- Load].

submission_from_many_processes(_Config) ->
    Me = self(),
    Pids = [
        spawn_link(fun() ->
            Results = [Module:run(operator, add, [N, I]) || I <- lists:seq(1, 20)],
            Results = [{ok, N + I} || I <- lists:seq(1, 20)],
            Me ! {done, self()}
        end)
     || N <- lists:seq(1, 500), Module <- [py_event_loop, py_event_loop_pool]
    ],
    [receive {done, Pid} -> ok after 60000 -> error(lost) end || Pid <- Pids].

hundred_thousand_at_once(_Config) ->
    at_once(asyncio, sleep, [0, done], {ok, <<"done">>}, 100000).

a_million_at_once(_Config) ->
    at_once(math, sqrt, [16.0], {ok, 4.0}, 1000000).

%% In a process of its own, whose messages go with it.
at_once(Module, Function, Arguments, Result, Count) ->
    test_support:in_process(fun() ->
        Refs = [py_event_loop:create_task(Module, Function, Arguments) || _ <- lists:seq(1, Count)],
        %% In order of arrival, which is that of submission: none waits for the search of a long mailbox.
        [?assertEqual(Result, py_event_loop:await(Ref, 100000)) || Ref <- arrival(Refs, Result)],
        ok
    end).

%% Awaiting a million references one by one searches the mailbox for each that came out of order, so only those are
%% awaited that did not come next.
arrival([], _) -> [];
arrival([Ref | Refs], Result) ->
    receive
        {async_result, Ref, Result} -> arrival(Refs, Result);
        {async_result, Ref, Other} -> error({unexpected, Other})
    after 100000 -> [Ref | Refs]
    end.

info(_Config) ->
    %% Sockets of the cases before may need a moment.
    eventually(fun() ->
        {ok, Idle} = py_event_loop:info(),
        lists:all(fun(Key) -> maps:get(Key, Idle) =:= 0 end, [queued, running, pending, descriptors])
    end),
    {ok, #{done := Done, batches := Batches}} = py_event_loop:info(),
    Refs = [py_event_loop:create_task('__main__', tasks_sleep, [1.3, N]) || N <- lists:seq(1, 10)],
    eventually(fun() -> running() =:= 10 end),
    eventually(fun() ->
        {ok, #{timers := Timers, lag_us := Idle}} = py_event_loop:info(),
        Timers =:= 10 andalso Idle < 100000
    end),
    eventually(fun() ->
        {ok, #{state := State}} = py_event_loop:info(),
        State =:= parked
    end),
    {ok, #{parks := Parks}} = py_event_loop:info(),
    ?assert(Parks > 0),
    _ = py_event_loop:await_all(Refs),
    Blocker = py_event_loop:create_task('__main__', tasks_block, [1.3]),
    eventually(fun() -> queued() =:= 0 end),
    Queued = [py_event_loop:create_task(math, sqrt, [16.0]) || _ <- lists:seq(1, 3)],
    timer:sleep(200),
    {ok, #{state := running, lag_us := Lag, queued := Length}} = py_event_loop:info(),
    ?assert(Lag > 150000),
    ?assertEqual(3, Length),
    _ = py_event_loop:await_all([Blocker | Queued]),
    eventually(fun() ->
        {ok, #{done := Now, batches := More}} = py_event_loop:info(),
        Now >= Done + 14 andalso More > Batches
    end),
    {ok, Loop} = py_event_loop:get_loop(),
    ?assertMatch({ok, #{state := _}}, py_event_loop:info(Loop)),
    ?assertError({bad_argument, loop, _}, py_event_loop:info(make_ref())).

%%% Supervision

%% Everybody who waits is told, the coroutines that nobody steps any more included.
loop_that_python_took_apart_is_replaced(_Config) ->
    {ok, Loop} = py_event_loop:get_loop(),
    Waiting = [py_event_loop:create_task('__main__', tasks_sleep, [60]) || _ <- lists:seq(1, 20)],
    eventually(fun() -> running() =:= 20 end),
    _ = run(tasks_take_apart, []),
    ?assertEqual([{error, closed} || _ <- Waiting], py_event_loop:await_all(Waiting)),
    eventually(fun() -> py_event_loop:get_loop() =/= {ok, Loop} end),
    ?assertEqual({error, closed}, py_event_loop:info(Loop)),
    ?assertEqual({ok, 4.0}, py_event_loop:run(math, sqrt, [16.0])),
    ?assertEqual({ok, <<"slept">>}, py_event_loop:run(asyncio, sleep, [0.01, slept])).

killed_owner(_Config) ->
    {ok, Before} = py_event_loop:get_loop(),
    Ref = py_event_loop:create_task('__main__', tasks_sleep, [60, orphan]),
    timer:sleep(20),
    test_support:kill(whereis(py_event_loop)),
    ?assertEqual({error, closed}, py_event_loop:await(Ref)),
    eventually(fun() -> is_pid(whereis(py_event_loop)) andalso is_pid(whereis(py_event_loop_pool)) end),
    eventually(fun() -> py_event_loop:get_loop() =/= {ok, Before} end),
    ?assertEqual({ok, 4.0}, py_event_loop:run(math, sqrt, [16.0])),
    %% It has its name before it has its loops.
    eventually(fun() -> (catch py_event_loop_pool:run(math, sqrt, [16.0])) =:= {ok, 4.0} end),
    ?assertEqual({error, closed}, py_event_loop:info(Before)).

restart_of_the_application(_Config) ->
    [
        begin
            Ref = py_event_loop:create_task('__main__', tasks_sleep, [60, stopped]),
            timer:sleep(20),
            ok = test_support:stop(),
            ?assertEqual({error, closed}, py_event_loop:await(Ref)),
            ?assertEqual({error, not_started}, py_event_loop:get_loop()),
            ?assertError({not_started, erlang_python}, py_event_loop:run(math, sqrt, [16.0])),
            ok = test_support:start(),
            ok = define(),
            ?assertEqual({ok, 4.0}, py_event_loop:run(math, sqrt, [16.0]))
        end
     || _ <- [1, 2]
    ].

%%% Helpers

run(Function, Arguments) ->
    run(Function, Arguments, #{}).

run(Function, Arguments, Options) ->
    py_event_loop:run('__main__', Function, Arguments, Options).

running() ->
    running_of(py_event_loop).

queued() ->
    {ok, #{queued := Queued}} = py_event_loop:info(),
    Queued.

running_of(py_event_loop) ->
    {ok, #{running := Running}} = py_event_loop:info(),
    Running;
running_of(py_event_loop_pool) ->
    lists:sum([Running || #{running := Running} <- maps:get(loops, py_event_loop_pool:get_stats())]).
