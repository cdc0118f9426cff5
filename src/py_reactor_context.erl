%% @doc An event loop whose Python protocols serve descriptors that Erlang hands over: sockets that Erlang accepted, pipes,
%% anything that can be polled.
%%
%% Erlang listens, accepts and decides; Python says what happens on the connection (`erlang.reactor'); the VM waits. Each
%% reactor context is a process with an event loop of its own. When it ends, its connections are closed. See
%% docs/reactor.md.
-module(py_reactor_context).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0, start_link/2, start_link/3, stop/1]).
-export([handoff/2, handoff/3, stats/1, loop/1]).
-export([init/1, handle_call/3, handle_info/2, handle_cast/2, terminate/2]).

-export_type([options/0, descriptor/0]).

-type options() :: #{
    setup_code => binary(),
    factory => {py_nif:name(), py_nif:name()},
    max_connections => pos_integer() | infinity
}.
%% `setup_code': Python statements that run once in `__main__'; what they give `erlang.reactor.set_protocol_factory'
%% counts for this context only. `factory': module and name of a protocol class. Without either, the factory that was set
%% outside of event loops. `max_connections': default `infinity'.

-type descriptor() :: py_nif:fd() | inet:socket() | socket:socket().

-define(PYTHON, 'erlang._reactor_context').
-define(OPTIONS, [setup_code, factory, max_connections]).
-define(TIMEOUT, 60000).
%% Milliseconds for a loop that ends to answer what it was asked.
-define(GRACE, 1000).
-define(CALL, 0).
-define(TRACEBACK, 1).

-record(state, {
    id :: term(),
    loop :: py_nif:event_loop(),
    limit :: pos_integer() | none,
    total = 0 :: non_neg_integer(),
    refused = 0 :: non_neg_integer(),
    %% Calls that wait for Python.
    pending = #{} :: #{reference() => {{handoff, py_nif:fd()} | stats, gen_server:from()}},
    %% Of the application, with which the connections end.
    application :: reference()
}).

%% @private The one of handoff/2.
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, {?MODULE, #{}}, []).

%% @equiv start_link(Id, Mode, #{})
-spec start_link(term(), auto | worker) -> {ok, pid()} | {error, term()}.
start_link(Id, Mode) ->
    start_link(Id, Mode, #{}).

%% @doc Starts a reactor context; Id is for {@link stats/1} and logs. Mode says which interpreter: `auto' and `worker'
%% mean the main one, on a thread of its own. Python's exception is the reason when the setup code or the factory fails.
-spec start_link(term(), auto | worker, options()) -> {ok, pid()} | {error, term()}.
start_link(Id, Mode, Options) ->
    Mode =:= auto orelse Mode =:= worker orelse error({bad_argument, mode, Mode}),
    ok = py_task:check_options(Options, ?OPTIONS),
    ok = maps:fold(fun check_option/3, ok, Options),
    gen_server:start_link(?MODULE, {Id, Options}, []).

check_option(setup_code, Code, ok) when is_binary(Code) -> ok;
check_option(factory, {Module, Name}, ok) when
    (is_atom(Module) orelse is_binary(Module)), (is_atom(Name) orelse is_binary(Name))
->
    ok;
check_option(max_connections, infinity, ok) -> ok;
check_option(max_connections, Limit, ok) when is_integer(Limit), Limit > 0 -> ok;
check_option(Key, Value, ok) -> error({bad_option, Key, Value}).

%% @doc Ends a reactor context and closes its connections.
-spec stop(gen_server:server_ref()) -> ok.
stop(Context) ->
    gen_server:stop(Context).

%% @doc Hands over to the application's own reactor context, which is started if need be and has the protocol factory
%% that was set outside of event loops.
-spec handoff(descriptor(), map()) -> ok | {error, term()}.
handoff(Descriptor, ClientInfo) ->
    handoff(default(), Descriptor, ClientInfo).

%% @doc Hands a descriptor over to a reactor context, which makes a protocol for it and tells it ClientInfo.
%%
%% The context is one of this node. Python gets a duplicate. A number stays the caller's, who closes what it belongs to
%% when this returns; a TCP, UDP or Unix domain socket of `gen_tcp', `gen_udp' or `socket' is closed here after `ok', and
%% is the caller's still after an error. It must be passive, with nothing read ahead. To ClientInfo, whose keys are strs
%% in Python, `addr', `port' and `type' of the other side are added for sockets, unless they are in it.
%%
%% `{error, Reason}': Python's exception as for tasks, `full' when there are `max_connections', `closed' when the context
%% ends, `ebadf' for a number that is no open descriptor, `{not_a_descriptor, Term}' for a socket without one.
-spec handoff(gen_server:server_ref(), descriptor(), map()) -> ok | {error, term()}.
handoff(_Context, _Descriptor, ClientInfo) when not is_map(ClientInfo) ->
    error({bad_argument, client_info, ClientInfo});
handoff(Context, Fd, ClientInfo) when is_integer(Fd), Fd >= 0, Fd =< 16#7fffffff ->
    Server = local(Context),
    %% Here, while the number certainly means what the caller means by it.
    case py_nif:dup_fd(Fd) of
        {ok, Duplicate} ->
            case call(Server, {handoff, Duplicate, readable(ClientInfo)}) of
                {ok, _} ->
                    ok;
                {error, not_asked} ->
                    _ = py_nif:close_fd(Duplicate),
                    {error, closed};
                {error, Reason} ->
                    {error, Reason}
            end;
        {error, Reason} ->
            {error, Reason}
    end;
handoff(Context, Socket, ClientInfo) ->
    case py_reactor_socket:descriptor(Socket) of
        {ok, Fd} ->
            case handoff(Context, Fd, maps:merge(py_reactor_socket:peer(Socket), ClientInfo)) of
                ok -> py_reactor_socket:close(Socket);
                {error, Reason} -> {error, Reason}
            end;
        {error, Reason} ->
            {error, Reason}
    end.

%% A number means something else in another VM.
local(Pid) when is_pid(Pid), node(Pid) =:= node() -> Pid;
local({Name, Node}) when is_atom(Name), Node =:= node() -> Name;
local(Name) when is_atom(Name) -> Name;
local({global, Name} = Context) -> local_or(global:whereis_name(Name), Context);
local({via, Module, Name} = Context) -> local_or(Module:whereis_name(Name), Context);
local(Other) -> error({bad_argument, context, Other}).

local_or(undefined, Context) -> Context;
local_or(Pid, _Context) -> local(Pid).

%% Addresses as Erlang has them are texts for Python.
readable(#{addr := Address} = ClientInfo) -> ClientInfo#{addr := py_reactor_socket:address(Address)};
readable(ClientInfo) -> ClientInfo.

%% @doc What a reactor context does: its `id', open `connections', `total' so far, `refused' (full or failed), and
%% `max_connections'.
-spec stats(gen_server:server_ref()) ->
    #{
        id := term(),
        connections := non_neg_integer(),
        total := non_neg_integer(),
        refused := non_neg_integer(),
        max_connections := pos_integer() | infinity
    }
    | {error, term()}.
stats(Context) ->
    case call(Context, stats) of
        {error, not_asked} -> {error, closed};
        Result -> Result
    end.

%% @doc The event loop of a reactor context, for {@link py_event_loop:info/1}.
-spec loop(gen_server:server_ref()) -> py_nif:event_loop().
loop(Context) ->
    gen_server:call(Context, loop).

%% `not_asked': the process was gone before. One that dies later has the descriptor, and gives it up if it can.
call(Context, Request) ->
    try
        gen_server:call(Context, Request, infinity)
    catch
        exit:{noproc, {gen_server, call, _}} -> {error, not_asked};
        exit:{_, {gen_server, call, _}} -> {error, closed}
    end.

default() ->
    case whereis(?MODULE) of
        undefined ->
            %% A child of the application's supervisor, with which it ends.
            Child = #{id => ?MODULE, start => {?MODULE, start_link, []}, restart => transient, shutdown => 5000},
            try supervisor:start_child(erlang_python_sup, Child) of
                {ok, Pid} -> Pid;
                {error, {already_started, Pid}} when is_pid(Pid) -> Pid;
                {error, already_present} -> restart_default();
                {error, Reason} -> error(Reason)
            catch
                exit:_ -> error({not_started, erlang_python})
            end;
        Pid ->
            Pid
    end.

%% It was stopped.
restart_default() ->
    case supervisor:restart_child(erlang_python_sup, ?MODULE) of
        {ok, Pid} ->
            Pid;
        {error, Reason} when Reason =:= running; Reason =:= restarting ->
            timer:sleep(10),
            default();
        {error, Reason} ->
            error(Reason)
    end.

%%% gen_server: owns the loop

%% @private
-spec init({term(), options()}) -> {ok, #state{}} | {stop, term()}.
init({Id, Options}) ->
    process_flag(trap_exit, true),
    Application = erlang:monitor(process, erlang_python_sup),
    {Module, Name} = maps:get(factory, Options, {none, none}),
    case py_event_loop:new_loop() of
        {ok, Loop} ->
            ok = destroy_after(self(), Loop),
            case start(Loop, [maps:get(setup_code, Options, none), Module, Name]) of
                {ok, _} ->
                    {ok, #state{id = Id, loop = Loop, limit = limit(Options), application = Application}};
                {error, Reason} ->
                    ok = py_nif:event_loop_destroy(Loop),
                    {stop, Reason}
            end;
        {error, Reason} ->
            {stop, Reason}
    end.

%% Killed, this process could not end its loop, whose connections would go on for ever.
destroy_after(Server, Loop) ->
    _ = proc_lib:spawn(fun() ->
        Monitor = erlang:monitor(process, Server),
        receive
            {'DOWN', Monitor, process, Server, _} -> py_nif:event_loop_destroy(Loop)
        end
    end),
    ok.

start(Loop, Arguments) ->
    py_event_loop:run_on(Loop, ?PYTHON, start, Arguments, #{timeout => ?TIMEOUT}).

limit(#{max_connections := Limit}) when is_integer(Limit) -> Limit;
limit(_) -> none.

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) -> {noreply, #state{}} | {reply, term(), #state{}}.
handle_call({handoff, Fd, ClientInfo}, From, State) ->
    ask({{handoff, Fd}, From}, hand_over, [Fd, ClientInfo, State#state.limit], State);
handle_call(stats, From, State) ->
    ask({stats, From}, count, [], State);
handle_call(loop, _From, #state{loop = Loop} = State) ->
    {reply, Loop, State};
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_call}, State}.

ask(Purpose, Function, Arguments, #state{loop = Loop, pending = Pending} = State) ->
    Reference = py_event_loop:create_task_on(Loop, ?PYTHON, Function, Arguments, #{}, 0),
    {noreply, State#state{pending = Pending#{Reference => Purpose}}}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info({async_result, Reference, Result}, #state{pending = Pending} = State) ->
    case maps:take(Reference, Pending) of
        {{Kind, From}, Rest} ->
            {noreply, answer(Kind, Result, From, State#state{pending = Rest})};
        error ->
            {noreply, State}
    end;
handle_info({event_loop_ended, Loop}, #state{loop = Loop, id = Id} = State) ->
    ?LOG_ERROR("the event loop of the reactor context ~tp was taken apart by Python code or destroyed", [Id]),
    _ = py_nif:context_cast(any, make_ref(), ?CALL, ?PYTHON, close_orphans, [], #{}, ?TRACEBACK),
    {stop, event_loop_ended, State};
handle_info({'DOWN', Application, process, _, _}, #state{application = Application} = State) ->
    {stop, {shutdown, {not_started, erlang_python}}, State};
handle_info({'EXIT', _Pid, Reason}, State) ->
    %% Of who started it otherwise than a supervisor.
    {stop, Reason, State};
handle_info(_Message, State) ->
    {noreply, State}.

answer({handoff, Fd}, {ok, false}, From, State) ->
    refuse(Fd, full, From, State);
answer({handoff, Fd}, {ok, Fd}, From, #state{total = Total} = State) ->
    gen_server:reply(From, {ok, Fd}),
    State#state{total = Total + 1};
answer({handoff, Fd}, {error, Reason}, From, State) ->
    refuse(Fd, Reason, From, State);
answer(stats, {ok, Connections}, From, #state{id = Id, limit = Limit, total = Total, refused = Refused} = State) ->
    Most =
        case Limit of
            none -> infinity;
            _ -> Limit
        end,
    gen_server:reply(From, #{
        id => Id, connections => Connections, total => Total, refused => Refused, max_connections => Most
    }),
    State;
answer(stats, {error, Reason}, From, State) ->
    gen_server:reply(From, {error, Reason}),
    State.

%% Python has not taken the descriptor.
refuse(Fd, Reason, From, #state{refused = Refused} = State) ->
    _ = py_nif:close_fd(Fd),
    gen_server:reply(From, {error, Reason}),
    State#state{refused = Refused + 1}.

%% @private
-spec handle_cast(term(), State) -> {noreply, State}.
handle_cast(_Message, State) ->
    {noreply, State}.

%% @private
-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{loop = Loop, pending = Pending} = State) ->
    ok = py_nif:event_loop_destroy(Loop),
    %% What was queued is answered now; what Python has taken its loop closes.
    _ = maps:fold(
        fun(Reference, {Kind, From}, Last) ->
            receive
                {async_result, Reference, Result} -> answer(Kind, Result, From, Last)
            after ?GRACE ->
                gen_server:reply(From, {error, closed}),
                Last
            end
        end,
        State,
        Pending
    ),
    ok.
