%% Descriptors that Erlang hands over to Python protocols.
-module(py_reactor_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(PROTOCOLS, reactor_protocols).

all() ->
    [
        echo, number, socket_module, inet_backend, unix_socket, udp, pipe,
        client_info, bad_arguments, bad_descriptors, errors_are_of_one_connection,
        factories, setup_code, default_context,
        number_is_used_again, empty_datagrams, tasks_are_cancelled,
        large, many, limit, http,
        erlang_answers, loop_serves_tasks,
        stop_closes, owner_dies, killed, application_stops, loop_is_taken_apart,
        nothing_leaks
    ].

suite() ->
    [{timetrap, {seconds, 90}}].

init_per_testcase(_Case, Config) ->
    ok = test_support:start([{python_path, [?config(data_dir, Config)]}]),
    Config.

end_per_testcase(_Case, _Config) ->
    %% Contexts end with the application, and are linked to this process.
    process_flag(trap_exit, true),
    ok = test_support:stop().

context(Factory) -> context(Factory, #{}).

context(Factory, Options) ->
    {ok, Context} = py_reactor_context:start_link(1, auto, Options#{factory => {?PROTOCOLS, Factory}}),
    Context.

%% A client, and the socket that a server accepted for it.
pair() -> pair([]).

pair(Options) ->
    {ok, Listen} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}, {backlog, 100} | Options]),
    {ok, Port} = inet:port(Listen),
    {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    {ok, Server} = gen_tcp:accept(Listen),
    ok = gen_tcp:close(Listen),
    {Client, Server}.

connected(Context) ->
    {Client, Server} = pair(),
    ok = py_reactor_context:handoff(Context, Server, #{}),
    Client.

says(Client, Data, Answer) ->
    ok = gen_tcp:send(Client, Data),
    {ok, Answer} = gen_tcp:recv(Client, byte_size(Answer), 5000),
    ok.

closed(Client) -> {error, closed} = gen_tcp:recv(Client, 0, 5000), ok.

connections(Context) -> maps:get(connections, py_reactor_context:stats(Context)).

%%% Descriptors

echo(_) ->
    Context = context('Echo'),
    {Client, Server} = pair(),
    ok = py_reactor_context:handoff(Context, Server, #{}),
    ?assertEqual(undefined, erlang:port_info(Server)),
    says(Client, <<"hello">>, <<"hello">>),
    says(Client, <<"again">>, <<"again">>),
    1 = connections(Context),
    ok = gen_tcp:close(Client),
    test_support:eventually(fun() -> connections(Context) =:= 0 end),
    #{id := 1, total := 1, refused := 0, max_connections := infinity} = py_reactor_context:stats(Context).

%% As the document of the reactor does: the descriptor by its number, of which Python gets a duplicate.
number(_) ->
    Context = context('Echo'),
    {Client, Server} = pair(),
    {ok, Fd} = inet:getfd(Server),
    ok = py_reactor_context:handoff(Context, Fd, #{type => tcp}),
    ok = gen_tcp:close(Server),
    says(Client, <<"hello">>, <<"hello">>),
    %% With the VM's own descriptor still open the client sees the end all the same.
    Closing = context('SimpleHTTP'),
    {Client2, Server2} = pair(),
    {ok, Fd2} = inet:getfd(Server2),
    ok = py_reactor_context:handoff(Closing, Fd2, #{}),
    ok = gen_tcp:send(Client2, <<"GET / HTTP/1.0\r\n\r\n">>),
    {ok, <<"HTTP/1.0 200", _/binary>>} = gen_tcp:recv(Client2, 0, 5000),
    closed(Client2),
    ok = gen_tcp:close(Server2).

socket_module(_) ->
    Context = context('Tells'),
    {ok, Listen} = socket:open(inet, stream, tcp),
    ok = socket:bind(Listen, #{family => inet, addr => {127, 0, 0, 1}, port => 0}),
    ok = socket:listen(Listen),
    {ok, #{port := Port}} = socket:sockname(Listen),
    {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    {ok, Server} = socket:accept(Listen),
    ok = py_reactor_context:handoff(Context, Server, #{}),
    {error, closed} = socket:recv(Server, 0, 0),
    {ok, Own} = inet:port(Client),
    says(Client, <<"x">>, iolist_to_binary(["tcp 127.0.0.1 ", integer_to_list(Own), " None"])),
    ok = socket:close(Listen).

inet_backend(_) ->
    Context = context('Echo'),
    {ok, Listen} = gen_tcp:listen(0, [{inet_backend, socket}, binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listen),
    {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    {ok, Server} = gen_tcp:accept(Listen),
    ok = py_reactor_context:handoff(Context, Server, #{}),
    says(Client, <<"hello">>, <<"hello">>).

unix_socket(Config) ->
    Context = context('Tells'),
    Path = "/tmp/" ++ binary_to_list(test_support:unique("py_reactor_")),
    try
        {ok, Listen} = gen_tcp:listen(0, [local, {ifaddr, {local, Path}}, binary, {active, false}]),
        {ok, Client} = gen_tcp:connect({local, Path}, 0, [local, binary, {active, false}]),
        {ok, Server} = gen_tcp:accept(Listen),
        ok = py_reactor_context:handoff(Context, Server, #{x => 7}),
        says(Client, <<"x">>, <<"unix  None 7">>),
        ok = gen_tcp:close(Listen)
    after
        file:delete(Path)
    end,
    Config.

udp(_) ->
    Context = context('Echo'),
    {ok, Client} = gen_udp:open(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Server} = gen_udp:open(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, ClientPort} = inet:port(Client),
    {ok, ServerPort} = inet:port(Server),
    ok = gen_udp:connect(Server, {127, 0, 0, 1}, ClientPort),
    ok = py_reactor_context:handoff(Context, Server, #{}),
    [
        begin
            ok = gen_udp:send(Client, {127, 0, 0, 1}, ServerPort, Datagram),
            {ok, {_, ServerPort, Datagram}} = gen_udp:recv(Client, 0, 5000)
        end
     || Datagram <- [<<"one">>, <<"two">>]
    ].

pipe(_) ->
    Context = context('Echo'),
    {ok, {Read, Write}} = py_nif:create_test_pipe(),
    ok = py_reactor_context:handoff(Context, Read, #{type => pipe}),
    1 = connections(Context),
    ok = py_nif:close_test_fd(Write),
    test_support:eventually(fun() -> connections(Context) =:= 0 end),
    %% The number is the caller's still.
    ok = py_nif:close_test_fd(Read).

client_info(_) ->
    Context = context('Tells'),
    {Client, Server} = pair(),
    {ok, Own} = inet:port(Client),
    ok = py_reactor_context:handoff(Context, Server, #{x => 1.5}),
    says(Client, <<"x">>, iolist_to_binary(["tcp 127.0.0.1 ", integer_to_list(Own), " 1.5"])),
    Told = fun(ClientInfo, Answer) ->
        {C, S} = pair(),
        ok = py_reactor_context:handoff(Context, S, ClientInfo),
        says(C, <<"x">>, Answer)
    end,
    Told(#{addr => "10.0.0.1", port => 80, type => proxied}, <<"proxied 10.0.0.1 80 None">>),
    Told(#{addr => {10, 0, 0, 2}, port => 80}, <<"tcp 10.0.0.2 80 None">>),
    Told(#{addr => {0, 0, 0, 0, 0, 0, 0, 1}, port => 80}, <<"tcp ::1 80 None">>).

bad_arguments(_) ->
    Start = fun(Options) -> py_reactor_context:start_link(1, auto, Options) end,
    ?assertError({bad_argument, mode, owngil}, py_reactor_context:start_link(1, owngil)),
    ?assertError({bad_option, nonsense, 1}, Start(#{nonsense => 1})),
    ?assertError({bad_option, setup_code, 1}, Start(#{setup_code => 1})),
    ?assertError({bad_option, factory, f}, Start(#{factory => f})),
    ?assertError({bad_option, max_connections, 0}, Start(#{max_connections => 0})),
    Context = context('Echo'),
    ?assertError({bad_argument, client_info, []}, py_reactor_context:handoff(Context, 1, [])),
    process_flag(trap_exit, true),
    {error, {'AttributeError', _}} = Start(#{factory => {?PROTOCOLS, no_such_class}}),
    {error, {'TypeError', _}} = Start(#{factory => {?PROTOCOLS, lost}}),
    {error, {'ModuleNotFoundError', _}} = Start(#{factory => {no_such_module, 'Echo'}}),
    {error, {'SyntaxError', _}} = Start(#{setup_code => <<"def">>}),
    {error, {'ZeroDivisionError', _}} = Start(#{setup_code => <<"1/0">>}).

bad_descriptors(_) ->
    Context = context('Echo'),
    {error, ebadf} = py_reactor_context:handoff(Context, 99999, #{}),
    {error, {not_a_descriptor, me}} = py_reactor_context:handoff(Context, me, #{}),
    {error, {not_a_descriptor, -1}} = py_reactor_context:handoff(Context, -1, #{}),
    Open = settled_descriptors(),
    ?assertError({bad_argument, context, 1}, py_reactor_context:handoff(1, 0, #{})),
    ?assertError({bad_argument, context, _}, py_reactor_context:handoff({name, 'other@node'}, 0, #{})),
    {error, closed} = py_reactor_context:handoff(no_such_context, 0, #{}),
    test_support:eventually(fun() -> descriptors() =< Open end),
    {_, Server} = pair(),
    ok = gen_tcp:close(Server),
    {error, einval} = py_reactor_context:handoff(Context, Server, #{}),
    %% Cannot be polled; nothing of it stays open.
    Before = settled_descriptors(),
    {ok, File} = file:open("/etc/passwd", [read, raw]),
    {error, _} = py_reactor_context:handoff(Context, number_of("/etc/passwd"), #{}),
    ok = file:close(File),
    test_support:eventually(fun() -> descriptors() =< Before end),
    #{connections := 0, total := 0, refused := 1} = py_reactor_context:stats(Context).

descriptors() ->
    {ok, Names} = file:list_dir("/proc/self/fd"),
    length(Names).

%% What the cases before have let go of may need a moment.
settled_descriptors() ->
    First = descriptors(),
    timer:sleep(200),
    case descriptors() of
        First -> First;
        _ -> settled_descriptors()
    end.

number_of(Path) ->
    {ok, Names} = file:list_dir("/proc/self/fd"),
    [Number | _] = [
        list_to_integer(Name)
     || Name <- Names, file:read_link("/proc/self/fd/" ++ Name) =:= {ok, Path}
    ],
    Number.

errors_are_of_one_connection(_) ->
    Refusing = context('Refuses'),
    {Client, Server} = pair(),
    {error, {'PermissionError', <<"not you">>}} = py_reactor_context:handoff(Refusing, Server, #{}),
    %% It is ours still.
    ok = gen_tcp:send(Server, <<"sorry">>),
    {ok, <<"sorry">>} = gen_tcp:recv(Client, 0, 5000),
    Failing = context('Fails'),
    Clients = [connected(Failing) || _ <- [1, 2]],
    [ok = gen_tcp:send(C, <<"x">>) || C <- Clients],
    [closed(C) || C <- Clients],
    #{connections := 0, total := 2} = py_reactor_context:stats(Failing).

%%% Contexts

factories(_) ->
    [Lower, Upper] = [connected(context(Factory)) || Factory <- ['Echo', 'Upper']],
    says(Lower, <<"a">>, <<"a">>),
    says(Upper, <<"a">>, <<"A">>).

setup_code(_) ->
    Code = fun(Class) ->
        iolist_to_binary([
            "import erlang.reactor as reactor\nfrom reactor_protocols import *\nreactor.set_protocol_factory(", Class, ")\n"
        ])
    end,
    [{ok, One}, {ok, Two}] = [py_reactor_context:start_link(Class, worker, #{setup_code => Code(Class)}) || Class <- ["Echo", "Upper"]],
    says(connected(One), <<"a">>, <<"a">>),
    says(connected(Two), <<"a">>, <<"A">>).

default_context(_) ->
    {Client, Server} = pair(),
    {error, {'RuntimeError', <<"no protocol factory", _/binary>>}} = py_reactor_context:handoff(Server, #{}),
    ok = py:exec(<<"import erlang.reactor, reactor_protocols\nerlang.reactor.set_protocol_factory(reactor_protocols.Echo)">>),
    ok = py_reactor_context:handoff(Server, #{}),
    says(Client, <<"a">>, <<"a">>),
    %% Also for contexts without one of their own.
    {ok, Context} = py_reactor_context:start_link(2, auto),
    says(connected(Context), <<"b">>, <<"b">>),
    ok = py_reactor_context:stop(py_reactor_context),
    closed(Client),
    {Client2, Server2} = pair(),
    ok = py_reactor_context:handoff(Server2, #{}),
    says(Client2, <<"a">>, <<"a">>),
    ok = py:exec(<<"erlang.reactor._default_factory = None">>).

%% What the number means when it is handed over counts, also when its owner is gone before Python gets to it.
number_is_used_again(_) ->
    Context = context('Echo'),
    ok = py:exec(<<"def reactor_block():\n    import time\n    time.sleep(1.5)\n">>),
    _ = py_event_loop:create_task_on(py_reactor_context:loop(Context), '__main__', reactor_block, [], #{}, 0),
    {Client, Server} = pair(),
    {ok, Fd} = inet:getfd(Server),
    Self = self(),
    Holder = spawn(fun() ->
        receive go -> ok end,
        Self ! {handing, self()},
        py_reactor_context:handoff(Context, Server, #{})
    end),
    ok = gen_tcp:controlling_process(Server, Holder),
    Holder ! go,
    receive {handing, Holder} -> ok end,
    timer:sleep(50),
    ok = test_support:kill(Holder),
    Others = sockets_until(Fd, 200),
    says(Client, <<"hello">>, <<"hello">>),
    [{ok, _} = inet:port(Other) || Other <- Others].

%% As many sockets as it takes until one of them has that number, which the VM may give up a moment late.
sockets_until(Fd, Most) when Most > 0 ->
    {ok, Socket} = gen_udp:open(0, []),
    case inet:getfd(Socket) of
        {ok, Fd} -> [Socket];
        {ok, _} -> timer:sleep(1), [Socket | sockets_until(Fd, Most - 1)]
    end.

empty_datagrams(_) ->
    Context = context('Echo'),
    {ok, Client} = gen_udp:open(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Server} = gen_udp:open(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, ClientPort} = inet:port(Client),
    {ok, ServerPort} = inet:port(Server),
    ok = gen_udp:connect(Server, {127, 0, 0, 1}, ClientPort),
    ok = py_reactor_context:handoff(Context, Server, #{}),
    ok = gen_udp:send(Client, {127, 0, 0, 1}, ServerPort, <<>>),
    ok = gen_udp:send(Client, {127, 0, 0, 1}, ServerPort, <<"after">>),
    {ok, {_, _, <<"after">>}} = gen_udp:recv(Client, 0, 5000),
    1 = connections(Context).

tasks_are_cancelled(_) ->
    Context = context('Echo'),
    Client = connected(Context),
    ok = py:exec(<<
        "def reactor_cancel_all():\n"
        "    import asyncio\n"
        "    [t.cancel() for t in asyncio.all_tasks()]\n"
    >>),
    _ = py_event_loop:create_task_on(py_reactor_context:loop(Context), '__main__', reactor_cancel_all, [], #{}, 0),
    says(Client, <<"a">>, <<"a">>),
    ok = py_reactor_context:stop(Context),
    closed(Client).

large(_) ->
    Context = context('Echo'),
    Client = connected(Context),
    Payload = rand:bytes(5000000),
    spawn_link(fun() -> ok = gen_tcp:send(Client, Payload) end),
    {ok, Payload} = gen_tcp:recv(Client, byte_size(Payload), 30000).

many(_) ->
    Context = context('Echo'),
    Self = self(),
    Pids = [
        spawn_link(fun() ->
            Client = connected(Context),
            Message = integer_to_binary(N),
            [says(Client, Message, Message) || _ <- lists:seq(1, 20)],
            ok = gen_tcp:close(Client),
            Self ! {done, self()}
        end)
     || N <- lists:seq(1, 200)
    ],
    [receive {done, Pid} -> ok end || Pid <- Pids],
    test_support:eventually(fun() -> connections(Context) =:= 0 end),
    #{total := 200} = py_reactor_context:stats(Context).

limit(_) ->
    Context = context('Echo', #{max_connections => 2}),
    [One, Two] = [connected(Context), connected(Context)],
    {_, Server} = pair(),
    {error, full} = py_reactor_context:handoff(Context, Server, #{}),
    {ok, _} = inet:peername(Server),
    ok = gen_tcp:close(One),
    test_support:eventually(fun() -> connections(Context) =:= 1 end),
    ok = py_reactor_context:handoff(Context, Server, #{}),
    says(Two, <<"a">>, <<"a">>),
    #{connections := 2, total := 3, refused := 1, max_connections := 2} = py_reactor_context:stats(Context).

http(_) ->
    Context = context('SimpleHTTP'),
    {ok, Listen} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}, {backlog, 50}]),
    {ok, Port} = inet:port(Listen),
    Acceptor = spawn_link(fun Accept() ->
        case gen_tcp:accept(Listen) of
            {ok, Socket} -> ok = py_reactor_context:handoff(Context, Socket, #{}), Accept();
            {error, closed} -> ok
        end
    end),
    Url = "http://127.0.0.1:" ++ integer_to_list(Port) ++ "/some/path",
    {ok, _} = application:ensure_all_started(inets),
    [
        {ok, {{_, 200, _}, _, "Hello! You requested /some/path"}} = httpc:request(get, {Url, []}, [], [])
     || _ <- lists:seq(1, 20)
    ],
    Monitor = monitor(process, Acceptor),
    ok = gen_tcp:close(Listen),
    receive {'DOWN', Monitor, _, _, _} -> ok end.

%%% Beside other work

erlang_answers(_) ->
    ok = py:register_function(reactor_answer, fun([Data]) -> timer:sleep(20), <<"re: ", Data/binary>> end),
    Context = context('AsksErlang'),
    Clients = [connected(Context) || _ <- lists:seq(1, 20)],
    [ok = gen_tcp:send(Client, <<"question">>) || Client <- Clients],
    [{ok, <<"re: question">>} = gen_tcp:recv(Client, 0, 5000) || Client <- Clients].

loop_serves_tasks(_) ->
    Context = context('Echo'),
    Client = connected(Context),
    {ok, #{descriptors := Descriptors}} = py_event_loop:info(py_reactor_context:loop(Context)),
    ?assert(Descriptors >= 1),
    says(Client, <<"a">>, <<"a">>).

%%% The end

stop_closes(_) ->
    Context = context('Echo'),
    {ok, _} = py:call(?PROTOCOLS, taken, []),
    Clients = [connected(Context) || _ <- lists:seq(1, 5)],
    ok = py_reactor_context:stop(Context),
    [closed(Client) || Client <- Clients],
    {ok, Lost} = py:call(?PROTOCOLS, taken, []),
    5 = length(Lost),
    {_, Server} = pair(),
    {error, closed} = py_reactor_context:handoff(Context, Server, #{}),
    {error, closed} = py_reactor_context:stats(Context),
    {ok, _} = inet:peername(Server).

owner_dies(_) ->
    Self = self(),
    Owner = spawn(fun() ->
        Context = context('Echo'),
        Self ! {context, Context},
        receive stop -> exit(shutdown) end
    end),
    receive {context, Context} -> ok end,
    Client = connected(Context),
    Owner ! stop,
    closed(Client).

killed(_) ->
    process_flag(trap_exit, true),
    Context = context('Echo'),
    Client = connected(Context),
    ok = test_support:kill(Context),
    receive {'EXIT', Context, killed} -> ok end,
    %% Nobody has the loop any more.
    closed(Client).

application_stops(_) ->
    ok = py:exec(<<"import erlang.reactor, reactor_protocols\nerlang.reactor.set_protocol_factory(reactor_protocols.Echo)">>),
    {Client, Server} = pair(),
    ok = py_reactor_context:handoff(Server, #{}),
    says(Client, <<"a">>, <<"a">>),
    process_flag(trap_exit, true),
    Context = context('Echo'),
    Own = connected(Context),
    ok = test_support:stop(),
    closed(Client),
    closed(Own),
    receive {'EXIT', Context, {shutdown, {not_started, erlang_python}}} -> ok after 5000 -> error(timeout) end,
    {_, Server2} = pair(),
    ?assertError({not_started, erlang_python}, py_reactor_context:handoff(Server2, #{})),
    ok = test_support:start(),
    ok = py:exec(<<"import erlang.reactor\nerlang.reactor._default_factory = None">>).

loop_is_taken_apart(_) ->
    process_flag(trap_exit, true),
    Context = context('Echo'),
    Client = connected(Context),
    ok = py:exec(<<
        "def reactor_apart():\n"
        "    import asyncio\n"
        "    asyncio.get_running_loop()._selector.close()\n"
    >>),
    _ = py_event_loop:create_task_on(py_reactor_context:loop(Context), '__main__', reactor_apart, [], #{}, 0),
    receive {'EXIT', Context, event_loop_ended} -> ok after 10000 -> error(timeout) end,
    closed(Client).

nothing_leaks(_) ->
    Context = context('Echo'),
    Round = fun() ->
        Clients = [connected(Context) || _ <- lists:seq(1, 50)],
        [says(Client, <<"a">>, <<"a">>) || Client <- Clients],
        [ok = gen_tcp:close(Client) || Client <- Clients],
        test_support:eventually(fun() -> connections(Context) =:= 0 end)
    end,
    Round(),
    Before = settled_descriptors(),
    Round(),
    test_support:eventually(fun() -> descriptors() =< Before end).
