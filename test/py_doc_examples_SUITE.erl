%% The examples of the documents run as they are written, each in a VM of its own as examples/run.sh starts it, with
%% nc as the peer outside. `--show-loops' proves which class of loop ran.
-module(py_doc_examples_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1]).
-export([
    pattern_run/1,
    pattern_runner/1,
    pattern_install/1,
    pattern_manual_loop/1,
    older_names/1,
    threads_run_once/1,
    execution_mode/1,
    hello_world/1,
    toy_event_loop/1,
    loop_callbacks/1,
    tcp_echo_server/1,
    tcp_echo_client/1,
    tcp_echo_both/1,
    udp_echo_server/1,
    udp_echo_client/1,
    udp_endpoint/1,
    udp_broadcast/1,
    udp_time_and_echo/1,
    failing_program/1,
    every_example_is_listed/1
]).

-define(OUR_LOOP, <<"running on erlang._loop.ErlangEventLoop">>).
%% A VM starts within a second; the machine may be busy.
-define(START, 30000).

suite() -> [{timetrap, {minutes, 3}}].

all() ->
    [
        pattern_run,
        pattern_runner,
        pattern_install,
        pattern_manual_loop,
        older_names,
        threads_run_once,
        execution_mode,
        hello_world,
        toy_event_loop,
        loop_callbacks,
        tcp_echo_server,
        tcp_echo_client,
        tcp_echo_both,
        udp_echo_server,
        udp_echo_client,
        udp_endpoint,
        udp_broadcast,
        udp_time_and_echo,
        failing_program,
        every_example_is_listed
    ].

init_per_suite(Config) -> real_programs:set_up(Config).

end_per_suite(_Config) -> ok.

%%% The usage patterns. The policy is left as asyncio has it, so that the loop's class is the pattern's own doing.

pattern_run(_Config) ->
    ?assertEqual([<<"Done!">>], on_our_loop("pattern_1_run.py", ["--keep-policy"])).

pattern_runner(_Config) ->
    ?assertEqual([<<"Done!">>], on_our_loop("pattern_2_runner.py", ["--keep-policy"])).

%% On 3.12 and later the warning is shown, because it is the program itself that calls install().
pattern_install(_Config) ->
    Lines = on_our_loop("pattern_3_install.py", ["--keep-policy"]),
    ?assert(lists:member(<<"Done!">>, Lines)),
    Deprecated = lists:any(fun(Line) -> has(Line, "DeprecationWarning: erlang.install() is deprecated") end, Lines),
    ?assertEqual(python_version() >= {3, 12}, Deprecated).

pattern_manual_loop(_Config) ->
    ?assertEqual([<<"Done!">>], on_our_loop("pattern_4_manual_loop.py", ["--keep-policy"])).

older_names(_Config) ->
    ?assertEqual([<<"Done!">>], on_our_loop("older_name_loop.py", ["--keep-policy"])),
    ?assertEqual([<<"Done!">>], on_our_loop("older_name_policy.py", ["--keep-policy"])).

%% Each thread drives a loop by hand, with _run_once().
threads_run_once(_Config) ->
    {0, Output} = run_example("threads_run_once.py", ["--keep-policy"]),
    ?assertEqual([<<"[['loop_a', 'loop_a'], ['loop_b', 'loop_b']]">>], lines(Output)).

execution_mode(_Config) ->
    {0, Output} = run_example("execution_mode.py", []),
    [Line] = lines(Output),
    ?assertEqual(
        case gil_is_off() of
            true -> <<"Running in free-threaded mode (no GIL)">>;
            false -> <<"Running with shared GIL">>
        end,
        Line
    ).

hello_world(_Config) ->
    [Object | Rest] = on_our_loop("hello_world.py", ["--keep-policy"]),
    ?assertMatch({match, _}, re:run(Object, "^<coroutine object hello_world at 0x[0-9a-f]+>$")),
    ?assertEqual([<<"entering event loop">>, <<"hello world!">>, <<"42">>], Rest).

toy_event_loop(_Config) ->
    {0, Output} = run_example("toy_event_loop.py", []),
    %% How the clock's ticks fall between the messages depends on how busy the machine is.
    {Ticks, Messages} = lists:partition(fun(Line) -> has(Line, "tick ") end, lines(Output)),
    ?assertEqual([<<"tick 1">>, <<"tick 2">>], Ticks),
    ?assertEqual(
        [<<"received message 1">>, <<"received message 2">>, <<"received message 3">>, <<"the sender is done">>],
        Messages
    ).

loop_callbacks(_Config) ->
    ?assertEqual(
        [<<"result of the coroutine">>, <<"callback soon">>, <<"callback later">>],
        on_our_loop("loop_callbacks.py", ["--keep-policy"])
    ).

%%% TCP on port 8888

tcp_echo_server(_Config) ->
    Server = start_server("tcp_echo_server.py", 8888),
    ?assertEqual({0, <<"hello from nc">>}, shell("printf 'hello from nc' | nc -N -w 10 127.0.0.1 8888")),
    [_] = outside_program:wait_for(Server, "^Connection from \\('127.0.0.1', ([0-9]+)\\)$", ?START),
    outside_program:wait_for(Server, "^Received: hello from nc$", ?START),
    outside_program:wait_for(Server, "^Connection closed$", ?START),
    %% A hundred at once.
    ?assertEqual(
        {0, <<"100\n">>},
        shell(
            "for n in $(seq 100); do printf \"message $n\\n\" | nc -N -w 20 127.0.0.1 8888 & done | "
            "sort -u | grep -c message"
        )
    ),
    stop_on_our_loop(Server),
    ?assertNot(outside_program:is_listening(8888)).

%% nc answers and closes: the client prints what it got, and ends.
tcp_echo_client(_Config) ->
    outside_program:free_port(8888),
    Peer = outside_program:start("sh", ["-c", "printf 'hello from nc' | nc -v -N -l 127.0.0.1 8888"]),
    outside_program:wait_for(Peer, "^Listening on ", ?START),
    ?assertEqual([<<"Received: hello from nc">>], on_our_loop("tcp_echo_client.py", [])),
    {0, Heard} = outside_program:wait_exit(Peer, ?START),
    ?assertMatch({_, _}, binary:match(Heard, <<"Hello, World!">>)).

tcp_echo_both(_Config) ->
    Server = start_server("tcp_echo_server.py", 8888),
    Client = start_example("tcp_echo_client.py", []),
    outside_program:wait_for(Client, "^Received: Hello, World!$", ?START),
    stop_on_our_loop(Server),
    %% The server closed the connection by ending.
    {0, Output} = outside_program:wait_exit(Client, ?START),
    ?assertEqual([<<"Received: Hello, World!">>], without_loops(Output)).

%%% UDP on ports 9999, 14000 and 15000

udp_echo_server(_Config) ->
    outside_program:free_port(9999),
    Server = start_example("udp_echo_server.py", []),
    outside_program:wait_for(Server, "^UDP Echo Server listening on \\('127.0.0.1', 9999\\)$", ?START),
    ?assertEqual({0, <<"hello from nc">>}, datagram("printf 'hello from nc' | nc -u -w 1 127.0.0.1 9999")),
    outside_program:wait_for(Server, "^Received 13 bytes from \\('127.0.0.1', [0-9]+\\)$", ?START),
    [Sending, Received, Response] = on_our_loop("udp_echo_client.py", []),
    ?assertEqual(<<"Sending: Hello UDP!">>, Sending),
    ?assertEqual(<<"Received: Hello UDP! from ('127.0.0.1', 9999)">>, Received),
    ?assertEqual(<<"Echo response: Hello UDP!">>, Response),
    stop_on_our_loop(Server).

%% Without a server the kernel refuses the datagram; the client hears of it, and gives up after its five seconds.
udp_echo_client(_Config) ->
    outside_program:free_port(9999),
    {1, Output} = run_example("udp_echo_client.py", ["--show-loops"]),
    ?assert(has(Output, "Error: [Errno 111] Connection refused")),
    ?assert(has(Output, "TimeoutError")),
    %% The same with nc as the server.
    Peer = outside_program:start("sh", ["-c", "printf 'hello from nc' | nc -v -u -l -W 1 127.0.0.1 9999"]),
    outside_program:wait_for(Peer, "^Bound on ", ?START),
    Lines = on_our_loop("udp_echo_client.py", []),
    ?assertEqual(<<"Echo response: hello from nc">>, lists:last(Lines)),
    ?assert(has(outside_program:stop(Peer), "Hello UDP!")).

udp_endpoint(_Config) ->
    outside_program:free_port(9999),
    Server = start_example("udp_endpoint.py", []),
    outside_program:wait_for(Server, "^Listening on \\('127.0.0.1', 9999\\)$", ?START),
    ?assertEqual({0, <<"decoded">>}, datagram("printf decoded | nc -u -w 1 127.0.0.1 9999")),
    outside_program:wait_for(Server, "^Received 'decoded' from \\('127.0.0.1', [0-9]+\\)$", ?START),
    stop_on_our_loop(Server).

udp_broadcast(_Config) ->
    outside_program:free_port(9999),
    Peer = outside_program:start("nc", ["-v", "-u", "-l", "0.0.0.0", "9999"]),
    outside_program:wait_for(Peer, "^Bound on ", ?START),
    {0, Output} = run_example("udp_broadcast.py", ["--show-loops"], ["127.255.255.255"]),
    ?assertEqual([<<"Sent to 127.255.255.255">>], without_loops(Output)),
    outside_program:wait_for(Peer, "Broadcast message", ?START),
    outside_program:stop(Peer).

udp_time_and_echo(_Config) ->
    [outside_program:free_port(Port) || Port <- [14000, 15000]],
    Server = start_example("udp_time_and_echo.py", []),
    outside_program:wait_for(Server, "^UDPEchoServer listening on port 15000$", ?START),
    [
        begin
            {0, Time} = datagram(["echo hello | nc -u -w 1 ", Host, " 14000"]),
            ?assertMatch(
                {match, _},
                re:run(Time, "^(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ 0-9]{2} [0-9:]{8} 20[0-9]{2}$")
            ),
            ?assertEqual({0, <<"hello\n">>}, datagram(["echo hello | nc -u -w 1 ", Host, " 15000"]))
        end
     || Host <- ["localhost", "127.0.0.1"]
    ],
    stop_on_our_loop(Server).

%%% The runner and the list

%% What examples/run.sh promises about programs that fail; without it a failing example could pass for a good one.
failing_program(Config) ->
    Program = filename:join(proplists:get_value(priv_dir, Config), "failing.py"),
    Run = fun(Text) ->
        ok = file:write_file(Program, Text),
        outside_program:run(outside_program:file("examples/run.sh"), [Program, "x"], real_programs:environment())
    end,
    {1, Traceback} = Run("import asyncio\nasync def main(): 1 / 0\nasyncio.run(main())\n"),
    ?assert(has(Traceback, "ZeroDivisionError: division by zero")),
    ?assertEqual({3, <<>>}, Run("import sys\nsys.exit(3)\n")),
    ?assertEqual({1, <<"no reason\n">>}, Run("import sys\nsys.exit('no reason')\n")),
    {0, Arguments} = Run("import sys\nprint(__name__, sys.argv[1:])\n"),
    ?assertEqual(<<"__main__ ['x']\n">>, Arguments).

%% docs/examples.md says of every file what it shows.
every_example_is_listed(_Config) ->
    {ok, Text} = file:read_file(outside_program:file("docs/examples.md")),
    {ok, Names} = file:list_dir(outside_program:file("examples")),
    Missing = [Name || Name <- Names, filename:extension(Name) =/= "", not has(Text, Name)],
    ?assertEqual([], Missing).

%%% Helpers

%% Runs an example to its end, and returns the lines that it printed, but for the one that names the loop.
on_our_loop(Name, Options) ->
    {Status, Output} = run_example(Name, ["--show-loops" | Options]),
    Status =:= 0 orelse ct:fail({Name, Status, Output}),
    without_loops(Output).

%% Fails unless loops ran and all were ours.
without_loops(Output) ->
    {Loops, Rest} = lists:partition(fun(Line) -> has(Line, "running on ") end, lines(Output)),
    Loops =/= [] orelse ct:fail({no_loop, Output}),
    [?assertEqual(?OUR_LOOP, Loop) || Loop <- Loops],
    Rest.

run_example(Name, Options) ->
    run_example(Name, Options, []).

run_example(Name, Options, Arguments) ->
    Run = outside_program:file("examples/run.sh"),
    outside_program:run(Run, command(Name, Options, Arguments), real_programs:environment()).

start_example(Name, Options) ->
    Run = outside_program:file("examples/run.sh"),
    outside_program:start(Run, command(Name, ["--show-loops" | Options], []), real_programs:environment()).

command(Name, Options, Arguments) ->
    Options ++ [outside_program:file("examples/" ++ Name) | Arguments].

start_server(Name, Port) ->
    outside_program:free_port(Port),
    Server = start_example(Name, []),
    outside_program:wait_port(Port, ?START),
    Server.

stop_on_our_loop(Server) ->
    Output = outside_program:stop(Server),
    _ = without_loops(Output),
    ?assertNot(has(Output, "Traceback")).

%% nc waits a second for the answer; a server on a busy machine may need longer once.
datagram(Command) -> datagram(Command, 5).

datagram(Command, Tries) ->
    case shell(Command) of
        {0, <<>>} when Tries > 1 -> datagram(Command, Tries - 1);
        Answer -> Answer
    end.

shell(Command) ->
    outside_program:run("sh", ["-c", unicode:characters_to_list(Command)]).

lines(Output) ->
    binary:split(Output, <<"\n">>, [global, trim_all]).

has(Text, Part) ->
    binary:match(Text, unicode:characters_to_binary(Part)) =/= nomatch.

python_version() ->
    {0, Version} = run_python("import sys; print(*sys.version_info[:2])"),
    [Major, Minor] = [binary_to_integer(N) || N <- binary:split(string:trim(Version), <<" ">>)],
    {Major, Minor}.

gil_is_off() ->
    {0, Answer} = run_python("import sys; print(getattr(sys, '_is_gil_enabled', lambda: True)())"),
    string:trim(Answer) =:= <<"False">>.

run_python(Program) ->
    outside_program:run(real_programs:python(), ["-c", Program]).
