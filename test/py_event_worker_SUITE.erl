%% The processes that wait for loops, and what waiting costs: a parked loop uses nothing.
-module(py_event_worker_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

-import(test_support, [eventually/1, milliseconds/1, python/1]).

all() ->
    [
        worker_comes_with_the_first_park,
        worker_ends_with_its_loop,
        worker_survives_what_it_does_not_know,
        killed_worker_is_replaced,
        killed_worker_wakes_nobody_late,
        killed_worker_loses_no_event,
        worker_of_a_closed_loop_leaves_no_child,
        killed_starter,
        starter_that_did_not_read,
        killed_supervisor_of_workers,
        sleeps_are_in_time_while_parked,
        parked_loop_hears_its_sockets,
        parked_loop_hears_its_tasks,
        parked_loop_hears_its_threads,
        loop_that_is_never_idle_for_long_does_not_park,
        waiting_costs_nothing
    ].

suite() -> [{timetrap, {minutes, 3}}].

%% Without a linger the loop has a worker in every gap; otherwise it need not in those that are as short as the case's.
init_per_testcase(killed_worker_loses_no_event, Config) ->
    started([{event_loop_linger_us, 0}], Config);
init_per_testcase(_Case, Config) ->
    started([{event_loop_pool_size, 8}], Config).

started(Environment, Config) ->
    ok = test_support:start(Environment),
    ok = define(),
    Config.

end_per_testcase(_Case, _Config) ->
    ok = test_support:stop().

define() ->
    python("
        import asyncio, threading, time

        async def worker_sleep(seconds):
            begin = time.monotonic()
            await asyncio.sleep(seconds)
            return time.monotonic() - begin

        worker_kept = {}

        async def worker_serve(port):
            async def echo(reader, writer):
                while data := await reader.read(1024):
                    writer.write(data)
                    await writer.drain()
                writer.close()

            server = await asyncio.start_server(echo, '127.0.0.1', port)
            worker_kept[id(server)] = server
            return server.sockets[0].getsockname()[1]

        async def worker_connect(count):
            connections = []
            port = await worker_serve(0)
            for _ in range(count):
                reader, writer = await asyncio.open_connection('127.0.0.1', port)
                writer.write(b'x')
                assert await reader.readexactly(1) == b'x'
                connections.append((reader, writer))
            worker_kept[id(connections)] = connections
            return len(connections)

        async def worker_thread():
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            def work():
                time.sleep(0.2)
                loop.call_soon_threadsafe(future.set_result, 'from a thread')
            threading.Thread(target=work).start()
            return await future
    ").

worker_comes_with_the_first_park(_Config) ->
    ?assertEqual([], workers()),
    {ok, 4.0} = py_event_loop:run(math, sqrt, [16.0]),
    eventually(fun() -> length(workers()) =:= 1 end),
    eventually(fun() -> state() =:= parked end).

worker_ends_with_its_loop(_Config) ->
    Worker = worker(),
    test_support:kill(whereis(py_event_loop)),
    eventually(fun() -> not is_process_alive(Worker) end),
    %% The worker may have ended before there is another loop.
    eventually(fun() -> py_event_loop:run(math, sqrt, [16.0]) =:= {ok, 4.0} end),
    ?assertNotEqual(Worker, worker()).

worker_survives_what_it_does_not_know(_Config) ->
    Worker = worker(),
    [Worker ! Message || Message <- [foo, {select, 1, 2, 3}, {timeout, foo}, {timeout, make_ref(), x}, {park, x}]],
    {error, unknown_call} = gen_server:call(Worker, foo),
    ok = gen_server:cast(Worker, foo),
    ?assertEqual(Worker, worker()).

killed_worker_is_replaced(_Config) ->
    [
        begin
            Worker = worker(),
            test_support:kill(Worker),
            ?assertNotEqual(Worker, worker()),
            ?assertEqual({ok, 4.0}, py_event_loop:run(math, sqrt, [16.0]))
        end
     || _ <- lists:seq(1, 20)
    ].

%% Killed at any moment of a park.
killed_worker_wakes_nobody_late(_Config) ->
    Ref = py_event_loop:create_task('__main__', worker_sleep, [1.0]),
    [
        begin
            timer:sleep(rand:uniform(40)),
            exit(worker(), kill)
        end
     || _ <- lists:seq(1, 20)
    ],
    {ok, Slept} = py_event_loop:await(Ref, 30000),
    ?assert(Slept >= 1.0),
    ?assert(Slept < 20).

%% What comes from a socket while there is no worker, or one that knows nothing of it yet.
killed_worker_loses_no_event(_Config) ->
    {ok, Port} = py_event_loop:run('__main__', worker_serve, [0]),
    {ok, Socket} = gen_tcp:connect("127.0.0.1", Port, [binary, {active, false}]),
    Killed = [
        begin
            timer:sleep(rand:uniform(8) - 1),
            Workers = workers(),
            [exit(Worker, kill) || Worker <- Workers],
            timer:sleep(rand:uniform(4) - 1),
            ok = gen_tcp:send(Socket, <<N>>),
            ?assertEqual({ok, <<N>>}, gen_tcp:recv(Socket, 1, 10000)),
            length(Workers)
        end
     || N <- lists:seq(1, 100)
    ],
    ct:pal("killed ~b", [lists:sum(Killed)]),
    ?assert(lists:sum(Killed) > 10),
    ok = gen_tcp:close(Socket).

killed_starter(_Config) ->
    test_support:kill(whereis(py_event_worker_starter)),
    eventually(fun() -> is_pid(whereis(py_event_loop_pool)) andalso (catch sleeps()) =:= true end),
    _ = worker().

%% Who was asked for a worker ends before it reads that: whoever waits gets one in another way.
starter_that_did_not_read(_Config) ->
    {ok, Loop} = py_nif:event_loop_new(),
    {ok, {ReadFd, WriteFd}} = py_nif:create_test_pipe(),
    {ok, FdRef} = py_nif:add_reader(Loop, ReadFd, 1),
    ok = sys:suspend(py_event_worker_starter),
    Poller = low_level_support:poller(Loop, infinity),
    ok = application:stop(erlang_python),
    {ok, 1} = py_nif:write_test_fd(WriteFd, <<"x">>),
    ?assertEqual(1, low_level_support:polled(Poller)),
    ok = py_nif:remove_reader(Loop, FdRef),
    ok = low_level_support:close([ReadFd, WriteFd]),
    ok = py_nif:event_loop_destroy(Loop).

killed_supervisor_of_workers(_Config) ->
    _ = worker(),
    test_support:kill(whereis(py_event_worker_sup)),
    eventually(fun() -> is_pid(whereis(py_event_loop_pool)) andalso (catch sleeps()) =:= true end),
    eventually(fun() -> length(workers()) =:= 1 end).

sleeps_are_in_time_while_parked(_Config) ->
    _ = worker(),
    Refs = [py_event_loop:create_task('__main__', worker_sleep, [N / 20]) || N <- lists:seq(1, 20)],
    [
        begin
            {ok, Slept} = py_event_loop:await(Ref),
            ?assert(Slept >= N / 20),
            %% As late as a busy machine is.
            ?assert(Slept < N / 20 + 4)
        end
     || {N, Ref} <- lists:zip(lists:seq(1, 20), Refs)
    ],
    {ok, #{parks := Parks}} = py_event_loop:info(),
    %% Those of a busy machine end several sleeps at once.
    ?assert(Parks >= 5).

parked_loop_hears_its_sockets(_Config) ->
    {ok, Port} = py_event_loop:run('__main__', worker_serve, [0]),
    {ok, Socket} = gen_tcp:connect("127.0.0.1", Port, [binary, {active, false}]),
    [
        begin
            eventually(fun() -> state() =:= parked end),
            ok = gen_tcp:send(Socket, <<N>>),
            ?assertEqual({ok, <<N>>}, gen_tcp:recv(Socket, 1, 5000))
        end
     || N <- lists:seq(1, 20)
    ],
    ok = gen_tcp:close(Socket).

parked_loop_hears_its_tasks(_Config) ->
    _ = worker(),
    Times = [
        begin
            eventually(fun() -> state() =:= parked end),
            {Time, {ok, 4.0}} = milliseconds(fun() -> py_event_loop:run(math, sqrt, [16.0]) end),
            Time
        end
     || _ <- lists:seq(1, 50)
    ],
    ?assert(lists:nth(25, lists:sort(Times)) < 1000).

parked_loop_hears_its_threads(_Config) ->
    _ = worker(),
    {Time, Result} = milliseconds(fun() -> py_event_loop:run('__main__', worker_thread, []) end),
    ?assertEqual({ok, <<"from a thread">>}, Result),
    ?assert(Time < 4000).

%% Gaps of a few milliseconds are not worth a park; with a linger of 0 each of them is one.
loop_that_is_never_idle_for_long_does_not_park(_Config) ->
    %% On a busy machine the gaps may have been long.
    ?assert(lists:any(fun(_) -> parks_less_in_short_gaps() end, lists:seq(1, 5))).

parks_less_in_short_gaps() ->
    ok = test_support:start(),
    Short = parks_in_short_gaps(),
    ok = test_support:start([{event_loop_linger_us, 0}]),
    Always = parks_in_short_gaps(),
    ct:pal("~b parks, with a linger of 0 ~b", [Short, Always]),
    Always > 50 andalso Short < Always div 2.

parks_in_short_gaps() ->
    {ok, 4.0} = py_event_loop:run(math, sqrt, [16.0]),
    {ok, #{parks := Before}} = py_event_loop:info(),
    [
        begin
            timer:sleep(2),
            {ok, 4.0} = py_event_loop:run(math, sqrt, [16.0])
        end
     || _ <- lists:seq(1, 200)
    ],
    {ok, #{parks := After}} = py_event_loop:info(),
    After - Before.

%% Eight loops with a hundred idle connections each and tasks that sleep for an hour cost a VM no more processor time
%% and no more context switches, in ten seconds, than the same VM without.
waiting_costs_nothing(_Config) ->
    %% What else the machine does may disturb one of the two.
    ?assert(lists:any(fun(_) -> costs_nothing() end, lists:seq(1, 3))).

costs_nothing() ->
    {IdleTime, IdleSwitches} = cost(nothing),
    {Time, Switches} = cost(loops),
    ct:pal("ten seconds: ~b ms, ~b switches idle; ~b ms, ~b switches with eight loops that wait", [
        IdleTime, IdleSwitches, Time, Switches
    ]),
    %% A loop that woke up once a second would bring 80 switches and more, eight of them that did 640.
    Time =< IdleTime + 30 andalso Switches =< IdleSwitches + 40.

%% Processor time in milliseconds and context switches of a fresh VM in ten seconds. Seen from here: a VM that looked at
%% itself would see itself look.
cost(What) ->
    Test = filename:dirname(code:which(?MODULE)),
    Port = test_support:erl_open(
        io_lib:format(
            "ok = application:load(erlang_python),"
            "ok = application:set_env(erlang_python, event_loop_pool_size, 8),"
            "{ok, _} = application:ensure_all_started(erlang_python),"
            "{ok, 4.0} = py_event_loop:run(math, sqrt, [16.0]),"
            "{ok, 4.0} = py:call(math, sqrt, [16.0]),"
            "~p:wait(~p),"
            "io:format(\"ready~~n\"), receive stop -> ok end.",
            [?MODULE, What]
        ),
        #{args => ["-pa", Test]}
    ),
    _ = test_support:erl_await(Port, <<"ready">>),
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    timer:sleep(3000),
    {Time, Switches} = {processor_time(Pid), switches(Pid)},
    timer:sleep(10000),
    Cost = {processor_time(Pid) - Time, switches(Pid) - Switches},
    _ = os:cmd("kill -KILL " ++ integer_to_list(Pid)),
    {Status, _} = test_support:erl_exit(Port, 10000),
    ?assertEqual(128 + 9, Status),
    Cost.

wait(nothing) ->
    ok;
wait(loops) ->
    ok = define(),
    [
        begin
            Connected = make_ref(),
            ok = py_nif:event_loop_create_task(Loop, Connected, 0, '__main__', worker_connect, [100], #{}, 0),
            {ok, 100} = py_event_loop:await(Connected, 60000),
            ok = py_nif:event_loop_create_task(Loop, make_ref(), 0, '__main__', worker_sleep, [3600], #{}, 0)
        end
     || Loop <- py_event_loop_pool:loops()
    ],
    eventually(fun() ->
        #{loops := Loops} = py_event_loop_pool:get_stats(),
        [parked] =:= lists:usort([State || #{state := State} <- Loops]) andalso
            [201] =:= lists:usort([Descriptors || #{descriptors := Descriptors} <- Loops])
    end).

processor_time(Pid) ->
    {ok, Stat} = file:read_file(io_lib:format("/proc/~b/stat", [Pid])),
    [_, Rest] = binary:split(Stat, <<") ">>),
    Fields = binary:split(Rest, <<" ">>, [global]),
    %% utime and stime in hundredths of a second, fields 14 and 15 of the whole line.
    10 * lists:sum([binary_to_integer(lists:nth(N, Fields)) || N <- [12, 13]]).

%% Of all threads, when they began to wait; others are those of a busy machine.
switches(Pid) ->
    lists:sum([
        binary_to_integer(Count)
     || Path <- filelib:wildcard(lists:flatten(io_lib:format("/proc/~b/task/*/status", [Pid]))),
        {ok, Status} <- [file:read_file(Path)],
        {match, [Count]} <- [
            re:run(Status, "^voluntary_ctxt_switches:\\s+([0-9]+)", [multiline, {capture, all_but_first, binary}])
        ]
    ]).

%%% Helpers

%% Whether the loop, which may just be replaced, does what it shall.
sleeps() ->
    case py_event_loop:run('__main__', worker_sleep, [0.1]) of
        {ok, Slept} -> Slept < 0.5;
        {error, closed} -> false
    end.

workers() ->
    [Pid || {_, Pid, _, _} <- supervisor:which_children(py_event_worker_sup), is_pid(Pid)].

%% The worker of the loop, which parks for it.
worker() ->
    {ok, 4.0} = py_event_loop:run(math, sqrt, [16.0]),
    %% Looked at once: the one that is seen may have been killed and be gone the next time.
    eventually(fun() -> length(put_workers()) =:= 1 end),
    [Worker] = get(workers),
    Worker.

put_workers() ->
    put(workers, workers()),
    get(workers).

state() ->
    {ok, #{state := State}} = py_event_loop:info(),
    State.

%% A worker that the supervisor starts again when its loop is closed meanwhile.
worker_of_a_closed_loop_leaves_no_child(_Config) ->
    {ok, Loop} = py_nif:event_loop_new(),
    ok = py_nif:event_loop_destroy(Loop),
    eventually(fun() -> py_event_worker:start_link(<<"late">>, Loop) =:= ignore end),
    Before = length(supervisor:which_children(py_event_worker_sup)),
    [py_event_worker_sup:start_worker(Loop) || _ <- lists:seq(1, 10)],
    eventually(fun() -> length(supervisor:which_children(py_event_worker_sup)) =< Before end).
