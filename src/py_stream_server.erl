%% @private Drives the streams: has Python run each for a time slice after the other, while somebody wants its values.
%%
%% Python sends the values; this process sends the end. A stream on a context is a chain of calls there, one on an event
%% loop is one task. A stream is in the table from before its first value until after its last message; the table belongs
%% to the supervisor, so that the server's successor can tell the owners when it died.
-module(py_stream_server).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0, new_table/0]).
-export([start/6, more/2, received/1, cancel/1, owner/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(TABLE, ?MODULE).
-define(PYTHON, 'erlang._streams').
-define(CALL, 0).
%% Milliseconds.
-define(STOP_TIMEOUT, 1000).
-define(RETRY, 10).

-record(stream, {
    target :: py_stream:target(),
    owner :: pid(),
    monitor :: reference(),
    flags :: py_nif:flags(),
    %% What may be sent after the slice that runs; `none': any number.
    credit :: non_neg_integer() | none,
    %% The slice or task that runs, and how it is interrupted; `none' while the owner has not asked for more.
    running :: {reference(), py_nif:task_id() | none} | none,
    %% Cancelled: Python was told to send nothing more, and (`stopped') has answered.
    cancelled = false :: false | stopping | stopped,
    %% Who cancelled it is not the owner, who is to learn of it.
    tell = false :: boolean()
}).

-record(state, {
    streams = #{} :: #{reference() => #stream{}},
    %% Of slices and tasks (their stream), and of calls that stop one (who waits for that).
    tasks = #{} :: #{reference() => reference() | {stop, reference(), gen_server:from() | none}},
    owners = #{} :: #{reference() => reference()},
    %% Tells Python which streams are of a server that died.
    epoch :: integer()
}).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc The table of open streams, `{Reference, Owner, HasWindow, Target}'; it belongs to the caller.
-spec new_table() -> ok.
new_table() ->
    ?TABLE = ets:new(?TABLE, [named_table, public, {read_concurrency, true}]),
    ok.

%% @doc Starts a stream by a function of `erlang._streams' with its arguments after the first four.
-spec start(py_stream:target(), pid(), pos_integer() | infinity, py_nif:flags(), atom(), [term()]) ->
    {ok, reference()} | {error, py:error_reason()}.
start(Target, Owner, Window, Flags, Entry, Arguments) ->
    try
        gen_server:call(?MODULE, {start, Target, Owner, credit(Window), Flags, Entry, Arguments}, infinity)
    of
        {bad_target, {Kind, Value}} -> error({bad_argument, Kind, Value});
        Result -> Result
    catch
        exit:{Reason, {gen_server, call, _}} when Reason =:= noproc; Reason =:= shutdown ->
            error({not_started, erlang_python});
        exit:{_, {gen_server, call, _}} ->
            {error, closed}
    end.

credit(infinity) -> none;
credit(Window) -> Window.

%% @doc Allows a stream more values.
-spec more(reference(), pos_integer()) -> ok.
more(Reference, Count) ->
    gen_server:cast(?MODULE, {more, Reference, Count}).

%% @doc The owner took a value; allows one more where that counts.
-spec received(reference()) -> ok.
received(Reference) ->
    try ets:lookup_element(?TABLE, Reference, 3) of
        true -> more(Reference, 1);
        false -> ok
    catch
        error:badarg -> ok
    end.

%% @doc Ends a stream; when this returns, nothing more of it is sent.
-spec cancel(reference()) -> ok.
cancel(Reference) ->
    try
        gen_server:call(?MODULE, {cancel, Reference}, infinity)
    catch
        %% The streams ended with the server; its successor need not tell of this one.
        exit:_ -> forget(Reference)
    end.

forget(Reference) ->
    try ets:delete(?TABLE, Reference) of
        true -> ok
    catch
        error:badarg -> ok
    end.

%% @doc Who gets the messages of a stream; `none' when all were sent.
-spec owner(reference()) -> {ok, pid()} | none.
owner(Reference) ->
    try
        {ok, ets:lookup_element(?TABLE, Reference, 2)}
    catch
        error:badarg -> none
    end.

%%% gen_server

-spec init([]) -> {ok, #state{}}.
init([]) ->
    process_flag(trap_exit, true),
    Epoch = epoch(),
    ok = end_all(Epoch, [{Reference, Owner, Target} || {Reference, Owner, _, Target} <- ets:tab2list(?TABLE)]),
    {ok, #state{epoch = Epoch}}.

%% Python takes streams of an earlier number for those of a server that is gone.
epoch() ->
    erlang:unique_integer([monotonic, positive]).

%% Ends all streams of a server and tells their owners. Values that come after that would be taken for another stream's.
end_all(_Epoch, []) ->
    ok;
end_all(Epoch, Streams) ->
    Deadline = erlang:monotonic_time(millisecond) + ?STOP_TIMEOUT,
    ok = await(submit({context, any}, stop_all, [Epoch], 0), Deadline),
    [ok = send_end(Reference, Owner, {error, closed}) || {Reference, Owner, _} <- Streams],
    Closing = [submit(Target, close, [Reference], 0) || {Reference, _, Target} <- Streams],
    lists:foreach(fun(Submitted) -> await(Submitted, Deadline) end, Closing).

await({ok, {Task, _}}, Deadline) ->
    receive
        {async_result, Task, _} -> ok
    after max(0, Deadline - erlang:monotonic_time(millisecond)) -> ok
    end;
await({error, _}, _Deadline) ->
    ok.

%% The table goes with the supervisor, which may have gone first.
send_end(Reference, Owner, Message) ->
    Owner ! {py_stream, Reference, Message},
    forget(Reference).

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}} | {noreply, #state{}}.
handle_call({start, Target, Owner, Credit, Flags, Entry, Arguments}, _From, State) ->
    Reference = make_ref(),
    true = ets:insert(?TABLE, {Reference, Owner, Credit =/= none, Target}),
    Stream = #stream{
        target = Target,
        owner = Owner,
        monitor = erlang:monitor(process, Owner),
        flags = Flags,
        credit = spent(Credit),
        running = none
    },
    try submit(Target, Entry, [State#state.epoch, Reference, Owner, Credit | Arguments], Flags) of
        {ok, Running} ->
            Owners = maps:put(Stream#stream.monitor, Reference, State#state.owners),
            {reply, {ok, Reference}, put_running(Reference, Stream, Running, State#state{owners = Owners})};
        {error, Reason} ->
            abolish(Reference, Stream, {error, Reason}, State)
    catch
        error:badarg -> abolish(Reference, Stream, {bad_target, Target}, State)
    end;
handle_call({cancel, Reference}, From, #state{streams = Streams} = State) ->
    case Streams of
        #{Reference := #stream{owner = Owner} = Stream} ->
            {Caller, _} = From,
            cancelled(Reference, Stream#stream{tell = Caller =/= Owner}, From, State);
        #{} ->
            {reply, ok, State}
    end;
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_call}, State}.

abolish(Reference, Stream, Reply, State) ->
    true = erlang:demonitor(Stream#stream.monitor, [flush]),
    true = ets:delete(?TABLE, Reference),
    {reply, Reply, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({more, Reference, Count}, #state{streams = Streams} = State) ->
    case Streams of
        #{Reference := #stream{credit = Credit, cancelled = false} = Stream} when is_integer(Credit) ->
            {noreply, grant(Reference, Stream#stream{credit = Credit + Count}, State)};
        #{} ->
            {noreply, State}
    end;
handle_cast(_Message, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({async_result, Task, Result}, #state{tasks = Tasks, streams = Streams} = State) ->
    case maps:take(Task, Tasks) of
        {{stop, Reference, From}, Rest} ->
            ok = reply(From),
            {noreply, stopped(Reference, State#state{tasks = Rest})};
        {Reference, Rest} ->
            #{Reference := Stream} = Streams,
            {noreply, ran(Result, Reference, Stream#stream{running = none}, State#state{tasks = Rest})};
        error ->
            {noreply, State}
    end;
handle_info({'DOWN', Monitor, process, _, _}, #state{owners = Owners, streams = Streams} = State) ->
    case Owners of
        #{Monitor := Reference} ->
            case cancelled(Reference, maps:get(Reference, Streams), none, State) of
                {noreply, _} = NoReply -> NoReply;
                {reply, ok, Ended} -> {noreply, Ended}
            end;
        #{} ->
            {noreply, State}
    end;
handle_info({stop, Reference, From}, #state{streams = Streams} = State) ->
    case Streams of
        #{Reference := Stream} ->
            {noreply, stop(Reference, Stream, From, State)};
        #{} ->
            ok = reply(From),
            {noreply, State}
    end;
handle_info({retry, Reference}, #state{streams = Streams} = State) ->
    case Streams of
        #{Reference := #stream{running = none, cancelled = false} = Stream} ->
            {noreply, resume(Reference, Stream, State)};
        #{Reference := #stream{target = {loop, _}, credit = Credit, cancelled = false} = Stream} when Credit > 0 ->
            {noreply, grant(Reference, Stream, State)};
        #{} ->
            {noreply, State}
    end;
handle_info(_Message, State) ->
    {noreply, State}.

-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{streams = Streams}) ->
    end_all(epoch(), [
        {Reference, Owner, Target}
     || {Reference, #stream{owner = Owner, target = Target}} <- maps:to_list(Streams)
    ]).

%%% A slice and what follows it

%% A context is asked for the next slice when there is credit for it, a loop is told of it at once.
grant(Reference, #stream{target = {loop, Loop}, credit = Credit} = Stream, State) ->
    case py_nif:event_loop_spawn_task(Loop, make_ref(), ?CALL, ?PYTHON, add_credit, [Reference, Credit], #{}, 0) of
        {error, Reason} when Reason =:= busy; Reason =:= enomem ->
            retry(Reference, Stream, State);
        _ ->
            put_stream(Reference, Stream#stream{credit = 0}, State)
    end;
grant(Reference, #stream{running = none, credit = Credit} = Stream, State) when Credit =/= 0 ->
    resume(Reference, Stream, State);
grant(Reference, Stream, State) ->
    put_stream(Reference, Stream, State).

resume(Reference, #stream{credit = Credit} = Stream, State) ->
    case submit(Stream#stream.target, resume, [Reference, Credit], Stream#stream.flags) of
        {ok, Running} ->
            put_running(Reference, Stream#stream{credit = spent(Credit)}, Running, State);
        {error, Reason} when Reason =:= busy; Reason =:= enomem ->
            retry(Reference, Stream, State);
        {error, Reason} ->
            _ = cast(discard, [Reference]),
            finish(Reference, Stream, {error, Reason}, State)
    end.

retry(Reference, Stream, State) ->
    _ = erlang:send_after(?RETRY, self(), {retry, Reference}),
    put_stream(Reference, Stream, State).

ran(Result, Reference, #stream{cancelled = false} = Stream, State) ->
    case Result of
        {ok, <<"more">>} ->
            resume(Reference, Stream, State);
        {ok, <<"spent">>} ->
            grant(Reference, Stream, State);
        {ok, _} ->
            finish(Reference, Stream, done, State);
        {error, Reason} ->
            %% A thread that was given up may come back to the stream.
            _ = cast(discard, [Reference]),
            finish(Reference, Stream, {error, Reason}, State)
    end;
ran({ok, Unfinished}, Reference, Stream, State) when Unfinished =:= <<"more">>; Unfinished =:= <<"spent">> ->
    %% It came to its end before it was stopped.
    _ = submit_cast(Stream#stream.target, close, [Reference]),
    finish(Reference, Stream, none, State);
ran(Result, Reference, #stream{cancelled = Cancelled} = Stream, State) ->
    ok = log_failure(Result, Stream),
    _ = Cancelled =:= stopped andalso cast(discard, [Reference]),
    finish(Reference, Stream, none, State).

finish(Reference, #stream{owner = Owner, monitor = Monitor} = Stream, Message, State) ->
    true = erlang:demonitor(Monitor, [flush]),
    ok =
        case {Message, Stream#stream.tell} of
            {none, true} -> send_end(Reference, Owner, {error, cancelled});
            {none, false} -> forget(Reference);
            _ -> send_end(Reference, Owner, Message)
        end,
    State#state{
        streams = maps:remove(Reference, State#state.streams),
        owners = maps:remove(Monitor, State#state.owners)
    }.

%%% Cancelling

%% One that does not run is closed where it ran, and sends nothing any more; else Python is told not to send, and closes
%% it when the slice comes to its end.
cancelled(_Reference, #stream{cancelled = stopped}, _From, State) ->
    {reply, ok, State};
cancelled(_Reference, #stream{cancelled = stopping}, none, State) ->
    {reply, ok, State};
cancelled(Reference, #stream{running = none} = Stream, _From, State) ->
    _ = submit_cast(Stream#stream.target, close, [Reference]),
    {reply, ok, finish(Reference, Stream, none, State)};
cancelled(Reference, #stream{cancelled = Before, running = {Task, Id}, flags = Flags} = Stream, From, State) ->
    %% Once: cleaning up must not be interrupted.
    _ = Before =:= false andalso end_task(Stream#stream.target, Task, Id, Flags),
    {noreply, stop(Reference, Stream#stream{cancelled = stopping}, From, State)}.

stop(Reference, Stream, From, #state{tasks = Tasks} = State) ->
    case submit({context, any}, stop, [State#state.epoch, Reference], 0) of
        {ok, {Stop, _}} ->
            put_stream(Reference, Stream, State#state{tasks = Tasks#{Stop => {stop, Reference, From}}});
        {error, Reason} when Reason =:= busy; Reason =:= enomem ->
            _ = erlang:send_after(?RETRY, self(), {stop, Reference, From}),
            put_stream(Reference, Stream, State);
        {error, _} ->
            %% Python is ending, and the stream's slice with it.
            ok = reply(From),
            put_stream(Reference, Stream#stream{cancelled = stopped}, State)
    end.

%% The thread of the stream may have ended before it was stopped or after, or not at all yet.
stopped(Reference, #state{streams = Streams} = State) ->
    case Streams of
        #{Reference := #stream{owner = Owner, tell = Tell} = Stream} ->
            %% Nothing more is sent, though the thread may take its time to notice.
            _ = Tell andalso send_end(Reference, Owner, {error, cancelled}),
            put_stream(Reference, Stream#stream{cancelled = stopped, tell = false}, State);
        #{} ->
            _ = cast(discard, [Reference]),
            State
    end.

end_task({context, _}, _Task, none, _Flags) -> ok;
end_task({context, _}, _Task, Id, Flags) -> py_task:interrupt(Id, Flags);
end_task({loop, Loop}, Task, _Id, _Flags) -> py_nif:event_loop_cancel(Loop, Task).

reply(none) -> ok;
reply(From) -> gen_server:reply(From, ok).

%% What a generator does when it is closed early nobody else would learn of.
log_failure({ok, _}, _) -> ok;
log_failure({error, Reason}, _) when Reason =:= cancelled; Reason =:= closed; Reason =:= loop_restarted -> ok;
log_failure({error, {'KeyboardInterrupt', _}}, _) -> ok;
log_failure({error, Reason}, #stream{owner = Owner}) ->
    ?LOG_WARNING("a stream for ~p failed after it was cancelled: ~tp", [Owner, Reason]).

%%% Python

%% The task of a coroutine, or a call, whose result comes as {async_result, Reference, Result}.
submit({context, Context}, Function, Arguments, Flags) ->
    Reference = make_ref(),
    case py_nif:context_call(Context, Reference, ?CALL, ?PYTHON, Function, Arguments, #{}, Flags) of
        Id when is_integer(Id) ->
            {ok, {Reference, Id}};
        {error, Reason} when Reason =:= busy; Reason =:= closed; Reason =:= enomem ->
            {error, Reason};
        Result ->
            %% It ran while we submitted it.
            self() ! {async_result, Reference, Result},
            {ok, {Reference, none}}
    end;
submit({loop, Loop}, Function, Arguments, Flags) ->
    Reference = make_ref(),
    case py_nif:event_loop_create_task(Loop, Reference, ?CALL, ?PYTHON, Function, Arguments, #{}, Flags) of
        ok -> {ok, {Reference, none}};
        {error, Reason} -> {error, Reason}
    end.

cast(Function, Arguments) ->
    submit_cast({context, any}, Function, Arguments).

submit_cast({context, Context}, Function, Arguments) ->
    py_nif:context_cast(Context, make_ref(), ?CALL, ?PYTHON, Function, Arguments, #{}, 1);
submit_cast({loop, Loop}, Function, Arguments) ->
    py_nif:event_loop_spawn_task(Loop, make_ref(), ?CALL, ?PYTHON, Function, Arguments, #{}, 1).

%%% State

spent(none) -> none;
spent(_) -> 0.

put_running(Reference, Stream, {Task, _} = Running, #state{tasks = Tasks} = State) ->
    put_stream(Reference, Stream#stream{running = Running}, State#state{tasks = Tasks#{Task => Reference}}).

put_stream(Reference, Stream, #state{streams = Streams} = State) ->
    State#state{streams = Streams#{Reference => Stream}}.
