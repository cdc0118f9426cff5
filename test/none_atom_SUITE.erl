%% The environment key `none_atom': what None becomes, wherever values cross; for Elixir it is nil.
-module(none_atom_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

all() ->
    [calls, tasks, callbacks, streams, channels, internal_functions, back_to_none].

init_per_suite(Config) ->
    ok = test_support:start([{none_atom, nil}]),
    Config.

end_per_suite(_Config) ->
    ok = test_support:stop().

calls(_) ->
    {ok, nil} = py:eval(<<"None">>),
    {ok, [nil, {nil, 1}, #{<<"a">> := nil}]} = py:eval(<<"[None, (None, 1), {'a': None}]">>),
    {ok, #{nil := 1}} = py:eval(<<"{None: 1}">>),
    [{ok, true} = py:eval(<<"x is None">>, #{x => Atom}) || Atom <- [none, nil, undefined]],
    {ok, none} = py:eval(<<"__import__('erlang').Atom('none')">>),
    {ok, {<<"none">>, true, false}} = py:eval(<<"'none', True, False">>),
    ok = py:exec(<<"none_atom_x = None">>).

tasks(_) ->
    {ok, nil} = py_event_loop:run(asyncio, sleep, [0]),
    {ok, nil} = py_event_loop:run(builtins, print, [], #{kwargs => #{'end' => <<>>}}),
    {ok, [nil, nil]} = py_event_loop:run(builtins, list, [[nil, undefined]]),
    {ok, nil} = py_event_loop_pool:run(asyncio, sleep, [0.001]).

callbacks(_) ->
    Self = self(),
    ok = py:register_function(none_atom_tell, fun(Values) -> Self ! {told, Values}, nil end),
    {ok, true} = py:eval(<<"__import__('erlang').call('none_atom_tell', None, [None]) is None">>),
    receive {told, [nil, [nil]]} -> ok after 5000 -> error(timeout) end,
    {ok, _} = py:eval(<<"__import__('erlang').send(to, (None, 1))">>, #{to => Self}),
    receive {nil, 1} -> ok after 5000 -> error(timeout) end.

streams(_) ->
    {ok, [nil, 1]} = py:stream_eval(<<"iter([None, 1])">>),
    {ok, Stream} = py:stream_eval_start(<<"iter([None, 1])">>, #{}, #{window => 1}),
    {ok, nil} = py:stream_next(Stream),
    {ok, 1} = py:stream_next(Stream),
    done = py:stream_next(Stream).

channels(_) ->
    {ok, Channel} = py_channel:new(),
    [ok = py_channel:send(Channel, Message) || Message <- [nil, none, 1]],
    {ok, [nil, nil, 1, nil]} = py:eval(
        <<"(lambda c: [c.receive(), c.receive(), c.receive(), c.try_receive()])(__import__('erlang.channel').channel.Channel(ref))">>,
        #{ref => Channel}
    ).

%% What this project's own Python functions answer to its Erlang modules.
internal_functions(_) ->
    ok = py:configure_output(vm),
    {ok, #{none_atom := nil}} = py_config:read(),
    ok = py:configure_logging(#{}),
    {ok, [Logged]} = test_support:logged(fun() -> py:call(logging, error, [<<"none is nil">>]) end, 1),
    ?assertNotEqual(nomatch, string:find(Logged, "none is nil")),
    {ok, Context} = py_reactor_context:start_link(1, auto, #{
        setup_code => <<
            "import erlang.reactor\n"
            "class NoneAtomProtocol(erlang.reactor.Protocol):\n"
            "    def data_received(self, data): return 'close'\n"
            "    def write_ready(self): return 'close'\n"
            "erlang.reactor.set_protocol_factory(NoneAtomProtocol)\n"
        >>,
        max_connections => 1
    }),
    {ok, Listen} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listen),
    [First, Second] = [
        begin
            {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
            {ok, Server} = gen_tcp:accept(Listen),
            {Client, py_reactor_context:handoff(Context, Server, #{})}
        end
     || _ <- [1, 2]
    ],
    {_, ok} = First,
    {_, {error, full}} = Second,
    ok = py_reactor_context:stop(Context),
    {error, {'ValueError', _}} = py:activate_venv("/nowhere").

back_to_none(_) ->
    ok = test_support:start([{none_atom, undefined}]),
    {ok, undefined} = py:eval(<<"None">>),
    {ok, undefined} = py_event_loop:run(asyncio, sleep, [0]),
    ok = test_support:start(),
    {ok, none} = py:eval(<<"None">>).
