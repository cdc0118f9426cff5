%% The low-level calls of py_nif when something is wrong, and the lifetimes of what they return.
-module(py_low_level_fault_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

-import(test_support, [eventually/1, mailbox/0]).
-import(low_level_support, [
    new_loop/0, ready_pipe/0, close/1,
    pending/1, descriptors/1, open_descriptors/0, count_descriptors/0, poller/2, polled/1
]).

all() ->
    [
        wrong_arguments,
        closed_descriptor,
        descriptor_of_a_regular_file,
        destroyed_loop,
        reference_of_another_loop,
        reference_used_twice,
        test_descriptors_only,
        closed_and_used_again,
        garbage_reference_unregisters,
        forgotten_loop_ends,
        destroyed_in_any_order,
        dead_process_is_no_worker,
        stale_registration,
        nobody_reads_and_nothing_spins,
        descriptors_are_returned
    ].

suite() -> [{timetrap, {minutes, 3}}].

init_per_suite(Config) ->
    ok = test_support:start(),
    Config.

end_per_suite(_Config) ->
    ok = test_support:stop().

%%% Errors

wrong_arguments(_Config) ->
    Loop = new_loop(),
    {ok, {ReadFd, WriteFd}} = py_nif:create_test_pipe(),
    Wrong = [make_ref(), self(), -1, 1.5, foo, <<"x">>, "x", [], {}, #{}, fun() -> ok end, 1 bsl 80],
    Calls = [
        fun(X) -> py_nif:event_loop_destroy(X) end,
        fun(X) -> py_nif:event_loop_wakeup(X) end,
        fun(X) -> py_nif:event_loop_set_worker(X, self()) end,
        fun(X) -> py_nif:event_loop_set_router(X, self()) end,
        fun(X) -> py_nif:add_reader(X, ReadFd, 1) end,
        fun(X) -> py_nif:add_reader(Loop, ReadFd, X) end,
        fun(X) -> py_nif:add_writer(X, WriteFd, 1) end,
        fun(X) -> py_nif:add_writer(Loop, WriteFd, X) end,
        fun(X) -> py_nif:add_writer(Loop, X, 1) end,
        fun(X) -> py_nif:remove_reader(Loop, X) end,
        fun(X) -> py_nif:remove_writer(Loop, X) end,
        fun(X) -> py_nif:call_later(X, 1, 1) end,
        fun(X) -> py_nif:call_later(Loop, X, 1) end,
        fun(X) -> py_nif:call_later(Loop, 1, X) end,
        fun(X) -> py_nif:cancel_timer(Loop, X) end,
        fun(X) -> py_nif:dispatch_timer(Loop, X) end,
        fun(X) -> py_nif:poll_events(X, 0) end,
        fun(X) -> py_nif:poll_events(X, 10) end,
        fun(X) -> py_nif:poll_events(Loop, X) end,
        fun(X) -> py_nif:get_pending(X) end,
        fun(X) -> py_nif:process_ready_tasks(X) end,
        fun(X) -> py_nif:create_test_udp_socket(X) end,
        fun(X) -> py_nif:create_test_tcp_listener(X) end,
        fun(X) -> py_nif:connect_test_tcp(X) end,
        fun(X) -> py_nif:sendto_test_udp(WriteFd, <<"x">>, X, 1) end,
        fun(X) -> py_nif:sendto_test_udp(WriteFd, <<"x">>, <<"127.0.0.1">>, X) end,
        fun(X) -> py_nif:recvfrom_test_udp(WriteFd, X) end,
        fun(X) -> py_nif:read_test_fd(ReadFd, X) end,
        fun(X) -> py_nif:set_udp_broadcast(WriteFd, X) end
    ],
    [?assertError(badarg, Call(X)) || Call <- Calls, X <- Wrong],
    ?assertError(badarg, py_nif:event_loop_set_worker(Loop, foo)),
    ?assertError(badarg, py_nif:sendto_test_udp(WriteFd, foo, <<"127.0.0.1">>, 1)),
    ?assertError(badarg, py_nif:sendto_test_udp(WriteFd, <<"x">>, <<"::1">>, 1)),
    ?assertEqual({error, enotsock}, py_nif:sendto_test_udp(WriteFd, <<"x">>, <<"127.0.0.1">>, 1)),
    ?assertEqual([], py_nif:get_pending(Loop)),
    close([ReadFd, WriteFd]),
    ok = py_nif:event_loop_destroy(Loop).

closed_descriptor(_Config) ->
    Loop = new_loop(),
    {ok, {ReadFd, WriteFd}} = ready_pipe(),
    {ok, FdRef} = py_nif:add_reader(Loop, ReadFd, 1),
    close([ReadFd, WriteFd]),
    %% No other test uses a number as high.
    ?assertEqual({error, ebadf}, py_nif:add_reader(Loop, 1000000, 1)),
    ?assertEqual({error, ebadf}, py_nif:add_writer(Loop, 1 bsl 40, 1)),
    ?assertEqual([], py_nif:get_pending(Loop)),
    ok = py_nif:remove_reader(Loop, FdRef),
    ok = py_nif:event_loop_destroy(Loop).

descriptor_of_a_regular_file(Config) ->
    Loop = new_loop(),
    Name = filename:join(proplists:get_value(priv_dir, Config), "regular"),
    {ok, File} = file:open(Name, [raw, write]),
    [Fd] = [
        list_to_integer(Number)
     || Number <- open_descriptors(),
        file:read_link("/proc/self/fd/" ++ Number) =:= {ok, Name}
    ],
    ?assertEqual({error, eperm}, py_nif:add_reader(Loop, Fd, 1)),
    ?assertEqual({error, eperm}, py_nif:add_writer(Loop, Fd, 1)),
    ok = file:write(File, <<"still open">>),
    ok = file:close(File),
    ok = py_nif:event_loop_destroy(Loop).

destroyed_loop(_Config) ->
    Loop = new_loop(),
    {ok, {ReadFd, WriteFd}} = py_nif:create_test_pipe(),
    {ok, FdRef} = py_nif:add_reader(Loop, ReadFd, 1),
    {ok, Writer} = py_nif:add_writer(Loop, WriteFd, 1),
    {ok, TimerRef} = py_nif:call_later(Loop, 1, 1),
    ok = py_nif:event_loop_destroy(Loop),
    ok = py_nif:event_loop_destroy(Loop),
    Calls = [
        fun() -> py_nif:add_reader(Loop, ReadFd, 1) end,
        fun() -> py_nif:add_writer(Loop, WriteFd, 1) end,
        fun() -> py_nif:remove_reader(Loop, FdRef) end,
        fun() -> py_nif:remove_writer(Loop, Writer) end,
        fun() -> py_nif:call_later(Loop, 1, 1) end,
        fun() -> py_nif:cancel_timer(Loop, TimerRef) end,
        fun() -> py_nif:dispatch_timer(Loop, TimerRef) end,
        fun() -> py_nif:dispatch_timer(Loop, 1) end,
        fun() -> py_nif:poll_events(Loop, 0) end,
        fun() -> py_nif:poll_events(Loop, 10) end,
        fun() -> py_nif:poll_events(Loop, infinity) end,
        fun() -> py_nif:get_pending(Loop) end,
        fun() -> py_nif:event_loop_wakeup(Loop) end,
        fun() -> py_nif:event_loop_set_worker(Loop, self()) end,
        fun() -> py_nif:event_loop_set_router(Loop, self()) end
    ],
    [?assertEqual({error, ebadf}, Call()) || Call <- Calls],
    ?assertEqual({error, closed}, py_event_loop:info(Loop)),
    close([ReadFd, WriteFd]).

reference_of_another_loop(_Config) ->
    [One, Other] = [new_loop(), new_loop()],
    {ok, {ReadFd, WriteFd}} = ready_pipe(),
    {ok, FdRef} = py_nif:add_reader(One, ReadFd, 1),
    {ok, TimerRef} = py_nif:call_later(One, 3600000, 2),
    %% The same descriptor may be registered with both.
    {ok, OtherRef} = py_nif:add_reader(Other, ReadFd, 3),
    ?assertEqual({error, einval}, py_nif:remove_reader(Other, FdRef)),
    ?assertEqual({error, einval}, py_nif:cancel_timer(Other, TimerRef)),
    ?assertEqual({error, einval}, py_nif:dispatch_timer(Other, TimerRef)),
    ?assertEqual([{1, read}], py_nif:get_pending(One)),
    ?assertEqual([{3, read}], py_nif:get_pending(Other)),
    ok = py_nif:remove_reader(One, FdRef),
    ok = py_nif:remove_reader(Other, OtherRef),
    close([ReadFd, WriteFd]),
    [ok = py_nif:event_loop_destroy(Loop) || Loop <- [One, Other]].

reference_used_twice(_Config) ->
    Loop = new_loop(),
    {ok, {ReadFd, WriteFd}} = ready_pipe(),
    {ok, FdRef} = py_nif:add_reader(Loop, ReadFd, 1),
    ok = py_nif:remove_reader(Loop, FdRef),
    {ok, Later} = py_nif:add_reader(Loop, ReadFd, 2),
    ?assertEqual({error, enoent}, py_nif:remove_reader(Loop, FdRef)),
    ?assertEqual([{2, read}], py_nif:get_pending(Loop)),
    ok = py_nif:remove_reader(Loop, Later),
    close([ReadFd, WriteFd]),
    ok = py_nif:event_loop_destroy(Loop).

test_descriptors_only(_Config) ->
    %% Numbers that mean something to the VM.
    [
        begin
            ?assertEqual({error, ebadf}, py_nif:close_test_fd(Fd)),
            ?assertEqual({error, ebadf}, py_nif:write_test_fd(Fd, <<"x">>)),
            ?assertEqual({error, ebadf}, py_nif:read_test_fd(Fd, 1)),
            ?assertEqual({error, ebadf}, py_nif:recvfrom_test_udp(Fd, 1)),
            ?assertEqual({error, ebadf}, py_nif:sendto_test_udp(Fd, <<>>, <<"127.0.0.1">>, 1)),
            ?assertEqual({error, ebadf}, py_nif:set_udp_broadcast(Fd, true)),
            ?assertEqual({error, ebadf}, py_nif:accept_test_tcp(Fd))
        end
     || Fd <- [-1, 0, 1, 2, 3, 4, 5, 1 bsl 60]
    ],
    {ok, {ReadFd, WriteFd}} = py_nif:create_test_pipe(),
    close([ReadFd, WriteFd]),
    ?assertEqual({error, ebadf}, py_nif:close_test_fd(ReadFd)).

%%% Lifetimes

%% The number of a descriptor that was closed without being removed is given to another one.
closed_and_used_again(_Config) ->
    %% What the cases before have let go of must not give up a lower number meanwhile.
    eventually(fun() ->
        Open = open_descriptors(),
        timer:sleep(200),
        open_descriptors() =:= Open
    end),
    Loop = new_loop(),
    {ok, {ReadFd, WriteFd}} = ready_pipe(),
    {ok, Stale} = py_nif:add_reader(Loop, ReadFd, 1),
    close([ReadFd, WriteFd]),
    {ok, {NewRead, NewWrite}} = ready_pipe(),
    ?assertEqual({ReadFd, WriteFd}, {NewRead, NewWrite}),
    ?assertEqual([], py_nif:get_pending(Loop)),
    {ok, Fresh} = py_nif:add_reader(Loop, NewRead, 2),
    ?assertEqual([{2, read}], py_nif:get_pending(Loop)),
    ?assertEqual({error, enoent}, py_nif:remove_reader(Loop, Stale)),
    ?assertEqual([{2, read}], py_nif:get_pending(Loop)),
    ok = py_nif:remove_reader(Loop, Fresh),
    close([NewRead, NewWrite]),
    ok = py_nif:event_loop_destroy(Loop).

garbage_reference_unregisters(_Config) ->
    Loop = new_loop(),
    {ok, {ReadFd, WriteFd}} = ready_pipe(),
    test_support:in_process(fun() ->
        {ok, FdRef} = py_nif:add_reader(Loop, ReadFd, 1),
        ?assertEqual([{1, read}], py_nif:get_pending(Loop)),
        ?assert(is_reference(FdRef)),
        ok
    end),
    eventually(fun() -> descriptors(Loop) =:= 0 end),
    ?assertEqual([], py_nif:get_pending(Loop)),
    close([ReadFd, WriteFd]),
    ok = py_nif:event_loop_destroy(Loop).

forgotten_loop_ends(_Config) ->
    {ok, {ReadFd, WriteFd}} = ready_pipe(),
    Before = count_descriptors(),
    test_support:in_process(fun() ->
        Loops = [new_loop() || _ <- lists:seq(1, 50)],
        Refs = [py_nif:add_reader(Loop, ReadFd, 1) || Loop <- Loops],
        _ = [py_nif:call_later(Loop, 3600000, 2) || Loop <- Loops],
        Workers = [py_event_worker:start_link(<<"worker">>, Loop) || Loop <- lists:sublist(Loops, 10)],
        [{ok, _} = Ref || Ref <- Refs],
        [
            begin
                unlink(Worker),
                test_support:kill(Worker)
            end
         || {ok, Worker} <- Workers
        ],
        ?assert(count_descriptors() > Before),
        %% Used down to here.
        ?assertEqual(100, length(Loops) + length(Refs))
    end),
    eventually(fun() -> count_descriptors() =< Before end),
    close([ReadFd, WriteFd]).

destroyed_in_any_order(_Config) ->
    Before = count_descriptors(),
    Steps = [destroy, kill_worker, kill_creator, kill_poller, close, collect],
    [destroy_in(Order) || {N, Order} <- lists:enumerate(permutations(Steps)), N rem 4 =:= 0],
    eventually(fun() -> count_descriptors() =< Before end),
    ?assertEqual([], mailbox()).

destroy_in(Order) ->
    Me = self(),
    {Creator, Monitor} = spawn_monitor(fun() ->
        Loop = new_loop(),
        {ok, {ReadFd, WriteFd}} = ready_pipe(),
        {ok, Worker} = py_event_worker:start(<<"worker">>, Loop),
        {ok, Reader} = py_nif:add_reader(Loop, ReadFd, 1),
        {ok, Timer} = py_nif:call_later(Loop, 3600000, 2),
        Me ! {created, {Loop, [ReadFd, WriteFd], Worker}},
        receive stop -> {Reader, Timer} end
    end),
    {Loop, Fds, Worker} = receive {created, Created} -> Created end,
    [{1, read}] = py_nif:get_pending(Loop),
    Poller = spawn(fun() -> py_nif:poll_events(Loop, infinity) end),
    [step(Step, Loop, Fds, Worker, Creator, Poller) || Step <- Order],
    receive {'DOWN', Monitor, process, Creator, _} -> ok end,
    eventually(fun() -> not (is_process_alive(Worker) orelse is_process_alive(Poller)) end).

step(destroy, Loop, _, _, _, _) -> ok = py_nif:event_loop_destroy(Loop);
step(kill_worker, _, _, Worker, _, _) -> exit(Worker, kill);
step(kill_creator, _, _, _, Creator, _) -> exit(Creator, kill);
step(kill_poller, _, _, _, _, Poller) -> exit(Poller, kill);
step(close, _, Fds, _, _, _) -> close(Fds);
step(collect, Loop, _, _, _, _) -> _ = py_nif:get_pending(Loop).

permutations([]) -> [[]];
permutations(List) -> [[H | T] || H <- List, T <- permutations(List -- [H])].

%% A descriptor that can be read and that nobody reads costs nothing, with a worker and with a poller that has gone.
nobody_reads_and_nothing_spins(_Config) ->
    Loop = new_loop(),
    {ok, Worker} = py_event_worker:start_link(<<"worker">>, Loop),
    {ok, {ReadFd, WriteFd}} = ready_pipe(),
    {ok, FdRef} = py_nif:add_reader(Loop, ReadFd, 1),
    {ok, Writer} = py_nif:add_writer(Loop, WriteFd, 2),
    eventually(fun() -> pending(Loop) =:= 2 end),
    ?assertEqual(2, py_nif:poll_events(Loop, 1000)),
    {reductions, Before} = process_info(Worker, reductions),
    _ = erlang:statistics(runtime),
    timer:sleep(1000),
    {_, Runtime} = erlang:statistics(runtime),
    {reductions, After} = process_info(Worker, reductions),
    ?assert(After - Before < 200),
    %% Milliseconds of processor time of the whole VM in a second.
    ?assert(Runtime < 300),
    %% Taken once it comes back once.
    ?assertEqual([{1, read}, {2, write}], lists:sort(py_nif:get_pending(Loop))),
    timer:sleep(200),
    {reductions, Later} = process_info(Worker, reductions),
    ?assert(Later - After < 500),
    ok = py_nif:remove_reader(Loop, FdRef),
    ok = py_nif:remove_writer(Loop, Writer),
    close([ReadFd, WriteFd]),
    ok = py_nif:event_loop_destroy(Loop).

%% event_loop_set_worker/2 with a dead process changes nothing: the death of the worker that there is is noticed.
dead_process_is_no_worker(_Config) ->
    Loop = new_loop(),
    {ok, {ReadFd, WriteFd}} = py_nif:create_test_pipe(),
    {ok, Worker} = py_event_worker:start(<<"worker">>, Loop),
    {ok, FdRef} = py_nif:add_reader(Loop, ReadFd, 1),
    Dead = spawn(fun() -> ok end),
    ok = test_support:kill(Dead),
    ?assertEqual({error, esrch}, py_nif:event_loop_set_worker(Loop, Dead)),
    Poller = poller(Loop, infinity),
    ok = test_support:kill(Worker),
    {ok, 1} = py_nif:write_test_fd(WriteFd, <<"x">>),
    ?assertEqual(1, polled(Poller)),
    ok = py_nif:remove_reader(Loop, FdRef),
    close([ReadFd, WriteFd]),
    ok = py_nif:event_loop_destroy(Loop).

%% A reader is removed after its descriptor was closed, while a duplicate keeps the pipe open: the system goes on reporting
%% it. Whoever finds that out has the poll set replaced, and the worker told of the new one.
stale_registration(_Config) ->
    Loop = new_loop(),
    ok = py_nif:event_loop_set_worker(Loop, self()),
    {ok, {ReadFd, WriteFd}} = py_nif:create_test_pipe(),
    {ok, {OtherFd, OtherWriteFd}} = py_nif:create_test_pipe(),
    {ok, Stale} = py_nif:add_reader(Loop, ReadFd, 1),
    {ok, Duplicate} = py:call(os, dup, [ReadFd]),
    {ok, FdRef} = py_nif:add_reader(Loop, OtherFd, 2),
    close([ReadFd]),
    ok = py_nif:remove_reader(Loop, Stale),
    {ok, 1} = py_nif:write_test_fd(WriteFd, <<"x">>),
    %% Not handled, as by a worker that is slow.
    receive {select, Loop, descriptors, ready_input} -> ok end,
    ?assertEqual(0, py_nif:poll_events(Loop, 0)),
    {ok, 1} = py_nif:write_test_fd(OtherWriteFd, <<"x">>),
    receive {select, Loop, descriptors, ready_input} -> ok after 10000 -> error(not_told) end,
    ?assertEqual([{2, read}], py_nif:get_pending(Loop)),
    {ok, none} = py:call(os, close, [Duplicate]),
    ok = py_nif:remove_reader(Loop, FdRef),
    close([WriteFd, OtherFd, OtherWriteFd]),
    ok = py_nif:event_loop_destroy(Loop),
    receive loop_closed -> ok end.

descriptors_are_returned(_Config) ->
    Cycle = fun() ->
        Loop = new_loop(),
        {ok, {ReadFd, WriteFd}} = ready_pipe(),
        {ok, _} = py_event_worker:start_link(<<"worker">>, Loop),
        {ok, FdRef} = py_nif:add_reader(Loop, ReadFd, 1),
        1 = py_nif:poll_events(Loop, 1000),
        ok = py_nif:remove_reader(Loop, FdRef),
        close([ReadFd, WriteFd]),
        ok = py_nif:event_loop_destroy(Loop)
    end,
    [Cycle() || _ <- lists:seq(1, 10)],
    timer:sleep(200),
    Before = count_descriptors(),
    [Cycle() || _ <- lists:seq(1, 500)],
    eventually(fun() -> count_descriptors() =< Before end).
