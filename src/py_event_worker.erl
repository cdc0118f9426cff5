%% @doc Waits for an event loop: receives what `enif_select' and `erlang:send_after' have for it.
%%
%% A loop that has nothing to do parks: it sends `{park, ParkId, Delay}', upon which its worker arms the poll set and,
%% for its next deadline, a timer. `{select, ...}' and `{timeout, ParkId}' wake the loop. Both are hints only: the loop
%% looks at its descriptors and its clock itself, so a worker that is killed and replaced loses nothing.
%%
%% `py_nif:add_reader/3' and its like have their descriptors in a poll set that is armed in the same way, and
%% `py_nif:call_later/3' sends `{timer, TimerRef, Delay}' for the first timer; both end up in what
%% `py_nif:get_pending/1' returns. `task_ready' says that `py_nif:submit_task/7' queued tasks for a loop that no thread
%% drives yet.
%%
%% Loops get their worker by themselves when they first need one. For a loop of `py_nif:event_loop_new/0' one may be
%% started by hand, and put under a supervisor:
%% ```
%% {ok, LoopRef} = py_nif:event_loop_new(),
%% {ok, WorkerPid} = py_event_worker:start_link(<<"worker">>, LoopRef),
%% ok = py_nif:event_loop_set_worker(LoopRef, WorkerPid).
%% '''
-module(py_event_worker).

-behaviour(gen_server).

-export([start_supervised/2, start_link/2, start/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-record(state, {
    name :: term(),
    loop :: py_nif:event_loop(),
    %% of the loop's thread, while it is parked
    timer = none :: reference() | none,
    %% of the first py_nif:call_later/3
    raw_timer = none :: reference() | none
}).

%% What erlang:send_after/3 takes.
-define(LONGEST_DELAY, 16#ffffffff).

%% @doc Starts a worker for the loop; Name is for the log and the process dictionary only. `ignore' if the loop is
%% closed.
-spec start_link(term(), py_nif:event_loop()) -> {ok, pid()} | ignore | {error, term()}.
start_link(Name, Loop) ->
    gen_server:start_link(?MODULE, {Name, Loop}, []).

%% @private The same for a loop that nobody supervises; ends with the loop.
-spec start(term(), py_nif:event_loop()) -> {ok, pid()} | ignore | {error, term()}.
start(Name, Loop) ->
    gen_server:start(?MODULE, {Name, Loop}, []).

%% @private What the supervisor starts. A worker that is replaced when its loop is closed already starts and stops:
%% with `ignore' the supervisor would keep a child without a process for good.
-spec start_supervised(term(), py_nif:event_loop()) -> {ok, pid()} | {error, term()}.
start_supervised(Name, Loop) ->
    gen_server:start_link(?MODULE, {supervised, Name, Loop}, []).

%% @private
-spec init({term(), py_nif:event_loop()} | {supervised, term(), py_nif:event_loop()}) ->
    {ok, #state{}} | ignore | {stop, term()}.
init({supervised, Name, Loop}) ->
    case init({Name, Loop}) of
        ignore ->
            self() ! loop_closed,
            {ok, #state{name = Name, loop = Loop}};
        Result ->
            Result
    end;
init({Name, Loop}) ->
    case py_nif:event_loop_set_worker(Loop, self()) of
        ok -> {ok, #state{name = Name, loop = Loop}};
        {error, ebadf} -> ignore;
        {error, Reason} -> {stop, Reason}
    end.

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}}.
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_call}, State}.

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Message, State) ->
    {noreply, State}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, normal, #state{}}.
handle_info({park, ParkId, Delay}, State) when
    is_integer(ParkId), Delay =:= infinity orelse is_integer(Delay) andalso Delay >= 0 andalso Delay =< ?LONGEST_DELAY
->
    _ = py_nif:event_loop_arm(State#state.loop),
    {noreply, set_timer(ParkId, Delay, State)};
handle_info({select, _Loop, descriptors, _Ready}, State) ->
    _ = py_nif:event_loop_dispatch(State#state.loop),
    {noreply, State};
handle_info({select, _Loop, _Ref, _Ready}, State) ->
    _ = py_nif:event_loop_ready(State#state.loop),
    {noreply, State};
handle_info({timer, TimerRef, Delay}, State) when is_reference(TimerRef), is_integer(Delay), Delay >= 0 ->
    {noreply, set_raw_timer(TimerRef, Delay, State)};
handle_info({timeout, TimerRef, 0}, State) when is_reference(TimerRef) ->
    _ = py_nif:dispatch_timer(State#state.loop, TimerRef),
    {noreply, State#state{raw_timer = none}};
handle_info({timeout, TimerRef, Delay}, State) when is_reference(TimerRef), is_integer(Delay), Delay > 0 ->
    {noreply, set_raw_timer(TimerRef, Delay, State)};
handle_info(task_ready, State) ->
    _ = py_nif:process_ready_tasks(State#state.loop),
    {noreply, State};
handle_info({timeout, ParkId}, State) when is_integer(ParkId) ->
    _ = py_nif:event_loop_timeout(State#state.loop, ParkId),
    {noreply, State#state{timer = none}};
handle_info(loop_closed, State) ->
    {stop, normal, State};
handle_info(_Message, State) ->
    {noreply, State}.

%% {timeout, TimerRef, Left} comes; Left is what was more than a timer of the VM can wait.
set_raw_timer(TimerRef, Delay, #state{raw_timer = Timer} = State) ->
    _ = is_reference(Timer) andalso erlang:cancel_timer(Timer, [{async, true}, {info, false}]),
    Part = min(Delay, ?LONGEST_DELAY),
    State#state{raw_timer = erlang:send_after(Part, self(), {timeout, TimerRef, Delay - Part})}.

set_timer(ParkId, Delay, #state{timer = Timer} = State) when Timer =/= none ->
    _ = erlang:cancel_timer(Timer, [{async, true}, {info, false}]),
    set_timer(ParkId, Delay, State#state{timer = none});
set_timer(_ParkId, infinity, State) ->
    State;
set_timer(ParkId, Delay, State) ->
    State#state{timer = erlang:send_after(Delay, self(), {timeout, ParkId})}.
