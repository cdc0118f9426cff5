%% @private The server of an isolated Python: starts its process, hands it requests, and ends it.
%%
%% Calls wait here and go to Python one at a time, so that it is known which one runs; coroutines, and what a callback
%% asks of the Python that waits for it, go at once. What waits here survives the end of the process, which is started
%% again; what has been sent is answered `{error, {exited, Reason}}'.
%%
%% Nothing here waits for Python: the port takes any amount of data, and what comes from it is decoded by those who want
%% it. What the process may have waiting in the VM is bounded; beyond that it is killed.
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
    %% Whether it has ever been running.
    ready = false :: boolean(),
    %% Why it was killed.
    killed = none :: none | killed | protocol_error,
    port = none :: port() | none,
    os_pid = none :: pos_integer() | none,
    process = none :: py_nif:os_process() | none,
    buffer :: py_isolated_frame:buffer(),
    timer = none :: reference() | none,
    %% Looks now and then whether it lives, while somebody waits for it.
    look = none :: reference() | none,
    %% Numbers of calls that wait, some of which may be gone from `waiting' meanwhile.
    queue = queue:new() :: queue:queue(pos_integer()),
    waiting = #{} :: #{pos_integer() => #request{}},
    current = none :: #request{} | none,
    %% Coroutines and nested calls, by their numbers.
    others = #{} :: #{pos_integer() => #request{}},
    callers = #{} :: #{reference() => pos_integer()},
    next = 1 :: pos_integer(),
    %% Monitors of the processes that answer questions, by the questions' numbers.
    callbacks = #{} :: #{non_neg_integer() => reference()},
    %% Answers that nobody asked for.
    strays = 0 :: non_neg_integer(),
    %% Times of restarts, the last first, in seconds.
    restarted = [] :: [integer()],
    restarts = 0 :: non_neg_integer(),
    calls = 0 :: non_neg_integer()
}).

-define(SIGKILL, 9).
%% py_isolated_pool means the same by it.
-define(GONE, 1 bsl 40).
-define(SIGNAL_STATUS, 128).
-define(LOOK_INTERVAL, 1000).
%% How long the VM may take to hear of the end of a process, in milliseconds.
-define(HEARING, 1000).
%% What a process may have waiting here.
-define(MOST_CALLBACKS, 10000).
-define(MOST_STRAYS, 1000).
-define(MOST_UNREAD, 16 * 1024 * 1024).
-define(MOST_MESSAGES, 1000).
-define(PORT_READ, 65536).
%% Terms from which on a garbage collection is worth its time.
-define(LARGE, 1 bsl 20).
%% Questions of a process have numbers that no process before it had.
-define(NUMBERS, (1 bsl 40)).

%%% gen_server

-spec init(settings()) -> {ok, #state{}} | {stop, term()}.
init(Settings) ->
    process_flag(trap_exit, true),
    State = #state{settings = Settings, buffer = py_isolated_frame:new(maps:get(max_bytes, Settings))},
    case start_python(State) of
        {ok, Started} -> await_start(Started);
        {error, Reason} -> {stop, Reason}
    end.

%% The caller of start_link learns whether Python runs. Its setup may call Erlang, and be called from there.
await_start(State) ->
    Result =
        receive
            {'$gen_call', From, Message} -> reply_now(From, called(Message, From, State));
            {'$gen_cast', _} -> {noreply, State};
            Message when element(1, Message) =/= system -> told(Message, State)
        end,
    case Result of
        {noreply, #state{phase = running} = Running} ->
            published({ok, Running});
        {noreply, #state{port = none} = Ended} ->
            ok = answer_all({error, closed}, Ended),
            {stop, killed};
        {noreply, Next} ->
            await_start(Next);
        {stop, Reason, Next} ->
            ok = terminate(Reason, Next),
            {stop, Reason}
    end.

reply_now(From, {reply, Reply, State}) ->
    gen_server:reply(From, Reply),
    {noreply, State};
reply_now(_From, Result) ->
    Result.

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
terminate(Reason, State) ->
    _ = published({stop, Reason, State}),
    ok = answer_all({error, closed}, State),
    end_python(State).

answer_all(Result, #state{current = Current, others = Others, waiting = Waiting}) ->
    lists:foreach(
        fun(Request) -> reply(Request, Result) end,
        [Current || Current =/= none] ++ maps:values(Others) ++ maps:values(Waiting)
    ).

%% How many requests the server has, more than any has when it ends, where somebody wants to know it.
published({stop, _, #state{settings = #{load := {Load, Index}}}} = Result) ->
    ok = atomics:put(Load, Index, ?GONE),
    Result;
published(Result) ->
    case element(tuple_size(Result), Result) of
        #state{settings = #{load := {Load, Index}}} = State -> ok = atomics:put(Load, Index, requests(State));
        _ -> ok
    end,
    Result.

requests(#state{waiting = Waiting} = State) -> map_size(Waiting) + sent(State).

sent(#state{current = none, others = Others}) -> map_size(Others);
sent(#state{others = Others}) -> map_size(Others) + 1.

called({request, Kind, Via, Term, Options}, {Caller, _} = From, #state{next = Number} = State) ->
    Monitor = monitor(process, Caller),
    Request = #request{
        number = Number,
        kind = Kind,
        nested = Via =/= 0,
        from = From,
        monitor = Monitor,
        timer = start_timer(maps:get(timeout, Options, infinity), {timeout, Number}),
        interrupt = maps:get(interrupt, Options, false),
        kill_after = maps:get(kill_after, Options, infinity),
        term = Term
    },
    accept(Request, State#state{
        next = Number + 1, calls = State#state.calls + 1, callers = (State#state.callers)#{Monitor => Number}
    });
called(info, _From, #state{phase = Phase, waiting = Waiting} = State) ->
    Info = #{
        state => Phase,
        os_pid => State#state.os_pid,
        queued => map_size(Waiting),
        running => sent(State),
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
    {reply, ok, kill(killed, State)};
called(_Request, _From, State) ->
    {reply, {error, unknown_call}, State}.

told({Port, {data, Data}}, #state{port = Port, buffer = Buffer} = State) ->
    case py_isolated_frame:add(Data, Buffer) of
        {Frames, Rest} -> handle_frames(Frames, flooded(State#state{buffer = Rest}));
        too_large -> {noreply, kill(protocol_error, State)}
    end;
told({Port, {exit_status, Status}}, #state{port = Port} = State) ->
    ended(reason(Status, State), State);
told({'EXIT', Port, _Reason}, #state{port = Port} = State) ->
    %% Of a pipe that broke: the process may live.
    Killed = kill(protocol_error, State),
    ended(reason(unknown, Killed), Killed);
told({'EXIT', Pid, Reason}, State) when is_pid(Pid), Reason =/= normal ->
    %% Of whoever started it; gen_server itself looks after its parent.
    {stop, Reason, State};
told({timeout, Timer, start}, #state{timer = Timer} = State) ->
    {stop, start_timeout, State};
told({timeout, Timer, unheard}, #state{timer = Timer} = State) ->
    %% Something that it started holds its end of the pipe, for which the VM waits.
    ended(reason(unknown, State), State);
told({timeout, Look, look}, #state{look = Look} = State) ->
    {noreply, look(State#state{look = none})};
told({timeout, _Timer, {timeout, Number}}, State) ->
    {noreply, out_of_time(Number, State)};
told({timeout, _Timer, {kill, Number}}, State) ->
    case find(Number, State) of
        {ok, _} -> {noreply, kill(killed, State)};
        error -> {noreply, State}
    end;
told({'DOWN', Monitor, process, _, _Reason}, State) ->
    {noreply, caller_gone(Monitor, State)};
told({{callback, Number}, Monitor, process, _, Reason}, #state{callbacks = Callbacks} = State) ->
    case Callbacks of
        #{Number := Monitor} ->
            %% It did not answer.
            ok = send(answer, Number, py_isolated_callback:failure(exit, Reason, []), State),
            {noreply, State#state{callbacks = maps:remove(Number, Callbacks)}};
        #{} ->
            {noreply, State}
    end;
told({answer, Port, Number, Term}, #state{port = Port, callbacks = Callbacks} = State) ->
    %% Of this process of Python's, not of one before it.
    case maps:take(Number, Callbacks) of
        {Monitor, Rest} ->
            _ = demonitor(Monitor, [flush]),
            ok = send(answer, Number, Term, State),
            {noreply, State#state{callbacks = Rest}};
        error ->
            {noreply, State}
    end;
told(collect_garbage, State) ->
    _ = garbage_collect(),
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
            {OsPid, Process} = watch(Port),
            {ok, State#state{
                phase = starting,
                ready = false,
                killed = none,
                port = Port,
                os_pid = OsPid,
                process = Process,
                strays = 0,
                buffer = py_isolated_frame:new(maps:get(max_bytes, Settings)),
                timer = start_timer(maps:get(start_timeout, Settings), start)
            }}
    catch
        error:Reason -> {error, {cannot_start, Executable, Reason}}
    end.

%% At once, so that the number is that of this process.
watch(Port) ->
    case erlang:port_info(Port, os_pid) of
        {os_pid, Number} ->
            case py_nif:process_watch(Number, self()) of
                {ok, Process} -> {Number, Process};
                %% It has ended, which will be heard.
                {error, _} -> {Number, none}
            end;
        undefined ->
            {none, none}
    end.

reason(_Status, #state{killed = Killed}) when Killed =/= none -> Killed;
reason(unknown, _State) -> unknown;
reason(Status, _State) when Status > ?SIGNAL_STATUS -> {signal, Status - ?SIGNAL_STATUS};
reason(Status, _State) -> {status, Status}.

%% The process is gone, and with it what it was doing.
ended(Reason, #state{port = Port, current = Current, others = Others, callbacks = Callbacks} = State) ->
    ok = release(State),
    _ = catch port_close(Port),
    ok = cancel_timer(State#state.timer),
    ok = cancel_timer(State#state.look),
    %% Coroutines that it has not got yet are for the next one.
    Kept = maps:filter(fun(_, #request{sent = Sent, nested = Nested}) -> not (Sent orelse Nested) end, Others),
    Lost = [Current || Current =/= none] ++ maps:values(maps:without(maps:keys(Kept), Others)),
    [demonitor(Monitor, [flush]) || Monitor <- maps:values(Callbacks)],
    Free = State#state{
        port = none, os_pid = none, process = none, current = none, others = Kept, callbacks = #{}, timer = none, look = none,
        callers = maps:without([Monitor || #request{monitor = Monitor} <- Lost], State#state.callers)
    },
    Result =
        case State#state.ready orelse Reason =:= killed of
            true -> restart(Reason, Free);
            false -> {stop, {exited, Reason}, Free}
        end,
    %% Whoever hears of it and asks a pool again shall not be sent here when this server ends as well.
    _ = published(Result),
    [reply(Request, {error, {exited, Reason}}) || Request <- Lost],
    Result.

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

kill(_Reason, #state{phase = killed} = State) ->
    State;
kill(Reason, #state{process = Process} = State) ->
    _ = Process =/= none andalso py_nif:process_signal(Process, ?SIGKILL),
    ok = cancel_timer(State#state.timer),
    State#state{phase = killed, killed = Reason, timer = start_timer(?HEARING, unheard)}.

%% Without a signal: whether it lives.
look(#state{process = Process, phase = running} = State) when Process =/= none ->
    case py_nif:process_signal(Process, 0) of
        {error, esrch} -> State#state{timer = start_timer(?HEARING, unheard)};
        _ -> looking(State)
    end;
look(State) ->
    State.

looking(#state{look = none, phase = running} = State) ->
    case sent(State) of
        0 -> State;
        _ -> State#state{look = start_timer(?LOOK_INTERVAL, look)}
    end;
looking(State) ->
    State.

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
            _ = kill(killed, State),
            catch port_close(Port),
            release(State)
    end.

has_ended(Port, Timeout) ->
    receive
        {Port, {exit_status, _}} -> true;
        {'EXIT', Port, _} -> false
    after Timeout -> false
    end.

%% What has come and was not looked at yet may be as much as one term may have, and no more.
flooded(#state{settings = #{max_bytes := Most}} = State) ->
    {message_queue_len, Length} = process_info(self(), message_queue_len),
    case Length > ?MOST_MESSAGES + Most div ?PORT_READ + requests(State) * 4 of
        true -> kill(protocol_error, State);
        false -> State
    end.

%%% Frames

handle_frames([], State) ->
    {noreply, State};
handle_frames([{Kind, Number, Term} | Frames], State) ->
    case handle_frame(Kind, Number, Term, State) of
        {stop, Reason, Next} ->
            {stop, Reason, Next};
        Next ->
            %% Not now, while the term is in use.
            _ = byte_size(Term) > ?LARGE andalso (self() ! collect_garbage),
            handle_frames(Frames, Next)
    end.

handle_frame(_, _, _, #state{phase = killed} = State) ->
    State;
handle_frame(hello, _, _, #state{phase = starting, settings = #{config := Config}} = State) ->
    First = State#state.restarts * ?NUMBERS + 1,
    ok = send(configure, 0, term_to_binary(Config#{first_number => First}), State),
    State;
handle_frame(ready, _, _, #state{phase = starting, timer = Timer, others = Others} = State) ->
    ok = cancel_timer(Timer),
    Running = State#state{phase = running, ready = true, timer = none},
    next(Running#state{
        others = maps:map(
            fun
                (_, #request{sent = true} = Request) -> Request;
                (_, Request) -> send_request(Request, Running)
            end,
            Others
        )
    });
handle_frame(refused, _, Term, #state{phase = starting} = State) ->
    {stop, {setup_failed, py_isolated_term:exception(Term, true)}, State};
handle_frame(Kind, Number, Term, State) when Kind =:= value; Kind =:= exception ->
    case take(Number, State) of
        {ok, Request, Rest} ->
            ok = reply(Request, {Kind, Term}),
            next(forget_caller(Request, Rest));
        error when State#state.strays < ?MOST_STRAYS ->
            State#state{strays = State#state.strays + 1};
        error ->
            kill(protocol_error, State)
    end;
handle_frame(call, Number, _, #state{callbacks = Callbacks} = State) when map_size(Callbacks) >= ?MOST_CALLBACKS ->
    answer(Number, py_isolated_callback:busy(), State);
handle_frame(call, Number, Term, #state{port = Port, callbacks = Callbacks} = State) ->
    Server = self(),
    {_, Monitor} = spawn_opt(
        fun() -> py_isolated_callback:call({Server, Port}, Number, Term) end, [{monitor, [{tag, {callback, Number}}]}]
    ),
    State#state{callbacks = Callbacks#{Number => Monitor}};
handle_frame(Kind, Number, Term, State) when Kind =:= send; Kind =:= whereis; Kind =:= registered ->
    answer(Number, py_isolated_callback:Kind(Term), State);
handle_frame(_Kind, _Number, _Term, State) ->
    %% Not of our Python, then.
    kill(protocol_error, State).

%% Of a question that takes no time. One who asks and does not listen would fill the port's queue.
answer(Number, Term, #state{port = Port} = State) ->
    ok = send(answer, Number, Term, State),
    case erlang:port_info(Port, queue_size) of
        {queue_size, Size} when Size > ?MOST_UNREAD ->
            case requests_unread(State) of
                true -> State;
                false -> kill(protocol_error, State)
            end;
        _ ->
            State
    end.

%% What waits there may be large arguments.
requests_unread(#state{current = none, others = Others}) -> map_size(Others) > 0;
requests_unread(_State) -> false.

send(_Kind, _Number, _Term, #state{port = none}) ->
    ok;
send(Kind, Number, Term, #state{port = Port}) ->
    %% A port whose process has just ended is gone; its message says so.
    _ = catch port_command(Port, py_isolated_frame:frame(py_isolated_frame:request(Kind), Number, Term)),
    ok.

%%% Requests

accept(#request{nested = Nested, kind = Kind} = Request, State) when Nested; Kind =:= run ->
    #state{others = Others, settings = #{queue_limit := Limit}} = State,
    case map_size(Others) < Limit of
        true ->
            Sent =
                case State#state.phase of
                    running -> send_request(Request, State);
                    %% Asked for by the setup.
                    starting when Nested -> send_request(Request, State);
                    _ -> Request
                end,
            {noreply, looking(State#state{others = Others#{Request#request.number => Sent}})};
        false ->
            ok = reply(Request, {error, busy}),
            {noreply, forget_caller(Request, State)}
    end;
accept(#request{number = Number} = Request, #state{queue = Queue, waiting = Waiting} = State) ->
    #state{settings = #{queue_limit := Limit}} = State,
    case map_size(Waiting) < Limit of
        true ->
            {noreply, next(State#state{queue = queue:in(Number, Queue), waiting = Waiting#{Number => Request}})};
        false ->
            ok = reply(Request, {error, busy}),
            {noreply, forget_caller(Request, State)}
    end.

%% Gives Python its next call.
next(#state{phase = running, current = none, queue = Queue, waiting = Waiting} = State) ->
    case queue:out(Queue) of
        {{value, Number}, Rest} ->
            case maps:take(Number, Waiting) of
                {Request, Others} ->
                    looking(State#state{current = send_request(Request, State), queue = Rest, waiting = Others});
                error ->
                    next(State#state{queue = Rest})
            end;
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

forget_caller(#request{monitor = Monitor}, #state{callers = Callers} = State) ->
    State#state{callers = maps:remove(Monitor, Callers)}.

caller_gone(Monitor, #state{callers = Callers} = State) ->
    case Callers of
        #{Monitor := Number} -> over(Number, gone, State);
        #{} -> State
    end.

out_of_time(Number, State) ->
    over(Number, {error, timeout}, State).

%% Nobody waits for a request any more.
over(Number, Result, #state{waiting = Waiting} = State) ->
    case {find(Number, State), Waiting} of
        {{ok, #request{sent = true} = Request}, _} ->
            Left = answered(Request, Result),
            give_up(Left, store(Left, forget_caller(Request, State)));
        {{ok, Request}, _} ->
            {ok, _, Rest} = take(Number, State),
            ok = reply(Request, Result),
            forget_caller(Request, Rest);
        {error, #{Number := Request}} ->
            ok = reply(Request, Result),
            forget_caller(Request, State#state{waiting = maps:remove(Number, Waiting)});
        {error, _} ->
            State
    end.

give_up(#request{kind = run, number = Number} = Request, State) ->
    ok = send(cancel, Number, <<>>, State),
    kill_later(Request, State);
give_up(#request{interrupt = Interrupt, number = Number} = Request, State) ->
    _ = Interrupt andalso send(interrupt, Number, <<>>, State),
    kill_later(Request, State).

kill_later(#request{kill_after = infinity}, State) ->
    State;
kill_later(#request{kill_after = 0}, State) ->
    kill(killed, State);
kill_later(#request{kill_after = KillAfter, number = Number} = Request, State) ->
    store(Request#request{kill_timer = start_timer(KillAfter, {kill, Number})}, State).

reply(Request, Result) ->
    _ = answered(Request, Result),
    ok.

%% Answers whoever waits; what Python still does is of no interest to anybody.
answered(#request{from = From, monitor = Monitor, timer = Timer, kill_timer = KillTimer} = Request, Result) ->
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
