%% Isolated Python that makes it hard to answer, to interrupt and to end: everybody is answered once, and nothing stays.
-module(py_isolated_hostile_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(py_isolated_SUITE, [server/0, server/1, async/1, result/1, running/2, os_pid/1, alive/1, gone/1]).

-define(CODE, isolated_hostile).

all() ->
    [
        pipe_is_held, pipe_is_closed, odd_exceptions, loop_goes_on, loop_is_closed, cancelled_before_it_begins,
        nested_requests_are_not_lost, callback_ends_normally, setup_is_called_back, nested_by_name_and_node,
        signal_handlers, destructors, pipe_breaks, never_says_hello, forks_in_a_task, garbage_in_the_setup,
        starter_dies, linked_process_ends,
        interrupt_comes_first, interrupt_while_sending, interrupt_of_the_outer_call,
        compressed_terms, floods, many_callbacks, many_timeouts, memory_is_given_back,
        callbacks_of_the_dead, late_refusal, asks_at_exit, values
    ].

suite() ->
    [{timetrap, {minutes, 3}}].

init_per_testcase(odd_exceptions, Config) ->
    start([{max_term_bytes, 1000000}], Config);
init_per_testcase(compressed_terms, Config) ->
    start([{max_term_bytes, 1000000}], Config);
init_per_testcase(floods, Config) ->
    start([{max_term_bytes, 1000000}], Config);
init_per_testcase(_Case, Config) ->
    start([], Config).

start(Environment, Config) ->
    ok = test_support:start([{python_path, [?config(data_dir, Config)]} | Environment]),
    ok = py:register_function(isolated_echo, fun([X]) -> X end),
    process_flag(trap_exit, true),
    Config.

end_per_testcase(_Case, _Config) ->
    test_support:stop().

call(Server, Function, Arguments) -> call(Server, Function, Arguments, #{timeout => 60000}).

call(Server, Function, Arguments, Options) -> py_isolated:call(Server, ?CODE, Function, Arguments, #{}, Options).

run(Server, Function, Arguments) -> py_isolated:run(Server, ?CODE, Function, Arguments, #{timeout => 60000}).

works(Server) -> ?assertEqual({ok, 2}, py_isolated:eval(Server, <<"1 + 1">>, #{}, #{timeout => 60000})).

%%% Answers

%% A process that Python started has the end of the pipe for whose closing the VM waits.
pipe_is_held(_) ->
    Server = server(),
    {ok, none} = call(Server, fork_in_c, [20]),
    {error, timeout} = py_isolated:eval(Server, <<"__import__('time').sleep(60)">>, #{}, #{timeout => 100, kill_after => 0}),
    works(Server),
    Second = server(),
    {error, {exited, Reason}} = call(Second, fork_and_end, [3]),
    ?assert(lists:member(Reason, [unknown, {status, 3}])),
    works(Second).

pipe_is_closed(_) ->
    Server = server(),
    {ok, <<"20 files">>} = call(Server, close_all, [3, 64]),
    works(Server),
    {error, {exited, {status, 70}}} = call(Server, close_all, [3, 5000]),
    works(Server).

odd_exceptions(_) ->
    Server = server(),
    [
        begin
            {error, {Class, Message}} = call(Server, fail, [Kind]),
            {error, {Class, Message}} = run(Server, fail_async, [Kind]),
            {error, {Class, Message, _}} = call(Server, fail, [Kind], #{traceback => true}),
            ?assertMatch({_, _}, binary:match(Class, atom_to_binary(Kind)))
        end
     || Kind <- ['Odd', 'Nameless', 'OddlyTold', 'Untold', 'Large']
    ],
    #{restarts := 0, running := 0} = py_isolated:info(Server).

loop_goes_on(_) ->
    Server = server(),
    {ok, <<"still here">>} = run(Server, exit_in_a_callback, []),
    {ok, 1} = py_isolated:run(Server, asyncio, sleep, [0, 1]),
    {ok, none} = run(Server, bad_factory, []),
    {error, {'RuntimeError', <<"no tasks">>}} = py_isolated:run(Server, asyncio, sleep, [0, 1]),
    works(Server).

loop_is_closed(_) ->
    Server = server(),
    {error, {exited, {status, 70}}} = run(Server, close_the_loop, []),
    {ok, 1} = py_isolated:run(Server, asyncio, sleep, [0, 1]).

cancelled_before_it_begins(_) ->
    Server = server(),
    Blocked = async(fun() -> py_isolated:run(Server, time, sleep, [1]) end),
    running(Server, 1),
    [{error, timeout} = py_isolated:run(Server, asyncio, sleep, [0.01], #{timeout => 20, kill_after => 30000}) || _ <- [1, 2, 3]],
    {ok, none} = result(Blocked),
    running(Server, 0),
    #{restarts := 0} = py_isolated:info(Server).

%% The thread that should do them was interrupted in between.
nested_requests_are_not_lost(_) ->
    Server = server(),
    Self = self(),
    ok = py:register_function(isolated_outer, fun([]) ->
        {error, timeout} = py_isolated:eval(Server, <<"__import__('time').sleep(1.5)">>, #{}, #{timeout => 300}),
        Self ! {second, py_isolated:eval(Server, <<"1">>, #{}, #{timeout => 30000})}
    end),
    {error, timeout} = call(Server, call, [isolated_outer], #{timeout => 700, interrupt => true}),
    receive {second, Result} -> {ok, 1} = Result after 40000 -> error(timeout) end,
    running(Server, 0),
    works(Server).

callback_ends_normally(_) ->
    Server = server(),
    ok = py:register_function(isolated_ends, fun([]) -> exit(self(), normal), exit(normal) end),
    {error, {<<"erlang.ErlangError">>, _}} = call(Server, call, [isolated_ends]),
    ok = py:register_function(isolated_vanishes, fun([]) -> exit(self(), normal), receive never -> ok after 0 -> erlang:exit(normal) end end),
    {error, {<<"erlang.ErlangError">>, _}} = call(Server, call, [isolated_vanishes]).

setup_is_called_back(_) ->
    ok = py:register_function(isolated_back, fun([]) ->
        {ok, 3} = py_isolated:eval(isolated_named, <<"1 + 2">>),
        done
    end),
    {ok, Server} = py_isolated:start_link({local, isolated_named}, #{
        setup => <<"import erlang\nprepared = erlang.call('isolated_back')">>, start_timeout => 20000
    }),
    {ok, <<"done">>} = py_isolated:eval(Server, <<"prepared">>).

nested_by_name_and_node(_) ->
    {ok, _} = py_isolated:start_link({local, isolated_named}, #{}),
    [
        begin
            ok = py:register_function(isolated_back, fun([]) -> py_isolated:eval(Name, <<"1 + 2">>, #{}, #{timeout => 30000}) end),
            {ok, {<<"ok">>, 3}} = call(isolated_named, call, [isolated_back])
        end
     || Name <- [isolated_named, {isolated_named, node()}, whereis(isolated_named)]
    ].

signal_handlers(_) ->
    Server = server(),
    Sink = spawn_link(fun Loop() -> receive _ -> Loop() end end),
    {ok, <<"done">>} = call(Server, send_beside_signals, [Sink, 3000000, <<"raises">>]),
    {ok, <<"done">>} = call(Server, send_beside_signals, [Sink, 3000000, <<"sends">>]),
    works(Server),
    #{restarts := 0} = py_isolated:info(Server).

destructors(_) ->
    Server = server(),
    {ok, none} = call(Server, litter, [900]),
    Runs = [async(fun() -> py_isolated:run(Server, builtins, list, [lists:seq(1, 100)], #{timeout => 60000}) end) || _ <- lists:seq(1, 200)],
    [{ok, _} = result(R) || R <- Runs],
    {ok, _} = py_isolated:eval(Server, <<"__import__('gc').collect()">>),
    {ok, 900} = py_isolated:eval(Server, <<"len(__import__('isolated_hostile').seen)">>),
    works(Server).

%%% Processes that stay

pipe_breaks(_) ->
    Server = server(),
    OsPid = os_pid(Server),
    ok = py_isolated:exec(Server, <<"import isolated_hostile as h, erlang._isolated as i, os\nsource = i.link._source">>),
    Closing = async(fun() -> py_isolated:exec(Server, <<"h.LIBC.usleep(300000); os.close(source); h.LIBC.sleep(30)">>) end),
    running(Server, 1),
    timer:sleep(800),
    _ = py_isolated:run(Server, builtins, len, [[binary:copy(<<"x">>, 10000000)]], #{timeout => 5000, kill_after => 0}),
    {error, {exited, _}} = result(Closing),
    gone(OsPid),
    works(Server).

never_says_hello(Config) ->
    Script = filename:join(?config(priv_dir, Config), "never_says_hello"),
    ok = file:write_file(Script, <<"#!/bin/sh\necho $$ >\"$0.pid\"\nexec sleep 77\n">>),
    ok = file:change_mode(Script, 8#755),
    {error, start_timeout} = py_isolated:start_link(#{python => Script, start_timeout => 1000}),
    {ok, Text} = file:read_file(Script ++ ".pid"),
    gone(binary_to_integer(string:trim(Text))).

forks_in_a_task(_) ->
    Server = server(),
    {ok, Child} = run(Server, fork_in_a_task, []),
    ?assert(Child > 0),
    {ok, 0} = py_isolated:eval(Server, <<"__import__('os').waitpid(child, 0)[1]">>, #{child => Child}, #{timeout => 20000}),
    works(Server).

garbage_in_the_setup(_) ->
    {error, {exited, protocol_error}} = py_isolated:start_link(#{
        setup => <<"import isolated_hostile, time; isolated_hostile.send_raw(b'\\xff' * 100); time.sleep(30)">>
    }).

starter_dies(_) ->
    {Starter, Monitor} = spawn_monitor(fun() -> py_isolated:start_link(#{setup => <<"import time; time.sleep(60)">>}) end),
    timer:sleep(300),
    {links, [Server]} = process_info(Starter, links),
    exit(Starter, kill),
    receive {'DOWN', Monitor, _, _, _} -> ok end,
    test_support:eventually(fun() -> not is_process_alive(Server) end).

linked_process_ends(_) ->
    Server = server(),
    {_, Monitor} = spawn_monitor(fun() -> link(Server) end),
    receive {'DOWN', Monitor, _, _, normal} -> ok end,
    works(Server),
    ?assert(is_process_alive(Server)).

%%% Interrupts

interrupt_comes_first(_) ->
    Server = server(),
    {ok, none} = call(Server, spin_threads, [3, 3]),
    [
        begin
            {error, timeout} = py_isolated:eval(
                Server, <<"__import__('time').sleep(60)">>, #{}, #{timeout => Timeout, interrupt => true}
            ),
            works(Server)
        end
     || Timeout <- [0, 1, 2, 3, 5, 8]
    ],
    #{restarts := 0} = py_isolated:info(Server).

interrupt_while_sending(_) ->
    Server = server(),
    Sink = spawn_link(fun Loop() -> receive _ -> Loop() end end),
    [
        begin
            {error, timeout} = call(Server, send_for_ever, [Sink, Size], #{timeout => 200, interrupt => true}),
            works(Server)
        end
     || Size <- [10, 10000000, 10, 10000000]
    ],
    #{restarts := 0} = py_isolated:info(Server).

%% The inner result is converted when the time of the outer call is over.
interrupt_of_the_outer_call(_) ->
    Server = server(),
    Self = self(),
    ok = py:register_function(isolated_inner, fun([]) ->
        Self ! {inner, py_isolated:call(Server, ?CODE, slow_number, [])},
        timer:sleep(30000)
    end),
    {error, timeout} = call(Server, call, [isolated_inner], #{timeout => 500, interrupt => true}),
    receive {inner, Inner} -> ?assertEqual({ok, 7}, Inner) after 20000 -> error(timeout) end,
    works(Server).

%%% What may wait in the VM

compressed_terms(_) ->
    Server = server(),
    Before = erlang:memory(total),
    [{ok, none} = call(Server, bomb, [Kind]) || Kind <- [7, 8, 9, 6]],
    works(Server),
    ?assert(erlang:memory(total) - Before < 300000000).

floods(_) ->
    [
        begin
            Server = server(),
            {error, {exited, protocol_error}} = call(Server, flood, [Kind, {bytes, Body}, 30]),
            works(Server),
            ok = py_isolated:stop(Server)
        end
     || {Kind, Body} <- [{4, <<131, 97, 1>>}, {9, <<131, 109, 1:32, "x">>}]
    ].

many_callbacks(_) ->
    Server = server(),
    ok = py:register_function(isolated_waits, fun([]) -> timer:sleep(2000) end),
    {ok, #{<<"answered">> := Answered, <<"busy">> := Busy}} = run(Server, call_often, [isolated_waits, 15000]),
    ?assertEqual(15000, Answered + Busy),
    ?assert(Busy > 0),
    works(Server).

many_timeouts(_) ->
    Server = server(),
    Blocked = async(fun() -> py_isolated:eval(Server, <<"__import__('time').sleep(60)">>, #{}, #{timeout => 8000, interrupt => true}) end),
    running(Server, 1),
    Self = self(),
    Pids = [
        spawn_link(fun() -> Self ! {self(), py_isolated:eval(Server, <<"1">>, #{}, #{timeout => 1000})} end)
     || _ <- lists:seq(1, 15000)
    ],
    [receive {Pid, Result} -> {error, timeout} = Result after 60000 -> error(timeout) end || Pid <- Pids],
    #{queued := 0} = py_isolated:info(Server),
    {error, timeout} = result(Blocked),
    works(Server).

memory_is_given_back(_) ->
    Server = server(),
    {ok, Large} = py_isolated:eval(Server, <<"b'x' * 100000000">>),
    100000000 = byte_size(Large),
    test_support:eventually(fun() ->
        {binary, Binaries} = process_info(Server, binary),
        lists:sum([Size || {_, Size, _} <- Binaries]) < 10000000
    end).

%%% One process after the other

%% A function that the last process called asks the next one.
callbacks_of_the_dead(_) ->
    Server = server(),
    Self = self(),
    ok = py:register_function(isolated_holds, fun([]) -> Self ! {held, self()}, receive go_on -> ok end, held end),
    ok = py:register_function(isolated_asks, fun([]) ->
        Self ! {asks, self()},
        receive go_on -> ok end,
        Self ! {asked, py_isolated:eval(Server, <<"len(__import__('erlang')._isolated._interrupts._running)">>, #{}, #{timeout => 1000})}
    end),
    First = async(fun() -> call(Server, call, [isolated_asks]) end),
    Asks = receive {asks, Pid} -> Pid end,
    ok = py_isolated:kill(Server),
    {error, {exited, killed}} = result(First),
    Second = async(fun() -> call(Server, call, [isolated_holds]) end),
    Holds = receive {held, Pid2} -> Pid2 end,
    Asks ! go_on,
    %% It is no part of the call that waits now.
    receive {asked, Asked} -> {error, timeout} = Asked after 20000 -> error(timeout) end,
    Holds ! go_on,
    {ok, <<"held">>} = result(Second).

late_refusal(_) ->
    Server = server(),
    {error, {exited, protocol_error}} = py_isolated:exec(
        Server, <<"import isolated_hostile as h, time; h.send_raw(h.frame(3, 0, b'\\x83j')); time.sleep(30)">>
    ),
    works(Server).

asks_at_exit(_) ->
    Server = server(#{stop_timeout => 30000}),
    {ok, none} = call(Server, ask_at_exit, []),
    {Elapsed, ok} = timer:tc(fun() -> py_isolated:stop(Server) end),
    ?assert(Elapsed < 20000000, Elapsed).

%% As in the VM.
values(_) ->
    Server = server(),
    Classes = <<
        "class B(bytes):\n    def __len__(self): return 3\n    def __bytes__(self): return b'other'\n"
        "class I(int):\n    def __ge__(self, other): raise ValueError\n    __lt__ = __gt__ = __le__ = __abs__ = __ge__\n"
        "class F(float):\n    def __float__(self): return 1.0\n"
        "class L(list):\n    def __iter__(self): return iter([7])\n    def __len__(self): return 9\n"
        "class G:\n    def __init__(self, l): self.l = l\n    def __index__(self):\n        self.l.append(1)\n        return 1\n"
        "def growing():\n    l = []\n    l.append(G(l))\n    return l\n"
        "def nested(n):\n    x = []\n    for _ in range(n): x = [x]\n    return x\n"
        "def cycle():\n    x = []\n    x.append(x)\n    return x\n"
    >>,
    ok = py:exec(Classes),
    ok = py_isolated:exec(Server, Classes),
    Both = [
        {Expression, py:eval(Expression), py_isolated:eval(Server, Expression)}
     || Expression <- [
            <<"B(b'abcdefgh')">>, <<"[B(b'abcdefgh'), 1]">>, <<"I(1000)">>, <<"I(-5)">>, <<"I(2 ** 70)">>, <<"F(-0.0)">>,
            <<"L([1, 2])">>, <<"growing()">>, <<"nested(5000)">>, <<"type('A', (__import__('erlang').Atom,), {})">>
        ]
    ],
    ?assertEqual([], [Different || {_, Here, There} = Different <- Both, Here =/= There]),
    {error, {'RecursionError', _}} = py_isolated:eval(Server, <<"cycle()">>),
    {error, {'OverflowError', _}} = py_isolated:eval(Server, <<"1 << (1 << 27)">>),
    Deep = lists:foldl(fun(_, Term) -> [Term] end, [], lists:seq(1, 5000)),
    ?assertEqual({ok, Deep}, py_isolated:eval(Server, <<"x">>, #{x => Deep})),
    {error, {'TypeError', _}} = py_isolated:call(Server, <<255>>, f, []).
