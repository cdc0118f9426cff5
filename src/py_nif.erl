%% @doc The native functions: the Go core behind the other modules, and the low-level event loop calls.
%%
%% No function here holds a scheduler, normal or dirty, while Python runs: they queue work for Python's own threads and
%% return. A wrong argument raises `badarg'.
-module(py_nif).

-on_load(load/0).

-export([priv_dir/0]).
-export([runtime_start/1, runtime_stop/0, runtime_info/0, log_receiver/1]).
-export([context_lookup/0, context_acquire/1, context_call/8, context_cast/8, context_info/1]).
-export([task_cancel/1]).
-export([event_loop_new/0, event_loop_destroy/1, event_loop_start/1]).
-export([event_loop_run/8, event_loop_create_task/8, event_loop_spawn_task/8]).
-export([event_loop_cancel/2, event_loop_info/1]).
-export([worker_starter/1, event_loop_set_worker/2, event_loop_arm/1, event_loop_ready/1]).
-export([event_loop_timeout/2, event_loop_wakeup/1]).

-export([event_loop_default/1, callback_server/1, callback_reply/3, callback_names/2]).

-export_type([call/0, context/0, event_loop/0, task_id/0, kind/0, flags/0, name/0, result/0]).

-opaque context() :: reference().
%% A Python context: one thread of its own.
-opaque event_loop() :: reference().
%% An event loop.
-type call() :: pos_integer().
%% A call of Python to Erlang: as a context, the thread that waits for its answer.
-type task_id() :: non_neg_integer().
%% A task whose result is to come.
-type kind() :: 0..2.
%% 0 call, 1 eval, 2 exec.
-type flags() :: non_neg_integer().
%% 1 traceback, 2 arrays as binaries, 4 outlives its caller.
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
    context() | call() | own | any, reference(), kind(), name(), name(), list(), map(), flags()
) -> task_id() | result().
context_call(_Context, _Reference, _Kind, _Module, _Function, _Arguments, _Keywords, _Flags) -> ?NOT_LOADED.

%% @private The same without an answer.
-spec context_cast(
    context() | call() | own | any, reference(), kind(), name(), name(), list(), map(), flags()
) -> ok | {error, term()}.
context_cast(_Context, _Reference, _Kind, _Module, _Function, _Arguments, _Keywords, _Flags) -> ?NOT_LOADED.

%% @private What a context does.
-spec context_info(context()) -> {ok, map()} | {error, closed}.
context_info(_Context) -> ?NOT_LOADED.

%% @private True when the task's answer will not come any more, false when it came or is on its way.
-spec task_cancel(task_id()) -> boolean().
task_cancel(_Id) -> ?NOT_LOADED.

%% @doc A new event loop.
-spec event_loop_new() -> {ok, event_loop()} | {error, binary()}.
event_loop_new() -> ?NOT_LOADED.

%% @doc Ends a loop; no error if it is ended.
-spec event_loop_destroy(event_loop()) -> ok.
event_loop_destroy(_Loop) -> ?NOT_LOADED.

%% @private Lets the loop have a thread that drives it, from its first task on.
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

%% @private Cancels the asyncio task of a task.
-spec event_loop_cancel(event_loop(), reference()) -> ok.
event_loop_cancel(_Loop, _Reference) -> ?NOT_LOADED.

%% @private What a loop does.
-spec event_loop_info(event_loop()) -> {ok, map()} | {error, closed}.
event_loop_info(_Loop) -> ?NOT_LOADED.

%% @private Names the process that gets `{start_worker, Loop}' when a loop needs a worker.
-spec worker_starter(pid()) -> ok.
worker_starter(_Pid) -> ?NOT_LOADED.

%% @doc Makes a {@link py_event_worker} the process that waits for a loop's I/O and timers.
-spec event_loop_set_worker(event_loop(), pid()) -> ok | {error, closed | noproc}.
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

%% @doc Ends a wait on the loop, from any process.
-spec event_loop_wakeup(event_loop()) -> ok | {error, closed}.
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
