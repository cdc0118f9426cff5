%% Python in a process of its own: the same calls and values as in the VM, and an end for whatever it does.
-module(py_isolated_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CODE, isolated_code).

all() ->
    [
        calls, same_values_as_in_the_vm, same_errors_as_in_the_vm, same_terms_as_in_the_vm, opaque_terms, none_atom, large_values,
        new_atoms, arrays,
        callbacks, callback_errors, nested_callbacks, callbacks_of_threads, async_callbacks, messages,
        timeouts, interrupts, kill_after, dead_callers, interrupt_by_hand,
        crashes, what_waits_survives, too_many_restarts, supervised, killed_server, dead_vm, gil_is_kept,
        memory_limit, cpu_limit, setup, environment, virtual_environment,
        coroutines, coroutines_end, programs_and_forks, input, garbage,
        busy, stopping, many_servers, pool, pool_goes_on, pool_arguments, nothing_is_left, info, bad_arguments
    ].

suite() ->
    [{timetrap, {minutes, 2}}].

init_per_testcase(none_atom, Config) ->
    start([{none_atom, nil}], Config);
init_per_testcase(_Case, Config) ->
    start([], Config).

start(Environment, Config) ->
    ok = test_support:start([{python_path, [?config(data_dir, Config)]} | Environment]),
    process_flag(trap_exit, true),
    Config.

end_per_testcase(_Case, _Config) ->
    test_support:stop().

server() -> server(#{}).

server(Options) ->
    {ok, Server} = py_isolated:start_link(Options),
    Server.

call(Server, Function, Arguments) -> py_isolated:call(Server, ?CODE, Function, Arguments).

call(Server, Function, Arguments, Options) -> py_isolated:call(Server, ?CODE, Function, Arguments, #{}, Options).

async(Function) ->
    Self = self(),
    Reference = make_ref(),
    Pid = spawn(fun() -> Self ! {Reference, Function()} end),
    {Reference, Pid}.

result({Reference, _}) ->
    receive {Reference, Result} -> Result after 60000 -> error(timeout) end.

%% Until the server's Python is inside isolated_code.sleep.
sleeping(Server, Options) ->
    Async = async(fun() -> call(Server, sleep, [60], Options) end),
    running(Server, 1),
    Async.

running(Server, N) ->
    test_support:eventually(fun() -> maps:get(running, py_isolated:info(Server)) =:= N end).

os_pid(Server) -> maps:get(os_pid, py_isolated:info(Server)).

alive(OsPid) -> os:cmd("kill -0 " ++ integer_to_list(OsPid) ++ " 2>&1") =:= "".

gone(OsPid) -> test_support:eventually(fun() -> not alive(OsPid) end, 20000).

%%% Calls and values

calls(_) ->
    Server = server(),
    {ok, 4.0} = py_isolated:call(Server, math, sqrt, [16.0]),
    {ok, 4.0} = py_isolated:call(Server, <<"math">>, <<"sqrt">>, [16]),
    {ok, <<"{\"a\": 1}">>} = py_isolated:call(Server, json, dumps, [#{a => 1}]),
    {ok, <<"[1,2]">>} = py_isolated:call(Server, json, dumps, [[1, 2]], #{separators => {<<",">>, <<":">>}}),
    {ok, 3} = call(Server, 'Outer.Inner.method', [2]),
    {ok, 4} = py_isolated:call(Server, 'isolated_code.Outer', 'Inner.method', [3]),
    {ok, <<"/a/b">>} = py_isolated:call(Server, 'os.path', join, [<<"/a">>, <<"b">>]),
    {ok, 42} = py_isolated:eval(Server, <<"x * 2">>, #{x => 21}),
    {ok, [2, 4]} = py_isolated:eval(Server, <<"[x * n for x in (1, 2)]">>, #{<<"n">> => 2}),
    ok = py_isolated:exec(Server, <<"y = 5\ndef add(n):\n    return y + n">>),
    {ok, 8} = py_isolated:call(Server, '__main__', add, [3]),
    {ok, 6} = py_isolated:eval(Server, <<"y + 1">>),
    {error, {'TypeError', <<"the function returned a coroutine: ", _/binary>>}} = call(Server, later, [0, 1]),
    {ok, none} = py_isolated:eval(Server, <<"__import__('sys').modules.get('_erlang')">>),
    {ok, true} = py_isolated:eval(Server, <<"__import__('erlang').ISOLATED and not __import__('erlang').INSIDE_VM">>),
    {error, {'RuntimeError', _}} = py_isolated:eval(Server, <<"__import__('erlang').schedule('x')">>),
    {ok, <<"asyncio.unix_events">>} = call(Server, loop_name, []).

expressions() ->
    [
        <<"0">>, <<"255">>, <<"256">>, <<"-1">>, <<"2**31 - 1">>, <<"-2**31">>, <<"2**31">>, <<"-2**31 - 1">>, <<"2**63">>,
        <<"-2**64">>, <<"10**700">>, <<"-10**700">>, <<"0.5">>, <<"-0.0">>, <<"1e308">>, <<"float('nan')">>,
        <<"float('-inf')">>, <<"float('inf')">>, <<"None">>, <<"True">>, <<"False">>, <<"''">>, <<"'text'">>,
        <<"'größe 大 🙂'"/utf8>>, <<"b''">>, <<"b'text'">>, <<"b'\\xff'">>, <<"bytearray(b'ab')">>,
        <<"memoryview(b'abc')[::2]">>, <<"[]">>, <<"[1, [2, [3]]]">>, <<"()">>, <<"(1,)">>, <<"tuple(range(300))">>,
        <<"list(range(1000))">>, <<"{}">>, <<"{'a': 1, 2: [3], (4,): {}}">>, <<"{None: True}">>, <<"sorted({1, 2})">>,
        <<"{7}">>, <<"frozenset([8])">>, <<"c.Number.ONE">>, <<"c.Text('sub')">>, <<"c.Index()">>, <<"c.Float()">>,
        <<"c.Point(1, [c.Point(2)])">>, <<"c.Point">>, <<"object()">>, <<"c.Bad()">>, <<"[object()]">>, <<"len">>,
        <<"'\\ud800'">>, <<"{'a': 1, b'a': 2}">>, <<"__import__('decimal').Decimal('1.5')">>,
        <<"__import__('fractions').Fraction(1, 4)">>, <<"__import__('collections').OrderedDict(a=1)">>,
        <<"__import__('collections').Counter('aab')">>, <<"__import__('collections').namedtuple('P', 'x y')(1, 2)">>,
        <<"__import__('array').array('h', [1, -2])">>, <<"__import__('array').array('B', [1, 2])">>,
        <<"__import__('array').array('d', [0.5])">>, <<"memoryview(__import__('array').array('i', [5]))">>,
        <<"__import__('ctypes').c_int(3)">>, <<"(__import__('ctypes').c_byte * 3)(1, 2, 3)">>,
        <<"__import__('datetime').date(2020, 1, 1)">>, <<"__import__('uuid').UUID(int=1)">>,
        <<"__import__('pathlib').Path('/')">>, <<"range(3)">>, <<"(x for x in ())">>, <<"1j">>, <<"...">>,
        <<"e.Atom('ok')">>, <<"e.Atom('größe')"/utf8>>, <<"[e.Atom('ok'), 'ok']">>, <<"e.Binary(b'x')">>,
        <<"e.Binary(__import__('array').array('h', [1]))">>, <<"e.Binary(1)">>, <<"e.Atom(1)">>, <<"e.Atom('x' * 256)">>,
        <<"repr(e.Atom('ok'))">>, <<"e.Atom('ok') == 'ok'">>, <<"e.Pid()">>, <<"1 / 0">>, <<"undefined_name">>, <<"(">>,
        <<"[].pop()">>, <<"__import__('no_such_module_at_all')">>, <<"e.no_such_function">>
    ].

same_values_as_in_the_vm(_) ->
    Server = server(),
    Names = <<"import erlang as e, isolated_code as c">>,
    ok = py:exec(Names),
    ok = py_isolated:exec(Server, Names),
    Both = [{Expression, py:eval(Expression), py_isolated:eval(Server, Expression)} || Expression <- expressions()],
    ?assertEqual([], [Different || {_, Here, There} = Different <- Both, Here =/= There]).

same_errors_as_in_the_vm(_) ->
    Server = server(),
    Both = [
        {{Module, Function}, py:call(Module, Function, Arguments), py_isolated:call(Server, Module, Function, Arguments)}
     || {Module, Function, Arguments} <- [
            {?CODE, fails, [Kind]}
         || Kind <- [unprintable, surrogate, exit, group, decimal, other]
        ] ++
            [
                {?CODE, no_such_function, []}, {no_such_module, f, []}, {'json.nothing', f, []}, {'', f, []}, {math, '', []},
                {math, sqrt, []}, {math, sqrt, [a]}, {math, pi, []}
            ]
    ],
    ?assertEqual([], [Different || {_, Here, There} = Different <- Both, Here =/= There]),
    {error, {'KeyError', _, [_ | _] = Lines}} = call(Server, fails, [x], #{traceback => true}),
    ?assertNotEqual(nomatch, string:find(iolist_to_binary(Lines), "isolated_code.py")).

same_terms_as_in_the_vm(_) ->
    Server = server(),
    Terms = [
        0, 255, 256, -1, 1 bsl 31, -(1 bsl 31) - 1, 1 bsl 64, -(1 bsl 2100), 0.5, -0.0, true, false, none, nil, undefined, nan,
        infinity, neg_infinity, ok, '', 'größe', '大', <<>>, <<"text">>, <<255>>, <<"größe"/utf8>>, {bytes, <<"text">>},
        {bytes, <<>>}, {bytes, text}, {bytes, 1, 2}, [], "abc", [1, 256], [a | b], [[a | b]], lists:seq(1, 70000), {}, {1},
        list_to_tuple(lists:seq(1, 300)), #{}, #{a => 1, <<"b">> => [2], {3} => #{}}, #{a => 1, <<"a">> => 2}, #{1 => 1, 1.0 => 2},
        #{[1] => 2}, <<1:7>>, lists:duplicate(300, <<"x">>)
    ],
    ok = py:exec(<<"import isolated_code">>),
    [
        begin
            Here = py:call(?CODE, describe, [Term]),
            There = call(Server, describe, [Term]),
            case {Here, There} of
                %% The term is in the message, in its own way.
                {{error, {Class, <<"map key", _/binary>>}}, {error, {Class, _}}} -> ok;
                _ -> ?assertEqual(Here, There, Term)
            end
        end
     || Term <- Terms
    ].

opaque_terms(_) ->
    Server = server(),
    Fun = fun(X) -> X + 1 end,
    Terms = [self(), make_ref(), hd(erlang:ports()), Fun, fun lists:map/2, [self(), self()], {self(), #{self() => make_ref()}}],
    ?assertEqual({ok, Terms}, call(Server, echo, [Terms])),
    {ok, true} = py_isolated:eval(Server, <<"a == b and hash(a) == hash(b) and len({a, b}) == 1">>, #{a => self(), b => self()}),
    {ok, <<"erlang.Pid">>} = py_isolated:eval(Server, <<"type(a).__module__ + '.' + type(a).__name__">>, #{a => self()}),
    {error, {'TypeError', _}} = py_isolated:eval(Server, <<"__import__('pickle').dumps(a)">>, #{a => self()}),
    Far = binary_to_term(<<131, 88, 119, 3, "a@b", 1:32, 2:32, 3:32>>),
    {ok, Far} = call(Server, echo, [Far]).

none_atom(_) ->
    Server = server(),
    {ok, [nil, {nil}]} = py_isolated:eval(Server, <<"[None, (None,)]">>),
    {ok, nil} = py_isolated:run(Server, asyncio, sleep, [0]).

large_values(_) ->
    Server = server(),
    Large = binary:copy(<<"0123456789">>, 3000000),
    ?assertEqual({ok, Large}, call(Server, echo, [Large])),
    Many = [{N, <<"x">>} || N <- lists:seq(1, 100000)],
    ?assertEqual({ok, Many}, call(Server, echo, [Many])),
    ok = test_support:start([{max_term_bytes, 1000000}]),
    Limited = server(),
    {error, {'MemoryError', Message}} = py_isolated:eval(Limited, <<"'x' * 1000001">>),
    ?assertNotEqual(nomatch, binary:match(Message, <<"max_term_bytes">>)),
    {ok, 1} = py_isolated:eval(Limited, <<"1">>).

%% Nothing that it answers can fill the table of atoms.
new_atoms(_) ->
    Server = server(),
    Before = erlang:system_info(atom_count),
    {error, {'ValueError', _}} = py_isolated:eval(Server, <<"__import__('erlang').Atom('isolated_never_seen_%d' % 1)">>),
    ok = py:register_function(isolated_echo, fun([X]) -> X end),
    {ok, {<<"ValueError">>, _}} = py_isolated:eval(
        Server, <<"__import__('isolated_code').call_error('isolated_echo', __import__('erlang').Atom('isolated_unseen_%d' % 2))">>
    ),
    {error, {<<"__main__.IsolatedOdd", _/binary>>, _}} =
        py_isolated:eval(Server, <<"exec('class IsolatedOdd%d(Exception): pass\\nraise IsolatedOdd%d' % (1, 1), globals())">>),
    ?assert(erlang:system_info(atom_count) - Before < 50).

arrays(_) ->
    Server = server(),
    Array = <<"__import__('array').array('h', [1, -1])">>,
    {ok, [1, -1]} = py_isolated:eval(Server, Array),
    {ok, <<1:16/signed-native, -1:16/signed-native>>} = py_isolated:eval(Server, Array, #{}, #{arrays => binary}).

%%% Callbacks

callbacks(_) ->
    Server = server(),
    Self = self(),
    ok = py:register_function(isolated_echo, fun(Arguments) -> Arguments end),
    ok = py:register_function(isolated_max, lists, max),
    {ok, [1, <<"two">>, [none]]} = call(Server, call, [isolated_echo, 1, <<"two">>, [none]]),
    {ok, 1} = call(Server, call, [isolated_max, 1]),
    {ok, [5]} = py_isolated:eval(Server, <<"__import__('erlang').isolated_echo(5)">>),
    {ok, true} = py_isolated:eval(Server, <<"hasattr(__import__('erlang'), 'isolated_echo')">>),
    {ok, false} = py_isolated:eval(Server, <<"hasattr(__import__('erlang'), 'isolated_nothing')">>),
    {ok, Self} = py_isolated:eval(Server, <<"__import__('erlang').self()">>),
    {ok, Self} = py_isolated:run(Server, erlang, self, []),
    %% The group leader is that of the caller.
    ok = py:register_function(isolated_leader, fun([]) -> group_leader() end),
    {ok, Leader} = call(Server, call, [isolated_leader]),
    ?assertEqual(group_leader(), Leader).

callback_errors(_) ->
    Server = server(),
    Register = fun(Fun) -> ok = py:register_function(isolated_fails, Fun) end,
    {ok, {<<"not registered">>, <<"isolated_nothing">>}} = call(Server, call_error, [isolated_nothing]),
    [
        begin
            Register(fun([]) -> erlang:Class(Reason) end),
            {ok, {ClassText, Seen, true, _}} = call(Server, call_error, [isolated_fails]),
            ?assertEqual(atom_to_binary(Class), ClassText),
            ?assertEqual(Expected, Seen)
        end
     || {Class, Reason, Expected} <- [
            {error, badarg, <<"badarg">>}, {throw, {a, 1}, {<<"a">>, 1}}, {exit, normal, <<"normal">>}, {error, [a | b], <<"error: [a|b]">>}
        ]
    ],
    Register(fun([]) -> exit(self(), kill), receive never -> ok end end),
    {ok, {<<"exit">>, <<"killed">>, false, _}} = call(Server, call_error, [isolated_fails]),
    Register(fun([]) -> [a | b] end),
    {ok, {<<"TypeError">>, _}} = call(Server, call_error, [isolated_fails]),
    {ok, {<<"TypeError">>, <<"cannot convert object to an Erlang term">>}} =
        py_isolated:eval(Server, <<"__import__('isolated_code').call_error('isolated_fails', object())">>),
    Register(fun([]) -> timer:sleep(3000) end),
    {error, {'TimeoutError', _}} = py_isolated:call(Server, ?CODE, call, [isolated_fails], #{timeout => 0.05}),
    {ok, 2} = py_isolated:eval(Server, <<"1 + 1">>),
    {error, {<<"erlang.ErlangError">>, _}} =
        begin
            Register(fun([]) -> error(oops) end),
            call(Server, call, [isolated_fails])
        end.

%% What a callback asks of the same server is done by the thread that waits for it.
nested_callbacks(_) ->
    Server = server(),
    ok = py:register_function(isolated_down, fun([N]) ->
        {ok, List} = py_isolated:call(Server, ?CODE, down, [N]),
        List
    end),
    ?assertEqual({ok, lists:seq(50, 1, -1)}, call(Server, down, [50])),
    %% Also of another server, and of Python in the VM.
    Other = server(),
    ok = py:register_function(isolated_others, fun([]) ->
        {ok, A} = py_isolated:eval(Other, <<"1">>),
        {ok, B} = py:eval(<<"2">>),
        {ok, C} = py_isolated:run(Server, asyncio, sleep, [0.001, 3]),
        [A, B, C]
    end),
    {ok, [1, 2, 3]} = call(Server, call, [isolated_others]),
    %% One that goes on after its call has ended waits in the queue.
    Self = self(),
    ok = py:register_function(isolated_late, fun([]) ->
        timer:sleep(300),
        Self ! {late, py_isolated:eval(Server, <<"'late'">>)}
    end),
    {error, {'TimeoutError', _}} = py_isolated:call(Server, ?CODE, call, [isolated_late], #{timeout => 0.01}),
    receive {late, Late} -> {ok, <<"late">>} = Late after 20000 -> error(timeout) end.

callbacks_of_threads(_) ->
    Server = server(),
    ok = py:register_function(isolated_double, fun([X]) -> 2 * X end),
    {ok, Doubles} = call(Server, call_in_threads, [isolated_double, 50]),
    ?assertEqual([2 * N || N <- lists:seq(0, 49)], Doubles).

async_callbacks(_) ->
    Server = server(),
    ok = py:register_function(isolated_slow, fun([X]) -> timer:sleep(50), X end),
    {Elapsed, {ok, Values}} = timer:tc(fun() -> py_isolated:run(Server, ?CODE, gather, [isolated_slow, 100], #{timeout => 60000}) end),
    ?assertEqual(lists:seq(0, 99), Values),
    %% One after the other they would take five seconds.
    ?assert(Elapsed < 4500000, Elapsed),
    {error, {<<"erlang.NotRegisteredError">>, _}} = py_isolated:run(Server, ?CODE, gather, [isolated_nothing, 1]).

messages(_) ->
    Server = server(),
    Send = fun(To, Message) -> py_isolated:call(Server, erlang, send, [To, Message]) end,
    {ok, none} = Send(self(), {hello, [1]}),
    receive {<<"hello">>, [1]} -> ok after 5000 -> error(timeout) end,
    true = register(isolated_inbox, self()),
    {ok, none} = Send(isolated_inbox, 2),
    {ok, none} = Send({isolated_inbox, node()}, 3),
    receive 2 -> ok after 5000 -> error(timeout) end,
    receive 3 -> ok after 5000 -> error(timeout) end,
    Self = self(),
    {ok, Self} = py_isolated:call(Server, erlang, whereis, [isolated_inbox]),
    {ok, none} = py_isolated:call(Server, erlang, whereis, [isolated_no_inbox]),
    {error, {<<"erlang.ProcessError">>, _}} = Send(isolated_no_inbox, 1),
    {error, {<<"erlang.ProcessError">>, _}} = Send(test_support:in_process(fun() -> self() end), 1),
    {error, {'ValueError', _}} = Send(17, 1).

%%% Timeouts and interrupts

timeouts(_) ->
    Server = server(),
    {error, timeout} = call(Server, sleep, [1], #{timeout => 50}),
    %% It goes on, and what comes behind it waits.
    {ok, 2} = py_isolated:eval(Server, <<"1 + 1">>),
    Sleeping = async(fun() -> call(Server, sleep, [2]) end),
    running(Server, 1),
    {error, timeout} = py_isolated:eval(Server, <<"1 / 0">>, #{}, #{timeout => 50}),
    {ok, <<"slept">>} = result(Sleeping),
    {error, timeout} = py_isolated:run(Server, asyncio, sleep, [60], #{timeout => 50}),
    {error, timeout} = py_isolated:eval(Server, <<"__import__('time').sleep(0.5)">>, #{}, #{timeout => 0}),
    {ok, 2} = py_isolated:eval(Server, <<"1 + 1">>),
    [] = test_support:mailbox().

interrupts(_) ->
    Server = server(),
    OsPid = os_pid(Server),
    [
        begin
            {error, timeout} = call(Server, Function, [60], #{timeout => 100, interrupt => true}),
            {ok, 2} = py_isolated:eval(Server, <<"1 + 1">>, #{}, #{timeout => 20000})
        end
     || Function <- [sleep, spin, sleep, spin]
    ],
    %% Nobody else is interrupted.
    [
        begin
            %% The interrupt comes about when the call ends.
            Result = py_isolated:call(Server, time, sleep, [0.05], #{}, #{timeout => 49, interrupt => true}),
            ?assert(lists:member(Result, [{error, timeout}, {ok, none}])),
            {ok, N} = py_isolated:eval(Server, <<"n">>, #{n => N})
        end
     || N <- lists:seq(1, 20)
    ],
    ?assertEqual(OsPid, os_pid(Server)).

kill_after(_) ->
    Server = server(),
    OsPid = os_pid(Server),
    {error, timeout} = call(Server, hog_the_gil, [60], #{timeout => 50, interrupt => true, kill_after => 100}),
    gone(OsPid),
    {ok, 2} = py_isolated:eval(Server, <<"1 + 1">>),
    Second = os_pid(Server),
    ?assertNotEqual(OsPid, Second),
    %% What ends in time is not killed.
    {error, timeout} = call(Server, stubborn, [60], #{timeout => 50, interrupt => true, kill_after => 60000}),
    {ok, 2} = py_isolated:eval(Server, <<"1 + 1">>),
    ?assertEqual(Second, os_pid(Server)),
    %% Coroutines as well.
    {error, timeout} = py_isolated:run(Server, time, sleep, [60], #{timeout => 50, kill_after => 0}),
    gone(Second),
    %% Restarts that were asked for are not counted.
    [{error, timeout} = call(Server, spin, [60], #{timeout => 1, kill_after => 0}) || _ <- lists:seq(1, 5)],
    {ok, 2} = py_isolated:eval(Server, <<"1 + 1">>).

dead_callers(Config) ->
    Server = server(),
    {_, Runs} = sleeping(Server, #{interrupt => true}),
    Path = filename:join(list_to_binary(?config(priv_dir, Config)), test_support:unique("isolated")),
    {_, Waits} = async(fun() -> py_isolated:call(Server, builtins, open, [Path, <<"w">>]) end),
    test_support:eventually(fun() -> maps:get(queued, py_isolated:info(Server)) =:= 1 end),
    exit(Waits, kill),
    test_support:eventually(fun() -> maps:get(queued, py_isolated:info(Server)) =:= 0 end),
    exit(Runs, kill),
    {ok, 2} = py_isolated:eval(Server, <<"1 + 1">>, #{}, #{timeout => 20000}),
    ?assertNot(filelib:is_file(Path)),
    %% A coroutine is cancelled.
    {_, Awaits} = async(fun() -> py_isolated:run(Server, ?CODE, cleans_up, [Path], #{timeout => infinity}) end),
    running(Server, 1),
    timer:sleep(200),
    exit(Awaits, kill),
    test_support:eventually(fun() -> file:read_file(Path) =:= {ok, <<"cleaned up">>} end),
    ok = file:delete(Path).

interrupt_by_hand(_) ->
    Server = server(),
    ok = py_isolated:interrupt(Server),
    Sleeping = sleeping(Server, #{}),
    ok = py_isolated:interrupt(Server),
    {error, {'KeyboardInterrupt', _}} = result(Sleeping),
    Stubborn = async(fun() -> call(Server, stubborn, [60]) end),
    running(Server, 1),
    timer:sleep(200),
    ok = py_isolated:interrupt(Server),
    {ok, <<"interrupted 1">>} = result(Stubborn).

%%% The end of the process

crashes(_) ->
    [
        begin
            Server = server(),
            ?assertEqual({error, {exited, Reason}}, py_isolated:exec(Server, Code)),
            {ok, 2} = py_isolated:eval(Server, <<"1 + 1">>),
            #{restarts := 1} = py_isolated:info(Server),
            ok = py_isolated:stop(Server)
        end
     || {Code, Reason} <- [
            {<<"import isolated_code; isolated_code.crash()">>, {signal, 11}},
            {<<"import os; os._exit(3)">>, {status, 3}},
            {<<"import os; os._exit(0)">>, {status, 0}},
            {<<"import os; os.abort()">>, {signal, 6}},
            {<<"import os; os.kill(os.getpid(), 9)">>, {signal, 9}}
        ]
    ].

what_waits_survives(_) ->
    Server = server(),
    Sleeping = sleeping(Server, #{}),
    Waiting = [async(fun() -> py_isolated:eval(Server, <<"n">>, #{n => N}) end) || N <- lists:seq(1, 20)],
    test_support:eventually(fun() -> maps:get(queued, py_isolated:info(Server)) =:= 20 end),
    ok = py_isolated:kill(Server),
    {error, {exited, killed}} = result(Sleeping),
    ?assertEqual([{ok, N} || N <- lists:seq(1, 20)], [result(W) || W <- Waiting]),
    #{restarts := 1} = py_isolated:info(Server).

too_many_restarts(_) ->
    Server = server(#{restarts => {1, 60}}),
    {error, {exited, {status, 3}}} = py_isolated:exec(Server, <<"import os; os._exit(3)">>),
    {error, {exited, {status, 4}}} = py_isolated:exec(Server, <<"import os; os._exit(4)">>),
    receive {'EXIT', Server, {exited, {status, 4}}} -> ok after 20000 -> error(timeout) end,
    {error, closed} = py_isolated:eval(Server, <<"1">>),
    {error, closed} = py_isolated:eval(isolated_nobody, <<"1">>).

supervised(_) ->
    {ok, Supervisor} = supervisor:start_link(isolated_supervisor, [
        py_isolated:child_spec({isolated_one, #{restarts => {0, 1}}}), py_isolated:child_spec(#{})
    ]),
    [_, _] = supervisor:which_children(Supervisor),
    {ok, 2} = py_isolated:eval(isolated_one, <<"1 + 1">>),
    OsPid = os_pid(isolated_one),
    {error, {exited, {status, 3}}} = py_isolated:exec(isolated_one, <<"import os; os._exit(3)">>),
    test_support:eventually(fun() -> py_isolated:eval(isolated_one, <<"1 + 1">>) =:= {ok, 2} end),
    ?assertNotEqual(OsPid, os_pid(isolated_one)),
    Last = os_pid(isolated_one),
    ok = gen_server:stop(Supervisor),
    gone(Last).

%% A server that cannot clean up, with Python inside C code that keeps the GIL.
killed_server(_) ->
    Server = server(),
    OsPid = os_pid(Server),
    _ = async(fun() -> call(Server, hog_the_gil, [60]) end),
    running(Server, 1),
    timer:sleep(100),
    exit(Server, kill),
    gone(OsPid).

dead_vm(_) ->
    {0, Output} = test_support:erl([
        "{ok, _} = application:ensure_all_started(erlang_python),"
        "{ok, Server} = py_isolated:start_link(#{}),"
        "#{os_pid := OsPid} = py_isolated:info(Server),"
        "spawn(fun() -> py_isolated:eval(Server, <<\"__import__('time').sleep(60)\">>) end), timer:sleep(200),"
        "io:format(\"os_pid ~p~n\", [OsPid]), halt()."
    ]),
    {match, [Text]} = re:run(Output, "os_pid ([0-9]+)", [{capture, all_but_first, list}]),
    gone(list_to_integer(Text)).

gil_is_kept(_) ->
    Server = server(#{stop_timeout => 200}),
    OsPid = os_pid(Server),
    Hog = async(fun() -> call(Server, hog_the_gil, [60]) end),
    running(Server, 1),
    %% Nothing here waits for it.
    #{running := 1} = py_isolated:info(Server),
    Flood = [async(fun() -> py_isolated:run(Server, ?CODE, echo, [binary:copy(<<"x">>, 100000)], #{timeout => 500}) end) || _ <- lists:seq(1, 100)],
    ?assertEqual([{error, timeout} || _ <- Flood], [result(F) || F <- Flood]),
    ok = py_isolated:stop(Server),
    {error, closed} = result(Hog),
    gone(OsPid).

%%% Limits and surroundings

memory_limit(_) ->
    Server = server(#{limits => #{memory => 1 bsl 30}}),
    {ok, 1000000} = call(Server, allocate, [1000000]),
    {error, {'MemoryError', _}} = call(Server, allocate, [2 bsl 30]),
    {ok, 1000000} = call(Server, allocate, [1000000]),
    Unlimited = server(),
    {ok, _} = call(Unlimited, allocate, [1200000000]).

cpu_limit(_) ->
    Server = server(#{limits => #{cpu => 2, core => 0, files => 100}}),
    {error, {exited, {signal, 24}}} = call(Server, spin, [60]),
    {ok, 2} = py_isolated:eval(Server, <<"1 + 1">>),
    {error, {'OSError', _}} = py_isolated:eval(Server, <<"[open('/dev/null') for _ in range(200)]">>).

setup(_) ->
    Self = self(),
    ok = py:register_function(isolated_ready, fun([OsPid]) -> Self ! {ready, OsPid}, <<"yes">> end),
    Server = server(#{setup => <<"import os, erlang\nprepared = erlang.call('isolated_ready', os.getpid())">>}),
    First = os_pid(Server),
    {ok, <<"yes">>} = py_isolated:eval(Server, <<"prepared">>),
    receive {ready, First} -> ok after 0 -> error(not_run) end,
    ok = py_isolated:kill(Server),
    {ok, <<"yes">>} = py_isolated:eval(Server, <<"prepared">>),
    Second = os_pid(Server),
    receive {ready, Second} -> ok after 0 -> error(not_run) end.

environment(Config) ->
    Folder = ?config(priv_dir, Config),
    ok = file:write_file(filename:join(Folder, "isolated_extra.py"), <<"value = 7\n">>),
    true = os:putenv("ISOLATED_TAKEN", "here"),
    Server = server(#{
        env => [{"ISOLATED_VARIABLE", <<"größe"/utf8>>}, {"ISOLATED_TAKEN", false}], cd => Folder, python_path => [Folder]
    }),
    {ok, <<"größe"/utf8>>} = py_isolated:eval(Server, <<"__import__('os').environ['ISOLATED_VARIABLE']">>),
    {ok, none} = py_isolated:eval(Server, <<"__import__('os').environ.get('ISOLATED_TAKEN')">>),
    {ok, 7} = py_isolated:eval(Server, <<"__import__('isolated_extra').value">>),
    {ok, Here} = py_isolated:eval(Server, <<"__import__('os').getcwd()">>),
    {ok, There} = py:call('os.path', realpath, [unicode:characters_to_binary(Folder)]),
    ?assertEqual(There, Here),
    {ok, <<"utf-8">>} = py_isolated:eval(Server, <<"__import__('sys').stdout.encoding">>).

virtual_environment(Config) ->
    Venv = test_support:new_venv(filename:join(?config(priv_dir, Config), "isolated_venv")),
    Server = server(#{venv => Venv}),
    {ok, Prefix} = py_isolated:eval(Server, <<"__import__('sys').prefix">>),
    {ok, Expected} = py:call('os.path', realpath, [unicode:characters_to_binary(Venv)]),
    {ok, Real} = py:call('os.path', realpath, [Prefix]),
    ?assertEqual(Expected, Real).

%%% Coroutines, programs, what else a process may do

coroutines(_) ->
    Server = server(),
    Sleeps = [async(fun() -> py_isolated:run(Server, ?CODE, later, [0.5, N], #{timeout => 60000}) end) || N <- lists:seq(1, 100)],
    %% Beside them calls go on.
    {ok, 2} = py_isolated:eval(Server, <<"1 + 1">>),
    ?assertEqual([{ok, N} || N <- lists:seq(1, 100)], [result(S) || S <- Sleeps]),
    {ok, 4.0} = py_isolated:run(Server, math, sqrt, [16.0]),
    {ok, 3} = py_isolated:run(Server, ?CODE, later, [], #{kwargs => #{seconds => 0, value => 3}}),
    {error, {'ValueError', _}} = py_isolated:run(Server, math, sqrt, [-1.0]),
    {error, {'TypeError', _}} = py_isolated:run(Server, ?CODE, later, []),
    {error, {'SystemExit', _}} = py_isolated:run(Server, sys, exit, [1]),
    {error, {'TypeError', _}} = py_isolated:run(Server, builtins, object, []),
    {ok, 2} = py_isolated:run(Server, ?CODE, later, [0, 2]).

coroutines_end(_) ->
    Server = server(),
    Waiting = [async(fun() -> py_isolated:run(Server, ?CODE, later, [60, 1], #{timeout => infinity}) end) || _ <- lists:seq(1, 10)],
    running(Server, 10),
    ok = py_isolated:kill(Server),
    ?assertEqual([{error, {exited, killed}} || _ <- Waiting], [result(W) || W <- Waiting]),
    ok = py_isolated:exec(Server, <<
        "import asyncio\n"
        "async def cancels_itself():\n"
        "    asyncio.current_task().cancel()\n"
        "    await asyncio.sleep(1)\n"
    >>),
    {error, cancelled} = py_isolated:run(Server, '__main__', cancels_itself, []).

programs_and_forks(_) ->
    Server = server(),
    {ok, <<"hello">>} = call(Server, programs, []),
    {ok, <<"hello">>} = py_isolated:run(Server, ?CODE, run_program, [], #{timeout => 20000}),
    {ok, {5, Text}} = call(Server, fork, []),
    ?assertMatch(<<"RuntimeError: ", _/binary>>, Text),
    {ok, 2} = py_isolated:eval(Server, <<"1 + 1">>),
    #{restarts := 0} = py_isolated:info(Server).

input(_) ->
    Server = server(),
    {ok, <<"end of file">>} = call(Server, read_input, []).

%% Frames that Python would not send.
garbage(_) ->
    [
        begin
            Server = server(),
            {error, {exited, protocol_error}} = call(Server, write_garbage, [{bytes, Data}]),
            {ok, 2} = py_isolated:eval(Server, <<"1 + 1">>),
            ok = py_isolated:stop(Server)
        end
     || Data <- [binary:copy(<<255>>, 100), <<9:32, 77, 1:64>>, <<3:32, 1, 2, 3>>, <<(16#fffffff0):32>>]
    ],
    Server = server(),
    %% An answer that nobody asked for, one that is no term, and a callback of nonsense.
    {error, timeout} = call(
        Server, write_garbage, [{bytes, <<9:32, 4, 12345:64, 12:32, 5, 99:64, 1, 2, 3, 12:32, 6, 7:64, 1, 2, 3, 12:32, 7, 8:64, 1, 2, 3>>}],
        #{timeout => 500, interrupt => true}
    ),
    {ok, 2} = py_isolated:eval(Server, <<"1 + 1">>).

%%% The rest

busy(_) ->
    Server = server(#{queue_limit => 2}),
    Sleeping = sleeping(Server, #{interrupt => true, timeout => 2000}),
    Waiting = [async(fun() -> py_isolated:eval(Server, <<"1">>) end) || _ <- lists:seq(1, 2)],
    test_support:eventually(fun() -> maps:get(queued, py_isolated:info(Server)) =:= 2 end),
    {error, busy} = py_isolated:eval(Server, <<"1">>),
    Awaiting = [async(fun() -> py_isolated:run(Server, asyncio, sleep, [1, N]) end) || N <- lists:seq(1, 2)],
    running(Server, 3),
    {error, busy} = py_isolated:run(Server, asyncio, sleep, [1]),
    {error, timeout} = result(Sleeping),
    [{ok, 1}, {ok, 1}] = [result(W) || W <- Waiting],
    [{ok, 1}, {ok, 2}] = [result(A) || A <- Awaiting].

stopping(Config) ->
    Path = filename:join(list_to_binary(?config(priv_dir, Config)), test_support:unique("isolated")),
    Server = server(),
    ok = py_isolated:exec(Server, <<"import atexit">>),
    {ok, _} = py_isolated:eval(
        Server, <<"atexit.register(lambda: open(path, 'w').write('at exit')) and None">>, #{path => Path}
    ),
    OsPid = os_pid(Server),
    ok = py_isolated:stop(Server),
    false = alive(OsPid),
    {ok, <<"at exit">>} = file:read_file(Path),
    ok = file:delete(Path),
    %% One that does not come back is killed.
    Stuck = server(#{stop_timeout => 100}),
    Sleeping = sleeping(Stuck, #{}),
    StuckPid = os_pid(Stuck),
    ok = py_isolated:stop(Stuck),
    {error, closed} = result(Sleeping),
    gone(StuckPid).

many_servers(_) ->
    Servers = [server() || _ <- lists:seq(1, 8)],
    Work = [
        async(fun() -> [{ok, N} = py_isolated:eval(Server, <<"n">>, #{n => N}) || N <- lists:seq(1, 200)], done end)
     || Server <- Servers, _ <- [1, 2]
    ],
    [done = result(W) || W <- Work],
    OsPids = [os_pid(Server) || Server <- Servers],
    8 = length(lists:usort(OsPids)),
    [ok = py_isolated:stop(Server) || Server <- Servers],
    [gone(OsPid) || OsPid <- OsPids].

pool(_) ->
    {ok, _} = py_isolated_pool:start_link(isolated_pool, #{size => 3, setup => <<"import isolated_code, os">>}),
    [isolated_pool_1, isolated_pool_2, isolated_pool_3] = py_isolated_pool:servers(isolated_pool),
    {ok, 2.0} = py_isolated_pool:call(isolated_pool, math, sqrt, [4.0]),
    {ok, 3} = py_isolated_pool:eval(isolated_pool, <<"x">>, #{x => 3}),
    {ok, 4} = py_isolated_pool:run(isolated_pool, asyncio, sleep, [0, 4]),
    %% Those that have nothing to do are taken, all at the same time.
    Sleeping = [async(fun() -> py_isolated_pool:call(isolated_pool, ?CODE, sleep, [60], #{}, #{timeout => 5000, interrupt => true}) end) || _ <- [1, 2]],
    test_support:eventually(fun() ->
        [0, 1, 1] =:= lists:sort([R || #{running := R} <- maps:values(py_isolated_pool:info(isolated_pool))])
    end),
    OsPids = lists:usort([OsPid || _ <- lists:seq(1, 20), {ok, OsPid} <- [py_isolated_pool:eval(isolated_pool, <<"os.getpid()">>)]]),
    ?assertMatch([_], OsPids),
    [{error, timeout} = result(S) || S <- Sleeping],
    Many = [async(fun() -> py_isolated_pool:eval(isolated_pool, <<"(n, os.getpid())">>, #{n => N}) end) || N <- lists:seq(1, 300)],
    Answers = [result(M) || M <- Many],
    ?assertEqual(lists:seq(1, 300), [N || {ok, {N, _}} <- Answers]),
    ok = py_isolated_pool:stop(isolated_pool),
    {error, closed} = py_isolated_pool:call(isolated_pool, math, sqrt, [4.0]).

pool_goes_on(_) ->
    {ok, Pool} = py_isolated_pool:start_link(isolated_pool, #{size => 2, restarts => {0, 1}}),
    [begin
        {error, {exited, {status, 3}}} = py_isolated_pool:call(isolated_pool, os, '_exit', [3]),
        {ok, 2.0} = py_isolated_pool:call(isolated_pool, math, sqrt, [4.0], #{}, #{timeout => 20000})
     end || _ <- [1]],
    test_support:eventually(fun() ->
        [running, running] =:= [State || #{state := State} <- maps:values(py_isolated_pool:info(isolated_pool))]
    end),
    ?assert(is_process_alive(Pool)),
    [{ok, 2.0} = py_isolated_pool:call(isolated_pool, math, sqrt, [4.0]) || _ <- lists:seq(1, 10)],
    ok = py_isolated_pool:stop(isolated_pool).

pool_arguments(_) ->
    ?assertError({bad_option, size, 0}, py_isolated_pool:start_link(isolated_pool, #{size => 0})),
    ?assertError({bad_argument, name, "x"}, py_isolated_pool:start_link("x", #{})),
    ?assertError({bad_argument, options, []}, py_isolated_pool:start_link(isolated_pool, [])),
    {error, {setup_failed, {'ZeroDivisionError', _, _}}} =
        py_isolated_pool:start_link(isolated_pool, #{size => 2, setup => <<"1 / 0">>}),
    {error, closed} = py_isolated_pool:eval(isolated_no_pool, <<"1">>),
    [] = py_isolated_pool:servers(isolated_no_pool),
    {ok, Supervisor} = supervisor:start_link(isolated_supervisor, [py_isolated_pool:child_spec({isolated_pool, #{size => 1}})]),
    {ok, 2} = py_isolated_pool:eval(isolated_pool, <<"1 + 1">>),
    ?assertError({bad_argument, module, 1}, py_isolated_pool:call(isolated_pool, 1, f, [])),
    ok = gen_server:stop(Supervisor).

nothing_is_left(_) ->
    Descriptors = fun() -> length(element(2, file:list_dir("/proc/self/fd"))) end,
    Once = fun() ->
        Server = server(),
        {error, timeout} = call(Server, spin, [60], #{timeout => 1, kill_after => 0}),
        {ok, 2} = py_isolated:eval(Server, <<"1 + 1">>),
        ok = py_isolated:stop(Server)
    end,
    Once(),
    case filelib:is_dir("/proc/self/fd") of
        true ->
            Before = {Descriptors(), length(erlang:ports())},
            [Once() || _ <- lists:seq(1, 10)],
            test_support:eventually(fun() -> {Descriptors(), length(erlang:ports())} =< Before end);
        false ->
            ok
    end.

info(_) ->
    Server = server(),
    {ok, 1} = py_isolated:eval(Server, <<"1">>),
    #{state := running, os_pid := OsPid, queued := 0, running := 0, calls := 1, restarts := 0} = py_isolated:info(Server),
    {ok, OsPid} = py_isolated:eval(Server, <<"__import__('os').getpid()">>).

bad_arguments(_) ->
    [
        ?assertError({bad_option, Key, _}, py_isolated:start_link(#{Key => Value}))
     || {Key, Value} <- [
            {python, 7}, {venv, {a}}, {python_path, x}, {env, x}, {env, [x]}, {cd, 7}, {setup, "x"}, {limits, []},
            {limits, #{memory => -1}}, {limits, #{nonsense => 1}}, {start_timeout, -1}, {stop_timeout, infinity}, {restarts, 3},
            {restarts, {1, 0}}, {queue_limit, 0}, {nonsense, 1}
        ]
    ],
    ?assertError({bad_argument, options, []}, py_isolated:start_link([])),
    {error, {cannot_start, <<"/nowhere/python3">>, enoent}} = py_isolated:start_link(#{python => "/nowhere/python3"}),
    {error, _} = py_isolated:start_link(#{python => "/etc/hostname"}),
    {error, {exited, {status, 1}}} = py_isolated:start_link(#{python => "/bin/false"}),
    {error, start_timeout} = py_isolated:start_link(#{setup => <<"import time; time.sleep(60)">>, start_timeout => 500}),
    {error, {setup_failed, {'ZeroDivisionError', _, [_ | _]}}} = py_isolated:start_link(#{setup => <<"1 / 0">>}),
    {error, {setup_failed, {'ValueError', _, _}}} = py_isolated:start_link(#{limits => #{memory => (1 bsl 63) - 1, files => 1 bsl 62}}),
    Server = server(),
    ?assertError({bad_argument, module, 1}, py_isolated:call(Server, 1, f, [])),
    ?assertError({bad_argument, function, "f"}, py_isolated:call(Server, m, "f", [])),
    ?assertError({bad_argument, args, [a | b]}, py_isolated:call(Server, m, f, [a | b])),
    ?assertError({bad_argument, kwargs, []}, py_isolated:call(Server, m, f, [], [])),
    ?assertError({bad_argument, kwargs, _}, py_isolated:call(Server, m, f, [], #{1 => 2})),
    ?assertError({bad_argument, kwargs, _}, py_isolated:call(Server, m, f, [], #{a => 1, <<"a">> => 2})),
    ?assertError({bad_option, timeout, -1}, py_isolated:call(Server, m, f, [], #{}, #{timeout => -1})),
    ?assertError({bad_option, kill_after, soon}, py_isolated:call(Server, m, f, [], #{}, #{kill_after => soon})),
    ?assertError({bad_option, interrupt, yes}, py_isolated:call(Server, m, f, [], #{}, #{interrupt => yes})),
    ?assertError({bad_option, context, any}, py_isolated:call(Server, m, f, [], #{}, #{context => any})),
    ?assertError({bad_argument, expression, "1"}, py_isolated:eval(Server, "1")),
    ?assertError({bad_argument, names, []}, py_isolated:eval(Server, <<"1">>, [])),
    ?assertError({bad_argument, names, _}, py_isolated:eval(Server, <<"1">>, #{1 => 2})),
    ?assertError({bad_argument, code, "1"}, py_isolated:exec(Server, "1")),
    ok = test_support:stop(),
    ?assertError({not_started, erlang_python}, py_isolated:start_link(#{})),
    %% A server goes on without the application.
    {ok, 2} = py_isolated:eval(Server, <<"1 + 1">>).
