%% What bench_messages.py measures inside a VM: streams, channels and connections of the reactor.
-module(bench_message_cases).

-export([prepare/0, sends/1, as_list/1, messages/2, loop_messages/1, channel/3, channel_bytes/2]).
-export([call_round_trips/1, round_trips/2, echo/3]).

-define(CODE, bench_messages_code).

-spec prepare() -> true.
prepare() ->
    {ok, 1} = py:call(?CODE, identity, [1]),
    true.

%% @doc Messages per second of erlang.send.
-spec sends(pos_integer()) -> float().
sends(Count) ->
    Self = self(),
    bench_clock:rate(Count, fun() ->
        ok = py:cast(?CODE, sends, [Self, Count]),
        [receive N -> ok end || N <- lists:seq(0, Count - 1)]
    end).

%% @doc Values per second of a stream as a list.
-spec as_list(pos_integer()) -> float().
as_list(Count) ->
    bench_clock:rate(Count, fun() ->
        {ok, List} = py:stream(builtins, range, [Count]),
        Count = length(List)
    end).

%% @doc Values per second, one by one.
-spec messages(pos_integer() | infinity, pos_integer()) -> float().
messages(Window, Count) ->
    bench_clock:rate(Count, fun() ->
        {ok, Stream} = py:stream_start(builtins, range, [Count], #{window => Window}),
        Count = drain(Stream, 0)
    end).

%% @doc The same from an asynchronous generator.
-spec loop_messages(pos_integer()) -> float().
loop_messages(Count) ->
    bench_clock:rate(Count, fun() ->
        {ok, Stream} = py_event_loop:stream_start(?CODE, numbers, [Count]),
        Count = drain(Stream, 0)
    end).

drain(Stream, Count) ->
    case py:stream_next(Stream) of
        {ok, Count} -> drain(Stream, Count + 1);
        done -> Count
    end.

%% @doc Messages per second to that many receivers.
-spec channel(blocking | coroutine, pos_integer(), pos_integer()) -> float().
channel(Kind, Receivers, Count) ->
    {ok, Channel} = py_channel:new(),
    bench_clock:rate(Count, fun() ->
        Result = receiver(Kind, count_blocking, count_coroutine, [Channel], [Channel, Receivers]),
        [ok = py_channel:send(Channel, N) || N <- lists:seq(1, Count)],
        ok = py_channel:close(Channel),
        {ok, Count} = Result()
    end).

%% @doc Messages of 16 kB per second.
-spec channel_bytes(blocking | coroutine, pos_integer()) -> float().
channel_bytes(Kind, Count) ->
    {ok, Channel} = py_byte_channel:new(),
    Data = rand:bytes(16 * 1024),
    bench_clock:rate(Count, fun() ->
        Result = receiver(Kind, count_bytes_blocking, count_bytes_coroutine, [Channel], [Channel]),
        [ok = py_byte_channel:send(Channel, Data) || _ <- lists:seq(1, Count)],
        ok = py_byte_channel:close(Channel),
        {ok, Count} = Result()
    end).

receiver(blocking, Function, _, Arguments, _) ->
    Self = self(),
    Reference = make_ref(),
    _ = spawn_link(fun() -> Self ! {Reference, py:call(?CODE, Function, Arguments)} end),
    fun() -> receive {Reference, Result} -> Result end end;
receiver(coroutine, _, Function, _, Arguments) ->
    Task = py_event_loop:create_task(?CODE, Function, Arguments),
    fun() -> py_event_loop:await(Task, infinity) end.

%% @doc Microseconds of a call.
-spec call_round_trips(pos_integer()) -> map().
call_round_trips(Count) ->
    bench_clock:summary(bench_clock:samples(Count, fun() -> {ok, 1} = py:call(?CODE, identity, [1]), ok end)).

%% @doc Microseconds from a channel's sender to Python and back.
-spec round_trips(blocking | coroutine, pos_integer()) -> map().
round_trips(Kind, Count) ->
    {ok, Channel} = py_channel:new(),
    Result = receiver(Kind, echo_blocking, echo_coroutine, [Channel], [Channel]),
    Self = self(),
    Samples = bench_clock:samples(Count, fun() ->
        ok = py_channel:send(Channel, {Self, 1}),
        receive 1 -> ok end
    end),
    ok = py_channel:close(Channel),
    {ok, none} = Result(),
    bench_clock:summary(Samples).

%% @doc Messages per second that clients send to a server and get back, each waiting for its own.
-spec echo(reactor | asyncio, pos_integer(), pos_integer()) -> float().
echo(Kind, Connections, Count) ->
    {Clients, Stop} = clients(Kind, Connections),
    Each = max(1, Count div Connections),
    Self = self(),
    Rate = bench_clock:rate(Each * Connections, fun() ->
        Pids = [spawn_link(fun() -> talk(Client, Each), Self ! {done, self()} end) || Client <- Clients],
        [receive {done, Pid} -> ok end || Pid <- Pids]
    end),
    [ok = gen_tcp:close(Client) || Client <- Clients],
    Stop(),
    Rate.

talk(_Client, 0) ->
    ok;
talk(Client, Count) ->
    ok = gen_tcp:send(Client, <<"a message of 24 bytes ..">>),
    {ok, _} = gen_tcp:recv(Client, 24),
    talk(Client, Count - 1).

clients(reactor, Connections) ->
    {ok, Context} = py_reactor_context:start_link(bench, auto, #{factory => {?CODE, 'ReactorEcho'}}),
    {ok, Listen} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}, {backlog, Connections}]),
    {ok, Port} = inet:port(Listen),
    Clients = [
        begin
            Client = connect(Port),
            {ok, Socket} = gen_tcp:accept(Listen),
            ok = py_reactor_context:handoff(Context, Socket, #{}),
            Client
        end
     || _ <- lists:seq(1, Connections)
    ],
    ok = gen_tcp:close(Listen),
    {Clients, fun() -> py_reactor_context:stop(Context) end};
clients(asyncio, Connections) ->
    {ok, Port} = py_event_loop:run(?CODE, serve_asyncio, []),
    {[connect(Port) || _ <- lists:seq(1, Connections)], fun() -> ok end}.

connect(Port) ->
    {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {nodelay, true}]),
    Client.
