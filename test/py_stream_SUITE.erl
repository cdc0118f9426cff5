%% The values of generators as lists and as messages, from contexts and event loops.
-module(py_stream_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CODE, stream_code).

all() ->
    [
        lists, expressions, list_errors, list_timeout, async_lists,
        messages, error_messages, bad_arguments, not_started,
        next, next_timeout, window, window_in_a_slice, million,
        cancel, cancel_while_it_blocks, cancel_before_it_begins, cancel_with_interrupt, cancel_twice, failure_after_cancel,
        owner_dies, another_owner, another_cancels, cancel_and_die,
        others_get_their_turn, one_thread, on_behalf_of_the_owner, many_at_once,
        inside_a_callback, outlives_the_callback, calls_erlang,
        on_a_loop, loop_window, loop_cancel, loop_owner_dies, loop_serves_others, loop_errors, pool,
        context_replaced, loop_restarted, server_dies, application_stops
    ].

suite() ->
    [{timetrap, {seconds, 90}}].

init_per_testcase(_Case, Config) ->
    ok = test_support:start([{python_path, [?config(data_dir, Config)]}]),
    %% The first stream of a server makes Python forget those of earlier ones.
    {[], done} = collect(start(fibonacci, [0])),
    Config.

end_per_testcase(_Case, Config) ->
    Left =
        case {?config(tc_status, Config), whereis(py_stream_server)} of
            {ok, Server} when is_pid(Server) -> open();
            _ -> none
        end,
    ok = test_support:stop(),
    case Left of
        none -> ok;
        Counts -> {fail, {open_streams, Counts}}
    end.

%% For the sanitizers, in a VM whose application runs.
run_cases() ->
    {ok, _} = py:eval(<<"__import__('sys').path.insert(0, folder)">>, #{folder => <<"test/py_stream_SUITE_data">>}),
    [
        ok = test_support:in_process(fun() -> _ = ?MODULE:Case([]), ok end)
     || Case <- [
            lists, messages, error_messages, window, cancel, cancel_while_it_blocks, cancel_with_interrupt, owner_dies,
            on_behalf_of_the_owner, many_at_once, inside_a_callback, on_a_loop, loop_window, loop_cancel
        ]
    ],
    ok.

%% Once nothing is under way any more.
open() ->
    Idle = fun() ->
        {state, Streams, Tasks, Owners, _} = sys:get_state(py_stream_server),
        {ok, Python} = py:call(?CODE, open_streams, [], #{}, #{context => any}),
        {map_size(Streams), map_size(Tasks), map_size(Owners), ets:info(py_stream_server, size), Python}
    end,
    try test_support:eventually(fun() -> Idle() =:= {0, 0, 0, 0, 0} end) of
        ok -> none
    catch
        error:{never, _} -> Idle()
    end.

start(Function, Arguments) -> start(Function, Arguments, #{}).

start(Function, Arguments, Options) ->
    {ok, Stream} = py:stream_start(?CODE, Function, Arguments, Options),
    Stream.

take(0, _) -> [];
take(N, Stream) ->
    {ok, Value} = py:stream_next(Stream, 10000),
    [Value | take(N - 1, Stream)].

%% All messages of a stream, and how it ended.
collect(Stream) ->
    receive
        {py_stream, Stream, {data, Value}} ->
            {Values, End} = collect(Stream),
            {[Value | Values], End};
        {py_stream, Stream, End} ->
            {[], End}
    after 10000 -> error(timeout)
    end.

events() ->
    {ok, Events} = py:call(?CODE, taken, [], #{}, #{context => any}),
    Events.

closed() ->
    test_support:eventually(fun() -> lists:member(<<"closed">>, events()) end).

%%% As a list

lists(_) ->
    {ok, [0, 1, 1, 2, 3, 5, 8, 13, 21, 34]} = py:stream(?CODE, fibonacci, [10]),
    {ok, [1, 1, 2]} = py:stream(?CODE, fibonacci, [3], #{first => 1}),
    {ok, [1, 1, 2]} = py:stream(?CODE, fibonacci, [3], #{}, #{kwargs => #{first => 1}}),
    {ok, []} = py:stream(?CODE, fibonacci, [0]),
    {ok, [2, 1, 0]} = py:stream(?CODE, 'Countdown', [3]),
    {ok, [1, 2]} = py:stream(builtins, iter, [[1, 2]]).

expressions(_) ->
    {ok, [0, 1, 4, 9, 16]} = py:stream_eval(<<"(x**2 for x in range(5))">>),
    {ok, [<<"H">>, <<"I">>]} = py:stream_eval(<<"(c.upper() for c in 'hi')">>),
    {ok, [0, 1]} = py:stream_eval(<<"iter(range(2))">>),
    {ok, [{<<"a">>, 1}, {<<"b">>, 2}]} = py:stream_eval(<<"iter({'a': 1, 'b': 2}.items())">>),
    {ok, [0, 3, 6]} = py:stream_eval(<<"(x * factor for x in range(n))">>, #{factor => 3, n => 3}),
    ok = py:exec(<<"stream_base = 5">>),
    {ok, [5, 6]} = py:stream_eval(<<"(stream_base + x for x in range(2))">>),
    {ok, Stream} = py:stream_eval_start(<<"(x * factor for x in range(3))">>, #{factor => 2}),
    {[0, 2, 4], done} = collect(Stream).

list_errors(_) ->
    {error, {'ValueError', <<"no more">>}} = py:stream(?CODE, fails, [3]),
    {error, {'ValueError', _, [_ | _]}} = py:stream(?CODE, fails, [3], #{}, #{traceback => true}),
    {error, {'TypeError', <<"'int' object is not iterable">>}} = py:stream(?CODE, number, []),
    {error, {'TypeError', <<"cannot convert object to an Erlang term">>}} = py:stream(?CODE, unconvertible, []),
    {error, {'AttributeError', _}} = py:stream(?CODE, no_such_function, []),
    {error, {'ModuleNotFoundError', _}} = py:stream(no_such_module, f, []),
    {error, {'SyntaxError', _}} = py:stream_eval(<<"(x for">>),
    {error, {'NameError', _}} = py:stream_eval(<<"(x for x in nowhere)">>),
    {error, {'TypeError', Message}} = py:stream(?CODE, ticks, [3]),
    ?assertMatch({_, _}, binary:match(Message, <<"py_event_loop:stream">>)),
    {error, {'TypeError', _}} = py:stream(?CODE, later, [3]).

list_timeout(_) ->
    {error, timeout} = py:stream(?CODE, forever, [], #{}, #{timeout => 50, interrupt => true}),
    {error, timeout} = py:stream(?CODE, sleeps, [2], #{}, 50),
    closed(),
    [] = test_support:mailbox().

async_lists(_) ->
    {ok, [0, 1, 2]} = py_event_loop:stream(?CODE, ticks, [3]),
    {ok, [0, 1, 2]} = py_event_loop:stream(?CODE, ticks, [3], #{kwargs => #{pause => 0.001}}),
    {ok, [0, 1, 1]} = py_event_loop:stream(?CODE, fibonacci, [3]),
    {ok, [0, 1, 1]} = py_event_loop:stream(?CODE, later, [3]),
    {ok, [0, 1, 2]} = py_event_loop_pool:stream(?CODE, ticks, [3]),
    {error, {'ValueError', <<"no more">>}} = py_event_loop:stream(?CODE, ticks_fail, [2]),
    _ = events(),
    {error, timeout} = py_event_loop:stream(?CODE, ticks, [1000], #{kwargs => #{pause => 0.01}, timeout => 30}),
    closed().

%%% As messages

messages(_) ->
    Stream = start(fibonacci, [3]),
    [{data, 0}, {data, 1}, {data, 1}, done] = [receive {py_stream, Stream, M} -> M end || _ <- lists:seq(1, 4)],
    {[], done} = collect(start(fibonacci, [0])),
    {[1, 1, 2], done} = collect(start(fibonacci, [3], #{kwargs => #{first => 1}})).

error_messages(_) ->
    {[0, 1], {error, {'ValueError', <<"no more">>}}} = collect(start(fails, [2])),
    {[0, 1], {error, {'ValueError', _, [_ | _]}}} = collect(start(fails, [2], #{traceback => true})),
    {[1], {error, {'TypeError', <<"cannot convert object to an Erlang term">>}}} = collect(start(unconvertible, [])),
    {[], {error, {'TypeError', _}}} = collect(start(number, [])),
    {[], {error, {'TypeError', _}}} = collect(start(ticks, [1])),
    {[], {error, {'AttributeError', _}}} = collect(start(no_such_function, [])).

bad_arguments(_) ->
    Start = fun(Options) -> py:stream_start(?CODE, fibonacci, [1], Options) end,
    ?assertError({bad_argument, module, 1}, py:stream_start(1, f, [])),
    ?assertError({bad_argument, function, "f"}, py:stream_start(m, "f", [])),
    ?assertError({bad_argument, args, [a | b]}, py:stream_start(m, f, [a | b])),
    ?assertError({bad_argument, options, []}, Start([])),
    ?assertError({bad_option, window, 0}, Start(#{window => 0})),
    ?assertError({bad_option, owner, me}, Start(#{owner => me})),
    ?assertError({bad_option, context, any}, Start(#{context => any})),
    ?assertError({bad_option, kwargs, 1}, Start(#{kwargs => 1})),
    ?assertError({bad_option, arrays, list}, Start(#{arrays => list})),
    ?assertError({bad_option, nonsense, 1}, Start(#{nonsense => 1})),
    Ref = make_ref(),
    ?assertError({bad_argument, context, Ref}, Start(#{context => Ref})),
    ?assertError({bad_option, context, _}, py_event_loop:stream_start(?CODE, ticks, [1], #{context => own})),
    ?assertError({bad_argument, module, 1}, py:stream(1, f, [])),
    ?assertError({bad_argument, kwargs, 1}, py:stream(m, f, [], 1)),
    ?assertError({bad_argument, expression, 1}, py:stream_eval(1)),
    ?assertError({bad_argument, names, 1}, py:stream_eval(<<"x">>, 1)),
    ?assertError({bad_argument, args, 1}, py_event_loop:stream(m, f, 1)),
    ?assertError({bad_argument, stream, 1}, py:stream_next(1)),
    ?assertError({bad_argument, stream, 1}, py:stream_cancel(1)),
    ?assertError({bad_argument, stream, 1}, py:stream_more(1, 1)),
    ?assertError({bad_argument, count, 0}, py:stream_more(Ref, 0)).

not_started(_) ->
    Stream = start(forever, [], #{window => 2}),
    [0, 1] = exactly(2, Stream),
    ok = test_support:stop(),
    ?assertError({not_started, erlang_python}, py_event_loop:stream_start(?CODE, ticks, [1])),
    {error, closed} = py:stream_next(Stream),
    done = py:stream_next(Stream),
    ok = py:stream_cancel(Stream).

next(_) ->
    Stream = start(fibonacci, [3]),
    [0, 1, 1] = take(3, Stream),
    done = py:stream_next(Stream),
    done = py:stream_next(Stream),
    Failing = start(fails, [1]),
    {ok, 0} = py:stream_next(Failing),
    {error, {'ValueError', _}} = py:stream_next(Failing),
    done = py:stream_next(Failing),
    done = py:stream_next(make_ref()).

next_timeout(_) ->
    Stream = start(sleeps, [1]),
    {ok, 1} = py:stream_next(Stream, 5000),
    {error, timeout} = py:stream_next(Stream, 10),
    {ok, 2} = py:stream_next(Stream, 5000),
    done = py:stream_next(Stream, 5000).

%% The next N values, after which none comes.
exactly(N, Stream) ->
    Values = [receive {py_stream, Stream, {data, Value}} -> Value after 10000 -> error(timeout) end || _ <- lists:seq(1, N)],
    receive {py_stream, Stream, _} = More -> error(More) after 30 -> Values end.

window(_) ->
    Stream = start(forever, [], #{window => 5}),
    ?assertEqual(lists:seq(0, 4), exactly(5, Stream)),
    ok = py:stream_more(Stream, 5),
    ?assertEqual(lists:seq(5, 104), take(100, Stream)),
    ?assertEqual(lists:seq(105, 109), exactly(5, Stream)),
    ok = py:stream_more(Stream, 10),
    ok = py:stream_more(Stream, 5),
    ?assertEqual(lists:seq(110, 124), exactly(15, Stream)),
    ok = py:stream_cancel(Stream),
    [] = test_support:mailbox().

%% The time slice is over before the credit is.
window_in_a_slice(_) ->
    Stream = start(forever, [0.004], #{window => 20}),
    ?assertEqual(lists:seq(0, 19), exactly(20, Stream)),
    ok = py:stream_cancel(Stream).

million(_) ->
    [
        begin
            {ok, Stream} = py:stream_eval_start(<<"range(200000)">>, #{}, #{window => Window}),
            ?assertEqual(lists:seq(0, 199999), take(200000, Stream)),
            done = py:stream_next(Stream)
        end
     || Window <- [infinity, 100]
    ].

%%% Cancelling

cancel(_) ->
    [
        begin
            Stream = start(forever, [], Options),
            [0, 1, 2] = take(3, Stream),
            ok = py:stream_cancel(Stream),
            [] = test_support:mailbox(),
            closed(),
            [] = test_support:mailbox(),
            done = py:stream_next(Stream)
        end
     || Options <- [#{}, #{window => 3}, #{window => 1000}]
    ].

cancel_while_it_blocks(_) ->
    Stream = start(sleeps, [2]),
    {ok, 1} = py:stream_next(Stream),
    ok = py:stream_cancel(Stream),
    [] = test_support:mailbox(),
    ?assertNot(lists:member(<<"closed">>, events())),
    closed(),
    [] = test_support:mailbox().

cancel_before_it_begins(_) ->
    _ = events(),
    Busy = py:context(),
    spawn(fun() -> py:call(Busy, time, sleep, [1]) end),
    timer:sleep(50),
    Stream = start(sleeps, [0]),
    ok = py:stream_cancel(Stream),
    {ok, _} = py:call(time, time, []),
    [] = test_support:mailbox(),
    [] = events().

cancel_with_interrupt(_) ->
    Stream = start(computes, [], #{interrupt => true}),
    {ok, 1} = py:stream_next(Stream),
    ok = py:stream_cancel(Stream),
    closed(),
    {ok, 2.0} = py:call(math, sqrt, [4.0], #{}, 5000).

cancel_twice(_) ->
    Stream = start(sleeps, [0.2]),
    {ok, 1} = py:stream_next(Stream),
    Self = self(),
    Pids = [spawn_link(fun() -> ok = py:stream_cancel(Stream), Self ! {cancelled, self()} end) || _ <- lists:seq(1, 10)],
    [receive {cancelled, Pid} -> ok end || Pid <- Pids],
    ok = py:stream_cancel(Stream),
    ok = py:stream_cancel(make_ref()),
    [] = test_support:mailbox().

failure_after_cancel(_) ->
    Cancel = fun() ->
        Stream = start(fails_when_closed, [], #{window => 3}),
        {ok, 1} = py:stream_next(Stream),
        ok = py:stream_cancel(Stream)
    end,
    {ok, [Logged]} = test_support:logged(Cancel, 1),
    ?assertNotEqual(nomatch, string:find(Logged, "not closed well")).

%%% Owners

owner_dies(_) ->
    [
        begin
            Self = self(),
            {Owner, Monitor} = spawn_monitor(fun() ->
                Stream = start(forever, [], Options),
                {ok, 0} = py:stream_next(Stream),
                Self ! {first, self()},
                receive stop -> ok end
            end),
            receive {first, Owner} -> ok end,
            exit(Owner, kill),
            receive {'DOWN', Monitor, _, _, _} -> ok end,
            closed()
        end
     || Options <- [#{}, #{window => 3}]
    ].

another_owner(_) ->
    Self = self(),
    Owner = spawn_link(fun() ->
        receive {py_stream, S, {data, First}} -> Self ! {got, First, S} end,
        receive stop -> ok end
    end),
    Stream = start(fibonacci, [1], #{owner => Owner}),
    receive {got, 0, Stream} -> ok end,
    [] = test_support:mailbox(),
    Owner ! stop,
    Dead = test_support:in_process(fun() -> self() end),
    _ = start(forever, [], #{owner => Dead}),
    closed().

%% An owner that waits learns of it, whatever its thread does; nobody else may take its values.
another_cancels(_) ->
    Self = self(),
    [
        begin
            Owner = spawn_link(fun() ->
                {ok, Stream} = Start(),
                Self ! {stream, Stream},
                {ok, _} = py:stream_next(Stream),
                Self ! first,
                Self ! {ended, (fun Next() -> case py:stream_next(Stream) of {ok, _} -> Next(); End -> End end end)()}
            end),
            Stream = receive {stream, S} -> S end,
            receive first -> ok end,
            ?assertError({not_owner, Stream, Owner}, py:stream_next(Stream)),
            ok = py:stream_cancel(Stream),
            receive {ended, End} -> {error, cancelled} = End after 5000 -> error(timeout) end
        end
     || Start <- [
            fun() -> py:stream_start(?CODE, forever, [], #{window => 3}) end,
            fun() -> py:stream_start(?CODE, forever, [0.001]) end,
            fun() -> py:stream_start(?CODE, sleeps, [1]) end,
            fun() -> py_event_loop:stream_start(?CODE, ticks, [100000, 0.01]) end
        ]
    ].

%% Cleaning up is not cancelled a second time.
cancel_and_die(_) ->
    _ = events(),
    Owner = spawn(fun() ->
        {ok, Stream} = py_event_loop:stream_start(?CODE, slow_to_close, []),
        {ok, _} = py:stream_next(Stream),
        ok = py:stream_cancel(Stream)
    end),
    Monitor = monitor(process, Owner),
    receive {'DOWN', Monitor, _, _, normal} -> ok end,
    test_support:eventually(fun() -> lists:member(<<"cleaned up">>, events()) end).

%%% Threads

others_get_their_turn(_) ->
    Stream = start(forever, [], #{owner => spawn_link(fun() -> timer:sleep(infinity) end)}),
    [{ok, 2.0} = py:call(math, sqrt, [4.0], #{}, 5000) || _ <- lists:seq(1, 20)],
    ok = py:stream_cancel(Stream).

one_thread(_) ->
    Stream = start(who, []),
    ?assertMatch([_], lists:usort([Thread || {_, Thread} <- take(3, Stream)])),
    {Rows, done} = collect(start(rows, [30])),
    ?assertEqual([{N} || N <- lists:seq(0, 29)], Rows).

on_behalf_of_the_owner(_) ->
    Self = self(),
    [Self, Self, Self] = [Pid || {Pid, _} <- take(3, start(who, []))],
    {ok, Stream} = py_event_loop:stream_start(?CODE, who_async, []),
    [Self, Self, Self] = take(3, Stream),
    {ok, Plain} = py_event_loop:stream_start(?CODE, who, []),
    [Self, Self, Self] = [Pid || {Pid, _} <- take(3, Plain)].

many_at_once(_) ->
    Streams = [start(fibonacci, [20], #{window => 3}) || _ <- lists:seq(1, 200)],
    {ok, Expected} = py:stream(?CODE, fibonacci, [20]),
    [?assertEqual(Expected, take(20, Stream)) || Stream <- lists:reverse(Streams)],
    [done = py:stream_next(Stream) || Stream <- Streams].

inside_a_callback(_) ->
    ok = py:register_function(stream_of, fun([N]) ->
        {ok, Stream} = py:stream_start(?CODE, fibonacci, [N], #{window => 2}),
        Values = take(N, Stream),
        done = py:stream_next(Stream),
        {ok, Whole} = py:stream(?CODE, fibonacci, [N]),
        [Values, Whole]
    end),
    {ok, [[0, 1, 1, 2], [0, 1, 1, 2]]} = py:call(?CODE, streams_within, [4]).

%% A stream that a callback started goes on when the callback is over, on the same thread.
outlives_the_callback(_) ->
    Self = self(),
    ok = py:register_function(stream_of, fun([_]) ->
        {ok, Stream} = py:stream_start(?CODE, who, [], #{window => 1, owner => Self}),
        Self ! {stream, Stream},
        timer:sleep(50),
        none
    end),
    {ok, none} = py:call(?CODE, streams_within, [4]),
    Stream = receive {stream, S} -> S end,
    ?assertMatch([{Self, T}, {Self, T}, {Self, T}], take(3, Stream)),
    %% One whose call nobody waits in has a thread of its process's.
    {ok, none} = py_event_loop:run(?CODE, streams_within_async, [4]),
    Second = receive {stream, S2} -> S2 end,
    ?assertMatch([{Self, T}, {Self, T}, {Self, T}], take(3, Second)).

calls_erlang(_) ->
    ok = py:register_function(stream_double, fun([X]) -> 2 * X end),
    {[0, 2, 4], done} = collect(start(calls_erlang, [3])),
    {ok, [0, 2, 4]} = py:stream(?CODE, calls_erlang, [3]).

%%% Event loops

loop_start(Function, Arguments, Options) ->
    {ok, Stream} = py_event_loop:stream_start(?CODE, Function, Arguments, Options),
    Stream.

on_a_loop(_) ->
    {[0, 1, 2], done} = collect(loop_start(ticks, [3], #{})),
    {[0, 1, 1], done} = collect(loop_start(fibonacci, [3], #{})),
    {[0, 1, 1], done} = collect(loop_start(later, [3], #{})),
    {[1, 0], done} = collect(loop_start('Countdown', [2], #{})),
    {[0, 1, 2], done} = collect(loop_start(ticks, [3], #{kwargs => #{pause => 0.001}})).

loop_window(_) ->
    [
        begin
            Stream = loop_start(Function, [], #{window => 5}),
            ?assertEqual(lists:seq(0, 4), exactly(5, Stream)),
            ok = py:stream_more(Stream, 5),
            ?assertEqual(lists:seq(5, 104), take(100, Stream)),
            ?assertEqual(lists:seq(105, 109), exactly(5, Stream)),
            ok = py:stream_cancel(Stream),
            closed()
        end
     || Function <- [never_waits, forever]
    ].

loop_cancel(_) ->
    [
        begin
            Stream = loop_start(Function, Arguments, #{}),
            [0, 1, 2] = take(3, Stream),
            ok = py:stream_cancel(Stream),
            [] = test_support:mailbox(),
            closed(),
            [] = test_support:mailbox()
        end
     || {Function, Arguments} <- [{ticks, [1000000]}, {ticks, [1000, 0.01]}, {never_waits, []}, {forever, []}]
    ].

loop_owner_dies(_) ->
    Owner = spawn(fun() -> timer:sleep(50) end),
    _ = loop_start(ticks, [100000, 0.01], #{owner => Owner}),
    closed().

loop_serves_others(_) ->
    Sink = spawn_link(fun() -> timer:sleep(infinity) end),
    Streams = [loop_start(Function, [], #{owner => Sink}) || Function <- [never_waits, forever]],
    [{ok, N} = py_event_loop:run(asyncio, sleep, [0.001, N]) || N <- lists:seq(1, 5)],
    [ok = py:stream_cancel(Stream) || Stream <- Streams].

loop_errors(_) ->
    {[0, 1], {error, {'ValueError', <<"no more">>}}} = collect(loop_start(ticks_fail, [2], #{})),
    {[0, 1], {error, {'ValueError', <<"no more">>}}} = collect(loop_start(fails, [2], #{})),
    {[1], {error, {'TypeError', _}}} = collect(loop_start(unconvertible, [], #{})),
    {[], {error, {'TypeError', _}}} = collect(loop_start(number, [], #{})),
    {[], {error, {'AttributeError', _}}} = collect(loop_start(no_such_function, [], #{})).

pool(_) ->
    Self = self(),
    Pids = [
        spawn_link(fun() ->
            {ok, Stream} = py_event_loop_pool:stream_start(?CODE, ticks, [50], #{window => 4}),
            Self ! {self(), take(50, Stream), py:stream_next(Stream)}
        end)
     || _ <- lists:seq(1, 20)
    ],
    [receive {Pid, Values, done} -> ?assertEqual(lists:seq(0, 49), Values) end || Pid <- Pids].

%%% What goes wrong around them

context_replaced(_) ->
    Stream = start(sleeps, [2]),
    {ok, 1} = py:stream_next(Stream),
    ok = py:replace(py:context()),
    {error, context_replaced} = py:stream_next(Stream, 5000),
    [0, 1] = take(2, start(fibonacci, [2])),
    timer:sleep(600),
    {py_stream, _, done} = receive Message -> Message after 0 -> none end,
    [] = test_support:mailbox().

loop_restarted(_) ->
    {ok, Stream} = py_event_loop_pool:stream_start(?CODE, ticks, [100000, 0.01]),
    {ok, 0} = py:stream_next(Stream),
    {ok, Loop} = py_event_loop_pool:get_loop(),
    ok = py_event_loop_pool:restart_loop(Loop),
    {_, {error, loop_restarted}} = collect(Stream),
    timer:sleep(50),
    [] = test_support:mailbox().

server_dies(_) ->
    Streams = [start(forever, [], #{window => 3}), start(forever, [0.001]), loop_start(ticks, [100000, 0.001], #{})],
    [{ok, 0} = py:stream_next(Stream) || Stream <- Streams],
    ok = test_support:kill(whereis(py_stream_server)),
    [?assertMatch({_, {error, closed}}, collect(Stream)) || Stream <- Streams],
    test_support:eventually(fun() -> whereis(py_stream_server) =/= undefined end),
    %% Its successor has them closed.
    closed(),
    timer:sleep(50),
    [] = test_support:mailbox(),
    {[0, 1], done} = collect(start(fibonacci, [2])).

application_stops(_) ->
    Streams = [start(forever, [], #{window => 3}), start(forever, [0.001]), loop_start(ticks, [100000, 0.001], #{})],
    [{ok, 0} = py:stream_next(Stream) || Stream <- Streams],
    ok = test_support:stop(),
    [?assertMatch({_, {error, closed}}, collect(Stream)) || Stream <- Streams],
    timer:sleep(50),
    [] = test_support:mailbox().
