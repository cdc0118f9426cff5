%% Programs and servers that others wrote, on ErlangEventLoop inside the VM, driven from outside: by curl, wrk, openssl,
%% psql, redis-cli, a plain Python. The code inside the VM is that of examples/, which says on which loop it ran.
-module(py_real_programs_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0]).
-export([init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([
    watching_works/1,
    aiohttp_keep_alive/1,
    aiohttp_websocket/1,
    aiohttp_streaming_upload/1,
    aiohttp_streaming_download/1,
    aiohttp_slow_reader/1,
    aiohttp_tls/1,
    aiohttp_client/1,
    aiohttp_client_tls/1,
    aiohttp_under_load/1,
    aiohttp_run_app/1,
    aiohttp_stop_closes_the_port/1,
    uvicorn_serves_fastapi/1,
    uvicorn_exception_restarts/1,
    uvicorn_killed_worker_restarts/1,
    uvicorn_stop_closes_the_port/1,
    uvicorn_port_taken/1,
    uvicorn_run/1,
    uvicorn_under_load/1,
    httpx_visits_fastapi/1,
    websockets_chat/1,
    postgresql/1,
    redis/1,
    sqlite/1,
    anyio/1
]).
%% Called in the other VM.
-export([start_supervisor/1, start_worker/1, wait_down/1]).

-define(LOOP, <<"erlang._loop.ErlangEventLoop">>).
-define(LOCALHOST, <<"127.0.0.1">>).

suite() -> [{timetrap, {minutes, 4}}].

all() ->
    [
        watching_works,
        {group, aiohttp},
        {group, uvicorn},
        httpx_visits_fastapi,
        websockets_chat,
        postgresql,
        redis,
        sqlite,
        anyio
    ].

groups() ->
    [
        {aiohttp, [], [
            aiohttp_keep_alive,
            aiohttp_websocket,
            aiohttp_streaming_upload,
            aiohttp_streaming_download,
            aiohttp_slow_reader,
            aiohttp_tls,
            aiohttp_client,
            aiohttp_client_tls,
            aiohttp_under_load,
            aiohttp_run_app,
            aiohttp_stop_closes_the_port
        ]},
        {uvicorn, [], [
            uvicorn_serves_fastapi,
            uvicorn_exception_restarts,
            uvicorn_killed_worker_restarts,
            uvicorn_stop_closes_the_port,
            uvicorn_port_taken,
            uvicorn_run,
            uvicorn_under_load
        ]}
    ].

init_per_suite(Config) ->
    case real_programs:set_up(Config) of
        {skip, _} = Skip ->
            Skip;
        _ ->
            Vm = real_programs:start_vm(),
            run(Vm, watch, install, []),
            [{vm, Vm} | Config]
    end.

end_per_suite(Config) ->
    real_programs:stop_vm(vm(Config)).

init_per_testcase(_Case, Config) ->
    Config.

%% What went wrong without anybody asking fails the test case that it happened in.
end_per_testcase(_Case, Config) ->
    case run(vm(Config), watch, problems, []) of
        [] -> ok;
        Problems -> {fail, Problems}
    end.

watching_works(Config) ->
    Vm = vm(Config),
    run(Vm, watch, make_problem, []),
    Problems = run(Vm, watch, problems, []),
    ?assert(lists:any(fun(Text) -> contains(Text, "a problem made for the test") end, Problems)),
    ?assert(lists:any(fun(Text) -> contains(Text, "ResourceWarning") end, Problems)).

%%% aiohttp

aiohttp_keep_alive(Config) ->
    with_aiohttp(Config, fun(Port) ->
        Url = url(Port, "/"),
        Connections = "%{http_code} %{num_connects}\n",
        {0, Output} = curl(["-w", Connections | discarded([Url, Url, Url])]),
        ?assertEqual([<<"200 1">>, <<"200 0">>, <<"200 0">>], lines(Output)),
        ?assertEqual(json([{"loop", ?LOOP}, {"tls", false}]), body(Url)),
        %% One request, then the connection is closed on request.
        {0, Closed} = curl(["-w", Connections, "-H", "Connection: close" | discarded([Url, Url])]),
        ?assertEqual([<<"200 1">>, <<"200 1">>], lines(Closed)),
        {0, <<"404">>} = curl(["-o", "/dev/null", "-w", "%{http_code}", url(Port, "/nowhere")])
    end).

aiohttp_websocket(Config) ->
    with_aiohttp(Config, fun(Port) ->
        ?assertEqual({0, <<"closed as you wish\n">>}, websocket_peer("echo", Port, "/echo"))
    end).

aiohttp_streaming_upload(Config) ->
    File = random_file(Config, 20 * 1024 * 1024),
    Digest = digest_of_file(File),
    with_aiohttp(Config, fun(Port) ->
        %% Of known length; of unknown length, in chunks from a pipe; and eight at once.
        {0, Put} = curl(["-T", File, url(Port, "/upload")]),
        assert_arrived(Put, Digest, 20 * 1024 * 1024),
        Chunk = " | curl -sS -m 60 -T - -H 'Transfer-Encoding: chunked' ",
        {0, Chunked} = shell(["cat ", File, Chunk, url(Port, "/upload")]),
        assert_arrived(Chunked, Digest, 20 * 1024 * 1024),
        {0, Parallel} = curl(["-Z" | lists:append([["-T", File, url(Port, "/upload")] || _ <- lists:seq(1, 8)])]),
        {match, Answers} = re:run(Parallel, <<"\"", Digest/binary, "\"">>, [global]),
        ?assertEqual(8, length(Answers))
    end).

aiohttp_streaming_download(Config) ->
    File = private(Config, "download"),
    with_aiohttp(Config, fun(Port) ->
        {0, <<>>} = curl(["-o", File, url(Port, "/download/320")]),
        ?assertEqual(20 * 1024 * 1024, filelib:file_size(File)),
        ?assertEqual(hex(crypto:hash(sha256, downloaded(320))), digest_of_file(File)),
        {0, <<>>} = curl([url(Port, "/download/0")])
    end).

%% A client that takes its time holds the server's writing back; nothing piles up in the VM.
aiohttp_slow_reader(Config) ->
    File = private(Config, "slow"),
    with_aiohttp(Config, fun(Port) ->
        %% Several times what the system buffers for a connection.
        {0, <<>>} = curl(["--limit-rate", "8M", "-o", File, url(Port, "/download/640")]),
        ?assertEqual(hex(crypto:hash(sha256, downloaded(640))), digest_of_file(File)),
        Buffered = body(url(Port, "/buffered")),
        {match, [Bytes]} = re:run(Buffered, "\"bytes\": ([0-9]+)", [{capture, all_but_first, binary}]),
        %% Something was held back, and not more than the high-water mark and one block.
        ?assert(binary_to_integer(Bytes) > 0),
        ?assert(binary_to_integer(Bytes) =< 64 * 1024 + 2 * 64 * 1024)
    end).

aiohttp_tls(Config) ->
    {Certificate, Key} = certificate(Config),
    File = random_file(Config, 5 * 1024 * 1024),
    with_aiohttp(Config, [list_to_binary(Certificate), list_to_binary(Key)], fun(Port) ->
        Url = url("https", Port, "/"),
        {0, Body} = curl(["--cacert", Certificate, Url]),
        ?assertEqual(json([{"loop", ?LOOP}, {"tls", true}]), Body),
        {0, Put} = curl(["--cacert", Certificate, "-T", File, url("https", Port, "/upload")]),
        assert_arrived(Put, digest_of_file(File), 5 * 1024 * 1024),
        {0, <<"1\n0\n">>} = curl(["--cacert", Certificate, "-w", "%{num_connects}\n" | discarded([Url, Url])]),
        Address = "127.0.0.1:" ++ integer_to_list(Port),
        {0, Session} = shell(["openssl s_client -connect ", Address, " -CAfile ", Certificate, " </dev/null"]),
        ?assert(contains(Session, "Verify return code: 0 (ok)")),
        %% It is TLS indeed: a client that does not trust the certificate refuses, one without TLS gets nothing.
        {60, _} = curl([Url]),
        {Status, _} = curl([url(Port, "/")]),
        ?assertNotEqual(0, Status)
    end).

%% Client and server in one VM, on loops of their own.
aiohttp_client(Config) ->
    with_aiohttp(Config, fun(Port) ->
        Visit = real_programs:run(vm(Config), py_event_loop_pool, aiohttp_client, visit, [url(Port)]),
        assert_visit(Visit, false)
    end).

aiohttp_client_tls(Config) ->
    {Certificate, Key} = certificate(Config),
    with_aiohttp(Config, [list_to_binary(Certificate), list_to_binary(Key)], fun(Port) ->
        Url = unicode:characters_to_binary(url("https", Port, "")),
        Arguments = [Url, list_to_binary(Certificate)],
        Visit = real_programs:run(vm(Config), py_event_loop_pool, aiohttp_client, visit, Arguments),
        assert_visit(Visit, true)
    end).

aiohttp_under_load(Config) ->
    with_aiohttp(Config, fun(Port) -> load(url(Port, "/")) end).

%% aiohttp's own way to run a server, unchanged, in a VM of its own: it does without signal handlers.
aiohttp_run_app(_Config) ->
    Port = outside_program:free_port(),
    Program = outside_program:start(
        outside_program:file("examples/run.sh"),
        ["--show-loops", outside_program:file("test/real/aiohttp_run_app.py"), integer_to_list(Port)],
        real_programs:environment()
    ),
    outside_program:wait_for(Program, "Running on http://127.0.0.1:", 30000),
    ?assertEqual(json([{"loop", ?LOOP}, {"tls", false}]), body(url(Port, "/"))),
    outside_program:stop(Program),
    ?assertNot(outside_program:is_listening(Port)).

aiohttp_stop_closes_the_port(Config) ->
    Vm = vm(Config),
    Port = run(Vm, aiohttp_server, start, [?LOCALHOST, 0]),
    %% A connection that is idle, and one in the middle of a websocket, end too.
    {ok, Idle} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    ok = gen_tcp:send(Idle, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    {ok, _} = gen_tcp:recv(Idle, 0, 5000),
    none = run(Vm, aiohttp_server, stop, [Port]),
    ?assertNot(outside_program:is_listening(Port)),
    ?assertEqual({error, closed}, gen_tcp:recv(Idle, 0, 5000)),
    %% The same port at once again.
    Port = run(Vm, aiohttp_server, start, [?LOCALHOST, Port]),
    ?assertEqual(json([{"loop", ?LOOP}, {"tls", false}]), body(url(Port, "/"))),
    none = run(Vm, aiohttp_server, stop, [Port]).

%%% uvicorn and FastAPI under an Erlang supervisor

uvicorn_serves_fastapi(Config) ->
    with_uvicorn(Config, fun(_Supervisor, Port) ->
        ?assertEqual(<<"{\"loop\":\"", ?LOOP/binary, "\"}">>, body(url(Port, "/"))),
        ?assertEqual(<<"{\"item_id\":7,\"q\":\"x\"}">>, body(url(Port, "/items/7?q=x"))),
        ?assertEqual(<<"{\"runs\":\"in a thread\"}">>, body(url(Port, "/thread"))),
        ?assertEqual(lists:last(lines(body(url(Port, "/stream/1000")))), <<"line 999">>),
        {0, <<"422">>} = curl(["-o", "/dev/null", "-w", "%{http_code}", url(Port, "/items/seven")]),
        {0, <<"202">>} = post_job(Port, "{\"dividend\": 1, \"divisor\": 4}"),
        ?assertEqual(<<"[0.25]">>, eventually(fun() -> body(url(Port, "/results")) end, <<"[0.25]">>)),
        {0, Connections} = curl(["-w", "%{num_connects}\n" | discarded([url(Port, "/"), url(Port, "/")])]),
        ?assertEqual([<<"1">>, <<"0">>], lines(Connections))
    end).

uvicorn_exception_restarts(Config) ->
    with_uvicorn(Config, fun(Supervisor, Port) ->
        Vm = vm(Config),
        Worker = worker(Vm, Supervisor),
        Monitor = monitor_on(Vm, Worker),
        {0, <<"202">>} = post_job(Port, "{\"dividend\": 1, \"divisor\": 2}"),
        <<"[0.5]">> = eventually(fun() -> body(url(Port, "/results")) end, <<"[0.5]">>),
        {0, <<"202">>} = post_job(Port, "{\"dividend\": 1, \"divisor\": 0}"),
        ?assertEqual({python, {'ZeroDivisionError', <<"float division by zero">>}}, down(Monitor)),
        Next = next_worker(Vm, Supervisor, Worker),
        ?assertEqual(Port, peer:call(Vm, uvicorn_worker, port, [Next])),
        %% A fresh application on the same port.
        ?assertEqual(<<"[]">>, body(url(Port, "/results")))
    end).

%% Killed, the worker cannot stop its server; that ends because the task's owner is gone, and the next one waits for it.
uvicorn_killed_worker_restarts(Config) ->
    with_uvicorn(Config, fun(Supervisor, Port) ->
        Vm = vm(Config),
        Worker = worker(Vm, Supervisor),
        {0, <<"202">>} = post_job(Port, "{\"dividend\": 1, \"divisor\": 2}"),
        true = peer:call(Vm, erlang, exit, [Worker, kill]),
        Next = next_worker(Vm, Supervisor, Worker),
        ?assertEqual(Port, peer:call(Vm, uvicorn_worker, port, [Next])),
        ?assertEqual(<<"[]">>, body(url(Port, "/results")))
    end).

uvicorn_stop_closes_the_port(Config) ->
    Vm = vm(Config),
    {Supervisor, Port} = start_uvicorn(Vm, outside_program:free_port()),
    %% An answer on its way is still sent.
    Client = outside_program:start("curl", ["-sSN", "-m", "60", url(Port, "/stream/20?pause=0.1")]),
    outside_program:wait_for(Client, "^line 2$", 10000),
    ok = stop_supervisor(Vm, Supervisor),
    ?assertNot(outside_program:is_listening(Port)),
    {0, Answer} = outside_program:wait_exit(Client, 20000),
    ?assertEqual(<<"line 19">>, lists:last(lines(Answer))),
    %% The same port at once again.
    {Again, Port} = start_uvicorn(Vm, Port),
    ok = stop_supervisor(Vm, Again).

%% uvicorn ends with SystemExit when it cannot listen: only who started it hears of that, and the loop goes on.
uvicorn_port_taken(Config) ->
    Vm = vm(Config),
    {ok, Taken} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Taken),
    Address = #{host => ?LOCALHOST, port => Port},
    Task = real_programs:run(Vm, asyncio, sleep, [0, <<"the loop goes on">>]),
    ?assertMatch({error, {'SystemExit', _}}, peer:call(Vm, ?MODULE, start_worker, [Address], 30000)),
    ?assertEqual(Task, real_programs:run(Vm, asyncio, sleep, [0, <<"the loop goes on">>])),
    ok = gen_tcp:close(Taken),
    %% uvicorn logs it as an error, which is right.
    Problems = run(Vm, watch, problems, []),
    ?assertMatch([_ | _], [Text || Text <- Problems, contains(Text, "address already in use")]),
    ?assertEqual([], [Text || Text <- Problems, not contains(Text, "address already in use")]),
    {Supervisor, Port} = start_uvicorn(Vm, Port),
    %% A second server of the same VM there waits until the first has ended, but not for ever.
    ?assertMatch({error, {_, <<"[Errno 98]", _/binary>>}}, peer:call(Vm, ?MODULE, start_worker, [Address], 30000)),
    ?assertEqual(<<"{\"loop\":\"", ?LOOP/binary, "\"}">>, body(url(Port, "/"))),
    ok = stop_supervisor(Vm, Supervisor).

%% uvicorn.run() as every program calls it, in a VM of its own.
uvicorn_run(_Config) ->
    Port = outside_program:free_port(),
    Program = outside_program:start(
        outside_program:file("examples/run.sh"),
        ["--keep-policy", "--show-loops", outside_program:file("examples/uvicorn_run.py"), integer_to_list(Port)],
        real_programs:environment()
    ),
    outside_program:wait_for(Program, "Uvicorn running on http://127.0.0.1:" ++ integer_to_list(Port), 30000),
    ?assertEqual(<<"{\"loop\":\"", ?LOOP/binary, "\"}">>, body(url(Port, "/"))),
    Output = outside_program:output(Program),
    ?assert(contains(Output, "running on erlang._loop.ErlangEventLoop")),
    ?assertNot(contains(Output, "Traceback")),
    outside_program:stop(Program),
    ?assertNot(outside_program:is_listening(Port)).

uvicorn_under_load(Config) ->
    with_uvicorn(Config, fun(_Supervisor, Port) -> load(url(Port, "/")) end).

httpx_visits_fastapi(Config) ->
    with_uvicorn(Config, fun(_Supervisor, Port) ->
        Visit = real_programs:run(vm(Config), py_event_loop_pool, httpx_client, visit, [url(Port), 200]),
        #{<<"connections">> := Connections} = Visit,
        ?assertEqual(
            #{
                <<"loop">> => ?LOOP,
                <<"page">> => #{<<"loop">> => ?LOOP},
                <<"items">> => true,
                <<"lines">> => 1000,
                <<"last_line">> => <<"line 999">>,
                <<"thread">> => <<"in a thread">>,
                <<"invalid">> => 422,
                <<"results">> => [0.125]
            },
            maps:remove(<<"connections">>, Visit)
        ),
        ?assert(Connections >= 1 andalso Connections =< 10)
    end).

%%% websockets

websockets_chat(Config) ->
    Vm = vm(Config),
    Port = run(Vm, websockets_chat, start, [?LOCALHOST, 0]),
    ?assertEqual({0, <<"from outside | from outside\n">>}, websocket_peer("chat", Port, "/")),
    Url = iolist_to_binary(url("ws", Port, "/")),
    ?assertEqual(
        #{
            <<"loop">> => ?LOOP,
            <<"joined">> => 20,
            <<"everybody_heard_all">> => true,
            <<"big_message_arrived">> => true
        },
        real_programs:run(Vm, py_event_loop_pool, websockets_chat, chat, [Url, 20])
    ),
    none = run(Vm, websockets_chat, stop, [Port]),
    ?assertNot(outside_program:is_listening(Port)).

%%% Databases

postgresql(Config) ->
    {Server, Dsn, Folder} = start_postgresql(),
    try
        ?assertEqual(
            #{
                <<"loop">> => ?LOOP,
                <<"accounts">> => 100,
                <<"in_order">> => true,
                <<"total">> => 10000,
                <<"notification">> => <<"all moved">>,
                <<"query_cancelled">> => true,
                <<"duplicates_refused">> => 1
            },
            run(vm(Config), postgresql_asyncpg, bank, [list_to_binary(Dsn)])
        ),
        %% As another client sees it: the balances differ and no money was lost.
        Query = "SELECT count(*), sum(balance), count(DISTINCT balance) > 1 FROM erlang_python_accounts",
        ?assertEqual(
            {0, <<"100|10000|t\n">>}, outside_program:run(postgresql_program("psql"), [Dsn, "-XAt", "-c", Query])
        )
    after
        outside_program:stop(Server),
        ok = file:del_dir_r(Folder)
    end.

redis(Config) ->
    Port = outside_program:free_port(),
    Server = outside_program:start("redis-server", [
        "--port", integer_to_list(Port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
        "--dir", private(Config, "")
    ]),
    try
        outside_program:wait_for(Server, "Ready to accept connections", 20000),
        Url = iolist_to_binary(["redis://127.0.0.1:", integer_to_list(Port), "/0"]),
        ?assertEqual(
            #{
                <<"loop">> => ?LOOP,
                <<"counter">> => 500,
                <<"numbers">> => true,
                <<"popped">> => <<"at last">>,
                <<"news">> => true,
                <<"big_value_arrived">> => true
            },
            run(vm(Config), redis_client, use, [Url])
        ),
        Ask = fun(Arguments) -> outside_program:run("redis-cli", ["-p", integer_to_list(Port) | Arguments]) end,
        ?assertEqual({0, <<"500\n">>}, Ask(["GET", "erlang_python:counter"])),
        ?assertEqual({0, <<"1000\n">>}, Ask(["LLEN", "erlang_python:numbers"])),
        ?assertEqual({0, <<"2000000\n">>}, Ask(["STRLEN", "erlang_python:big"]))
    after
        outside_program:stop(Server)
    end.

sqlite(Config) ->
    File = private(Config, "words.sqlite3"),
    _ = file:delete(File),
    ?assertEqual(
        #{
            <<"loop">> => ?LOOP,
            <<"rows">> => 1000,
            <<"first">> => <<"0 drow">>,
            <<"duplicate_refused">> => true,
            <<"counted_by_eight_connections">> => 1000
        },
        run(vm(Config), sqlite_aiosqlite, write, [list_to_binary(File)])
    ),
    Program =
        "import sqlite3, sys\n"
        "print(sqlite3.connect(sys.argv[1]).execute('select count(*), max(word) from words').fetchone())",
    ?assertEqual({0, <<"(1000, 'word 999')\n">>}, outside_program:run(real_programs:python(), ["-c", Program, File])).

anyio(Config) ->
    Expected = #{
        <<"loop">> => ?LOOP,
        <<"tcp">> => 50,
        <<"udp">> => <<"ping pong">>,
        <<"pipeline">> => 499500,
        <<"threads">> => true,
        <<"moved_on">> => true,
        <<"timed_out">> => true,
        <<"file">> => <<"text">>
    },
    %% As a task of a loop that runs, and with a loop that anyio makes itself, in a thread of a context.
    ?assertEqual(Expected, run(vm(Config), anyio_tasks, tour, [])),
    ?assertEqual({ok, Expected}, peer:call(vm(Config), py, call, [anyio_tasks, run, []], 60000)).

%%% aiohttp: helpers

with_aiohttp(Config, Fun) ->
    with_aiohttp(Config, [], Fun).

with_aiohttp(Config, Tls, Fun) ->
    Port = run(vm(Config), aiohttp_server, start, [?LOCALHOST, 0 | Tls]),
    try
        Fun(Port)
    after
        run(vm(Config), aiohttp_server, stop, [Port])
    end.

assert_visit(Visit, Tls) ->
    ?assertEqual(
        #{
            <<"loop">> => ?LOOP,
            <<"page">> => #{<<"loop">> => ?LOOP, <<"tls">> => Tls},
            <<"kept_alive">> => #{<<"new">> => 1, <<"reused">> => 9},
            <<"upload_arrived">> => true,
            <<"download_arrived">> => true,
            <<"all_ok">> => true,
            <<"websocket">> => [256 * 1024, [<<"CLOSE">>, 1000, <<"as you wish">>]],
            <<"websocket_in_order">> => true
        },
        Visit
    ).

assert_arrived(Answer, Digest, Size) ->
    {match, [Got, Bytes, Chunks]} = re:run(
        Answer,
        "\"sha256\": \"([0-9a-f]+)\", \"bytes\": ([0-9]+), \"chunks\": ([0-9]+)",
        [{capture, all_but_first, binary}]
    ),
    ?assertEqual({Digest, Size}, {Got, binary_to_integer(Bytes)}),
    %% As a stream, not as one body.
    ?assert(binary_to_integer(Chunks) > 10).

%% What aiohttp_server.py calls a block, numbered from 0.
downloaded(Count) ->
    [binary:copy(crypto:hash(sha256, <<Number:64>>), 64 * 1024 div 32) || Number <- lists:seq(0, Count - 1)].

%%% uvicorn: helpers

with_uvicorn(Config, Fun) ->
    Vm = vm(Config),
    {Supervisor, Port} = start_uvicorn(Vm, outside_program:free_port()),
    try
        Fun(Supervisor, Port)
    after
        stop_supervisor(Vm, Supervisor)
    end.

start_uvicorn(Vm, Port) ->
    {ok, Supervisor} = peer:call(Vm, ?MODULE, start_supervisor, [#{host => ?LOCALHOST, port => Port}], 40000),
    {Supervisor, peer:call(Vm, uvicorn_worker, port, [worker(Vm, Supervisor)])}.

%% In the other VM: the supervisor must not be linked to the process of a call.

start_supervisor(Address) ->
    {ok, Supervisor} = uvicorn_supervised:start_link(Address),
    unlink(Supervisor),
    {ok, Supervisor}.

start_worker(Address) ->
    process_flag(trap_exit, true),
    uvicorn_worker:start_link(Address).

stop_supervisor(Vm, Supervisor) ->
    peer:call(Vm, gen_server, stop, [Supervisor, shutdown, 20000], 25000).

worker(Vm, Supervisor) ->
    case peer:call(Vm, supervisor, which_children, [Supervisor], 40000) of
        [{server, Worker, worker, _}] when is_pid(Worker) -> Worker;
        [{server, restarting, worker, _}] -> worker(Vm, Supervisor)
    end.

next_worker(Vm, Supervisor, Before) ->
    case worker(Vm, Supervisor) of
        Before ->
            timer:sleep(20),
            next_worker(Vm, Supervisor, Before);
        Next ->
            Next
    end.

%% The reason of a process of the other VM, once it has ended.
monitor_on(Vm, Pid) ->
    Self = self(),
    Reference = make_ref(),
    spawn_link(fun() -> Self ! {Reference, peer:call(Vm, ?MODULE, wait_down, [Pid], 40000)} end),
    %% The request is on its way before what ends the process.
    timer:sleep(200),
    Reference.

wait_down(Pid) ->
    Reference = monitor(process, Pid),
    receive
        {'DOWN', Reference, process, Pid, Reason} -> Reason
    end.

down(Reference) ->
    receive
        {Reference, Reason} -> Reason
    after 30000 -> ct:fail(still_alive)
    end.

post_job(Port, Job) ->
    Type = "Content-Type: application/json",
    curl(["-o", "/dev/null", "-w", "%{http_code}", "-H", Type, "-d", Job, url(Port, "/jobs")]).

%%% Servers and tools outside

%% PostgreSQL refuses to run as root; Debian's package has made a user for it.
start_postgresql() ->
    Port = outside_program:free_port(),
    %% Not below the test's own folder, which the user postgres need not be able to reach.
    {0, Made} = shell("mktemp -d /tmp/postgresql.XXXXXX"),
    Folder = unicode:characters_to_list(string:trim(Made)),
    As =
        case string:trim(os:cmd("id -u")) of
            "0" ->
                {0, <<>>} = shell(["chown postgres: ", Folder]),
                ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"];
            _ ->
                ["env"]
        end,
    Data = filename:join(Folder, "data"),
    [Command | Arguments] = As,
    {0, _} = outside_program:run(
        Command,
        Arguments ++
            [postgresql_program("initdb"), "-D", Data, "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8"],
        #{cd => "/"}
    ),
    Server = outside_program:start(
        Command,
        Arguments ++
            [postgresql_program("postgres"), "-D", Data, "-h", "127.0.0.1", "-p", integer_to_list(Port)] ++
            ["-k", "", "-F"],
        #{cd => "/"}
    ),
    outside_program:wait_for(Server, "database system is ready to accept connections", 60000),
    {Server, lists:flatten(["postgresql://tester@127.0.0.1:", integer_to_list(Port), "/postgres"]), Folder}.

%% Debian keeps them out of PATH.
postgresql_program(Name) ->
    case lists:reverse(filelib:wildcard("/usr/lib/postgresql/*/bin/" ++ Name)) of
        [Path | _] -> Path;
        [] -> Name
    end.

certificate(Config) ->
    Certificate = private(Config, "certificate.pem"),
    Key = private(Config, "key.pem"),
    {0, _} = outside_program:run("openssl", [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", Key, "-out", Certificate
    ]),
    {Certificate, Key}.

%% Fifty connections at once for two seconds.
load(Url) ->
    {0, Output} = outside_program:run("wrk", ["-t", "1", "-c", "50", "-d", "2", "--timeout", "10", Url]),
    ct:log("~ts", [Output]),
    {match, [Requests]} = re:run(Output, "([0-9]+) requests in", [{capture, all_but_first, binary}]),
    ?assert(binary_to_integer(Requests) > 100),
    ?assertNot(contains(Output, "Non-2xx")),
    ?assertNot(contains(Output, "Socket errors")).

curl(Arguments) ->
    outside_program:run("curl", ["-sS", "-m", "60" | Arguments]).

%% One curl gets all of them, over one connection where it can, and prints what `-w' asks for.
discarded(Urls) ->
    lists:append([[Url, "-o", "/dev/null"] || Url <- Urls]).

body(Url) ->
    {0, Body} = curl(["--fail", Url]),
    Body.

websocket_peer(What, Port, Path) ->
    outside_program:run(
        real_programs:python(), [outside_program:file("test/real/websocket_peer.py"), What, url("ws", Port, Path)]
    ).

shell(Command) ->
    outside_program:run("sh", ["-c", unicode:characters_to_list(Command)]).

random_file(Config, Size) ->
    File = private(Config, "random"),
    ok = file:write_file(File, crypto:strong_rand_bytes(Size)),
    File.

digest_of_file(File) ->
    {ok, Content} = file:read_file(File),
    hex(crypto:hash(sha256, Content)).

hex(Binary) ->
    string:lowercase(binary:encode_hex(Binary)).

private(Config, Name) ->
    filename:join(proplists:get_value(priv_dir, Config), Name).

url(Port) ->
    iolist_to_binary(url(Port, "")).

url(Port, Path) ->
    url("http", Port, Path).

url(Scheme, Port, Path) ->
    lists:flatten([Scheme, "://127.0.0.1:", integer_to_list(Port), Path]).

%% As aiohttp's json_response writes it.
json(Pairs) ->
    Members = [["\"", Key, "\": ", json_value(Value)] || {Key, Value} <- Pairs],
    iolist_to_binary(["{", lists:join(", ", Members), "}"]).

json_value(Value) when is_boolean(Value) -> atom_to_list(Value);
json_value(Value) -> ["\"", Value, "\""].

eventually(Fun, Expected) ->
    eventually(Fun, Expected, 200).

eventually(Fun, Expected, Tries) ->
    case Fun() of
        Expected ->
            Expected;
        _ when Tries > 0 ->
            timer:sleep(20),
            eventually(Fun, Expected, Tries - 1);
        Other ->
            Other
    end.

lines(Output) ->
    binary:split(Output, <<"\n">>, [global, trim_all]).

contains(Text, Part) ->
    binary:match(Text, unicode:characters_to_binary(Part)) =/= nomatch.

vm(Config) ->
    proplists:get_value(vm, Config).

run(Vm, Module, Function, Arguments) ->
    real_programs:run(Vm, Module, Function, Arguments).
