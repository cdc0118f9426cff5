%% @doc Python functions and coroutines as tasks on one event loop, for any process.
%%
%% A task is a plain function, a coroutine function, or any callable that returns an awaitable. Tasks start in the order
%% in which they were submitted; coroutines then run concurrently. The loop has a thread of its own, started with the
%% first task. For parallel work of many processes see {@link py_event_loop_pool}.
-module(py_event_loop).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0]).
-export([run/3, run/4, create_task/3, create_task/4, create_task/5, spawn_task/3, spawn_task/4]).
-export([await/1, await/2, await_all/1, await_all/2, cancel/1]).
-export([stream/3, stream/4, stream_start/3, stream_start/4]).
-export([get_loop/0, info/0, info/1]).
-export([stream_on/5, stream_start_on/5]).
-export([run_on/5, create_task_on/6, spawn_task_on/5, task_flags/1]).
-export([new_loop/0, ended/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-export_type([options/0, task_options/0, loop_info/0]).

-type options() :: #{
    timeout => timeout(),
    interrupt => boolean(),
    kwargs => map(),
    traceback => boolean(),
    arrays => list | binary,
    on_caller_death => cancel | finish
}.
%% `timeout' in milliseconds, default 5000. When it passes, the coroutine is cancelled; `interrupt' (default false)
%% also raises `KeyboardInterrupt' in a function that keeps the loop from everything else.

-type loop_info() :: #{
    state := not_started | running | waiting | parked,
    queued := non_neg_integer(),
    running := non_neg_integer(),
    done := non_neg_integer(),
    batches := non_neg_integer(),
    parks := non_neg_integer(),
    events := non_neg_integer(),
    descriptors := non_neg_integer(),
    timers := non_neg_integer(),
    pending := non_neg_integer(),
    lag_us := non_neg_integer()
}.

-type task_options() :: #{
    traceback => boolean(),
    arrays => list | binary,
    on_caller_death => cancel | finish
}.

%% An atom, since a tuple costs several times as much to look up.
-define(KEY, '$py_event_loop').
-define(TIMEOUT, 5000).
-define(CALL, 0).
-define(TASK_OPTIONS, [traceback, arrays, on_caller_death]).
-define(OPTIONS, [timeout, interrupt, kwargs | ?TASK_OPTIONS]).
%% What `receive' takes.
-define(IS_TIMEOUT(Timeout),
    (Timeout =:= infinity orelse is_integer(Timeout) andalso Timeout >= 0 andalso Timeout =< 16#ffffffff)
).
%% Errors carry their traceback, which is logged; the death of the caller is nothing to the task.
-define(SPAWN_FLAGS, 1 bor 4).

%% @private
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @equiv run(Module, Function, Arguments, #{})
-spec run(py_nif:name(), py_nif:name(), [term()]) -> {ok, term()} | {error, term()}.
run(Module, Function, Arguments) ->
    run_on(loop(), Module, Function, Arguments, #{}).

%% @doc Runs a task and waits for its result. After `{error, timeout}' the task is cancelled and nothing arrives late.
-spec run(py_nif:name(), py_nif:name(), [term()], options()) -> {ok, term()} | {error, term()}.
run(Module, Function, Arguments, Options) ->
    run_on(loop(), Module, Function, Arguments, Options).

%% @equiv create_task(Module, Function, Arguments, #{})
-spec create_task(py_nif:name(), py_nif:name(), [term()]) -> reference().
create_task(Module, Function, Arguments) ->
    create_task_on(loop(), Module, Function, Arguments, #{}, 0).

%% @doc Submits a task; {@link await/1} gets its result, which arrives as `{async_result, Reference, Result}'.
%% When the loop's queue is full that result is `{error, busy}'.
-spec create_task(py_nif:name(), py_nif:name(), [term()], map()) -> reference().
create_task(Module, Function, Arguments, Keywords) ->
    create_task_on(loop(), Module, Function, Arguments, Keywords, 0).

%% @doc With options: all but `timeout' and `kwargs'. With `on_caller_death => finish' the task goes on when its caller
%% dies, which otherwise cancels it.
-spec create_task(py_nif:name(), py_nif:name(), [term()], map(), task_options()) -> reference().
create_task(Module, Function, Arguments, Keywords, Options) ->
    create_task_on(loop(), Module, Function, Arguments, Keywords, task_flags(Options)).

%% @equiv spawn_task(Module, Function, Arguments, #{})
-spec spawn_task(py_nif:name(), py_nif:name(), [term()]) -> ok | {error, busy | closed | enomem}.
spawn_task(Module, Function, Arguments) ->
    spawn_task_on(loop(), Module, Function, Arguments, #{}).

%% @doc Submits a task whose result nobody wants. It goes on when the caller dies; an exception is logged.
-spec spawn_task(py_nif:name(), py_nif:name(), [term()], map()) -> ok | {error, busy | closed | enomem}.
spawn_task(Module, Function, Arguments, Keywords) ->
    spawn_task_on(loop(), Module, Function, Arguments, Keywords).

%% @equiv await(Reference, 5000)
-spec await(reference()) -> {ok, term()} | {error, term()}.
await(Reference) ->
    await(Reference, ?TIMEOUT).

%% @doc Waits for the result of a task that this process created, at most Timeout milliseconds. After
%% `{error, timeout}' the task goes on and may be awaited again.
-spec await(reference(), timeout()) -> {ok, term()} | {error, term()}.
await(Reference, Timeout) when is_reference(Reference), ?IS_TIMEOUT(Timeout) ->
    receive
        {async_result, Reference, Result} -> Result
    after Timeout -> {error, timeout}
    end;
await(Reference, Timeout) when is_reference(Reference) ->
    error({bad_argument, timeout, Timeout});
await(Other, _Timeout) ->
    error({bad_argument, reference, Other}).

%% @equiv await_all(References, 5000)
-spec await_all([reference()]) -> [{ok, term()} | {error, term()}].
await_all(References) ->
    await_all(References, ?TIMEOUT).

%% @doc The results of several tasks, in their order; all together take at most Timeout milliseconds.
-spec await_all([reference()], timeout()) -> [{ok, term()} | {error, term()}].
await_all(References, Timeout) ->
    ok = check_references(References, References),
    ?IS_TIMEOUT(Timeout) orelse error({bad_argument, timeout, Timeout}),
    Deadline = deadline(Timeout),
    Results = collect(maps:from_keys(References, pending), length(lists:usort(References)), Deadline),
    [result(maps:get(Reference, Results)) || Reference <- References].

check_references([Reference | More], All) when is_reference(Reference) -> check_references(More, All);
check_references([], _All) -> ok;
check_references([Other | _], _All) -> error({bad_argument, reference, Other});
check_references(_, All) -> error({bad_argument, references, All}).

deadline(infinity) -> infinity;
deadline(Timeout) -> erlang:monotonic_time(millisecond) + Timeout.

remaining(infinity) -> infinity;
remaining(Deadline) -> max(0, Deadline - erlang:monotonic_time(millisecond)).

%% In the order in which they come: waiting for one after the other would look at the mailbox anew for each.
%% `map_get' alone must not be the guard: when it fails on the reference of another task's message, the next garbage
%% collection destroys that message, or the VM (seen with OTP 25; see docs/robustness.md).
collect(Results, 0, _Deadline) ->
    Results;
collect(Results, Missing, Deadline) ->
    receive
        {async_result, Reference, Result} when
            is_map_key(Reference, Results), map_get(Reference, Results) =:= pending
        ->
            collect(Results#{Reference := {done, Result}}, Missing - 1, Deadline)
    after remaining(Deadline) -> Results
    end.

result({done, Result}) -> Result;
result(pending) -> {error, timeout}.

%% @doc Cancels a task: its coroutine gets `asyncio.CancelledError', and awaiting it gives `{error, cancelled}'. A task
%% that is done keeps its result. Any process may cancel.
-spec cancel(reference()) -> ok.
cancel(Reference) when is_reference(Reference) ->
    [ok = py_nif:event_loop_cancel(Loop, Reference) || Loop <- [loop() | py_event_loop_pool:loops()]],
    ok;
cancel(Other) ->
    error({bad_argument, reference, Other}).

%% @equiv stream(Module, Function, Arguments, #{})
-spec stream(py_nif:name(), py_nif:name(), [term()]) -> {ok, [term()]} | {error, term()}.
stream(Module, Function, Arguments) ->
    stream_on(loop(), Module, Function, Arguments, #{}).

%% @doc All values of the asynchronous generator, or other iterable, that a function or coroutine function returns;
%% options as of {@link run/4}.
-spec stream(py_nif:name(), py_nif:name(), [term()], options()) -> {ok, [term()]} | {error, term()}.
stream(Module, Function, Arguments, Options) ->
    stream_on(loop(), Module, Function, Arguments, Options).

%% @equiv stream_start(Module, Function, Arguments, #{})
-spec stream_start(py_nif:name(), py_nif:name(), [term()]) -> {ok, reference()} | {error, term()}.
stream_start(Module, Function, Arguments) ->
    stream_start_on(loop(), Module, Function, Arguments, #{}).

%% @doc Has the values of an asynchronous generator, or other iterable, sent to a process one by one. The messages and
%% the functions for them are those of {@link py:stream_start/4}; cancelling cancels the task that runs the generator.
-spec stream_start(py_nif:name(), py_nif:name(), [term()], py_stream:options()) ->
    {ok, reference()} | {error, term()}.
stream_start(Module, Function, Arguments, Options) ->
    stream_start_on(loop(), Module, Function, Arguments, Options).

%% @doc The loop that this module's tasks run on.
-spec get_loop() -> {ok, py_nif:event_loop()} | {error, not_started}.
get_loop() ->
    case persistent_term:get(?KEY, undefined) of
        undefined -> {error, not_started};
        Loop -> {ok, Loop}
    end.

%% @equiv info(Loop)
-spec info() -> {ok, loop_info()} | {error, closed}.
info() ->
    info(loop()).

%% @doc What a loop does: `state' of its thread (`not_started', `running', `waiting' in the system, `parked' while the
%% VM waits for it), `queued' tasks, `running' ones (coroutines that wait for something), tasks that are `done',
%% `batches' in which they were run, `parks', `events' of descriptors so far, `descriptors' and `timers' that are
%% waited for, events `pending' for `py_nif:get_pending/1', and `lag_us', the time in microseconds for which Python has
%% been running now without coming back to the loop. `running' and `timers' are as of the last time it did.
-spec info(py_nif:event_loop()) -> {ok, loop_info()} | {error, closed}.
info(Loop) ->
    try
        py_nif:event_loop_info(Loop)
    catch
        error:badarg -> error({bad_argument, loop, Loop})
    end.

%%% Shared with py_event_loop_pool

%% @private The reference is made here, in the function that receives, so that the VM need not look at older messages.
-spec run_on(py_nif:event_loop(), py_nif:name(), py_nif:name(), [term()], options()) ->
    {ok, term()} | {error, term()}.
run_on(Loop, Module, Function, Arguments, Options) ->
    py_task:check_options(Options, ?OPTIONS),
    Timeout = py_task:timeout(Options, ?TIMEOUT),
    Keywords = py_task:keywords(Options),
    Flags = py_task:flags(Options),
    Reference = make_ref(),
    try
        py_nif:event_loop_run(
            Loop, Reference, ?CALL, Module, Function, Arguments, Keywords, Flags
        )
    of
        Id when is_integer(Id) ->
            receive
                {async_result, Reference, Result} -> Result
            after Timeout ->
                case py_nif:task_cancel(Id) of
                    true ->
                        ok = py_nif:event_loop_cancel(Loop, Reference),
                        ok = py_task:interrupt(Id, Flags),
                        {error, timeout};
                    false ->
                        receive {async_result, Reference, Result} -> Result end
                end
            end;
        Result ->
            Result
    catch
        error:badarg -> py_task:reject({loop, Loop}, Module, Function, Arguments, Keywords)
    end.

%% @private
-spec stream_on(py_nif:event_loop(), py_nif:name(), py_nif:name(), [term()], options()) ->
    {ok, [term()]} | {error, term()}.
stream_on(Loop, Module, Function, Arguments, Options) ->
    ok = py_task:check_options(Options, ?OPTIONS),
    Run = fun(M, F, A) -> run_on(Loop, M, F, A, maps:remove(kwargs, Options)) end,
    py_stream:collect(task, Run, Module, Function, Arguments, py_task:keywords(Options)).

%% @private
-spec stream_start_on(py_nif:event_loop(), py_nif:name(), py_nif:name(), [term()], py_stream:options()) ->
    {ok, reference()} | {error, term()}.
stream_start_on(Loop, Module, Function, Arguments, Options) ->
    py_stream:start({loop, Loop}, Module, Function, Arguments, #{}, Options).

%% @private
-spec task_flags(task_options()) -> py_nif:flags().
task_flags(Options) ->
    py_task:check_options(Options, ?TASK_OPTIONS),
    py_task:flags(Options).

%% @private
-spec create_task_on(py_nif:event_loop(), py_nif:name(), py_nif:name(), [term()], map(), py_nif:flags()) ->
    reference().
create_task_on(Loop, Module, Function, Arguments, Keywords, Flags) ->
    Reference = make_ref(),
    try py_nif:event_loop_create_task(Loop, Reference, ?CALL, Module, Function, Arguments, Keywords, Flags) of
        ok ->
            Reference;
        {error, _} = Error ->
            self() ! {async_result, Reference, Error},
            Reference
    catch
        error:badarg -> py_task:reject({loop, Loop}, Module, Function, Arguments, Keywords)
    end.

%% @private
-spec spawn_task_on(py_nif:event_loop(), py_nif:name(), py_nif:name(), [term()], map()) ->
    ok | {error, busy | closed | enomem}.
spawn_task_on(Loop, Module, Function, Arguments, Keywords) ->
    try
        py_nif:event_loop_spawn_task(Loop, make_ref(), ?CALL, Module, Function, Arguments, Keywords, ?SPAWN_FLAGS)
    catch
        error:badarg -> py_task:reject({loop, Loop}, Module, Function, Arguments, Keywords)
    end.

%% @private A loop whose thread starts with its first task. The caller owns it: {event_loop_ended, Loop} comes when it
%% ends unasked.
-spec new_loop() -> {ok, py_nif:event_loop()} | {error, term()}.
new_loop() ->
    case py_nif:event_loop_new() of
        {ok, Loop} ->
            case py_nif:event_loop_start(Loop) of
                ok -> {ok, Loop};
                {error, Reason} -> {error, Reason}
            end;
        {error, Reason} ->
            {error, Reason}
    end.

%% @private
-spec ended(module()) -> ok.
ended(Owner) ->
    ?LOG_ERROR("an event loop of ~ts was taken apart by Python code or destroyed; another one is in its place", [Owner]).

loop() ->
    case persistent_term:get(?KEY, undefined) of
        undefined -> error({not_started, erlang_python});
        Loop -> Loop
    end.

%%% gen_server: owns the loop

%% @private
-spec init([]) -> {ok, py_nif:event_loop()} | {stop, term()}.
init([]) ->
    process_flag(trap_exit, true),
    ok = end_predecessor(persistent_term:get(?KEY, none)),
    case begin_loop() of
        {ok, Loop} -> {ok, Loop};
        {error, Reason} -> {stop, Reason}
    end.

begin_loop() ->
    case new_loop() of
        {ok, Loop} ->
            ok = py_nif:event_loop_default(Loop),
            persistent_term:put(?KEY, Loop),
            {ok, Loop};
        {error, Reason} ->
            {error, Reason}
    end.

%% One that was killed could not end its loop; who waits for its tasks is answered `{error, closed}'.
end_predecessor(none) -> ok;
end_predecessor(Loop) -> py_nif:event_loop_destroy(Loop).

%% @private
-spec handle_call(term(), gen_server:from(), State) -> {reply, {error, unknown_call}, State}.
handle_call(_Request, _From, Loop) ->
    {reply, {error, unknown_call}, Loop}.

%% @private
-spec handle_cast(term(), State) -> {noreply, State}.
handle_cast(_Message, Loop) ->
    {noreply, Loop}.

%% @private
-spec handle_info(term(), State) -> {noreply, State} | {stop, term(), State} when State :: py_nif:event_loop().
handle_info({event_loop_ended, Loop}, Loop) ->
    ok = ended(?MODULE),
    case begin_loop() of
        {ok, New} -> {noreply, New};
        {error, Reason} -> {stop, Reason, Loop}
    end;
handle_info(_Message, Loop) ->
    {noreply, Loop}.

%% @private
-spec terminate(term(), py_nif:event_loop()) -> ok.
terminate(_Reason, Loop) ->
    _ = persistent_term:erase(?KEY),
    py_nif:event_loop_destroy(Loop).
