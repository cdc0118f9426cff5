%% Waiting with the low-level calls of py_nif: timers, polls, and the workers that wake them.
-module(py_low_level_wait_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

-import(test_support, [eventually/1, milliseconds/1, mailbox/0]).
-import(low_level_support, [
    new_loop/0, close/1, collect/2, pending/1,
    poller/2, polled/1, workers_of/1, microseconds/0, flush/0
]).

all() ->
    [
        timers_are_in_time_and_in_order,
        timers_without_a_worker,
        cancelled_timers,
        timer_without_its_reference,
        timers_far_away,
        many_cancelled_timers,
        dispatch_timer,
        earlier_timer_shortens_a_poll,
        poll_waits,
        poll_of_many_processes,
        poll_holds_no_scheduler,
        killed_pollers_leave_nothing,
        poll_in_the_worker_itself,
        wakeup_ends_a_poll,
        wakeup_before_a_poll,
        destruction_ends_a_poll,
        killed_worker_loses_nothing,
        a_second_worker_takes_over
    ].

suite() -> [{timetrap, {minutes, 3}}].

init_per_suite(Config) ->
    ok = test_support:start(),
    Config.

end_per_suite(_Config) ->
    ok = test_support:stop().

%%% Timers

timers_are_in_time_and_in_order(_Config) ->
    Loop = new_loop(),
    {ok, _} = py_event_worker:start_link(<<"worker">>, Loop),
    Begin = microseconds(),
    %% So far apart that they stay in order however slowly they are started.
    Delays = [1200, 300, 900, 0, 300, 600],
    [{ok, _} = py_nif:call_later(Loop, Delay, Id) || {Id, Delay} <- lists:zip(lists:seq(1, 6), Delays)],
    Fired = timed(Loop, 6, []),
    ?assertEqual([4, 2, 5, 6, 3, 1], [Id || {Id, _} <- Fired]),
    [
        begin
            Delay = lists:nth(Id, Delays),
            %% Never early; late as the machine is busy.
            ?assert(At - Begin >= Delay * 1000),
            ?assert(At - Begin < Delay * 1000 + 10000000)
        end
     || {Id, At} <- Fired
    ],
    ok = py_nif:event_loop_destroy(Loop).

timed(_Loop, 0, Fired) ->
    lists:append(lists:reverse(Fired));
timed(Loop, Left, Fired) ->
    ?assert(py_nif:poll_events(Loop, 5000) > 0),
    Now = microseconds(),
    Ids = [Id || {Id, timer} <- py_nif:get_pending(Loop)],
    timed(Loop, Left - length(Ids), [[{Id, Now} || Id <- Ids] | Fired]).

timers_without_a_worker(_Config) ->
    Loop = new_loop(),
    {ok, _} = py_nif:call_later(Loop, 1000, 1),
    ?assertEqual([], py_nif:get_pending(Loop)),
    timer:sleep(1010),
    ?assertEqual([{1, timer}], py_nif:get_pending(Loop)),
    {ok, _} = py_nif:call_later(Loop, 30, 2),
    {Time, 1} = milliseconds(fun() -> py_nif:poll_events(Loop, infinity) end),
    ?assert(Time >= 29),
    ?assertEqual([{2, timer}], py_nif:get_pending(Loop)),
    ok = py_nif:event_loop_destroy(Loop).

cancelled_timers(_Config) ->
    Loop = new_loop(),
    {ok, _} = py_event_worker:start_link(<<"worker">>, Loop),
    {ok, Cancelled} = py_nif:call_later(Loop, 20, 1),
    ok = py_nif:cancel_timer(Loop, Cancelled),
    ok = py_nif:cancel_timer(Loop, Cancelled),
    ?assertEqual(0, py_nif:poll_events(Loop, 60)),
    %% After it fired, before anybody took the event.
    {ok, Fired} = py_nif:call_later(Loop, 1, 2),
    ?assertEqual(1, py_nif:poll_events(Loop, 5000)),
    ok = py_nif:cancel_timer(Loop, Fired),
    ?assertEqual([], py_nif:get_pending(Loop)),
    %% Another timer of the same callback stays.
    {ok, One} = py_nif:call_later(Loop, 0, 3),
    {ok, _} = py_nif:call_later(Loop, 0, 3),
    ?assertEqual(1, py_nif:poll_events(Loop, 5000)),
    ok = py_nif:cancel_timer(Loop, One),
    ?assertEqual([{3, timer}], py_nif:get_pending(Loop)),
    %% So does an event of that callback that needed no timer.
    {ok, Two} = py_nif:call_later(Loop, 0, 5),
    ?assertEqual(1, py_nif:poll_events(Loop, 5000)),
    ok = py_nif:dispatch_timer(Loop, 5),
    ok = py_nif:cancel_timer(Loop, Two),
    ?assertEqual([{5, timer}], py_nif:get_pending(Loop)),
    %% After somebody took it: a later one of the same callback is nothing to it.
    {ok, Taken} = py_nif:call_later(Loop, 0, 4),
    ?assertEqual([{4, timer}], collect(Loop, 1)),
    {ok, _} = py_nif:call_later(Loop, 0, 4),
    ?assertEqual(1, py_nif:poll_events(Loop, 5000)),
    ok = py_nif:cancel_timer(Loop, Taken),
    ?assertEqual([{4, timer}], py_nif:get_pending(Loop)),
    ok = py_nif:event_loop_destroy(Loop).

timer_without_its_reference(_Config) ->
    Loop = new_loop(),
    test_support:in_process(fun() -> {ok, _} = py_nif:call_later(Loop, 30, 1) end),
    erlang:garbage_collect(),
    ?assertEqual([{1, timer}], collect(Loop, 1)),
    ok = py_nif:event_loop_destroy(Loop).

timers_far_away(_Config) ->
    Loop = new_loop(),
    {ok, Worker} = py_event_worker:start_link(<<"worker">>, Loop),
    Refs = [
        begin
            {ok, TimerRef} = py_nif:call_later(Loop, Delay, 1),
            TimerRef
        end
     || Delay <- [1 bsl 62, 1 bsl 40, 1 bsl 32, 1 bsl 31]
    ],
    ?assertEqual(0, py_nif:poll_events(Loop, 50)),
    {ok, _} = py_nif:call_later(Loop, 10, 2),
    ?assertEqual([{2, timer}], collect(Loop, 1)),
    [ok = py_nif:cancel_timer(Loop, TimerRef) || TimerRef <- Refs],
    ?assert(is_process_alive(Worker)),
    ?assertError(badarg, py_nif:call_later(Loop, 1 bsl 64, 1)),
    ok = py_nif:event_loop_destroy(Loop).

many_cancelled_timers(_Config) ->
    Loop = new_loop(),
    {ok, Worker} = py_event_worker:start_link(<<"worker">>, Loop),
    Cycle = fun(Delay) ->
        {ok, TimerRef} = py_nif:call_later(Loop, Delay, 1),
        ok = py_nif:cancel_timer(Loop, TimerRef)
    end,
    [Cycle(3600000 - N) || N <- lists:seq(1, 20000)],
    {ok, #{timers := 0}} = py_event_loop:info(Loop),
    %% The worker has one timer, whatever was cancelled.
    eventually(fun() -> process_info(Worker, message_queue_len) =:= {message_queue_len, 0} end),
    {ok, _} = py_nif:call_later(Loop, 10, 2),
    ?assertEqual([{2, timer}], collect(Loop, 1)),
    ok = py_nif:event_loop_destroy(Loop).

dispatch_timer(_Config) ->
    Loop = new_loop(),
    {ok, TimerRef} = py_nif:call_later(Loop, 3600000, 1),
    ok = py_nif:dispatch_timer(Loop, TimerRef),
    ok = py_nif:dispatch_timer(Loop, TimerRef),
    ?assertEqual([{1, timer}], py_nif:get_pending(Loop)),
    ok = py_nif:dispatch_timer(Loop, TimerRef),
    ?assertEqual([], py_nif:get_pending(Loop)),
    {ok, Cancelled} = py_nif:call_later(Loop, 3600000, 2),
    ok = py_nif:cancel_timer(Loop, Cancelled),
    ok = py_nif:dispatch_timer(Loop, Cancelled),
    ok = py_nif:dispatch_timer(Loop, 16#ffffffffffffffff),
    ?assertEqual([{16#ffffffffffffffff, timer}], py_nif:get_pending(Loop)),
    ok = py_nif:event_loop_destroy(Loop).

earlier_timer_shortens_a_poll(_Config) ->
    Loop = new_loop(),
    {ok, _} = py_nif:call_later(Loop, 3600000, 1),
    Poll = poller(Loop, infinity),
    {ok, _} = py_nif:call_later(Loop, 20, 2),
    ?assertEqual(1, polled(Poll)),
    ?assertEqual([{2, timer}], py_nif:get_pending(Loop)),
    ok = py_nif:event_loop_destroy(Loop).

%%% Polling

poll_waits(_Config) ->
    Loop = new_loop(),
    ?assertMatch({Time, 0} when Time < 10000, milliseconds(fun() -> py_nif:poll_events(Loop, 0) end)),
    {Time, 0} = milliseconds(fun() -> py_nif:poll_events(Loop, 60) end),
    ?assert(Time >= 59),
    ?assert(Time < 10000),
    {ok, {ReadFd, WriteFd}} = py_nif:create_test_pipe(),
    {ok, FdRef} = py_nif:add_reader(Loop, ReadFd, 1),
    Poll = poller(Loop, 20000),
    {ok, 1} = py_nif:write_test_fd(WriteFd, <<"x">>),
    ?assertEqual(1, polled(Poll)),
    ok = py_nif:remove_reader(Loop, FdRef),
    ?assertEqual([], mailbox()),
    close([ReadFd, WriteFd]),
    ok = py_nif:event_loop_destroy(Loop).

poll_of_many_processes(_Config) ->
    Loop = new_loop(),
    Polls = [poller(Loop, infinity) || _ <- lists:seq(1, 200)],
    {ok, _} = py_nif:call_later(Loop, 10, 1),
    ?assertEqual([1 || _ <- Polls], [polled(Poll) || Poll <- Polls]),
    ok = py_nif:event_loop_destroy(Loop).

%% More pollers than the VM has dirty schedulers, and files are read all the same.
poll_holds_no_scheduler(_Config) ->
    Loop = new_loop(),
    Polls = [poller(Loop, infinity) || _ <- lists:seq(1, 4 * erlang:system_info(dirty_io_schedulers))],
    ?assertMatch({ok, _}, file:read_file("/proc/self/stat")),
    ?assertEqual({ok, 2.0}, py_event_loop:run(math, sqrt, [4.0])),
    ok = py_nif:event_loop_wakeup(Loop),
    ?assertEqual([0 || _ <- Polls], [polled(Poll) || Poll <- Polls]),
    ok = py_nif:event_loop_destroy(Loop).

killed_pollers_leave_nothing(_Config) ->
    Loop = new_loop(),
    [
        begin
            {Pid, _} = poller(Loop, infinity),
            test_support:kill(Pid)
        end
     || _ <- lists:seq(1, 1000)
    ],
    {ok, _} = py_nif:call_later(Loop, 0, 1),
    ?assertEqual(1, py_nif:poll_events(Loop, 5000)),
    ok = py_nif:event_loop_destroy(Loop).

poll_in_the_worker_itself(_Config) ->
    Loop = new_loop(),
    ok = py_nif:event_loop_set_worker(Loop, self()),
    {ok, {ReadFd, WriteFd}} = py_nif:create_test_pipe(),
    {ok, FdRef} = py_nif:add_reader(Loop, ReadFd, 1),
    spawn(fun() ->
        timer:sleep(30),
        {ok, 1} = py_nif:write_test_fd(WriteFd, <<"x">>)
    end),
    ?assertEqual(1, py_nif:poll_events(Loop, 20000)),
    ?assertEqual([{1, read}], py_nif:get_pending(Loop)),
    {ok, <<"x">>} = py_nif:read_test_fd(ReadFd, 10),
    {ok, _} = py_nif:call_later(Loop, 20, 2),
    ?assert(py_nif:poll_events(Loop, 20000) > 0),
    ?assert(lists:member({2, timer}, py_nif:get_pending(Loop))),
    ok = py_nif:remove_reader(Loop, FdRef),
    close([ReadFd, WriteFd]),
    ok = py_nif:event_loop_destroy(Loop),
    receive loop_closed -> ok after 5000 -> error(not_told) end,
    flush().

wakeup_ends_a_poll(_Config) ->
    Loop = new_loop(),
    Poll = poller(Loop, infinity),
    ok = py_nif:event_loop_wakeup(Loop),
    ?assertEqual(0, polled(Poll)),
    ok = py_nif:event_loop_destroy(Loop).

wakeup_before_a_poll(_Config) ->
    Loop = new_loop(),
    ok = py_nif:event_loop_wakeup(Loop),
    ?assertEqual(0, py_nif:poll_events(Loop, infinity)),
    {Time, 0} = milliseconds(fun() -> py_nif:poll_events(Loop, 50) end),
    ?assert(Time >= 49),
    ok = py_nif:event_loop_destroy(Loop).

destruction_ends_a_poll(_Config) ->
    Loop = new_loop(),
    Polls = [poller(Loop, Timeout) || Timeout <- [infinity, 60000]],
    ok = py_nif:event_loop_destroy(Loop),
    ?assertEqual([{error, ebadf}, {error, ebadf}], [polled(Poll) || Poll <- Polls]).

%%% Workers

killed_worker_loses_nothing(_Config) ->
    process_flag(trap_exit, true),
    Loop = new_loop(),
    {ok, {ReadFd, WriteFd}} = py_nif:create_test_pipe(),
    {ok, FdRef} = py_nif:add_reader(Loop, ReadFd, 1),
    {ok, Linked} = py_event_worker:start_link(<<"worker">>, Loop),
    Poll = poller(Loop, infinity),
    %% Not supervised: the poller asks for another one.
    test_support:kill(Linked),
    {ok, 1} = py_nif:write_test_fd(WriteFd, <<"x">>),
    ?assertEqual(1, polled(Poll)),
    {ok, <<"x">>} = py_nif:read_test_fd(ReadFd, 10),
    _ = py_nif:get_pending(Loop),
    %% That one is supervised.
    [
        begin
            Next = poller(Loop, infinity),
            test_support:kill(supervised_worker(Loop)),
            {ok, 1} = py_nif:write_test_fd(WriteFd, <<"y">>),
            ?assertEqual(1, polled(Next)),
            {ok, <<"y">>} = py_nif:read_test_fd(ReadFd, 10),
            _ = py_nif:get_pending(Loop)
        end
     || _ <- lists:seq(1, 20)
    ],
    %% Timers, too.
    {ok, _} = py_nif:call_later(Loop, 50, 2),
    test_support:kill(supervised_worker(Loop)),
    eventually(fun() -> pending(Loop) =:= 1 end),
    ?assertEqual([{2, timer}], py_nif:get_pending(Loop)),
    ok = py_nif:remove_reader(Loop, FdRef),
    close([ReadFd, WriteFd]),
    ok = py_nif:event_loop_destroy(Loop),
    eventually(fun() -> workers_of(Loop) =:= [] end),
    process_flag(trap_exit, false),
    flush().

%% Once the one that was killed before has its successor.
supervised_worker(Loop) ->
    eventually(fun() -> put(workers, workers_of(Loop)), length(get(workers)) =:= 1 end),
    [Worker] = get(workers),
    Worker.

a_second_worker_takes_over(_Config) ->
    Loop = new_loop(),
    {ok, First} = py_event_worker:start_link(<<"first">>, Loop),
    {ok, {ReadFd, WriteFd}} = py_nif:create_test_pipe(),
    {ok, FdRef} = py_nif:add_reader(Loop, ReadFd, 1),
    {ok, Second} = py_event_worker:start_link(<<"second">>, Loop),
    eventually(fun() -> not is_process_alive(First) end),
    {ok, 1} = py_nif:write_test_fd(WriteFd, <<"x">>),
    eventually(fun() -> pending(Loop) =:= 1 end),
    Dead = spawn(fun() -> ok end),
    eventually(fun() -> not is_process_alive(Dead) end),
    ?assertEqual({error, esrch}, py_nif:event_loop_set_worker(Loop, Dead)),
    ok = py_nif:remove_reader(Loop, FdRef),
    ok = py_nif:event_loop_destroy(Loop),
    eventually(fun() -> not is_process_alive(Second) end),
    ?assertEqual(ignore, py_event_worker:start_link(<<"late">>, Loop)),
    close([ReadFd, WriteFd]).
