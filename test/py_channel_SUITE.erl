%% Channels from Erlang to Python: order, nothing lost or doubled, back-pressure, ends of all sorts.
-module(py_channel_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CODE, channel_code).

all() ->
    [
        iterate, iterate_async, request_and_response, types,
        try_receive, timeouts, close_ends_receivers, closed_is_drained, owner, collected, dies_with_its_senders,
        many_messages_are_freed,
        busy, larger_than_the_limit, send_waits, send_waits_in_order, giving_up_makes_room, send_gives_up, close_ends_senders,
        info, bad_arguments,
        many_to_many, workers, contexts_and_loops_share,
        giving_up_loses_nothing, woken_and_cancelled, interrupted, timeout_of_the_call,
        receiver_is_replaced, loop_is_restarted, stuck_loop_is_restarted, closed_loops, application_stops, callback_server_dies,
        python_sends, python_closes, python_to_python, a_flood_lets_others_run,
        inside_a_callback, byte_channels, large_messages
    ].

suite() ->
    [{timetrap, {minutes, 3}}].

init_per_testcase(_Case, Config) ->
    ok = test_support:start([{python_path, [?config(data_dir, Config)]}]),
    Config.

end_per_testcase(_Case, _Config) ->
    ok = test_support:stop().

%% For the sanitizers: what touches the memory of messages, in a VM whose application runs.
run_cases() ->
    {ok, _} = py:eval(<<"__import__('sys').path.insert(0, folder)">>, #{folder => <<"test/py_channel_SUITE_data">>}),
    [
        ok = test_support:in_process(fun() -> _ = ?MODULE:Case([]), ok end)
     || Case <- [
            types, closed_is_drained, close_ends_receivers, collected, send_waits, send_gives_up, close_ends_senders,
            many_to_many, workers, giving_up_loses_nothing, woken_and_cancelled, interrupted, timeout_of_the_call,
            loop_is_restarted, stuck_loop_is_restarted, python_sends, python_closes, python_to_python, byte_channels,
            large_messages
        ]
    ],
    ok.

new() -> new(#{}).

new(Options) ->
    {ok, Channel} = py_channel:new(Options),
    Channel.

call(Function, Arguments) -> py:call(?CODE, Function, Arguments).

%% A call in a process, and so a context, of its own.
async(Function, Arguments) -> async(Function, Arguments, #{}).

async(Function, Arguments, Options) ->
    Self = self(),
    Reference = make_ref(),
    spawn_link(fun() -> Self ! {Reference, py:call(?CODE, Function, Arguments, #{}, Options)} end),
    Reference.

result(Reference) ->
    receive {Reference, Result} -> Result after 20000 -> error(timeout) end.

receivers(Channel, N) ->
    test_support:eventually(fun() -> maps:get(receivers, py_channel:info(Channel)) =:= N end).

send_all(Channel, Messages) ->
    [ok = py_channel:send(Channel, Message) || Message <- Messages],
    ok.

%%% Messages

iterate(_) ->
    Channel = new(),
    Early = async(gather, [Channel]),
    receivers(Channel, 1),
    send_all(Channel, lists:seq(1, 1000)),
    ok = py_channel:close(Channel),
    ?assertEqual({ok, lists:seq(1, 1000)}, result(Early)),
    Late = new(),
    send_all(Late, lists:seq(1, 1000)),
    ok = py_channel:close(Late),
    ?assertEqual({ok, lists:seq(1, 1000)}, call(gather, [Late])),
    ?assertEqual({ok, []}, call(gather, [Late])).

iterate_async(_) ->
    [
        begin
            Channel = new(),
            Task = Module:create_task(?CODE, gather_async, [Channel]),
            send_all(Channel, lists:seq(1, 500)),
            receivers(Channel, 1),
            send_all(Channel, lists:seq(501, 1000)),
            ok = py_channel:close(Channel),
            ?assertEqual({ok, lists:seq(1, 1000)}, Module:await(Task))
        end
     || Module <- [py_event_loop, py_event_loop_pool]
    ].

request_and_response(_) ->
    [
        begin
            Channel = new(),
            Start(Channel),
            [
                begin
                    ok = py_channel:send(Channel, {request, self(), <<"data">>}),
                    receive {<<"response">>, <<"DATA">>} -> ok after 5000 -> error(timeout) end
                end
             || _ <- lists:seq(1, 100)
            ],
            ok = py_channel:close(Channel)
        end
     || Start <- [
            fun(Channel) -> async(serve, [Channel]) end,
            fun(Channel) -> ok = py_event_loop:spawn_task(?CODE, serve_async, [Channel]) end
        ]
    ].

types(_) ->
    Channel = new(),
    Messages = [1, 1 bsl 100, 1.5, true, none, <<"text">>, <<255, 0>>, [1, [2]], {a_tuple, 1}, #{<<"k">> => [1]}, self(), Channel],
    send_all(Channel, Messages),
    ok = py_channel:close(Channel),
    {ok, Received} = call(gather, [Channel]),
    ?assertEqual([case M of {a_tuple, 1} -> {<<"a_tuple">>, 1}; _ -> M end || M <- Messages], Received),
    %% What Python has nothing for is an error of that receive only.
    Odd = new(),
    send_all(Odd, [[a | b], 2]),
    {error, {'TypeError', _}} = call(one, [Odd]),
    {ok, 2} = call(one, [Odd]).

try_receive(_) ->
    Channel = new(),
    {ok, none} = call(attempt, [Channel]),
    {ok, 7} = call(attempt, [Channel, 7]),
    send_all(Channel, [1, none]),
    {ok, 1} = call(attempt, [Channel, 7]),
    {ok, none} = call(attempt, [Channel, 7]),
    ok = py_channel:close(Channel),
    {error, {<<"erlang.channel.ChannelClosed">>, <<"the channel is closed">>}} = call(attempt, [Channel]).

timeouts(_) ->
    Channel = new(),
    {Elapsed, {error, {'TimeoutError', <<"no message came in time">>}}} =
        test_support:milliseconds(fun() -> call(one, [Channel, 0.05]) end),
    ?assert(Elapsed >= 50),
    {error, {'TimeoutError', _}} = call(one, [Channel, 0]),
    {error, {'ValueError', _}} = call(one, [Channel, -1]),
    {error, {'TypeError', _}} = call(one, [Channel, <<"soon">>]),
    #{receivers := 0} = py_channel:info(Channel),
    ok = py_channel:send(Channel, 1),
    {ok, 1} = call(one, [Channel, 0]),
    spawn_link(fun() -> timer:sleep(50), py_channel:send(Channel, 2) end),
    {ok, 2} = call(one, [Channel, 5]).

close_ends_receivers(_) ->
    Channel = new(),
    Blocked = [async(outcome, [Channel]) || _ <- lists:seq(1, 5)],
    Tasks = [py_event_loop:create_task(?CODE, outcome_async, [Channel]) || _ <- lists:seq(1, 5)],
    receivers(Channel, 10),
    ok = py_channel:close(Channel),
    [{ok, <<"ChannelClosed">>} = result(B) || B <- Blocked],
    [{ok, <<"ChannelClosed">>} = py_event_loop:await(T) || T <- Tasks],
    ok = py_channel:close(Channel),
    {error, closed} = py_channel:send(Channel, 1),
    {error, closed} = py_channel:send(Channel, 1, 1000),
    {ok, <<"ChannelClosed">>} = call(outcome, [Channel]).

closed_is_drained(_) ->
    Channel = new(),
    send_all(Channel, [1, 2]),
    ok = py_channel:close(Channel),
    #{messages := 2, closed := true} = py_channel:info(Channel),
    [{ok, 1}, {ok, 2}, {ok, <<"ChannelClosed">>}] = [call(outcome, [Channel]) || _ <- [1, 2, 3]].

owner(_) ->
    Self = self(),
    Make = fun(Options) ->
        test_support:in_process(fun() ->
            Channel = new(Options(self())),
            ok = py_channel:send(Channel, 1),
            Channel
        end)
    end,
    Owned = Make(fun(_) -> #{} end),
    test_support:eventually(fun() -> maps:get(closed, py_channel:info(Owned)) end),
    {ok, [1]} = call(gather, [Owned]),
    [
        begin
            Channel = Make(Options),
            timer:sleep(50),
            #{closed := false} = py_channel:info(Channel),
            ok = py_channel:send(Channel, 2)
        end
     || Options <- [fun(_) -> #{owner => none} end, fun(_) -> #{owner => Self} end]
    ],
    Dead = test_support:in_process(fun() -> self() end),
    #{closed := true} = py_channel:info(new(#{owner => Dead})).

%% A channel that nobody has any more is freed, with what is in it.
collected(_) ->
    Watched = new(#{owner => none}),
    Holder = spawn(fun() ->
        Channel = new(#{owner => none}),
        %% The only other reference to a channel, from which a receiver would be told.
        send_all(Channel, [binary:copy(<<"x">>, 1000) || _ <- lists:seq(1, 1000)]),
        receive stop -> ok end
    end),
    Holder ! stop,
    ok = py_channel:send(Watched, 1),
    Before = erlang:memory(binary),
    [
        test_support:in_process(fun() ->
            Channel = new(#{owner => none}),
            send_all(Channel, [binary:copy(<<"x">>, 1000000) || _ <- lists:seq(1, 10)])
        end)
     || _ <- lists:seq(1, 20)
    ],
    test_support:eventually(fun() -> erlang:memory(binary) < Before + 20000000 end).

%% The owner dies together with processes that wait for room, and with them the last reference: who closes the channel
%% then must not meet what its destructor frees.
dies_with_its_senders(_) ->
    [
        begin
            {Owner, Monitor} = spawn_monitor(fun() ->
                Channel = new(#{max_size => 10}),
                ok = py_channel:send(Channel, <<"0123456789">>),
                [spawn_link(fun() -> py_channel:send(Channel, N, infinity) end) || N <- lists:seq(1, 20)],
                receive after 1 -> exit(kill_them_all) end
            end),
            receive {'DOWN', Monitor, process, Owner, _} -> ok end
        end
     || _ <- lists:seq(1, 300)
    ].

%% Freed by a thread of its own, since a destructor runs on a scheduler.
many_messages_are_freed(_) ->
    Before = erlang:memory(binary),
    test_support:in_process(fun() ->
        Channel = new(#{owner => none}),
        [ok = py_channel:send(Channel, binary:copy(<<"x">>, 1000)) || _ <- lists:seq(1, 100000)]
    end),
    test_support:eventually(fun() -> erlang:memory(binary) < Before + 10000000 end).

%%% Back-pressure

busy(_) ->
    Channel = new(#{max_size => 1000}),
    Message = binary:copy(<<"x">>, 400),
    ok = py_channel:send(Channel, Message),
    ok = py_channel:send(Channel, Message),
    busy = py_channel:send(Channel, Message),
    busy = py_channel:send(Channel, Message, 0),
    #{size := Size, max_size := 1000, messages := 2} = py_channel:info(Channel),
    ?assert(Size >= 800 andalso Size =< 1000),
    {ok, _} = call(one, [Channel]),
    ok = py_channel:send(Channel, Message),
    [] = test_support:mailbox().

larger_than_the_limit(_) ->
    Channel = new(#{max_size => 100}),
    Large = binary:copy(<<"x">>, 10000),
    ok = py_channel:send(Channel, Large),
    busy = py_channel:send(Channel, 1),
    {ok, Large} = call(one, [Channel]),
    ok = py_channel:send(Channel, 1),
    busy = py_channel:send(Channel, Large).

send_waits(_) ->
    Channel = new(#{max_size => 100}),
    Receiver = async(gather, [Channel]),
    [ok = py_channel:send(Channel, N, infinity) || N <- lists:seq(1, 20000)],
    ok = py_channel:close(Channel),
    ?assertEqual({ok, lists:seq(1, 20000)}, result(Receiver)),
    [] = test_support:mailbox().

send_waits_in_order(_) ->
    Channel = new(#{max_size => 120}),
    Self = self(),
    send_all(Channel, [binary:copy(<<"x">>, 40), binary:copy(<<"x">>, 40)]),
    Senders = [
        begin
            Pid = spawn_link(fun() -> ok = py_channel:send(Channel, <<N:400>>, infinity), Self ! {sent, N} end),
            test_support:eventually(fun() -> process_info(Pid, status) =:= {status, waiting} end),
            Pid
        end
     || N <- lists:seq(1, 5)
    ],
    {ok, _} = call(one, [Channel]),
    receive {sent, First} -> 1 = First after 5000 -> error(timeout) end,
    %% One that dies while it waits keeps nobody else from sending.
    unlink(lists:nth(2, Senders)),
    ok = test_support:kill(lists:nth(2, Senders)),
    {ok, Rest} = call(many_receives, [Channel, 5]),
    ?assertEqual(5, length(Rest)),
    [receive {sent, N} -> ok after 5000 -> error(timeout) end || N <- [3, 4, 5]].

%% A large one that waits first and gives up leaves the room to the small one behind it.
giving_up_makes_room(_) ->
    Channel = new(#{max_size => 200}),
    Self = self(),
    send_all(Channel, [binary:copy(<<"x">>, 60), binary:copy(<<"x">>, 60)]),
    _ = spawn_link(fun() -> Self ! {large, py_channel:send(Channel, binary:copy(<<"y">>, 180), 300)} end),
    timer:sleep(50),
    _ = spawn_link(fun() -> Self ! {small, py_channel:send(Channel, binary:copy(<<"z">>, 80), 30000)} end),
    timer:sleep(50),
    {ok, _} = call(one, [Channel]),
    receive {large, Large} -> busy = Large after 5000 -> error(timeout) end,
    {Elapsed, ok} = test_support:milliseconds(fun() ->
        receive {small, Small} -> Small after 20000 -> error(timeout) end
    end),
    ?assert(Elapsed < 15000).

send_gives_up(_) ->
    Channel = new(#{max_size => 10}),
    ok = py_channel:send(Channel, <<"0123456789">>),
    {Elapsed, busy} = test_support:milliseconds(fun() -> py_channel:send(Channel, 1, 50) end),
    ?assert(Elapsed >= 50),
    {ok, _} = call(one, [Channel]),
    timer:sleep(20),
    [] = test_support:mailbox(),
    ok = py_channel:send(Channel, 1, 50).

close_ends_senders(_) ->
    Channel = new(#{max_size => 10}),
    Self = self(),
    ok = py_channel:send(Channel, <<"0123456789">>),
    [spawn_link(fun() -> Self ! {sent, py_channel:send(Channel, N, infinity)} end) || N <- [1, 2, 3]],
    timer:sleep(50),
    ok = py_channel:close(Channel),
    [receive {sent, Result} -> {error, closed} = Result after 5000 -> error(timeout) end || _ <- [1, 2, 3]].

info(_) ->
    Channel = new(),
    ?assertEqual(
        #{size => 0, max_size => 0, messages => 0, receivers => 0, closed => false}, py_channel:info(Channel)
    ),
    {ok, {true, true, 0}} = call(same, [Channel]),
    Receiver = async(outcome, [Channel]),
    receivers(Channel, 1),
    ok = py_channel:close(Channel),
    {ok, <<"ChannelClosed">>} = result(Receiver),
    #{closed := true, receivers := 0} = py_channel:info(Channel).

bad_arguments(_) ->
    Ref = make_ref(),
    Channel = new(),
    ?assertError({bad_argument, channel, Ref}, py_channel:send(Ref, 1)),
    ?assertError({bad_argument, channel, 1}, py_channel:send(1, 1, 10)),
    ?assertError({bad_argument, channel, Ref}, py_channel:close(Ref)),
    ?assertError({bad_argument, channel, Ref}, py_channel:info(Ref)),
    ?assertError({bad_argument, timeout, -1}, py_channel:send(Channel, 1, -1)),
    ?assertError({bad_option, max_size, 0}, py_channel:new(#{max_size => 0})),
    ?assertError({bad_option, owner, me}, py_channel:new(#{owner => me})),
    ?assertError({bad_option, nonsense, 1}, py_channel:new(#{nonsense => 1})),
    ?assertError({bad_argument, options, []}, py_channel:new([])),
    ?assertError({bad_argument, data, 1}, py_byte_channel:send(Channel, 1)),
    {error, {'TypeError', <<"a channel of py_channel:new is expected", _/binary>>}} = call(one, [Ref]),
    {error, {'TypeError', _}} = call(one, [1]),
    {error, {'TypeError', _}} = call(one, [py:context()]),
    {error, {'TypeError', _}} = call(send_raises, [Channel]),
    #{messages := 0} = py_channel:info(Channel).

%%% Many

many_to_many(_) ->
    Channel = new(#{max_size => 2000}),
    Receivers = [async(gather, [Channel]) || _ <- lists:seq(1, 4)],
    Tasks = [py_event_loop_pool:create_task(?CODE, gather_async, [Channel]) || _ <- lists:seq(1, 4)],
    Self = self(),
    Senders = [
        spawn_link(fun() ->
            [ok = py_channel:send(Channel, {S, N}, infinity) || N <- lists:seq(1, 2000)],
            Self ! {done, self()}
        end)
     || S <- lists:seq(1, 8)
    ],
    [receive {done, Pid} -> ok end || Pid <- Senders],
    ok = py_channel:close(Channel),
    Lists =
        [L || R <- Receivers, {ok, L} <- [result(R)]] ++
            [L || {ok, L} <- py_event_loop_pool:await_all(Tasks, 20000)],
    ?assertEqual(8, length(Lists)),
    ?assertEqual([{S, N} || S <- lists:seq(1, 8), N <- lists:seq(1, 2000)], lists:sort(lists:append(Lists))),
    %% What one receiver got of one sender is in order.
    [
        ?assertEqual(lists:sort(Own), Own)
     || List <- Lists, S <- lists:seq(1, 8), Own <- [[N || {From, N} <- List, From =:= S]]
    ].

workers(_) ->
    Channel = new(),
    Task = py_event_loop:create_task(?CODE, workers, [Channel, 10]),
    receivers(Channel, 10),
    send_all(Channel, lists:seq(1, 1000)),
    ok = py_channel:close(Channel),
    {ok, Lists} = py_event_loop:await(Task, 20000),
    ?assertEqual(lists:seq(1, 1000), lists:sort(lists:append(Lists))),
    ?assert(length([L || L <- Lists, L =/= []]) > 1).

contexts_and_loops_share(_) ->
    Channel = new(),
    Blocked = async(outcome, [Channel]),
    receivers(Channel, 1),
    Task = py_event_loop:create_task(?CODE, outcome_async, [Channel]),
    receivers(Channel, 2),
    %% Who waits longest comes first.
    ok = py_channel:send(Channel, 1),
    {ok, 1} = result(Blocked),
    ok = py_channel:send(Channel, 2),
    {ok, 2} = py_event_loop:await(Task).

%%% Receivers that end early

giving_up_loses_nothing(_) ->
    Channel = new(),
    Tasks = [py_event_loop_pool:create_task(?CODE, give_up_often, [Channel, 300]) || _ <- lists:seq(1, 3)],
    [begin ok = py_channel:send(Channel, N), N rem 50 =:= 0 andalso timer:sleep(1) end || N <- lists:seq(1, 5000)],
    ok = py_channel:close(Channel),
    Lists = [L || {ok, L} <- py_event_loop_pool:await_all(Tasks, 30000)],
    ?assertEqual(lists:seq(1, 5000), lists:sort(lists:append(Lists))),
    #{receivers := 0} = py_channel:info(Channel).

woken_and_cancelled(_) ->
    [
        begin
            Channel = new(),
            Task = py_event_loop:create_task(?CODE, two_wait_one_is_cancelled, [Channel, self()]),
            receive <<"waiting">> -> ok after 5000 -> error(timeout) end,
            ok = py_channel:send(Channel, N),
            {ok, N} = py_event_loop:await(Task, 10000)
        end
     || N <- lists:seq(1, 10)
    ].

interrupted(_) ->
    Channel = new(),
    Self = self(),
    Pid = spawn_link(fun() -> Self ! {context, py:context()}, Self ! {result, call(one, [Channel])} end),
    Context = receive {context, C} -> C end,
    receivers(Channel, 1),
    ok = py:interrupt(Context),
    receive {result, {error, {'KeyboardInterrupt', _}}} -> ok after 5000 -> error(timeout) end,
    unlink(Pid),
    #{receivers := 0} = py_channel:info(Channel),
    ok = py_channel:send(Channel, 1),
    {ok, 1} = call(one, [Channel]).

timeout_of_the_call(_) ->
    Channel = new(),
    [{error, timeout} = py:call(?CODE, one, [Channel], #{}, #{timeout => 20, interrupt => true}) || _ <- lists:seq(1, 5)],
    {error, timeout} = py_event_loop:run(?CODE, outcome_async, [Channel], #{timeout => 20}),
    receivers(Channel, 0),
    ok = py_channel:send(Channel, 1),
    {ok, 1} = call(one, [Channel]).

receiver_is_replaced(_) ->
    Channel = new(),
    Self = self(),
    spawn_link(fun() -> Self ! {context, py:context()}, Self ! {result, call(one, [Channel])} end),
    Context = receive {context, C} -> C end,
    receivers(Channel, 1),
    Second = async(outcome, [Channel]),
    receivers(Channel, 2),
    ok = py:replace(Context),
    receive {result, {error, context_replaced}} -> ok after 5000 -> error(timeout) end,
    %% The thread was told to end.
    receivers(Channel, 1),
    ok = py_channel:send(Channel, 1),
    {ok, 1} = result(Second).

loop_is_restarted(_) ->
    Channel = new(),
    Task = py_event_loop_pool:create_task(?CODE, outcome_async, [Channel]),
    receivers(Channel, 1),
    Second = async(outcome, [Channel]),
    receivers(Channel, 2),
    {ok, Loop} = py_event_loop_pool:get_loop(),
    ok = py_event_loop_pool:restart_loop(Loop),
    {error, loop_restarted} = py_event_loop_pool:await(Task),
    ok = py_channel:send(Channel, 1),
    {ok, 1} = result(Second).

%% One whose thread does not come back for a while, where a receiver waits and another was woken.
stuck_loop_is_restarted(_) ->
    Channel = new(),
    Tasks = [py_event_loop_pool:create_task(?CODE, outcome_async, [Channel]) || _ <- [1, 2]],
    receivers(Channel, 2),
    Others = [async(outcome, [Channel]), async(outcome, [Channel])],
    receivers(Channel, 4),
    Stuck = py_event_loop_pool:create_task(?CODE, stuck, [self(), 1.5]),
    receive <<"stuck">> -> ok after 20000 -> error(timeout) end,
    {ok, Loop} = py_event_loop_pool:get_loop(),
    ok = py_channel:send(Channel, 1),
    ok = py_event_loop_pool:restart_loop(Loop),
    [{error, loop_restarted} = py_event_loop_pool:await(Task) || Task <- [Stuck | Tasks]],
    ok = py_channel:send(Channel, 2),
    ?assertEqual([{ok, 1}, {ok, 2}], lists:sort([result(Other) || Other <- Others])).

application_stops(_) ->
    Channel = new(),
    ok = py:exec(<<"channel_outcomes = []">>),
    ok = py:exec(<<
        "def channel_wait(ref):\n"
        "    import threading, channel_code\n"
        "    def wait():\n"
        "        channel_outcomes.append(channel_code.outcome(ref))\n"
        "    threading.Thread(target=wait).start()\n"
    >>),
    {ok, _} = py:call('__main__', channel_wait, [Channel]),
    receivers(Channel, 1),
    ok = test_support:stop(),
    {error, closed} = py_channel:new(),
    test_support:eventually(fun() -> maps:get(closed, py_channel:info(Channel)) end),
    {error, closed} = py_channel:send(Channel, 1),
    ok = test_support:start(),
    test_support:eventually(fun() -> py:eval(<<"channel_outcomes">>) =:= {ok, [<<"ChannelClosed">>]} end).

%% Coroutines of a loop that is closed took the wake-ups for all messages; threads that wait for one message each get them.
closed_loops(_) ->
    [
        begin
            Channel = new(),
            {ok, _} = call(wait_on_a_loop, [Channel, 4, Kind]),
            receivers(Channel, 4),
            Blocked = [async(outcome, [Channel]) || _ <- lists:seq(1, 4)],
            receivers(Channel, 8),
            send_all(Channel, [1, 2, 3, 4]),
            %% The wake-ups reach the loop after it was closed, or wait in it when it is closed.
            timer:sleep(Pause),
            %% Not from here: one of those that wait may do so on the context of this process.
            {ok, _} = result(async(close_the_loop, [])),
            ?assertEqual([{ok, N} || N <- [1, 2, 3, 4]], lists:sort([result(B) || B <- Blocked]))
        end
     || Kind <- [<<"erlang">>, <<"stock">>], Pause <- [0, 300]
    ].

%% Receivers wait for no process.
callback_server_dies(_) ->
    Channel = new(),
    Blocked = async(outcome, [Channel]),
    Task = py_event_loop:create_task(?CODE, outcome_async, [Channel]),
    receivers(Channel, 2),
    Server = whereis(py_callback_server),
    ok = test_support:kill(Server),
    test_support:eventually(fun() -> not lists:member(whereis(py_callback_server), [undefined, Server]) end),
    timer:sleep(50),
    send_all(Channel, [1, 1]),
    {ok, 1} = result(Blocked),
    {ok, 1} = py_event_loop:await(Task).

%%% Python's side

python_sends(_) ->
    Channel = new(#{max_size => 1000}),
    {ok, [true, true, false]} = call(sends, [Channel, [1, binary:copy(<<"x">>, 800), binary:copy(<<"y">>, 800)]]),
    {ok, 1} = call(one, [Channel]),
    ok = py_channel:close(Channel),
    {error, {<<"erlang.channel.ChannelClosed">>, _}} = call(sends, [Channel, [1]]).

python_closes(_) ->
    Channel = new(),
    {ok, {2, <<"<Channel closed, 2 messages of ", _/binary>>}} = call(send_and_close, [Channel, [1, 2]]),
    {error, closed} = py_channel:send(Channel, 3),
    {ok, [1, 2]} = call(gather, [Channel]).

python_to_python(_) ->
    Channel = new(#{max_size => 1000}),
    {ok, Numbers} = py_event_loop:run(?CODE, between_threads, [Channel, 5000], #{timeout => 30000}),
    ?assertEqual(lists:seq(0, 4999), Numbers).

a_flood_lets_others_run(_) ->
    Channel = new(),
    send_all(Channel, lists:seq(1, 10000)),
    ok = py_channel:close(Channel),
    {ok, {10000, Ticks}} = py_event_loop:run(?CODE, ticks_while_flooded, [Channel]),
    ?assert(Ticks > 50).

inside_a_callback(_) ->
    Channel = new(),
    ok = py:register_function(channel_inner, fun([]) ->
        ok = py_channel:send(Channel, 5),
        {ok, 5} = call(one, [Channel]),
        spawn_link(fun() -> timer:sleep(20), ok = py_channel:send(Channel, 6) end),
        {ok, Six} = call(one, [Channel]),
        Six
    end),
    {ok, 6} = py:eval(<<"__import__('erlang').call('channel_inner')">>).

byte_channels(_) ->
    {ok, Channel} = py_byte_channel:new(),
    [ok = py_byte_channel:send(Channel, Data) || Data <- [<<"text">>, <<255, 0>>, ["io", <<"data">>], <<>>]],
    ok = py_byte_channel:close(Channel),
    #{messages := 4} = py_byte_channel:info(Channel),
    {ok, [<<"text">>, <<255, 0>>, <<"iodata">>, <<>>]} = call(bytes_of, [Channel]),
    {ok, Types} = py_byte_channel:new(#{max_size => 100}),
    ok = py_byte_channel:send(Types, <<"text">>),
    ok = py_byte_channel:send(Types, <<"more">>, 100),
    {ok, [<<"bytes">>, <<"bytes">>]} = call(types_of_bytes, [Types]),
    {ok, true} = call(sends_bytes, [Types]).

large_messages(_) ->
    {ok, Channel} = py_byte_channel:new(#{max_size => 4000000}),
    Task = py_event_loop:create_task(?CODE, byte_total, [Channel]),
    Chunk = rand:bytes(1000000),
    [ok = py_byte_channel:send(Channel, Chunk, infinity) || _ <- lists:seq(1, 50)],
    ok = py_byte_channel:close(Channel),
    {ok, 50000000} = py_event_loop:await(Task, 30000).
