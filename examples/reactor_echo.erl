%% A TCP server whose connections are Python's: Erlang listens and accepts, reactor_protocols.py says what happens on each.
-module(reactor_echo).

-export([main/0, start/1]).

-define(MESSAGES, [<<"hello">>, <<"from">>, <<"Erlang">>]).

%% Serves a client of its own and ends.
-spec main() -> ok.
main() ->
    {ok, Port, Context} = start(0),
    {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    lists:foreach(
        fun(Message) ->
            ok = gen_tcp:send(Client, Message),
            {ok, Echo} = gen_tcp:recv(Client, byte_size(Message), 5000),
            io:format("~ts~n", [Echo])
        end,
        ?MESSAGES
    ),
    #{connections := Open, total := Total} = py_reactor_context:stats(Context),
    io:format("~b connection open, ~b in all~n", [Open, Total]),
    ok = py_reactor_context:stop(Context),
    {error, closed} = gen_tcp:recv(Client, 0, 5000),
    ok.

%% Listens on a port (0: one that is free); in a shell, `reactor_echo:start(9999)', then `nc 127.0.0.1 9999'.
-spec start(inet:port_number()) -> {ok, inet:port_number(), pid()}.
start(Port) ->
    {ok, Context} = py_reactor_context:start_link(echo, auto, #{factory => {reactor_protocols, 'Echo'}}),
    {ok, Listen} = gen_tcp:listen(Port, [binary, {active, false}, {reuseaddr, true}, {ip, {127, 0, 0, 1}}]),
    {ok, Chosen} = inet:port(Listen),
    Acceptor = spawn_link(fun() -> receive go -> accept(Listen, Context) end end),
    ok = gen_tcp:controlling_process(Listen, Acceptor),
    Acceptor ! go,
    {ok, Chosen, Context}.

accept(Listen, Context) ->
    {ok, Socket} = gen_tcp:accept(Listen),
    case py_reactor_context:handoff(Context, Socket, #{}) of
        ok -> ok;
        {error, _} -> gen_tcp:close(Socket)
    end,
    accept(Listen, Context).
