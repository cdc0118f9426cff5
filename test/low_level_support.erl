%% @doc What the suites of the low-level calls share.
-module(low_level_support).

-include_lib("stdlib/include/assert.hrl").

-export([
    new_loop/0, ready_pipe/0, close/1, collect/2, pending/1, descriptors/1,
    poller/2, polled/1, workers_of/1,
    microseconds/0, open_descriptors/0, count_descriptors/0, flush/0, resident_megabytes/0
]).

-import(test_support, [eventually/1]).

-spec new_loop() -> py_nif:event_loop().
new_loop() ->
    {ok, Loop} = py_nif:event_loop_new(),
    Loop.

%% A pipe that can be read from.
-spec ready_pipe() -> {ok, {py_nif:fd(), py_nif:fd()}}.
ready_pipe() ->
    {ok, {_, WriteFd}} = Pipe = py_nif:create_test_pipe(),
    {ok, 1} = py_nif:write_test_fd(WriteFd, <<"x">>),
    Pipe.

-spec close([py_nif:fd()]) -> ok.
close(Fds) ->
    [ok = py_nif:close_test_fd(Fd) || Fd <- Fds],
    ok.

%% At least Count different events, sorted.
-spec collect(py_nif:event_loop(), pos_integer()) -> [py_nif:pending()].
collect(Loop, Count) ->
    collect(Loop, Count, []).

collect(_Loop, Count, Events) when length(Events) >= Count ->
    Events;
collect(Loop, Count, Events) ->
    ?assert(py_nif:poll_events(Loop, 5000) > 0),
    collect(Loop, Count, lists:usort(Events ++ py_nif:get_pending(Loop))).

%% How many events wait, without looking for more.
-spec pending(py_nif:event_loop()) -> non_neg_integer().
pending(Loop) ->
    {ok, #{pending := Pending}} = py_event_loop:info(Loop),
    Pending.

-spec descriptors(py_nif:event_loop()) -> non_neg_integer().
descriptors(Loop) ->
    {ok, #{descriptors := Descriptors}} = py_event_loop:info(Loop),
    Descriptors.

%% A process that polls, once it does.
-spec poller(py_nif:event_loop(), timeout()) -> {pid(), timeout()}.
poller(Loop, Timeout) ->
    Me = self(),
    Pid = spawn(fun() -> Me ! {polled, self(), py_nif:poll_events(Loop, Timeout)} end),
    eventually(fun() ->
        process_info(Pid, current_function) =:= {current_function, {py_nif, await_poll, 2}}
    end),
    {Pid, Timeout}.

-spec polled({pid(), timeout()}) -> term().
polled({Pid, _}) ->
    receive
        {polled, Pid, Result} -> Result
    after 20000 -> error(still_polling)
    end.

%% Those under the application's supervisor.
-spec workers_of(py_nif:event_loop()) -> [pid()].
workers_of(Loop) ->
    [
        Pid
     || {_, Pid, _, _} <- supervisor:which_children(py_event_worker_sup),
        is_pid(Pid),
        loop_of(Pid) =:= Loop
    ].

loop_of(Worker) ->
    try
        element(3, sys:get_state(Worker))
    catch
        exit:_ -> ended
    end.

-spec microseconds() -> integer().
microseconds() ->
    erlang:monotonic_time(microsecond).

-spec open_descriptors() -> [string()].
open_descriptors() ->
    {ok, Numbers} = file:list_dir("/proc/self/fd"),
    Numbers.

-spec count_descriptors() -> non_neg_integer().
count_descriptors() ->
    length(open_descriptors()).

-spec resident_megabytes() -> non_neg_integer().
resident_megabytes() ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [Kilobytes]} = re:run(Status, "VmRSS:\\s+([0-9]+)", [{capture, all_but_first, list}]),
    list_to_integer(Kilobytes) div 1024.

%% Takes all messages.
-spec flush() -> ok.
flush() ->
    receive
        _ -> flush()
    after 0 -> ok
    end.
