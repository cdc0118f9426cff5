%% How a VM with Python in it ends: each case in a VM of its own.
-module(vm_exit_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

%% Far above what an end takes, far below what waiting for Python to finish would take.
-define(AT_ONCE, 20000).
-define(SIGABRT, 6).
-define(SIGBUS, 7).
-define(SIGFPE, 8).
-define(SIGKILL, 9).
-define(SIGSEGV, 11).

all() ->
    [
        {group, clean_ends},
        {group, crashes},
        crash_dump_on_sigusr1,
        os_cmd_and_ports,
        child_processes_get_default_signals,
        stdout_is_shared,
        failed_start_does_not_hang
    ].

%% Every way to end, in every state that Python may be in.
groups() ->
    [
        {clean_ends, [], [{group, State} || State <- maps:keys(states())]},
        {crashes, [], [
            crash_in_a_context,
            crash_in_an_event_loop,
            crash_in_a_thread_of_python,
            fatal_error_of_python,
            bus_error,
            floating_point_error,
            killed,
            crash_signal_raised_by_python,
            crash_signal_from_outside
        ]}
    ] ++ [{State, [], [halt, halt_with_status, halt_without_flush, init_stop, sigterm]} || State <- maps:keys(states())].

init_per_group(Group, Config) ->
    case states() of
        #{Group := Expressions} -> [{state, Expressions} | Config];
        #{} -> Config
    end.

end_per_group(_Group, _Config) ->
    ok.

%% What runs before the end. `ready' says that Python is where it should be.
states() ->
    #{
        loaded => "_ = py_nif:priv_dir(), _ = py_config:read(), io:put_chars(\"ready\\n\")",
        started => start() ++ "io:put_chars(\"ready\\n\")",
        idle => start() ++ "{ok, 4.0} = py:call(math, sqrt, [16.0]), {ok, _} = py_event_loop:run(asyncio, sleep, [0]),"
            "io:put_chars(\"ready\\n\")",
        stopped => start() ++ "{ok, 4.0} = py:call(math, sqrt, [16.0]), ok = application:stop(erlang_python),"
            "io:put_chars(\"ready\\n\")",
        looping_for_ever => start() ++ "spawn(fun() -> py:exec(<<\"print('ready', flush=True)\\nwhile True: pass\">>) end)",
        sleeping => start() ++ "spawn(fun() -> py:exec(<<\"print('ready', flush=True)\\nimport time; time.sleep(600)\">>) end)",
        loop_busy => start() ++ "py:exec(<<\"def turn():\\n print('ready', flush=True)\\n while True: pass\">>),"
            "spawn(fun() -> py_event_loop:run('__main__', turn, []) end)",
        loop_sleeping => start() ++ "py:exec(<<\"import asyncio\\nasync def doze():\\n print('ready', flush=True)\\n"
            " await asyncio.sleep(600)\">>), py_event_loop:spawn_task('__main__', doze, [])",
        threads_of_python => start() ++ "ok = py:exec(<<\"import threading\\ndef turn():\\n while True: pass\\n"
            "for _ in range(3): threading.Thread(target=turn).start()\\nprint('ready', flush=True)\">>)",
        many_busy => start() ++ "[spawn(fun() -> py:call(time, sleep, [600]) end) || _ <- lists:seq(1, 20)],"
            "timer:sleep(200), io:put_chars(\"ready\\n\")"
    }.

start() -> "{ok, _} = application:ensure_all_started(erlang_python), ".

%%% Clean ends

halt(Config) -> ends_with(0, ", receive after 100 -> halt() end.", Config).

halt_with_status(Config) -> ends_with(3, ", receive after 100 -> halt(3) end.", Config).

halt_without_flush(Config) -> ends_with(0, ", receive after 100 -> halt(0, [{flush, false}]) end.", Config).

init_stop(Config) -> ends_with(0, ", receive after 100 -> init:stop() end.", Config).

sigterm(Config) ->
    Port = test_support:erl_open([?config(state, Config), "."]),
    _ = test_support:erl_await(Port, <<"ready">>),
    signal("TERM", Port),
    ends_quietly(0, Port).

ends_with(Status, End, Config) ->
    Port = test_support:erl_open([?config(state, Config), End]),
    _ = test_support:erl_await(Port, <<"ready">>),
    ends_quietly(Status, Port).

%% An end that is clean has nothing to complain about.
ends_quietly(Status, Port) ->
    {Ended, Output} = test_support:erl_exit(Port, ?AT_ONCE),
    ?assertEqual({Status, Output}, {Ended, Output}),
    Complaints = "(?i)fatal|error|panic|goroutine|core dumped|crash",
    ?assertEqual(nomatch, re:run(Output, Complaints), Output).

%%% Crashes

crash_in_a_context(_Config) ->
    crashes_with(?SIGSEGV, "py:call(ctypes, string_at, [0])").

crash_in_an_event_loop(_Config) ->
    crashes_with(?SIGSEGV, "py_event_loop:run(ctypes, string_at, [0])").

crash_in_a_thread_of_python(_Config) ->
    crashes_with(
        ?SIGSEGV,
        "py:exec(<<\"import ctypes, threading\\nthreading.Thread(target=ctypes.string_at, args=(0,)).start()\">>)"
    ).

fatal_error_of_python(_Config) ->
    crashes_with(?SIGABRT, "py:call(os, abort, [])").

bus_error(_Config) ->
    crashes_with(
        ?SIGBUS,
        "py:exec(<<\"import mmap, tempfile\nfile = tempfile.TemporaryFile()\nfile.truncate(4096)\n"
        "memory = mmap.mmap(file.fileno(), 4096)\nfile.truncate(0)\nmemory[0]\">>)"
    ).

floating_point_error(_Config) ->
    crashes_with(?SIGFPE, "py:exec(<<\"import ctypes\nctypes.CDLL(None).div(1, 0)\">>)").

killed(_Config) ->
    crashes_with(?SIGKILL, "py:call(os, kill, [list_to_integer(os:getpid()), 9])").

%% What faulthandler and other crash reporters do in the end.
crash_signal_raised_by_python(_Config) ->
    crashes_with(?SIGSEGV, "py:call(signal, raise_signal, [11])"),
    crashes_with(?SIGSEGV, "py_event_loop:run(signal, raise_signal, [11])").

%% An operator who wants a core dump.
crash_signal_from_outside(_Config) ->
    [
        begin
            Port = test_support:erl_open([start(), "{ok, _} = py:call(math, sqrt, [16.0]), io:put_chars(\"ready\\n\")."]),
            _ = test_support:erl_await(Port, <<"ready">>),
            signal(Name, Port),
            {Status, Output} = test_support:erl_exit(Port, ?AT_ONCE),
            ?assertEqual({128 + Number, Output}, {Status, Output})
        end
     || {Name, Number} <- [{"SEGV", ?SIGSEGV}, {"BUS", ?SIGBUS}, {"ABRT", ?SIGABRT}]
    ].

%% The exit status tells the signal: a supervisor of the VM must see a crash as a crash.
crashes_with(Signal, Expression) ->
    {Status, Output} = test_support:erl([
        "ok = application:load(erlang_python),"
        "ok = application:set_env(erlang_python, sandbox, #{signals => allow, exit => allow}),",
        start(),
        Expression,
        ", timer:sleep(20000), halt(0)."
    ]),
    ?assertEqual({128 + Signal, Output}, {Status, Output}).

crash_dump_on_sigusr1(Config) ->
    Dump = filename:join(?config(priv_dir, Config), "crash.dump"),
    Port = test_support:erl_open([start(), "py:call(math, sqrt, [16.0]), io:put_chars(\"ready\\n\")."], #{
        env => [{"ERL_CRASH_DUMP", Dump}]
    }),
    _ = test_support:erl_await(Port, <<"ready">>),
    signal("USR1", Port),
    {Status, Output} = test_support:erl_exit(Port, 120000),
    ?assertEqual({1, Output}, {Status, Output}),
    {ok, <<"=erl_crash_dump:", _/binary>> = Text} = file:read_file(Dump),
    ?assertMatch({_, _}, binary:match(Text, <<"=end">>)),
    ?assertMatch({_, _}, binary:match(Text, <<"py_runtime">>)).

%%% The rest of the VM

os_cmd_and_ports(_Config) ->
    ok = test_support:start(),
    ?assertEqual("hello\n", os:cmd("echo hello")),
    Self = self(),
    [spawn(fun() -> py:call(time, sleep, [0.5]), Self ! slept end) || _ <- lists:seq(1, 4)],
    Program = fun(N) ->
        Port = open_port({spawn, "sh -c 'read line; echo \"$line\"; exit " ++ integer_to_list(N) ++ "'"}, [
            exit_status, {line, 100}, binary
        ]),
        true = port_command(Port, [integer_to_list(N), "\n"]),
        Line = receive {Port, {data, {eol, Text}}} -> Text after 20000 -> none end,
        Status = receive {Port, {exit_status, Number}} -> Number after 20000 -> none end,
        {Line, Status}
    end,
    [?assertEqual({integer_to_binary(N), N}, Program(N)) || N <- lists:seq(1, 20)],
    [receive slept -> ok after 20000 -> error(timeout) end || _ <- lists:seq(1, 4)],
    ?assertEqual("after\n", os:cmd("echo after")),
    ok = test_support:stop().

%% Python's threads block signals and Go installs handlers; neither may reach the programs that Erlang starts.
child_processes_get_default_signals(_Config) ->
    Masks = fun() -> os:cmd("grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status") end,
    {0, Before} = test_support:erl("io:put_chars(os:cmd(\"grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status\")), halt()."),
    ok = test_support:start(),
    {ok, 4.0} = py:call(math, sqrt, [16.0]),
    ?assertEqual(Before, unicode:characters_to_binary(Masks())),
    ok = test_support:stop().

stdout_is_shared(_Config) ->
    {0, Output} = test_support:erl([
        start(),
        "ok = py:exec(<<\"import sys; print('from python'); print('to stderr', file=sys.stderr)\">>),"
        "io:put_chars(\"from erlang\\n\"), halt()."
    ]),
    [?assertMatch({_, _}, binary:match(Output, Text), Output) || Text <- [
        <<"from python\n">>, <<"to stderr\n">>, <<"from erlang\n">>
    ]].

failed_start_does_not_hang(_Config) ->
    {Status, Output} = test_support:erl([
        "ok = application:load(erlang_python),"
        "ok = application:set_env(erlang_python, python_executable, \"/etc/passwd\"),"
        "Result = application:ensure_all_started(erlang_python),"
        "io:format(\"~p~n\", [element(1, Result)]),"
        "{ok, Text} = {ok, os:cmd(\"echo alive\")}, io:put_chars(Text), halt(element(2, {error, 7}))."
    ]),
    ?assertEqual({7, Output}, {Status, Output}),
    ?assertMatch({_, _}, binary:match(Output, <<"alive\n">>)).

signal(Name, Port) ->
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    "" = os:cmd("kill -" ++ Name ++ " " ++ integer_to_list(Pid)).
