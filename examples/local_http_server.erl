%% A small HTTP server for the examples: every answer takes a while, names the path that was asked for, and is counted.
-module(local_http_server).

-export([start/1, url/2, served/1]).

-record(server, {port :: inet:port_number(), served :: ets:table()}).

%% Starts a server that takes Delay milliseconds for an answer.
-spec start(non_neg_integer()) -> #server{}.
start(Delay) ->
    Served = ets:new(?MODULE, [public, duplicate_bag]),
    {ok, Listener} = gen_tcp:listen(0, [binary, {packet, http_bin}, {active, false}, {ip, {127, 0, 0, 1}}, {backlog, 1024}]),
    {ok, Port} = inet:port(Listener),
    Owner = spawn_link(fun() -> accept(Listener, Served, Delay) end),
    ok = gen_tcp:controlling_process(Listener, Owner),
    #server{port = Port, served = Served}.

-spec url(#server{}, iodata()) -> binary().
url(#server{port = Port}, Path) ->
    iolist_to_binary(io_lib:format("http://127.0.0.1:~b~s", [Port, Path])).

%% The paths that were asked for, sorted.
-spec served(#server{}) -> [binary()].
served(#server{served = Served}) ->
    lists:sort([Path || {Path} <- ets:tab2list(Served)]).

accept(Listener, Served, Delay) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Pid = spawn(fun() -> receive go -> serve(Socket, Served, Delay) end end),
    ok = gen_tcp:controlling_process(Socket, Pid),
    Pid ! go,
    accept(Listener, Served, Delay).

serve(Socket, Served, Delay) ->
    {ok, {http_request, Method, {abs_path, Path}, _}} = gen_tcp:recv(Socket, 0),
    Length = headers(Socket, 0),
    ok = inet:setopts(Socket, [{packet, raw}]),
    Length > 0 andalso gen_tcp:recv(Socket, Length),
    timer:sleep(Delay),
    true = ets:insert(Served, {Path}),
    Body = [atom_to_list(Method), " ", Path],
    ok = gen_tcp:send(Socket, [
        "HTTP/1.1 200 OK\r\nContent-Length: ", integer_to_list(iolist_size(Body)), "\r\nConnection: close\r\n\r\n", Body
    ]),
    gen_tcp:close(Socket).

headers(Socket, Length) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, {http_header, _, 'Content-Length', _, Value}} -> headers(Socket, binary_to_integer(Value));
        {ok, {http_header, _, _, _, _}} -> headers(Socket, Length);
        {ok, http_eoh} -> Length
    end.
