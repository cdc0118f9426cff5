%% @doc Waits for an event loop: receives what `enif_select' and `erlang:send_after' have for it.
%%
%% A loop that has nothing to do parks: it sends `{park, ParkId, Delay}', upon which its worker arms the poll set and,
%% for its next deadline, a timer. `{select, ...}' and `{timeout, ParkId}' wake the loop. Both are hints only: the loop
%% looks at its descriptors and its clock itself, so a worker that is killed and replaced loses nothing.
%%
%% Loops get their worker by themselves. For a loop of `py_nif:event_loop_new/0' one is started by hand:
%% ```
%% {ok, LoopRef} = py_nif:event_loop_new(),
%% {ok, WorkerPid} = py_event_worker:start_link(<<"worker">>, LoopRef),
%% ok = py_nif:event_loop_set_worker(LoopRef, WorkerPid).
%% '''
-module(py_event_worker).

-behaviour(gen_server).

-export([start_link/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-record(state, {
    name :: term(),
    loop :: py_nif:event_loop(),
    timer = none :: reference() | none
}).

%% @doc Starts a worker for the loop; Name is for the log and the process dictionary only. `ignore' if the loop is
%% closed.
-spec start_link(term(), py_nif:event_loop()) -> {ok, pid()} | ignore | {error, term()}.
start_link(Name, Loop) ->
    gen_server:start_link(?MODULE, {Name, Loop}, []).

%% @private
-spec init({term(), py_nif:event_loop()}) -> {ok, #state{}} | ignore | {stop, term()}.
init({Name, Loop}) ->
    case py_nif:event_loop_set_worker(Loop, self()) of
        ok -> {ok, #state{name = Name, loop = Loop}};
        {error, closed} -> ignore;
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
handle_info({park, ParkId, Delay}, State) ->
    _ = py_nif:event_loop_arm(State#state.loop),
    {noreply, set_timer(ParkId, Delay, State)};
handle_info({select, _Loop, _Ref, _Ready}, State) ->
    _ = py_nif:event_loop_ready(State#state.loop),
    {noreply, State};
handle_info({timeout, ParkId}, State) ->
    _ = py_nif:event_loop_timeout(State#state.loop, ParkId),
    {noreply, State#state{timer = none}};
handle_info(loop_closed, State) ->
    {stop, normal, State};
handle_info(_Message, State) ->
    {noreply, State}.

set_timer(ParkId, Delay, #state{timer = Timer} = State) when Timer =/= none ->
    _ = erlang:cancel_timer(Timer, [{async, true}, {info, false}]),
    set_timer(ParkId, Delay, State#state{timer = none});
set_timer(_ParkId, infinity, State) ->
    State;
set_timer(ParkId, Delay, State) ->
    State#state{timer = erlang:send_after(Delay, self(), {timeout, ParkId})}.
