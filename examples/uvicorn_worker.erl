%% A web server written in Python as a supervised process. The process lives as long as the server: an exception in
%% Python ends the process, and the end of the process, for whatever reason, ends the server and closes its port.
-module(uvicorn_worker).

-behaviour(gen_server).

-export([start_link/1, child_spec/2, port/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-export_type([address/0]).

-type address() :: #{host := binary(), port := inet:port_number()}.
%% Port 0: one that is free.

-record(state, {task :: reference(), port :: inet:port_number()}).

-define(START_TIMEOUT, 30000).
%% More than the grace that uvicorn_service.py gives to requests.
-define(STOP_TIMEOUT, 8000).

%% Returns when the server listens.
-spec start_link(address()) -> {ok, pid()} | {error, term()}.
start_link(Address) ->
    gen_server:start_link(?MODULE, Address, []).

-spec child_spec(term(), address()) -> supervisor:child_spec().
child_spec(Id, Address) ->
    #{id => Id, start => {?MODULE, start_link, [Address]}, shutdown => ?STOP_TIMEOUT + 1000}.

%% The port that the server listens on.
-spec port(pid()) -> inet:port_number().
port(Worker) ->
    gen_server:call(Worker, port).

-spec init(address()) -> {ok, #state{}} | {stop, term()}.
init(#{host := Host, port := Port}) ->
    %% So that terminate/2 runs when the supervisor stops the process.
    process_flag(trap_exit, true),
    Identifier = erlang:unique_integer([positive]),
    %% Tasks end with the process that created them.
    Task = py_event_loop:create_task(uvicorn_service, serve, [Identifier, Host, Port]),
    Listening = py_event_loop:create_task(uvicorn_service, port_of, [Identifier]),
    receive
        {async_result, Listening, {ok, Bound}} ->
            {ok, #state{task = Task, port = Bound}};
        {async_result, Task, {error, Reason}} ->
            {stop, Reason}
    after ?START_TIMEOUT ->
        {stop, timeout}
    end.

-spec handle_call(port, gen_server:from(), #state{}) -> {reply, inet:port_number(), #state{}}.
handle_call(port, _From, #state{port = Port} = State) ->
    {reply, Port, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Message, State) ->
    {noreply, State}.

%% Whatever ended the server, the supervisor shall know.
-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info({async_result, Task, {error, Reason}}, #state{task = Task} = State) ->
    {stop, {python, Reason}, State};
handle_info({async_result, Task, {ok, _}}, #state{task = Task} = State) ->
    {stop, server_ended, State};
handle_info(_Message, State) ->
    {noreply, State}.

%% The server has closed its port when the supervisor goes on.
-spec terminate(term(), #state{}) -> ok.
terminate({python, _}, _State) ->
    ok;
terminate(server_ended, _State) ->
    ok;
terminate(_Reason, #state{task = Task}) ->
    ok = py_event_loop:cancel(Task),
    _ = py_event_loop:await(Task, ?STOP_TIMEOUT),
    ok.
