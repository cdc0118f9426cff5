%% @doc The native functions: the Go core behind the other modules, and the low-level event loop calls.
%%
%% No function here holds a scheduler, normal or dirty, while Python runs: they queue work for Python's own threads and
%% return. A wrong argument raises `badarg'.
-module(py_nif).

-on_load(load/0).

-export([priv_dir/0]).
-export([runtime_start/1, runtime_stop/0, runtime_info/0, log_receiver/1]).
-export([context_lookup/0, context_acquire/1, context_call/8, context_cast/8, context_info/1, context_of_call/1]).
-export([dup_fd/1, close_fd/1]).
-export([process_watch/2, process_signal/2, process_release/1]).
-export([memory_info/0]).
-export([task_interrupt/1, context_interrupt/1, context_replace/1]).
-export([task_cancel/1]).
-export([event_loop_new/0, event_loop_destroy/1, event_loop_start/1]).
-export([event_loop_run/8, event_loop_create_task/8, event_loop_spawn_task/8]).
-export([event_loop_cancel/2, event_loop_info/1]).
-export([worker_starter/1, event_loop_set_worker/2, event_loop_arm/1, event_loop_ready/1]).
-export([event_loop_timeout/2, event_loop_wakeup/1]).
-export([event_loop_abandon/1, event_loops_abandoned/0]).
-export([event_loop_set_router/2, event_loop_dispatch/1, event_loop_poll/3, event_loop_poll_end/2]).
-export([add_reader/3, remove_reader/2, add_writer/3, remove_writer/2]).
-export([call_later/3, cancel_timer/2, dispatch_timer/2]).
-export([poll_events/2, get_pending/1]).
-export([submit_task/7, process_ready_tasks/1]).
-export([create_test_udp_socket/1, sendto_test_udp/4, recvfrom_test_udp/2, set_udp_broadcast/2]).
-export([create_test_pipe/0, create_test_tcp_listener/1, connect_test_tcp/1, accept_test_tcp/1]).
-export([read_test_fd/2, write_test_fd/2, close_test_fd/1]).

-export([channel_new/2, channel_send/3, channel_expect_room/3, channel_forget_room/2]).
-export([channel_close/1, channel_info/1]).
-export([event_loop_default/1, callback_server/1, callback_reply/3, callback_names/2]).

-export_type([call/0, channel/0, os_process/0, context/0, event_loop/0, task_id/0, kind/0, flags/0, name/0, result/0]).
-export_type([fd/0, fd_ref/0, timer_ref/0, callback_id/0, pending/0]).

-type context() :: reference().
%% A Python context: one thread of its own.
-type event_loop() :: reference().
%% An event loop.
-type channel() :: reference().
-type os_process() :: reference().
%% A channel from Erlang to Python.
-type call() :: pos_integer().
%% A call of Python to Erlang: as a context, the thread that waits for its answer; with a context, that context's thread,
%% which may be waiting for it.
-type task_id() :: non_neg_integer().
%% A task whose result is to come.
-type kind() :: 0..2.
%% 0 call, 1 eval, 2 exec.
-type flags() :: non_neg_integer().
%% 1 traceback, 2 arrays as binaries, 4 outlives its caller.
-type fd() :: non_neg_integer().
%% A file descriptor of the VM's process.
-type fd_ref() :: reference().
%% A registration of a descriptor with a loop. When the last reference to it is garbage the registration ends.
-type timer_ref() :: reference().
%% A timer of a loop.
-type callback_id() :: 0..16#ffffffffffffffff.
%% Chosen by the caller; comes back in {@link get_pending/1}.
-type pending() :: {callback_id(), read | write | timer}.
-type name() :: atom() | binary().
-type result() :: ok | {ok, term()} | {error, term()}.

-define(NOT_LOADED, erlang:nif_error(not_loaded)).

-spec load() -> ok | {error, term()}.
load() ->
    erlang:load_nif(filename:join(priv_dir(), "py_nif"), #{threads => thread_bound()}).

%% Threads that may be in Go at once: those of the VM, and Python's as far as they are not in Python for long.
thread_bound() ->
    erlang:system_info(schedulers) + erlang:system_info(dirty_cpu_schedulers) +
        erlang:system_info(dirty_io_schedulers) + 32.

%% @doc The folder with the libraries and the Python package; found also before the application is loaded.
-spec priv_dir() -> file:filename().
priv_dir() ->
    case code:priv_dir(erlang_python) of
        {error, bad_name} ->
            filename:join(filename:dirname(filename:dirname(code:which(?MODULE))), "priv");
        Dir ->
            Dir
    end.

%% @private Begins a run of the application; `{python_started, ok | {error, Reason}}' follows.
-spec runtime_start(py_config:config()) -> ok | {error, binary()}.
runtime_start(_Config) -> ?NOT_LOADED.

%% @private Ends the run: what waits is answered `{error, closed}'.
-spec runtime_stop() -> ok.
runtime_stop() -> ?NOT_LOADED.

%% @private Threads and contexts.
-spec runtime_info() -> {ok, map()} | {error, not_started}.
runtime_info() -> ?NOT_LOADED.

%% @private Names the process that gets `{python_log, Event}'.
-spec log_receiver(pid()) -> ok.
log_receiver(_Pid) -> ?NOT_LOADED.

%% @private The context that the caller is bound to.
-spec context_lookup() -> {ok, context()} | none.
context_lookup() -> ?NOT_LOADED.

%% @private The caller's own context, or the one of a number.
-spec context_acquire(own | pos_integer()) -> {ok, context()} | {error, term()}.
context_acquire(_Choice) -> ?NOT_LOADED.

%% @private Runs a call, an expression or statements on a context.
-spec context_call(
    context() | {context(), call()} | call() | own | any, reference(), kind(), name(), name(), list(), map(), flags()
) -> task_id() | result().
context_call(_Context, _Reference, _Kind, _Module, _Function, _Arguments, _Keywords, _Flags) -> ?NOT_LOADED.

%% @private The same without an answer.
-spec context_cast(
    context() | {context(), call()} | call() | own | any, reference(), kind(), name(), name(), list(), map(), flags()
) -> ok | {error, term()}.
context_cast(_Context, _Reference, _Kind, _Module, _Function, _Arguments, _Keywords, _Flags) -> ?NOT_LOADED.

%% @private What a context does.
-spec context_info(context()) -> {ok, map()} | {error, closed}.
context_info(_Context) -> ?NOT_LOADED.

%% @private The context whose thread waits in a call of Python.
-spec context_of_call(call()) -> {ok, context()} | none.
context_of_call(_Call) -> ?NOT_LOADED.

%% @private Another descriptor of the same open file.
-spec dup_fd(fd()) -> {ok, fd()} | {error, inet:posix()}.
dup_fd(_Fd) -> ?NOT_LOADED.

%% @private Closes a descriptor that is the caller's own.
-spec close_fd(fd()) -> ok | {error, inet:posix()}.
close_fd(_Fd) -> ?NOT_LOADED.

%% @private A process of the operating system, by its number, that is killed when Owner dies. It must be known to be there
%% until this returns.
-spec process_watch(pos_integer(), pid()) -> {ok, os_process()} | {error, inet:posix()}.
process_watch(_Number, _Owner) -> ?NOT_LOADED.

%% @private Sends it a signal, by the signal's number; 0 only asks whether it is there.
-spec process_signal(os_process(), non_neg_integer()) -> ok | {error, inet:posix()}.
process_signal(_Process, _Signal) -> ?NOT_LOADED.

%% @private It has ended: its number may be another one's by now.
-spec process_release(os_process()) -> ok.
process_release(_Process) -> ?NOT_LOADED.

%% @private Memory of Python and of the core.
-spec memory_info() -> map().
memory_info() -> ?NOT_LOADED.

%% @private Raises KeyboardInterrupt in a task, if it runs.
-spec task_interrupt(task_id()) -> ok.
task_interrupt(_Id) -> ?NOT_LOADED.

%% @private Raises KeyboardInterrupt in what the context runs.
-spec context_interrupt(context()) -> ok | {error, idle | closed}.
context_interrupt(_Context) -> ?NOT_LOADED.

%% @private Gives the context a new thread.
-spec context_replace(context()) -> ok | {error, closed | binary()}.
context_replace(_Context) -> ?NOT_LOADED.

%% @private A channel for so many bytes (0: any number) that is closed with its owner.
-spec channel_new(non_neg_integer(), pid() | none) -> {ok, channel()} | {error, closed | enomem}.
channel_new(_MaxSize, _Owner) -> ?NOT_LOADED.

%% @private Queues a message of that many bytes.
-spec channel_send(channel(), term(), non_neg_integer()) -> ok | busy | {error, closed | enomem}.
channel_send(_Channel, _Message, _Size) -> ?NOT_LOADED.

%% @private True when `{channel_room, Reference}' comes once there is room for a message or the channel is closed.
-spec channel_expect_room(channel(), reference(), non_neg_integer()) -> boolean() | {error, enomem}.
channel_expect_room(_Channel, _Reference, _Size) -> ?NOT_LOADED.

%% @private Takes that back; `{channel_room, Reference}' may have been sent.
-spec channel_forget_room(channel(), reference()) -> ok.
channel_forget_room(_Channel, _Reference) -> ?NOT_LOADED.

%% @private Refuses messages from now on.
-spec channel_close(channel()) -> ok.
channel_close(_Channel) -> ?NOT_LOADED.

%% @private What a channel holds.
-spec channel_info(channel()) -> map().
channel_info(_Channel) -> ?NOT_LOADED.

%% @private True when the task's answer will not come any more, false when it came or is on its way.
-spec task_cancel(task_id()) -> boolean().
task_cancel(_Id) -> ?NOT_LOADED.

%% @doc A new event loop, for the functions below that take one. It ends with {@link event_loop_destroy/1}, or when
%% nothing refers to it any more. `{error, emfile}' without descriptors.
-spec event_loop_new() -> {ok, event_loop()} | {error, inet:posix()}.
event_loop_new() -> ?NOT_LOADED.

%% @doc Ends a loop; no error if it is ended. Whoever waits for it in {@link poll_events/2} returns at once, its worker
%% ends, tasks are answered `{error, closed}', and every other call with it gives `{error, ebadf}'. Registered
%% descriptors stay open.
-spec event_loop_destroy(event_loop()) -> ok.
event_loop_destroy(_Loop) -> ?NOT_LOADED.

%% @private Lets the loop have a thread that drives it, from its first task on. When that ends unasked, because Python
%% code took the loop apart, the caller gets {event_loop_ended, Loop}.
-spec event_loop_start(event_loop()) -> ok | {error, term()}.
event_loop_start(_Loop) -> ?NOT_LOADED.

%% @private Runs a task and answers its result if it comes at once.
-spec event_loop_run(event_loop(), reference(), kind(), name(), name(), list(), map(), flags()) ->
    task_id() | result().
event_loop_run(_Loop, _Reference, _Kind, _Module, _Function, _Arguments, _Keywords, _Flags) -> ?NOT_LOADED.

%% @private Queues a task whose result comes as a message.
-spec event_loop_create_task(event_loop(), reference(), kind(), name(), name(), list(), map(), flags()) ->
    ok | {error, term()}.
event_loop_create_task(_Loop, _Reference, _Kind, _Module, _Function, _Arguments, _Keywords, _Flags) -> ?NOT_LOADED.

%% @private Queues a task whose result nobody wants.
-spec event_loop_spawn_task(event_loop(), reference(), kind(), name(), name(), list(), map(), flags()) ->
    ok | {error, term()}.
event_loop_spawn_task(_Loop, _Reference, _Kind, _Module, _Function, _Arguments, _Keywords, _Flags) -> ?NOT_LOADED.

%% @doc Cancels a task of that loop: one that is queued does not start, a coroutine gets `asyncio.CancelledError'. No
%% error when there is none.
-spec event_loop_cancel(event_loop(), reference()) -> ok.
event_loop_cancel(_Loop, _Reference) -> ?NOT_LOADED.

%% @private What a loop does: {@link py_event_loop:info/1}.
-spec event_loop_info(event_loop()) -> {ok, py_event_loop:loop_info()} | {error, closed}.
event_loop_info(_Loop) -> ?NOT_LOADED.

%% @private Names the process that gets `{start_worker, Loop}' when a loop needs a worker.
-spec worker_starter(pid()) -> ok.
worker_starter(_Pid) -> ?NOT_LOADED.

%% @doc Makes a {@link py_event_worker} the process that waits for a loop's I/O and timers. An earlier one ends.
%% `{error, esrch}' when the process is dead.
-spec event_loop_set_worker(event_loop(), pid()) -> ok | {error, ebadf | esrch | ebusy}.
event_loop_set_worker(_Loop, _Pid) -> ?NOT_LOADED.

%% @private `{select, Loop, undefined, ready_input}' will come to the worker when something is ready.
-spec event_loop_arm(event_loop()) -> ok | {error, closed}.
event_loop_arm(_Loop) -> ?NOT_LOADED.

%% @private That message has come.
-spec event_loop_ready(event_loop()) -> ok | {error, closed}.
event_loop_ready(_Loop) -> ?NOT_LOADED.

%% @private The timer of a park has come.
-spec event_loop_timeout(event_loop(), non_neg_integer()) -> ok | {error, closed}.
event_loop_timeout(_Loop, _ParkId) -> ?NOT_LOADED.

%% @doc Ends the waits on the loop, from any process: that of its thread and those in {@link poll_events/2}. When nobody
%% waits the next {@link poll_events/2} does not.
-spec event_loop_wakeup(event_loop()) -> ok | {error, ebadf}.
event_loop_wakeup(_Loop) -> ?NOT_LOADED.

%% @private Makes a loop the one for coroutines of code that has no loop.
-spec event_loop_default(event_loop()) -> ok.
event_loop_default(_Loop) -> ?NOT_LOADED.

%% @private Names the process that gets `{python_call, Id, Process, Name, Arguments}'.
-spec callback_server(pid()) -> ok.
callback_server(_Pid) -> ?NOT_LOADED.

%% @private Answers a call: 0 a value, 1 `{Class, Reason, Stack, Message}', 2 the name that is not registered. What
%% comes back with `send' is the caller's to be told.
-spec callback_reply(call(), 0..2, term()) -> ok | {send, pid(), reference()}.
callback_reply(_Id, _Status, _Term) -> ?NOT_LOADED.

%% @private Tells which functions are registered.
-spec callback_names(add | remove | reset, [binary()]) -> ok.
callback_names(_Change, _Names) -> ?NOT_LOADED.

%% @doc The older name of {@link event_loop_set_worker/2}.
-spec event_loop_set_router(event_loop(), pid()) -> ok | {error, ebadf | esrch}.
event_loop_set_router(Loop, Pid) ->
    event_loop_set_worker(Loop, Pid).

%% @private Gives up a loop: its tasks are answered `{error, loop_restarted}', its thread is asked to end.
-spec event_loop_abandon(event_loop()) -> ok.
event_loop_abandon(_Loop) -> ?NOT_LOADED.

%% @private How many loops were given up and have a thread that did not end yet.
-spec event_loops_abandoned() -> non_neg_integer().
event_loops_abandoned() -> ?NOT_LOADED.

%% @doc Watches a descriptor: while it can be read from, has been closed by its peer or has an error,
%% {@link get_pending/1} reports `{CallbackId, read}'. It is removed by the FdRef, not by its number. Another reader of
%% the same descriptor replaces this one; a writer does not. The descriptor stays the caller's, who removes it before
%% closing it.
%%
%% Errors: `ebadf' when the descriptor is not open or the loop was destroyed, `eperm' when it cannot be waited for, as
%% is the case for regular files.
-spec add_reader(event_loop(), fd(), callback_id()) -> {ok, fd_ref()} | {error, inet:posix()}.
add_reader(_Loop, _Fd, _CallbackId) -> ?NOT_LOADED.

%% @doc Ends what {@link add_reader/3} began; an event that waits is forgotten. Errors: `enoent' when it has ended
%% before, `einval' when the FdRef is of another loop or a writer's, `ebadf' when the loop was destroyed.
-spec remove_reader(event_loop(), fd_ref()) -> ok | {error, inet:posix()}.
remove_reader(_Loop, _FdRef) -> ?NOT_LOADED.

%% @doc As {@link add_reader/3}, for writing: `{CallbackId, write}'.
-spec add_writer(event_loop(), fd(), callback_id()) -> {ok, fd_ref()} | {error, inet:posix()}.
add_writer(_Loop, _Fd, _CallbackId) -> ?NOT_LOADED.

%% @doc As {@link remove_reader/2}, for {@link add_writer/3}.
-spec remove_writer(event_loop(), fd_ref()) -> ok | {error, inet:posix()}.
remove_writer(_Loop, _FdRef) -> ?NOT_LOADED.

%% @doc `{CallbackId, timer}' is pending after that many milliseconds, never earlier, also when nobody keeps the
%% TimerRef. Timers that are due together come in the order of their creation.
-spec call_later(event_loop(), non_neg_integer(), callback_id()) -> {ok, timer_ref()} | {error, inet:posix()}.
call_later(_Loop, _Milliseconds, _CallbackId) -> ?NOT_LOADED.

%% @doc The timer's event will not come; one that waits is forgotten. No error if it came or was cancelled before.
%% `{error, einval}' when it is of another loop.
-spec cancel_timer(event_loop(), timer_ref()) -> ok | {error, inet:posix()}.
cancel_timer(_Loop, _TimerRef) -> ?NOT_LOADED.

%% @doc The timer's time has come: its event is pending, unless it has been before or was cancelled. Called by
%% {@link py_event_worker}. With a callback id instead, a timer event of that callback is pending.
-spec dispatch_timer(event_loop(), timer_ref() | callback_id()) -> ok | {error, inet:posix()}.
dispatch_timer(_Loop, _TimerRefOrCallbackId) -> ?NOT_LOADED.

%% @doc The number of pending events; when there are none, waits for one for up to Timeout milliseconds, and 0 after
%% that or after {@link event_loop_wakeup/1}. It does not take the events: {@link get_pending/1} does.
%%
%% The caller waits in `receive', so no scheduler is held, and as many processes may wait as like: a NIF that blocked,
%% even on a dirty scheduler, would take one of the few threads with which the VM reads files. The loop gets a
%% {@link py_event_worker} if it has none. `{error, ebadf}', at once, when the loop is destroyed.
-spec poll_events(event_loop(), timeout()) -> non_neg_integer() | {error, ebadf}.
poll_events(Loop, 0) ->
    event_loop_poll(Loop, make_ref(), false);
poll_events(Loop, infinity) ->
    poll_until(Loop, infinity);
poll_events(Loop, Timeout) when is_integer(Timeout), Timeout > 0, Timeout =< 16#ffffffff ->
    poll_until(Loop, erlang:monotonic_time(millisecond) + Timeout);
poll_events(Loop, Timeout) ->
    error(badarg, [Loop, Timeout]).

poll_until(Loop, Deadline) ->
    Reference = make_ref(),
    case event_loop_poll(Loop, Reference, true) of
        {wait, Id, Own, Next} ->
            %% A receive that takes no other message need not look at those that are older than the reference.
            Result =
                case Own of
                    false -> await_poll(Reference, wait_time(Deadline, Next));
                    true -> await_own(Loop, Reference, wait_time(Deadline, Next))
                end,
            case Result of
                again -> poll_until(Loop, Deadline);
                elapsed -> poll_elapsed(Loop, Reference, Id, Deadline);
                _ -> Result
            end;
        no_worker ->
            _ = py_event_worker:start(<<"loop">>, Loop),
            poll_until(Loop, Deadline);
        Result ->
            Result
    end.

await_poll(Reference, Time) ->
    receive
        {poll_events, Reference, Result} -> Result
    after Time -> elapsed
    end.

%% The caller is the loop's worker, too.
await_own(Loop, Reference, Time) ->
    receive
        {poll_events, Reference, Result} ->
            Result;
        {select, Loop, descriptors, _Ready} ->
            _ = event_loop_dispatch(Loop),
            await_own(Loop, Reference, Time)
    after Time -> elapsed
    end.

poll_elapsed(Loop, Reference, Id, Deadline) ->
    case event_loop_poll_end(Loop, Id) of
        true ->
            %% A timer's time, or the end.
            case wait_time(Deadline, infinity) of
                0 -> event_loop_poll(Loop, Reference, false);
                _ -> poll_until(Loop, Deadline)
            end;
        false ->
            receive
                {poll_events, Reference, again} -> poll_until(Loop, Deadline);
                {poll_events, Reference, Result} -> Result
            end
    end.

wait_time(infinity, infinity) -> infinity;
wait_time(infinity, Next) -> min(Next, 16#ffffffff);
%% An atom is more than any integer.
wait_time(Deadline, Next) ->
    lists:min([max(Deadline - erlang:monotonic_time(millisecond), 0), Next, 16#ffffffff]).

%% @private The number of pending events, or a place among those who wait for some: {@link poll_events/2}.
-spec event_loop_poll(event_loop(), reference(), boolean()) ->
    non_neg_integer()
    | {wait, pos_integer(), boolean(), timeout()}
    | no_worker
    | {error, ebadf}.
event_loop_poll(_Loop, _Reference, _Wait) -> ?NOT_LOADED.

%% @private True when that wait is over, false when its message is there or on its way.
-spec event_loop_poll_end(event_loop(), pos_integer()) -> boolean().
event_loop_poll_end(_Loop, _Id) -> ?NOT_LOADED.

%% @private `{select, Loop, descriptors, ready_input}' has come.
-spec event_loop_dispatch(event_loop()) -> ok | {error, ebadf}.
event_loop_dispatch(_Loop) -> ?NOT_LOADED.

%% @doc Takes the pending events, in the order in which they were found, each only once. A descriptor that is still
%% ready afterwards is pending again.
-spec get_pending(event_loop()) -> [pending()] | {error, ebadf}.
get_pending(_Loop) -> ?NOT_LOADED.

%% @doc Queues a task; `{async_result, Reference, Result}' will come to the caller that is named. A loop of
%% {@link event_loop_new/0} runs its tasks after {@link process_ready_tasks/1}, which its worker, if it has one, calls
%% by itself. `{error, busy}' when the queue is full.
-spec submit_task(event_loop(), pid(), reference(), name(), name(), list(), map()) ->
    ok | {error, busy | closed | ebadf}.
submit_task(_Loop, _CallerPid, _Reference, _Module, _Function, _Arguments, _Keywords) -> ?NOT_LOADED.

%% @doc Hands the queued tasks to the loop's Python thread, and does not wait for them. The thread is started when there
%% is the first task and runs later ones as they come, until the loop is destroyed: Python never runs on a thread of
%% the VM. `{error, not_started}' unless the application runs.
-spec process_ready_tasks(event_loop()) -> ok | {error, ebadf | not_started}.
process_ready_tasks(_Loop) -> ?NOT_LOADED.

%% @doc For tests: a UDP socket on 127.0.0.1; port 0 asks for a free one. Like all descriptors of these functions it is
%% non-blocking; only such descriptors are accepted by the others, which give `{error, ebadf}' for any other number.
-spec create_test_udp_socket(inet:port_number()) -> {ok, {fd(), inet:port_number()}} | {error, inet:posix()}.
create_test_udp_socket(_Port) -> ?NOT_LOADED.

%% @doc For tests: sends a datagram to an IPv4 address such as `<<"127.0.0.1">>'.
-spec sendto_test_udp(fd(), binary(), binary(), inet:port_number()) -> ok | {error, inet:posix()}.
sendto_test_udp(_Fd, _Data, _Host, _Port) -> ?NOT_LOADED.

%% @doc For tests: a datagram and its sender; `{error, eagain}' when none is there. What exceeds MaxBytes is lost.
-spec recvfrom_test_udp(fd(), pos_integer()) ->
    {ok, {binary(), {binary(), inet:port_number()}}} | {error, inet:posix()}.
recvfrom_test_udp(_Fd, _MaxBytes) -> ?NOT_LOADED.

%% @doc For tests: allows datagrams to broadcast addresses, or not.
-spec set_udp_broadcast(fd(), boolean()) -> ok | {error, inet:posix()}.
set_udp_broadcast(_Fd, _Enable) -> ?NOT_LOADED.

%% @doc For tests: a pipe.
-spec create_test_pipe() -> {ok, {ReadFd :: fd(), WriteFd :: fd()}} | {error, inet:posix()}.
create_test_pipe() -> ?NOT_LOADED.

%% @doc For tests: a listening TCP socket on 127.0.0.1.
-spec create_test_tcp_listener(inet:port_number()) -> {ok, {fd(), inet:port_number()}} | {error, inet:posix()}.
create_test_tcp_listener(_Port) -> ?NOT_LOADED.

%% @doc For tests: a TCP socket that connects to a port of 127.0.0.1; it is writable when it is connected.
-spec connect_test_tcp(inet:port_number()) -> {ok, fd()} | {error, inet:posix()}.
connect_test_tcp(_Port) -> ?NOT_LOADED.

%% @doc For tests: a connection to a listener; `{error, eagain}' when there is none.
-spec accept_test_tcp(fd()) -> {ok, fd()} | {error, inet:posix()}.
accept_test_tcp(_Fd) -> ?NOT_LOADED.

%% @doc For tests: bytes from a pipe or stream, none at its end; `{error, eagain}' when nothing is there.
-spec read_test_fd(fd(), pos_integer()) -> {ok, binary()} | {error, inet:posix()}.
read_test_fd(_Fd, _MaxBytes) -> ?NOT_LOADED.

%% @doc For tests: the number of bytes that a pipe or stream took; `{error, eagain}' when it is full.
-spec write_test_fd(fd(), binary()) -> {ok, non_neg_integer()} | {error, inet:posix()}.
write_test_fd(_Fd, _Data) -> ?NOT_LOADED.

%% @doc For tests: closes a descriptor of the functions above.
-spec close_test_fd(fd()) -> ok | {error, inet:posix()}.
close_test_fd(_Fd) -> ?NOT_LOADED.
