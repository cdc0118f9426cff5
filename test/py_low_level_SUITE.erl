%% The low-level calls of py_nif: what the documents show, descriptors, tasks, and commands in random order.
-module(py_low_level_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

-import(test_support, [eventually/1]).
-import(low_level_support, [new_loop/0, ready_pipe/0, close/1, collect/2, pending/1, resident_megabytes/0]).

all() ->
    [
        documented_event_loop,
        documented_udp,
        documented_worker,
        documented_router,
        works_without_the_application,
        reader_and_writer_of_one_descriptor,
        a_later_reader_replaces_the_earlier_one,
        the_reference_removes_and_not_the_number,
        peer_closes,
        tcp,
        pending_events_are_merged,
        pending_again_while_it_can_be_read,
        pending_without_anybody_who_polls,
        many_descriptors,
        tasks_with_a_worker,
        tasks_without_a_worker,
        tasks_for_another_process,
        tasks_of_a_destroyed_loop,
        task_queue_limit,
        random_commands
    ].

suite() -> [{timetrap, {minutes, 3}}].

init_per_suite(Config) ->
    ok = test_support:start(),
    Config.

end_per_suite(_Config) ->
    ok = test_support:stop().

%%% What the documents show

documented_event_loop(_Config) ->
    {ok, {Fd, WriteFd}} = py_nif:create_test_pipe(),
    CallbackId = 17,
    TimeoutMs = 5000,
    %% Create a new event loop instance
    {ok, LoopRef} = py_nif:event_loop_new(),
    %% Add a reader callback for a file descriptor
    {ok, FdRef} = py_nif:add_reader(LoopRef, Fd, CallbackId),
    {ok, 1} = py_nif:write_test_fd(WriteFd, <<"x">>),
    %% Poll for events (returns number of events ready)
    NumEvents = py_nif:poll_events(LoopRef, TimeoutMs),
    ?assertEqual(1, NumEvents),
    %% Get pending callback events
    Pending = py_nif:get_pending(LoopRef),
    ?assertEqual([{CallbackId, read}], Pending),
    %% Remove a reader
    ok = py_nif:remove_reader(LoopRef, FdRef),
    ?assertEqual([], py_nif:get_pending(LoopRef)),
    %% Destroy the event loop
    py_nif:event_loop_destroy(LoopRef),
    close([Fd, WriteFd]).

documented_udp(_Config) ->
    MaxBytes = 1500,
    %% Create a UDP socket bound to a port
    % 0 = ephemeral port
    {ok, {Fd, Port}} = py_nif:create_test_udp_socket(0),
    {ok, {Other, OtherPort}} = py_nif:create_test_udp_socket(0),
    ?assertEqual({error, eagain}, py_nif:recvfrom_test_udp(Fd, MaxBytes)),
    %% Send data via UDP
    ok = py_nif:sendto_test_udp(Other, <<"hello">>, <<"127.0.0.1">>, Port),
    %% Receive data
    {ok, {Data, {Host, SenderPort}}} = received(Fd, MaxBytes),
    ?assertEqual({<<"hello">>, <<"127.0.0.1">>, OtherPort}, {Data, Host, SenderPort}),
    %% An empty datagram is one.
    ok = py_nif:sendto_test_udp(Other, <<>>, <<"127.0.0.1">>, Port),
    ?assertMatch({ok, {<<>>, _}}, received(Fd, MaxBytes)),
    ok = py_nif:sendto_test_udp(Other, <<"longer">>, <<"127.0.0.1">>, Port),
    ?assertMatch({ok, {<<"lon">>, _}}, received(Fd, 3)),
    ?assertEqual({error, eagain}, py_nif:recvfrom_test_udp(Fd, MaxBytes)),
    %% Set broadcast option
    ok = py_nif:set_udp_broadcast(Fd, true),
    ok = py_nif:set_udp_broadcast(Fd, false),
    ?assertEqual({error, eacces}, py_nif:sendto_test_udp(Fd, <<"x">>, <<"255.255.255.255">>, Port)),
    ?assertEqual({error, eaddrinuse}, py_nif:create_test_udp_socket(Port)),
    %% Close the socket
    py_nif:close_test_fd(Fd),
    close([Other]).

%% A busy machine delivers a datagram a moment after it was sent.
received(Fd, MaxBytes) ->
    case py_nif:recvfrom_test_udp(Fd, MaxBytes) of
        {error, eagain} -> timer:sleep(1), received(Fd, MaxBytes);
        Received -> Received
    end.

documented_worker(_Config) ->
    %% Start the event worker
    {ok, LoopRef} = py_nif:event_loop_new(),
    {ok, WorkerPid} = py_event_worker:start_link(<<"worker">>, LoopRef),
    ok = py_nif:event_loop_set_worker(LoopRef, WorkerPid),
    delivers(LoopRef),
    ok = py_nif:event_loop_destroy(LoopRef),
    eventually(fun() -> not is_process_alive(WorkerPid) end).

documented_router(_Config) ->
    %% Start the event router
    {ok, LoopRef} = py_nif:event_loop_new(),
    {ok, RouterPid} = py_event_router:start_link(LoopRef),
    ok = py_nif:event_loop_set_router(LoopRef, RouterPid),
    delivers(LoopRef),
    ok = py_nif:event_loop_destroy(LoopRef),
    eventually(fun() -> not is_process_alive(RouterPid) end).

delivers(Loop) ->
    {ok, {ReadFd, WriteFd}} = py_nif:create_test_pipe(),
    {ok, FdRef} = py_nif:add_reader(Loop, ReadFd, 1),
    {ok, _} = py_nif:call_later(Loop, 5, 2),
    {ok, 1} = py_nif:write_test_fd(WriteFd, <<"x">>),
    ?assertEqual([{1, read}, {2, timer}], collect(Loop, 2)),
    {ok, <<"x">>} = py_nif:read_test_fd(ReadFd, 10),
    ?assertEqual(0, py_nif:poll_events(Loop, 0)),
    ok = py_nif:remove_reader(Loop, FdRef),
    close([ReadFd, WriteFd]).

works_without_the_application(_Config) ->
    {0, Output} = test_support:erl(
        "{ok, Loop} = py_nif:event_loop_new(),"
        "{ok, {R, W}} = py_nif:create_test_pipe(),"
        "{ok, Ref} = py_nif:add_reader(Loop, R, 1),"
        "spawn(fun() -> timer:sleep(50), py_nif:write_test_fd(W, <<1>>) end),"
        "1 = py_nif:poll_events(Loop, infinity),"
        "[{1, read}] = py_nif:get_pending(Loop),"
        "{error, not_started} = py_nif:process_ready_tasks(Loop),"
        "ok = py_nif:remove_reader(Loop, Ref),"
        "ok = py_nif:event_loop_destroy(Loop),"
        "io:format(\"done~n\"), init:stop()."
    ),
    ?assertEqual(<<"done\n">>, Output).

%%% Descriptors

reader_and_writer_of_one_descriptor(_Config) ->
    Loop = new_loop(),
    {ok, {Fd, Port}} = py_nif:create_test_udp_socket(0),
    {ok, Writer} = py_nif:add_writer(Loop, Fd, 2),
    ?assertEqual([{2, write}], collect(Loop, 1)),
    {ok, Reader} = py_nif:add_reader(Loop, Fd, 1),
    ?assertEqual([{2, write}], collect(Loop, 1)),
    ok = py_nif:sendto_test_udp(Fd, <<"x">>, <<"127.0.0.1">>, Port),
    ?assertEqual([{1, read}, {2, write}], collect(Loop, 2)),
    ok = py_nif:remove_writer(Loop, Writer),
    ?assertEqual([{1, read}], py_nif:get_pending(Loop)),
    {ok, _} = py_nif:recvfrom_test_udp(Fd, 10),
    ?assertEqual([], py_nif:get_pending(Loop)),
    {ok, Again} = py_nif:add_writer(Loop, Fd, 3),
    ok = py_nif:remove_reader(Loop, Reader),
    ?assertEqual([{3, write}], py_nif:get_pending(Loop)),
    ok = py_nif:remove_writer(Loop, Again),
    ?assertEqual([], py_nif:get_pending(Loop)),
    close([Fd]),
    ok = py_nif:event_loop_destroy(Loop).

a_later_reader_replaces_the_earlier_one(_Config) ->
    Loop = new_loop(),
    {ok, {ReadFd, WriteFd}} = ready_pipe(),
    {ok, First} = py_nif:add_reader(Loop, ReadFd, 1),
    1 = py_nif:poll_events(Loop, 0),
    {ok, Second} = py_nif:add_reader(Loop, ReadFd, 2),
    ?assertEqual([{2, read}], py_nif:get_pending(Loop)),
    ?assertEqual({error, enoent}, py_nif:remove_reader(Loop, First)),
    ?assertEqual([{2, read}], py_nif:get_pending(Loop)),
    ok = py_nif:remove_reader(Loop, Second),
    close([ReadFd, WriteFd]),
    ok = py_nif:event_loop_destroy(Loop).

the_reference_removes_and_not_the_number(_Config) ->
    Loop = new_loop(),
    {ok, {ReadFd, WriteFd}} = ready_pipe(),
    {ok, FdRef} = py_nif:add_reader(Loop, ReadFd, 1),
    ?assertError(badarg, py_nif:remove_reader(Loop, ReadFd)),
    ?assertError(badarg, py_nif:remove_reader(Loop, make_ref())),
    ?assertError(badarg, py_nif:remove_reader(Loop, Loop)),
    ?assertEqual({error, einval}, py_nif:remove_writer(Loop, FdRef)),
    ?assertEqual([{1, read}], py_nif:get_pending(Loop)),
    ok = py_nif:remove_reader(Loop, FdRef),
    close([ReadFd, WriteFd]),
    ok = py_nif:event_loop_destroy(Loop).

peer_closes(_Config) ->
    Loop = new_loop(),
    {ok, {ReadFd, WriteFd}} = py_nif:create_test_pipe(),
    {ok, Reader} = py_nif:add_reader(Loop, ReadFd, 1),
    ?assertEqual([], py_nif:get_pending(Loop)),
    close([WriteFd]),
    ?assertEqual([{1, read}], collect(Loop, 1)),
    ?assertEqual({ok, <<>>}, py_nif:read_test_fd(ReadFd, 10)),
    ok = py_nif:remove_reader(Loop, Reader),
    close([ReadFd]),
    {ok, {OtherRead, OtherWrite}} = py_nif:create_test_pipe(),
    close([OtherRead]),
    {ok, Writer} = py_nif:add_writer(Loop, OtherWrite, 2),
    ?assertEqual([{2, write}], collect(Loop, 1)),
    ?assertEqual({error, epipe}, py_nif:write_test_fd(OtherWrite, <<"x">>)),
    ok = py_nif:remove_writer(Loop, Writer),
    close([OtherWrite]),
    ok = py_nif:event_loop_destroy(Loop).

tcp(_Config) ->
    Loop = new_loop(),
    {ok, {Listener, Port}} = py_nif:create_test_tcp_listener(0),
    ?assertEqual({error, eagain}, py_nif:accept_test_tcp(Listener)),
    {ok, Accepting} = py_nif:add_reader(Loop, Listener, 1),
    {ok, Client} = py_nif:connect_test_tcp(Port),
    {ok, Connecting} = py_nif:add_writer(Loop, Client, 2),
    ?assertEqual([{1, read}, {2, write}], collect(Loop, 2)),
    {ok, Server} = py_nif:accept_test_tcp(Listener),
    ok = py_nif:remove_writer(Loop, Connecting),
    {ok, Receiving} = py_nif:add_reader(Loop, Server, 3),
    {ok, 5} = py_nif:write_test_fd(Client, <<"hello">>),
    ?assertEqual([{3, read}], collect(Loop, 1)),
    ?assertEqual({ok, <<"hello">>}, py_nif:read_test_fd(Server, 100)),
    [ok = py_nif:remove_reader(Loop, FdRef) || FdRef <- [Accepting, Receiving]],
    close([Listener, Client, Server]),
    ok = py_nif:event_loop_destroy(Loop).

pending_events_are_merged(_Config) ->
    Loop = new_loop(),
    {ok, {ReadFd, WriteFd}} = ready_pipe(),
    {ok, FdRef} = py_nif:add_reader(Loop, ReadFd, 1),
    ?assertEqual([1 || _ <- lists:seq(1, 10)], [py_nif:poll_events(Loop, 10) || _ <- lists:seq(1, 10)]),
    [ok = py_nif:dispatch_timer(Loop, Id) || _ <- lists:seq(1, 100), Id <- [1, 2]],
    ?assertEqual(3, py_nif:poll_events(Loop, 0)),
    ?assertEqual([{1, read}, {1, timer}, {2, timer}], py_nif:get_pending(Loop)),
    ok = py_nif:remove_reader(Loop, FdRef),
    close([ReadFd, WriteFd]),
    ok = py_nif:event_loop_destroy(Loop).

pending_again_while_it_can_be_read(_Config) ->
    Loop = new_loop(),
    {ok, {ReadFd, WriteFd}} = ready_pipe(),
    {ok, FdRef} = py_nif:add_reader(Loop, ReadFd, 1),
    ?assertEqual([[{1, read}] || _ <- lists:seq(1, 100)], [py_nif:get_pending(Loop) || _ <- lists:seq(1, 100)]),
    {ok, _} = py_nif:read_test_fd(ReadFd, 10),
    ?assertEqual(0, py_nif:poll_events(Loop, 20)),
    ok = py_nif:remove_reader(Loop, FdRef),
    close([ReadFd, WriteFd]),
    ok = py_nif:event_loop_destroy(Loop).

%% The worker brings readiness and timers into the pending set: info/1 looks at nothing.
pending_without_anybody_who_polls(_Config) ->
    Loop = new_loop(),
    {ok, _} = py_event_worker:start_link(<<"worker">>, Loop),
    {ok, {ReadFd, WriteFd}} = py_nif:create_test_pipe(),
    {ok, FdRef} = py_nif:add_reader(Loop, ReadFd, 1),
    {ok, _} = py_nif:call_later(Loop, 10, 2),
    eventually(fun() -> pending(Loop) =:= 1 end),
    {ok, 1} = py_nif:write_test_fd(WriteFd, <<"x">>),
    %% Armed again, and so seen without a call, only after what there was has been taken.
    ?assertEqual([{1, read}, {2, timer}], lists:sort(py_nif:get_pending(Loop))),
    eventually(fun() -> pending(Loop) =:= 1 end),
    {ok, <<"x">>} = py_nif:read_test_fd(ReadFd, 10),
    ?assertEqual([{1, read}], py_nif:get_pending(Loop)),
    ?assertEqual([], py_nif:get_pending(Loop)),
    {ok, 1} = py_nif:write_test_fd(WriteFd, <<"y">>),
    eventually(fun() -> pending(Loop) =:= 1 end),
    ok = py_nif:remove_reader(Loop, FdRef),
    ?assertEqual(0, pending(Loop)),
    close([ReadFd, WriteFd]),
    ok = py_nif:event_loop_destroy(Loop).

%% More than one system call brings.
many_descriptors(_Config) ->
    Loop = new_loop(),
    Pipes = [{Id, ready_pipe()} || Id <- lists:seq(1, 400)],
    Refs = [
        begin
            {ok, FdRef} = py_nif:add_reader(Loop, ReadFd, Id),
            FdRef
        end
     || {Id, {ok, {ReadFd, _}}} <- Pipes
    ],
    ?assertEqual(400, py_nif:poll_events(Loop, 0)),
    ?assertEqual([{Id, read} || {Id, _} <- Pipes], lists:sort(py_nif:get_pending(Loop))),
    [ok = py_nif:remove_reader(Loop, FdRef) || FdRef <- Refs],
    ?assertEqual([], py_nif:get_pending(Loop)),
    [close([ReadFd, WriteFd]) || {_, {ok, {ReadFd, WriteFd}}} <- Pipes],
    ok = py_nif:event_loop_destroy(Loop).

%%% Tasks

tasks_with_a_worker(_Config) ->
    Loop = new_loop(),
    {ok, _} = py_event_worker:start_link(<<"worker">>, Loop),
    Refs = [make_ref() || _ <- lists:seq(1, 100)],
    [ok = py_nif:submit_task(Loop, self(), Ref, math, sqrt, [16.0], #{}) || Ref <- Refs],
    ?assertEqual([{ok, 4.0} || _ <- Refs], py_event_loop:await_all(Refs, 20000)),
    Ref = make_ref(),
    ok = py_nif:submit_task(Loop, self(), Ref, asyncio, sleep, [0.01], #{<<"result">> => slept}),
    ?assertEqual({ok, <<"slept">>}, py_event_loop:await(Ref)),
    ok = py_nif:event_loop_destroy(Loop).

tasks_without_a_worker(_Config) ->
    Loop = new_loop(),
    First = make_ref(),
    ok = py_nif:submit_task(Loop, self(), First, math, sqrt, [16.0], #{}),
    ?assertEqual({error, timeout}, py_event_loop:await(First, 100)),
    ?assertMatch({ok, #{state := not_started, queued := 1}}, py_event_loop:info(Loop)),
    ok = py_nif:process_ready_tasks(Loop),
    ?assertEqual({ok, 4.0}, py_event_loop:await(First)),
    %% The thread takes what comes later by itself.
    Second = make_ref(),
    ok = py_nif:submit_task(Loop, self(), Second, builtins, no_such_function, [], #{}),
    ?assertMatch({error, {'AttributeError', _}}, py_event_loop:await(Second)),
    %% Descriptors and timers of the same loop go on.
    {ok, _} = py_nif:call_later(Loop, 10, 1),
    ?assertEqual([{1, timer}], collect(Loop, 1)),
    ok = py_nif:event_loop_destroy(Loop).

tasks_for_another_process(_Config) ->
    Loop = new_loop(),
    Me = self(),
    Ref = make_ref(),
    Other = spawn_link(fun() -> Me ! {got, py_event_loop:await(Ref)} end),
    ok = py_nif:submit_task(Loop, Other, Ref, math, sqrt, [4.0], #{}),
    ok = py_nif:process_ready_tasks(Loop),
    receive {got, Result} -> ?assertEqual({ok, 2.0}, Result) end,
    ?assertError(badarg, py_nif:submit_task(Loop, not_a_pid, Ref, math, sqrt, [4.0], #{})),
    ?assertError(badarg, py_nif:submit_task(Loop, self(), Ref, "math", sqrt, [4.0], #{})),
    ?assertError(badarg, py_nif:submit_task(Loop, self(), Ref, math, sqrt, [4.0 | 1], #{})),
    ok = py_nif:event_loop_destroy(Loop).

tasks_of_a_destroyed_loop(_Config) ->
    Loop = new_loop(),
    Ref = make_ref(),
    ok = py_nif:submit_task(Loop, self(), Ref, math, sqrt, [16.0], #{}),
    ok = py_nif:event_loop_destroy(Loop),
    ?assertEqual({error, closed}, py_event_loop:await(Ref)),
    ?assertEqual({error, ebadf}, py_nif:submit_task(Loop, self(), make_ref(), math, sqrt, [16.0], #{})),
    ?assertEqual({error, ebadf}, py_nif:process_ready_tasks(Loop)).

task_queue_limit(_Config) ->
    ok = test_support:start([{task_queue_limit, 10}]),
    Loop = new_loop(),
    Submit = fun() -> py_nif:submit_task(Loop, self(), make_ref(), math, sqrt, [16.0], #{}) end,
    ?assertEqual([ok || _ <- lists:seq(1, 10)], [Submit() || _ <- lists:seq(1, 10)]),
    ?assertEqual({error, busy}, Submit()),
    ok = py_nif:process_ready_tasks(Loop),
    [receive {async_result, _, {ok, 4.0}} -> ok after 5000 -> error(lost) end || _ <- lists:seq(1, 10)],
    ok = py_nif:event_loop_destroy(Loop),
    ok = test_support:start().

%%% Commands in random order

%% LOW_LEVEL_COMMANDS=100000 runs as many.
random_commands(_Config) ->
    Commands = list_to_integer(os:getenv("LOW_LEVEL_COMMANDS", "3000")),
    ct:timetrap({minutes, 2 + Commands div 1000}),
    ?assert(prop_low_level:run(500)),
    Before = resident_megabytes(),
    ?assert(prop_low_level:run(Commands)),
    After = resident_megabytes(),
    ct:pal("~b commands, ~b MB before, ~b MB after", [Commands, Before, After]),
    %% A leak of a kilobyte by each of them would be found.
    ?assert(After - Before < 30 + Commands div 2000).
