%% @private The server of an isolated Python: starts its process, hands it requests, and ends it.
%%
%% Calls wait here and go to Python one at a time, so that it is known which one runs; coroutines, and what a callback
%% asks of the Python that waits for it, go at once. What waits here survives the end of the process, which is started
%% again; what has been sent is answered `{error, {exited, Reason}}'.
%%
%% Nothing here waits for Python: the port takes any amount of data, and what comes from it is decoded by those who want
%% it.
-module(py_isolated_server).

-behaviour(gen_server).

-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-export_type([settings/0]).

-type settings() :: #{
    executable := binary(),
    arguments := [binary() | string()],
    environment := [{string(), string() | false}],
    folder := string() | none,
    config := map(),
    max_bytes := pos_integer(),
    start_timeout := timeout(),
    stop_timeout := non_neg_integer(),
    restarts := {non_neg_integer(), pos_integer()},
    queue_limit := pos_integer(),
    load := none | {atomics:atomics_ref(), pos_integer()}
}.

-record(request, {
    number :: pos_integer(),
    kind :: call | eval | exec | run,
    nested :: boolean(),
    %% none: it was answered {error, timeout}, or its caller is gone.
    from :: gen_server:from() | none,
    monitor :: reference(),
    timer :: reference() | none,
    kill_timer = none :: reference() | none,
    sent = false :: boolean(),
    interrupt :: boolean(),
    kill_after :: non_neg_integer() | infinity,
    term :: binary()
}).

-record(state, {
    settings :: settings(),
    %% killed: its end is still to be heard of.
    phase = starting :: starting | running | killed,
    port = none :: port() | none,
    os_pid = none :: pos_integer() | none,
    process = none :: py_nif:os_process() | none,
    buffer :: py_isolated_frame:buffer(),
    start_timer = none :: reference() | none,
    %% Calls that wait, and the one that runs.
    queue = queue:new() :: queue:queue(#request{}),
    queued = 0 :: non_neg_integer(),
    current = none :: #request{} | none,
    %% Coroutines and nested calls that Python has, by their numbers.
    others = #{} :: #{pos_integer() => #request{}},
    next = 1 :: pos_integer(),
    %% Processes of callbacks, by their monitors.
    callbacks = #{} :: #{reference() => non_neg_integer()},
    %% Times of restarts, the last first, in seconds.
    restarted = [] :: [integer()],
    restarts = 0 :: non_neg_integer(),
    calls = 0 :: non_neg_integer()
}).

-define(SIGKILL, 9).
-define(SIGNAL_STATUS, 128).

%%% gen_server

-spec init(settings()) -> {ok, #state{}} | {stop, term()}.
init(Settings) ->
    process_flag(trap_exit, true),
    State = #state{settings = Settings, buffer = py_isolated_frame:new(maps:get(max_bytes, Settings))},
    case start_python(State) of
        {ok, Started} -> await_start(Started);
        {error, Reason} -> {stop, Reason}
    end.

%% The caller of start_link learns whether Python runs.
await_start(#state{port = Port, start_timer = Timer} = State) ->
    Result =
        receive
            {Port, _} = Message -> handle_info(Message, State);
            {'EXIT', Port, _} = Message -> handle_info(Message, State);
            {timeout, Timer, _} = Message -> handle_info(Message, State);
            %% Of callbacks, since the setup may call Erlang.
            {answer, Port, _, _} = Message -> handle_info(Message, State);
            {'DOWN', _, process, _, _} = Message -> handle_info(Message, State)
        end,
    case Result of
        {noreply, #state{phase = running} = Running} -> published({ok, Running});
        {noreply, Next} -> await_start(Next);
        {stop, Reason, Next} ->
            ok = end_python(Next),
            {stop, Reason}
    end.

-spec handle_call(term(), gen_server:from(), #state{}) -> {noreply, #state{}} | {reply, term(), #state{}}.
handle_call(Message, From, State) ->
    published(called(Message, From, State)).

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Message, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info(Message, State) ->
    published(told(Message, State)).

-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{current = Current, others = Others, queue = Queue} = State) ->
    Waiting = [Current || Current =/= none] ++ maps:values(Others) ++ queue:to_list(Queue),
    [reply(Request, {error, closed}) || Request <- Waiting],
    end_python(State).

%% How many requests the server has, where somebody wants to know it.
published(Result) ->
    case element(tuple_size(Result), Result) of
        #state{settings = #{load := {Load, Index}}, queued = Queued, current = Current, others = Others} ->
            Requests = Queued + maps:size(Others) + length([Current || Current =/= none]),
            ok = atomics:put(Load, Index, Requests);
        _ ->
            ok
    end,
    Result.

called({request, Kind, Via, Term, Options}, {Caller, _} = From, #state{next = Number} = State) ->
    Request = #request{
        number = Number,
        kind = Kind,
        nested = Via =/= 0,
        from = From,
        monitor = monitor(process, Caller),
        timer = start_timer(maps:get(timeout, Options, infinity), {timeout, Number}),
        interrupt = maps:get(interrupt, Options, false),
        kill_after = maps:get(kill_after, Options, infinity),
        term = Term
    },
    accept(Request, State#state{next = Number + 1, calls = State#state.calls + 1});
called(info, _From, #state{phase = Phase, queued = Queued, current = Current, others = Others} = State) ->
    Info = #{
        state => Phase,
        os_pid => State#state.os_pid,
        queued => Queued,
        running => length([Current || Current =/= none]) + maps:size(Others),
        calls => State#state.calls,
        restarts => State#state.restarts
    },
    {reply, Info, State};
called(interrupt, _From, #state{current = #request{number = Number}} = State) ->
    ok = send(interrupt, Number, <<>>, State),
    {reply, ok, State};
called(interrupt, _From, State) ->
    {reply, ok, State};
called(kill, _From, State) ->
    {reply, ok, kill(State)};
called(_Request, _From, State) ->
    {reply, {error, unknown_call}, State}.

told({Port, {data, Data}}, #state{port = Port, buffer = Buffer} = State) ->
    case py_isolated_frame:add(Data, Buffer) of
        {Frames, Rest} -> handle_frames(Frames, State#state{buffer = Rest});
        too_large -> {noreply, kill(State)}
    end;
told({Port, {exit_status, Status}}, #state{port = Port} = State) ->
    ended(reason(Status, State), State);
told({'EXIT', Port, Reason}, #state{port = Port} = State) ->
    ended({port, Reason}, State);
told({'EXIT', Parent, Reason}, State) when is_pid(Parent) ->
    %% Of whoever started it; gen_server itself looks after its parent.
    {stop, Reason, State};
told({timeout, Timer, start}, #state{start_timer = Timer} = State) ->
    {stop, start_timeout, State};
told({timeout, _Timer, {timeout, Number}}, State) ->
    {noreply, out_of_time(Number, State)};
told({timeout, _Timer, {kill, Number}}, State) ->
    case find(Number, State) of
        {ok, _} -> {noreply, kill(State)};
        error -> {noreply, State}
    end;
told({'DOWN', Monitor, process, _, Reason}, #state{callbacks = Callbacks} = State) ->
    case maps:take(Monitor, Callbacks) of
        {Number, Rest} -> {noreply, callback_ended(Number, Reason, State#state{callbacks = Rest})};
        error -> {noreply, caller_gone(Monitor, State)}
    end;
told({answer, Port, Number, Term}, #state{port = Port} = State) ->
    %% Of this process of Python's, not of one before it.
    ok = send(answer, Number, Term, State),
    {noreply, State};
told(_Message, State) ->
    {noreply, State}.

%%% The process

start_python(#state{settings = Settings} = State) ->
    #{executable := Executable, arguments := Arguments, environment := Environment, folder := Folder} = Settings,
    Options =
        [{args, Arguments}, {env, Environment}] ++ [{cd, Folder} || Folder =/= none] ++
            [nouse_stdio, stream, binary, exit_status, {busy_limits_port, disabled}, {busy_limits_msgq, disabled}],
    try open_port({spawn_executable, Executable}, Options) of
        Port ->
            OsPid =
                case erlang:port_info(Port, os_pid) of
                    {os_pid, Number} -> Number;
                    undefined -> none
                end,
            {ok, State#state{
                phase = starting,
                port = Port,
                os_pid = OsPid,
                buffer = py_isolated_frame:new(maps:get(max_bytes, Settings)),
                start_timer = start_timer(maps:get(start_timeout, Settings), start)
            }}
    catch
        error:Reason -> {error, {cannot_start, Executable, Reason}}
    end.

reason(_Status, #state{phase = killed}) -> killed;
reason(Status, _State) when Status > ?SIGNAL_STATUS -> {signal, Status - ?SIGNAL_STATUS};
reason(Status, _State) -> {status, Status}.

%% The process is gone, and with it what it was doing.
ended(Reason, #state{phase = Phase, current = Current, others = Others, callbacks = Callbacks} = State) ->
    ok = release(State),
    ok = cancel_timer(State#state.start_timer),
    %% Coroutines that it has not got yet are for the next one.
    Kept = maps:filter(fun(_, #request{sent = Sent, nested = Nested}) -> not (Sent orelse Nested) end, Others),
    Lost = [Current || Current =/= none] ++ maps:values(maps:without(maps:keys(Kept), Others)),
    [reply(Request, {error, {exited, Reason}}) || Request <- Lost],
    [demonitor(Monitor, [flush]) || Monitor <- maps:keys(Callbacks)],
    Free = State#state{
        port = none, os_pid = none, process = none, current = none, others = Kept, callbacks = #{}, start_timer = none
    },
    case Phase of
        starting -> {stop, {exited, Reason}, Free};
        _ -> restart(Reason, Free)
    end.

release(#state{process = none}) -> ok;
release(#state{process = Process}) -> py_nif:process_release(Process).

restart(Reason, #state{settings = #{restarts := {Most, Period}}, restarted = Restarted} = State) ->
    Now = erlang:monotonic_time(second),
    %% One that was asked for does not count.
    Times = [Now || Reason =/= killed] ++ [Time || Time <- Restarted, Now - Time < Period],
    case length(Times) > Most of
        true ->
            {stop, {exited, Reason}, State};
        false ->
            case start_python(State#state{restarted = Times, restarts = State#state.restarts + 1}) of
                {ok, Started} -> {noreply, Started};
                {error, Failure} -> {stop, Failure, State}
            end
    end.

kill(#state{process = none} = State) ->
    State;
kill(#state{process = Process} = State) ->
    _ = py_nif:process_signal(Process, ?SIGKILL),
    State#state{phase = killed}.

%% Asked to end, so that what Python runs at exit is run, and killed when it does not.
end_python(#state{port = none}) ->
    ok;
end_python(#state{port = Port, phase = Phase, settings = #{stop_timeout := Timeout}} = State) ->
    Patience =
        case Phase of
            running -> ok = send(stop, 0, <<>>, State), Timeout;
            _ -> 0
        end,
    case has_ended(Port, Patience) of
        true ->
            release(State);
        false ->
            _ = kill(State),
            catch port_close(Port),
            %% Without a descriptor of the process its number counts, until the VM has seen its end.
            _ = has_ended(Port, 1000),
            release(State)
    end.

has_ended(Port, Timeout) ->
    receive
        {Port, {exit_status, _}} -> true;
        {'EXIT', Port, _} -> true
    after Timeout -> false
    end.

%%% Frames

handle_frames([], State) ->
    {noreply, State};
handle_frames([{Kind, Number, Term} | Frames], State) ->
    case handle_frame(Kind, Number, Term, State) of
        {stop, Reason, Next} -> {stop, Reason, Next};
        Next -> handle_frames(Frames, Next)
    end.

%% Python waits for its configuration, so this is its number.
handle_frame(hello, _, _, #state{os_pid = OsPid, settings = #{config := Config}} = State) when is_integer(OsPid) ->
    case py_nif:process_watch(OsPid, self()) of
        {ok, Process} ->
            Next = State#state{process = Process},
            ok = send(configure, 0, term_to_binary(Config), Next),
            Next;
        {error, Reason} ->
            {stop, {cannot_watch, OsPid, Reason}, State}
    end;
handle_frame(ready, _, _, #state{phase = starting, start_timer = Timer} = State) ->
    ok = cancel_timer(Timer),
    Running = State#state{phase = running, start_timer = none},
    #state{others = Others} = Running,
    next(Running#state{others = maps:map(fun(_, Request) -> send_request(Request, Running) end, Others)});
handle_frame(refused, _, Term, State) ->
    {stop, {setup_failed, py_isolated_term:exception(Term, true)}, State};
handle_frame(Kind, Number, Term, State) when Kind =:= value; Kind =:= exception ->
    case take(Number, State) of
        {ok, Request, Rest} ->
            ok = reply(Request, {Kind, Term}),
            next(Rest);
        error ->
            State
    end;
handle_frame(call, Number, Term, #state{port = Port, callbacks = Callbacks} = State) ->
    Server = self(),
    {_, Monitor} = spawn_monitor(fun() -> py_isolated_callback:call({Server, Port}, Number, Term) end),
    State#state{callbacks = Callbacks#{Monitor => Number}};
handle_frame(Kind, Number, Term, State) when Kind =:= send; Kind =:= whereis; Kind =:= registered ->
    ok = send(answer, Number, py_isolated_callback:Kind(Term), State),
    State;
handle_frame(_Kind, _Number, _Term, State) ->
    %% Not of our Python, then.
    kill(State).

send(_Kind, _Number, _Term, #state{port = none}) ->
    ok;
send(Kind, Number, Term, #state{port = Port}) ->
    %% A port whose process has just ended is gone; its message says so.
    _ = catch port_command(Port, py_isolated_frame:frame(py_isolated_frame:request(Kind), Number, Term)),
    ok.

callback_ended(Number, Reason, State) when Reason =/= normal ->
    ok = send(answer, Number, py_isolated_callback:failure(exit, Reason, []), State),
    State;
callback_ended(_Number, normal, State) ->
    State.

%%% Requests

accept(#request{nested = Nested, kind = Kind} = Request, State) when Nested; Kind =:= run ->
    #state{others = Others, settings = #{queue_limit := Limit}} = State,
    case maps:size(Others) < Limit of
        true ->
            Sent =
                case State#state.phase of
                    running -> send_request(Request, State);
                    _ -> Request
                end,
            {noreply, State#state{others = Others#{Request#request.number => Sent}}};
        false ->
            ok = reply(Request, {error, busy}),
            {noreply, State}
    end;
accept(Request, #state{queue = Queue, queued = Queued, settings = #{queue_limit := Limit}} = State) ->
    case Queued < Limit of
        true ->
            {noreply, next(State#state{queue = queue:in(Request, Queue), queued = Queued + 1})};
        false ->
            ok = reply(Request, {error, busy}),
            {noreply, State}
    end.

%% Gives Python its next call.
next(#state{phase = running, current = none, queue = Queue, queued = Queued} = State) ->
    case queue:out(Queue) of
        {{value, Request}, Rest} ->
            State#state{current = send_request(Request, State), queue = Rest, queued = Queued - 1};
        {empty, _} ->
            State
    end;
next(State) ->
    State.

send_request(#request{kind = Kind, number = Number, term = Term} = Request, State) ->
    ok = send(Kind, Number, Term, State),
    Request#request{sent = true, term = <<>>}.

find(Number, #state{current = #request{number = Number} = Request}) -> {ok, Request};
find(Number, #state{others = Others}) -> maps:find(Number, Others).

take(Number, #state{current = #request{number = Number} = Request} = State) ->
    {ok, Request, State#state{current = none}};
take(Number, #state{others = Others} = State) ->
    case maps:take(Number, Others) of
        {Request, Rest} -> {ok, Request, State#state{others = Rest}};
        error -> error
    end.

store(#request{number = Number} = Request, #state{current = #request{number = Number}} = State) ->
    State#state{current = Request};
store(#request{number = Number} = Request, #state{others = Others} = State) ->
    State#state{others = Others#{Number := Request}}.

out_of_time(Number, State) ->
    case find(Number, State) of
        {ok, #request{sent = false} = Request} ->
            {ok, _, Rest} = take(Number, State),
            ok = reply(Request, {error, timeout}),
            Rest;
        {ok, Request} ->
            Left = answer(Request, {error, timeout}),
            give_up(Left, Left#request.kill_after, store(Left, State));
        error ->
            drop(fun(#request{number = N}) -> N =:= Number end, {error, timeout}, State)
    end.

caller_gone(Monitor, State) ->
    Its = fun(#request{monitor = M}) -> M =:= Monitor end,
    #state{current = Current, others = Others} = State,
    case [Request || Request <- [Current | maps:values(Others)], Request =/= none, Its(Request)] of
        [#request{number = Number, sent = false} = Request] ->
            {ok, _, Rest} = take(Number, State),
            ok = reply(Request, gone),
            Rest;
        [Request] ->
            Left = answer(Request, gone),
            give_up(Left, Left#request.kill_after, store(Left, State));
        [] ->
            drop(Its, gone, State)
    end.

%% Nobody waits for it any more.
give_up(#request{kind = run, number = Number} = Request, KillAfter, State) ->
    ok = send(cancel, Number, <<>>, State),
    kill_later(Request, KillAfter, State);
give_up(#request{interrupt = Interrupt, number = Number} = Request, KillAfter, State) ->
    _ = Interrupt andalso send(interrupt, Number, <<>>, State),
    kill_later(Request, KillAfter, State).

kill_later(_Request, infinity, State) -> State;
kill_later(_Request, 0, State) -> kill(State);
kill_later(#request{number = Number} = Request, KillAfter, State) ->
    store(Request#request{kill_timer = start_timer(KillAfter, {kill, Number})}, State).

%% Takes a call out of the queue.
drop(Its, Result, #state{queue = Queue} = State) ->
    {Dropped, Kept} = lists:partition(Its, queue:to_list(Queue)),
    [reply(Request, Result) || Request <- Dropped],
    State#state{queue = queue:from_list(Kept), queued = length(Kept)}.

reply(Request, Result) ->
    _ = answer(Request, Result),
    ok.

%% Answers whoever waits; what Python still does is of no interest to anybody.
answer(#request{from = From, monitor = Monitor, timer = Timer, kill_timer = KillTimer} = Request, Result) ->
    ok = cancel_timer(Timer),
    ok = cancel_timer(KillTimer),
    _ = demonitor(Monitor, [flush]),
    _ = From =/= none andalso Result =/= gone andalso gen_server:reply(From, Result),
    Request#request{from = none, timer = none, kill_timer = none}.

%%% Timers

start_timer(infinity, _Message) -> none;
start_timer(Time, Message) -> erlang:start_timer(Time, self(), Message).

cancel_timer(none) -> ok;
cancel_timer(Timer) ->
    _ = erlang:cancel_timer(Timer, [{async, true}, {info, false}]),
    ok.
