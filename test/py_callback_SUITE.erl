%% Python calling Erlang: functions, processes, sleeping and spawning, from every kind of thread.
-module(py_callback_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CODE, callback_code).

all() ->
    [{group, Group} || {Group, _, _} <- groups()].

groups() ->
    [
        {registering, [], [
            names, module_and_function, bad_arguments, survives_restarts, owner, ends_with_application
        ]},
        {calling, [], [
            values, attributes, process_of_its_own, group_leader_of_caller, errors, linked_death,
            not_registered, unconvertible, timeout, exactly_once
        ]},
        {nesting, [], [
            nested_once, nested_in_fifty_processes, nested_on_a_loop, nested_error, nested_cast,
            nested_after_timeout, nested_at_the_timeout, nested_with_one_context, nested_on_a_named_context,
            nested_on_named_contexts_in_turn, nested_on_one_processor
        ]},
        {threads, [], [hundred_threads, executor, loop_callback, waiting_holds_nothing]},
        {asynchronous, [], [
            async_call, async_thousand, async_cancel, async_timeout, async_errors, stock_loop, closed_loop
        ]},
        {deaths, [], [
            killed_callees, killed_callers, killed_server, loops_end_beside_calls, stopped_during_call, stopped_during_sleep
        ]},
        {processes, [], [send_local, send_remote, send_to_the_dead, whereis_name, self_process]},
        {sleeping, [], [
            sleep_sync, sleep_async, spawn_task, spawn_task_debug, spawn_task_factory, spawn_task_many
        ]},
        {output, [], [logging, logging_level, print_to_group_leader]},
        {document, [], [document_call, document_sleep, document_spawn_task]},
        {limits, [], [no_growth]}
    ].

suite() ->
    [{timetrap, {minutes, 4}}].

init_per_suite(Config) ->
    ok = logger:set_primary_config(level, all),
    {ok, _} = application:ensure_all_started(erlang_python),
    Config.

end_per_suite(_Config) ->
    ok = logger:set_primary_config(level, notice),
    application:stop(erlang_python).

init_per_testcase(_Case, Config) ->
    {ok, _} = application:ensure_all_started(erlang_python),
    ok = load_code(?config(data_dir, Config)),
    register_all(),
    Config.

end_per_testcase(_Case, _Config) ->
    ok.

load_code(Folder) ->
    {ok, _} = py:eval(<<"__import__('sys').path.insert(0, folder)">>, #{folder => list_to_binary(Folder)}),
    py:exec(<<"import callback_code">>).

register_all() ->
    ok = py_callback:register(identity, fun([X]) -> X end),
    ok = py_callback:register(delayed, fun([X, Milliseconds]) -> timer:sleep(Milliseconds), X end),
    ok = py_callback:register(fail_error, fun(_) -> error({no, "luck"}) end),
    ok = py_callback:register(fail_exit, fun(_) -> exit(gone) end),
    ok = py_callback:register(fail_throw, fun(_) -> throw(ball) end),
    ok = py_callback:register(fail_kill, fun(_) -> exit(self(), kill) end),
    ok = py_callback:register(process, fun([]) -> {self(), group_leader()} end),
    ok = py_callback:register(nested_me, fun([]) -> Self = self(), {ok, Self} = call(me, []), Self end),
    ok = py_callback:register(nest, fun([Depth]) -> {ok, Threads} = call(nest, [Depth]), Threads end),
    ok = py_callback:register(nest_to_error, fun([Depth]) ->
        {ok, Value} = call(nest_to_error, [Depth]),
        Value
    end).

call(Function, Arguments) -> py:call(?CODE, Function, Arguments).

run(Function, Arguments) -> py_event_loop:run(?CODE, Function, Arguments, #{timeout => 30000}).

%%% registering

names(_) ->
    ok = py_callback:register(some_name, fun([]) -> 1 end),
    {ok, 1} = call(call, [<<"some_name">>]),
    ok = py_callback:register(<<"some_name">>, fun([]) -> 2 end),
    {ok, 2} = call(call, [some_name]),
    ok = py:register_function(<<"näme"/utf8>>, fun([]) -> 3 end),
    {ok, 3} = call(call, [<<"näme"/utf8>>]),
    Names = py_callback:registered(),
    ?assertEqual(Names, lists:usort(Names)),
    ?assert(lists:member(<<"some_name">>, Names)),
    ?assertNot(lists:any(fun(<<First, _/binary>>) -> First =:= $_ end, Names)),
    ok = py_callback:unregister(<<"some_name">>),
    ok = py_callback:unregister(some_name),
    ok = py:unregister_function(<<"näme"/utf8>>),
    ?assertNot(lists:member(<<"some_name">>, py_callback:registered())),
    #{<<"type">> := <<"NotRegisteredError">>} = described(describe_error, [<<"some_name">>]).

module_and_function(_) ->
    ok = py:register_function(summed, lists, sum),
    {ok, 6} = call(call, [summed, 1, 2, 3]),
    ok = py_callback:register(summed, {lists, max}),
    {ok, 3} = call(call, [summed, 1, 2, 3]),
    ok = py:unregister_function(summed).

bad_arguments(_) ->
    ?assertError({bad_argument, name, "text"}, py_callback:register("text", fun([]) -> 1 end)),
    ?assertError({bad_argument, name, <<255>>}, py_callback:register(<<255>>, fun([]) -> 1 end)),
    ?assertError({bad_argument, callback, _}, py_callback:register(name, fun() -> 1 end)),
    ?assertError({bad_option, color, red}, py_callback:register(name, fun([]) -> 1 end, #{color => red})),
    ?assertError({bad_option, owner, red}, py_callback:register(name, fun([]) -> 1 end, #{owner => red})).

survives_restarts(_) ->
    [
        begin
            restart(Worker),
            ?assert(lists:member(<<"identity">>, py_callback:registered())),
            %% What is started after the worker may not be there yet.
            test_support:eventually(fun() -> call(call, [identity, 5]) =:= {ok, 5} end),
            {ok, 6} = call(attribute, [identity, 6])
        end
     || Worker <- [py_callback, py_callback_server, py_callback_sender, py_event_loop]
    ].

restart(Name) ->
    Pid = whereis(Name),
    exit(Pid, kill),
    wait_until(fun() -> not lists:member(whereis(Name), [Pid, undefined]) end).

wait_until(Condition) ->
    case Condition() of
        true -> ok;
        _ -> timer:sleep(2), wait_until(Condition)
    end.

owner(_) ->
    Owner = spawn(fun() -> receive stop -> ok end end),
    ok = py_callback:register(owned, fun([]) -> 1 end, #{owner => Owner}),
    {ok, 1} = call(attribute, [owned]),
    restart(py_callback),
    {ok, 1} = call(attribute, [owned]),
    Owner ! stop,
    wait_until(fun() -> not lists:member(<<"owned">>, py_callback:registered()) end),
    test_support:eventually(fun() -> call(has_attribute, [owned]) =:= {ok, false} end),
    %% The old owner's end is nothing to the function that replaced its own.
    Other = spawn(fun() -> receive stop -> ok end end),
    ok = py_callback:register(owned, fun([]) -> 1 end, #{owner => Other}),
    ok = py_callback:register(owned, fun([]) -> 2 end),
    Other ! stop,
    timer:sleep(20),
    {ok, 2} = call(attribute, [owned]),
    ok = py_callback:unregister(owned).

ends_with_application(_) ->
    ok = py_callback:register(passing, fun([]) -> 1 end),
    [
        begin
            ok = application:stop(erlang_python),
            ?assertError({not_started, erlang_python}, py_callback:register(x, fun([]) -> 1 end)),
            ?assertError({not_started, erlang_python}, py_callback:registered()),
            {ok, _} = application:ensure_all_started(erlang_python),
            ?assertNot(lists:member(<<"passing">>, py_callback:registered())),
            {ok, false} = call(has_attribute, [passing]),
            ok = py_callback:register(identity, fun([X]) -> X end),
            {ok, again} = {element(1, call(call, [identity, 1])), again}
        end
     || _ <- [1, 2]
    ].

%%% calling

values(_) ->
    Values = [1, -1 bsl 100, 1.5, <<"text">>, [1, [2]], {a, 1}, #{<<"k">> => [1]}, true, self(), make_ref()],
    {ok, Back} = call(call, [identity, Values]),
    ?assertEqual(
        [1, -1 bsl 100, 1.5, <<"text">>, [1, [2]], {<<"a">>, 1}, #{<<"k">> => [1]}, true],
        lists:sublist(Back, 8)
    ),
    ?assertEqual(lists:nthtail(8, Values), lists:nthtail(8, Back)),
    Many = lists:seq(1, 300),
    ok = py_callback:register(count, fun(Arguments) -> length(Arguments) end),
    {ok, 300} = call(call, [count | Many]),
    {ok, 0} = call(call, [count]),
    Large = binary:copy(<<"x">>, 10000000),
    {ok, Large} = call(call, [identity, Large]).

attributes(_) ->
    {ok, 5} = call(attribute, [identity, 5]),
    ok = py:exec(<<"from erlang import identity\nassert identity(7) == 7\nassert identity.__name__ == 'identity'">>),
    {ok, false} = call(has_attribute, [unknown_function]),
    ok = py_callback:register('__path__', fun([]) -> 1 end),
    [{ok, false} = call(has_attribute, [Name]) || Name <- ['__wrapped__', '_py_put_chars', '__bases__']],
    ok = py_callback:unregister('__path__'),
    ok = py:exec(<<
        "import erlang, inspect\n"
        "assert inspect.unwrap(erlang) is erlang\n"
        "inspect.getmembers(erlang)\n"
        "try:\n"
        "    from erlang import nothing_of_the_kind\n"
        "except ImportError:\n"
        "    pass\n"
        "else:\n"
        "    raise AssertionError('imported')\n"
    >>).

process_of_its_own(_) ->
    {ok, {First, _}} = call(call, [process]),
    {ok, {Second, _}} = call(call, [process]),
    ?assertNotEqual(First, self()),
    ?assertNotEqual(First, Second),
    %% It ends after its answer.
    test_support:eventually(fun() -> not is_process_alive(First) end).

group_leader_of_caller(_) ->
    Self = self(),
    Leader = spawn(fun() -> receive stop -> ok end end),
    spawn(fun() ->
        group_leader(Leader, self()),
        {ok, {_, Sync}} = call(call, [process]),
        {ok, {_, Async}} = run(async_call, [process]),
        Self ! {leaders, Sync, Async}
    end),
    ?assertEqual({leaders, Leader, Leader}, receive Message -> Message end),
    Leader ! stop.

errors(_) ->
    #{<<"type">> := <<"ErlangError">>, <<"class">> := <<"error">>, <<"reason">> := {<<"no">>, _},
      <<"stack">> := Stack, <<"text">> := <<"error: {no,\"luck\"}">>} = described(describe_error, [fail_error]),
    ?assertMatch({_, _}, binary:match(Stack, <<"py_callback_SUITE">>)),
    #{<<"class">> := <<"exit">>, <<"reason">> := <<"gone">>} = described(describe_error, [fail_exit]),
    #{<<"class">> := <<"throw">>, <<"reason">> := <<"ball">>} = described(describe_error, [fail_throw]),
    #{<<"class">> := <<"exit">>, <<"reason">> := <<"killed">>} = described(describe_error, [fail_kill]),
    %% What reaches the Erlang caller when Python does not catch it.
    {error, {<<"erlang.ErlangError">>, <<"exit: gone">>}} = call(call, [fail_exit]).

described(Function, Arguments) ->
    {ok, Map} = call(Function, Arguments),
    Map.

linked_death(_) ->
    ok = py_callback:register(linked, fun([]) ->
        spawn_link(fun() -> exit(broken) end),
        receive nothing -> ok end
    end),
    #{<<"class">> := <<"exit">>, <<"reason">> := <<"broken">>} = described(describe_error, [linked]),
    %% Exiting normally without an answer is no answer either.
    ok = py_callback:register(silent, fun([]) -> exit(normal) end),
    #{<<"class">> := <<"exit">>, <<"reason">> := <<"normal">>} = described(describe_error, [silent]).

not_registered(_) ->
    #{<<"type">> := <<"NotRegisteredError">>, <<"text">> := Text} = described(describe_error, [nowhere]),
    ?assertMatch({_, _}, binary:match(Text, <<"nowhere">>)),
    {error, {<<"erlang.NotRegisteredError">>, Text}} = call(call, [nowhere]),
    {error, {'TypeError', _}} = py:eval(<<"__import__('erlang').call(5)">>),
    {error, {'TypeError', _}} = py:eval(<<"__import__('erlang').call()">>),
    {error, {'TypeError', _}} = py:eval(<<"__import__('erlang').call('identity', key=1)">>).

unconvertible(_) ->
    ok = py_callback:register(improper, fun([]) -> [1 | 2] end),
    {error, {'TypeError', _}} = call(call, [improper]),
    {error, {'TypeError', _}} = run(async_call, [improper]),
    {error, {'TypeError', _}} = py:eval(<<"__import__('erlang').call('identity', object())">>),
    ok = py_callback:register(improper_reason, fun([]) -> exit([1 | 2]) end),
    #{<<"class">> := <<"exit">>, <<"reason">> := <<"exit: [1|2]">>} = described(describe_error, [improper_reason]),
    {ok, 1} = call(call, [identity, 1]).

timeout(_) ->
    {ok, {<<"timeout">>, Seconds}} = call(with_timeout, [0.05, delayed, 1, 5000]),
    ?assert(Seconds >= 0.05 andalso Seconds < 4.5),
    {ok, {<<"value">>, 1}} = call(with_timeout, [30, delayed, 1, 20]),
    {ok, {<<"timeout">>, _}} = call(with_timeout, [0, delayed, 1, 1000]),
    {error, {'ValueError', _}} = call(with_timeout, [-1, delayed, 1, 20]),
    %% Answers on both sides of the deadline: each call gets its own or none.
    Kinds = [own_value_or_timeout(call(with_timeout, [0.003, delayed, I, 2]), I) || I <- lists:seq(1, 200)],
    ct:pal("timeouts: ~p of 200", [length([timeout || timeout <- Kinds])]).

own_value_or_timeout({ok, {<<"value">>, I}}, I) -> value;
own_value_or_timeout({ok, {<<"timeout">>, _}}, _) -> timeout.

exactly_once(_) ->
    Counter = counters:new(1, []),
    ok = py_callback:register(counted, fun([]) -> counters:add(Counter, 1, 1), counters:get(Counter, 1) end),
    {ok, Values} = py:eval(<<"[__import__('erlang').call('counted') for _ in range(1000)]">>),
    ?assertEqual(lists:seq(1, 1000), Values),
    ?assertEqual(1000, counters:get(Counter, 1)).

%%% nesting

nested_once(_) ->
    {ok, Threads} = call(nest, [100]),
    ?assertEqual(101, length(Threads)),
    ?assertEqual(1, length(lists:usort(Threads))).

nested_in_fifty_processes(_) ->
    Results = in_parallel(50, fun(_) -> call(nest, [100]) end),
    [
        begin
            {ok, Threads} = Result,
            ?assertEqual(101, length(Threads)),
            ?assertEqual(1, length(lists:usort(Threads)))
        end
     || Result <- Results
    ].

in_parallel(Count, Work) ->
    Self = self(),
    Pids = [spawn_link(fun() -> Self ! {self(), Work(I)} end) || I <- lists:seq(1, Count)],
    [receive {Pid, Result} -> Result end || Pid <- Pids].

nested_on_a_loop(_) ->
    {ok, Threads} = run(nest, [100]),
    ?assertEqual(101, length(Threads)),
    ?assertEqual(1, length(lists:usort(Threads))).

%% Where nobody may spin, a nested call still goes to the thread that waits, and tasks are answered.
nested_on_one_processor(Config) ->
    case os:find_executable("taskset") of
        false ->
            {skip, "there is no taskset to bind a VM to one processor with"};
        _ ->
            Options = #{within => ["taskset", "-c", first_processor()]},
            ok = py_vm:run(?MODULE, run_nested_on_one_processor, [?config(data_dir, Config)], Options)
    end.

first_processor() ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [First]} = re:run(Status, "Cpus_allowed_list:\\s*([0-9]+)", [{capture, all_but_first, list}]),
    First.

run_nested_on_one_processor(Folder) ->
    ok = load_code(Folder),
    register_all(),
    ok = nested_once([]),
    ok = nested_on_a_loop([]),
    [{ok, 4.0} = py_event_loop:run(math, sqrt, [16.0]) || _ <- lists:seq(1, 100)],
    ok.

nested_error(_) ->
    {error, {<<"erlang.ErlangError">>, Text}} = call(nest_to_error, [3]),
    ?assertMatch({_, _}, binary:match(Text, <<"badmatch">>)),
    {ok, _} = call(nest, [3]).

nested_cast(_) ->
    Self = self(),
    ok = py_callback:register(casts, fun([]) ->
        [ok = py:cast(?CODE, send, [Self, I]) || I <- lists:seq(1, 100)],
        done
    end),
    {ok, <<"done">>} = call(call, [casts]),
    ?assertEqual(lists:seq(1, 100), lists:sort([receive I -> I after 5000 -> lost end || _ <- lists:seq(1, 100)])).

%% The thread waits no more when the callback wants it: the call goes the ordinary way.
nested_after_timeout(_) ->
    Self = self(),
    ok = py_callback:register(late, fun([]) ->
        Self ! {begun, self()},
        receive go_on -> ok end,
        Self ! {late, call(call, [identity, 8])}
    end),
    {ok, {<<"timeout">>, _}} = call(with_timeout, [0.02, late]),
    receive {begun, Callback} -> Callback ! go_on after 5000 -> lost end,
    ?assertEqual({late, {ok, 8}}, receive Message -> Message after 5000 -> lost end),
    {ok, 9} = call(call, [identity, 9]).

%% The callback calls Python at the moment at which the thread stops waiting for it: the call is run by somebody.
nested_at_the_timeout(_) ->
    Waiting = ets:new(waiting, [public]),
    ok = py_callback:register(at_the_timeout, fun([Microseconds]) ->
        true = ets:insert(Waiting, {self()}),
        spin_until(erlang:monotonic_time(microsecond) + Microseconds),
        {ok, 4.0} = py:call(math, sqrt, [16.0]),
        true = ets:delete(Waiting, self())
    end),
    %% Where it was lost, this many calls lost some.
    Results = in_parallel(4, fun(_) -> [call(short_timeouts, [1000, at_the_timeout]) || _ <- lists:seq(1, 30)] end),
    ?assertEqual([{ok, none}], lists:usort(lists:append(Results))),
    test_support:eventually(fun() -> ets:info(Waiting, size) =:= 0 end, 60000).

spin_until(End) ->
    case erlang:monotonic_time(microsecond) < End of
        true -> spin_until(End);
        false -> ok
    end.

%% With a single context nothing else could run the nested calls.
nested_with_one_context(Config) ->
    ok = application:stop(erlang_python),
    ok = application:set_env(erlang_python, contexts, 1),
    try
        init_per_testcase(again, Config),
        {ok, Threads} = call(nest, [50]),
        ?assertEqual(51, length(Threads)),
        Results = in_parallel(10, fun(_) -> call(nest, [20]) end),
        [{ok, [_ | _]} = Result || Result <- Results]
    after
        application:stop(erlang_python),
        application:unset_env(erlang_python, contexts)
    end.

%% The context that the callback names is the one that waits for it.
nested_on_a_named_context(_) ->
    Context = py:context(1),
    Calls = [
        fun(Arguments) -> py:call(Context, ?CODE, nest, Arguments) end,
        fun(Arguments) -> py:call(Context, ?CODE, nest, Arguments, #{}) end,
        fun(Arguments) -> py:call(Context, ?CODE, nest, Arguments, #{}, 30000) end,
        fun(Arguments) -> py:call(?CODE, nest, Arguments, #{}, #{context => Context}) end,
        fun([Depth, Name]) ->
            Names = #{depth => Depth, name => Name},
            py:eval(<<"__import__('callback_code').nest(depth, name)">>, Names, #{context => Context})
        end
    ],
    [
        begin
            ok = py_callback:register(nest_named, fun([Depth]) ->
                {ok, Threads} = Call([Depth, nest_named]),
                Threads
            end),
            {ok, Threads} = Call([100, nest_named]),
            ?assertEqual(101, length(Threads)),
            ?assertEqual(1, length(lists:usort(Threads))),
            Results = in_parallel(50, fun(_) -> Call([10, nest_named]) end),
            ?assertEqual([{ok, lists:duplicate(11, hd(Threads))}], lists:usort(Results))
        end
     || Call <- Calls
    ],
    ok = py_callback:unregister(nest_named).

%% A context waits for a callback, whose Python code on another context waits for one that wants the first.
nested_on_named_contexts_in_turn(_) ->
    Contexts = [py:context(1), py:context(2), py:context(3)],
    Call = fun(Depth) -> py:call(lists:nth(Depth rem 3 + 1, Contexts), ?CODE, nest, [Depth, nest_in_turn]) end,
    ok = py_callback:register(nest_in_turn, fun([Depth]) -> {ok, Threads} = Call(Depth), Threads end),
    {ok, Threads} = Call(90),
    ?assertEqual(91, length(Threads)),
    ?assertEqual(3, length(lists:usort(Threads))),
    %% A callback that nobody waits for any more is like any other process there.
    Self = self(),
    ok = py_callback:register(late_named, fun([]) ->
        Self ! {begun, self()},
        receive go_on -> ok end,
        Self ! {late, py:call(hd(Contexts), ?CODE, call, [identity, 8])}
    end),
    {ok, {<<"timeout">>, _}} = py:call(hd(Contexts), ?CODE, with_timeout, [0.02, late_named]),
    receive {begun, Callback} -> Callback ! go_on after 5000 -> lost end,
    ?assertEqual({late, {ok, 8}}, receive Message -> Message after 5000 -> lost end),
    ok = py_callback:unregister(nest_in_turn),
    ok = py_callback:unregister(late_named).

%%% threads

hundred_threads(_) ->
    {ok, {100, []}} = call(threads, [100, 20]).

executor(_) ->
    {ok, Values} = call(executor, [200]),
    ?assertEqual(lists:seq(0, 199), Values).

loop_callback(_) ->
    {ok, <<"soon">>} = run(loop_callback, []).

%% More callbacks wait than there are schedulers of any kind; everything else goes on.
waiting_holds_nothing(_) ->
    Waiting = 2 * erlang:system_info(dirty_cpu_schedulers) + 4,
    Self = self(),
    ok = py_callback:register(wait, fun([]) ->
        Self ! {waiting, self()},
        receive go_on -> ok end,
        free
    end),
    Callers = [spawn_monitor(fun() -> {ok, <<"free">>} = call(call, [wait]) end) || _ <- lists:seq(1, Waiting)],
    Callbacks = [receive {waiting, Pid} -> Pid end || _ <- Callers],
    %% From a process of its own: this one is bound to a context, which may be one of those that wait.
    [{ok, 1}] = in_parallel(1, fun(_) -> call(call, [identity, 1]) end),
    {ok, _} = run(sleep_async, [0.01]),
    [Pid ! go_on || Pid <- Callbacks],
    [receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end || {Pid, Monitor} <- Callers].

%%% asynchronous

async_call(_) ->
    {ok, 5} = run(async_call, [identity, 5]),
    {ok, 5} = py_event_loop_pool:run(?CODE, async_call, [identity, 5]),
    {error, {'RuntimeError', _}} = py:eval(<<"__import__('erlang').async_call('identity', 1)">>).

async_thousand(_) ->
    {ok, true} = run(async_many, [1000]),
    Results = in_parallel(10, fun(_) -> py_event_loop_pool:run(?CODE, async_many, [300], #{timeout => 30000}) end),
    ?assertEqual([{ok, true}], lists:usort(Results)).

async_cancel(_) ->
    {ok, <<"after">>} = run(async_cancelled, []).

async_timeout(_) ->
    {ok, <<"timeout">>} = run(async_timeout, []).

async_errors(_) ->
    {ok, {<<"ErlangError">>, <<"error">>}} = run(async_error, [fail_error]),
    {ok, {<<"ErlangError">>, <<"exit">>}} = run(async_error, [fail_kill]),
    {ok, {<<"NotRegisteredError">>, _}} = run(async_error, [nowhere]).

stock_loop(_) ->
    {ok, {<<"_UnixSelectorEventLoop">>, true, {<<"ErlangError">>, <<"error">>}}} = call(on_stock_loop, [1000]).

closed_loop(_) ->
    {ok, <<"fine">>} = call(closed_loop, []).

%%% deaths

killed_callees(_) ->
    Self = self(),
    ok = py_callback:register(victim, fun([]) -> Self ! {victim, self()}, receive nothing -> ok end end),
    Killer = spawn_link(fun() -> killer() end),
    Results = in_parallel(20, fun(_) ->
        [call(describe_error, [fail_kill]) || _ <- lists:seq(1, 10)]
    end),
    [?assertMatch({ok, #{<<"reason">> := <<"killed">>}}, Result) || Result <- lists:append(Results)],
    Waiting = [spawn_monitor(fun() -> exit({done, call(describe_error, [victim])}) end) || _ <- lists:seq(1, 20)],
    [receive {victim, Pid} -> Killer ! Pid end || _ <- Waiting],
    [
        receive
            {'DOWN', Monitor, process, Pid, Reason} ->
                ?assertMatch({done, {ok, #{<<"class">> := <<"exit">>, <<"reason">> := <<"killed">>}}}, Reason)
        end
     || {Pid, Monitor} <- Waiting
    ],
    {ok, 1} = call(call, [identity, 1]).

killer() ->
    receive
        Pid ->
            exit(Pid, kill),
            killer()
    end.

killed_callers(_) ->
    Callers = [
        spawn(fun() ->
            _ = call(nest, [30]),
            _ = call(call, [delayed, 1, 50])
        end)
     || _ <- lists:seq(1, 30)
    ],
    [begin timer:sleep(I rem 3), exit(Pid, kill) end || {I, Pid} <- lists:enumerate(Callers)],
    Results = in_parallel(20, fun(I) -> call(call, [identity, I]) end),
    ?assertEqual([{ok, I} || I <- lists:seq(1, 20)], Results),
    {ok, _} = call(nest, [20]).

killed_server(_) ->
    Self = self(),
    ok = py_callback:register(hold, fun([]) -> Self ! {held, self()}, receive go_on -> ok end end),
    spawn_link(fun() -> Self ! {sync, call(describe_error, [hold])} end),
    spawn_link(fun() -> Self ! {async, run(async_error, [hold])} end),
    Held = [receive {held, Pid} -> Pid end || _ <- [1, 2]],
    restart(py_callback_server),
    {sync, {ok, #{<<"class">> := <<"exit">>}}} = receive {sync, _} = Sync -> Sync end,
    {async, {ok, {<<"ErlangError">>, <<"exit">>}}} = receive {async, _} = Async -> Async end,
    [Pid ! go_on || Pid <- Held],
    {ok, 1} = call(call, [identity, 1]).

%% Calls of Erlang by contexts have nothing to do with event loops.
loops_end_beside_calls(_) ->
    ok = py:exec(<<
        "import erlang, threading\n"
        "calls_stop = threading.Event()\n"
        "def calls_go_on():\n"
        "    count = 0\n"
        "    while not calls_stop.is_set():\n"
        "        erlang.call('identity', count)\n"
        "        count += 1\n"
        "    return count\n"
    >>),
    Self = self(),
    spawn_link(fun() -> Self ! {went_on, py:call('__main__', calls_go_on, [])} end),
    [restart(Worker) || Worker <- [py_event_loop, py_event_loop_pool, py_event_loop]],
    {ok, _} = py:eval(<<"calls_stop.set()">>),
    {ok, Count} = receive {went_on, Result} -> Result after 20000 -> error(timeout) end,
    ?assert(Count > 0).

stopped_during_call(Config) ->
    Self = self(),
    [
        begin
            init_per_testcase(again, Config),
            ok = py_callback:register(hold, fun([]) -> Self ! held, receive go_on -> ok end end),
            ok = py:exec(<<"seen = []\ndef hold():\n    import erlang\n    try:\n        erlang.call('hold')\n"
                           "    except BaseException as error:\n        seen.append(type(error).__name__)\n        raise">>),
            spawn_link(fun() -> Self ! {result, py:call('__main__', hold, [])} end),
            receive held -> ok end,
            ok = application:stop(erlang_python),
            {result, {error, _}} = receive {result, _} = Result -> Result end,
            {ok, _} = application:ensure_all_started(erlang_python),
            %% The application also ends Python code that goes on.
            test_support:eventually(fun() ->
                lists:member(py:eval(<<"seen">>), [{ok, [Seen]} || Seen <- [<<"ErlangError">>, <<"SystemExit">>]])
            end)
        end
     || _ <- [1, 2]
    ].

stopped_during_sleep(_) ->
    Self = self(),
    spawn_link(fun() -> Self ! {result, call(sleep, [3600])} end),
    timer:sleep(300),
    ok = application:stop(erlang_python),
    {result, {error, _}} = receive {result, _} = Result -> Result after 10000 -> slept end,
    {ok, _} = application:ensure_all_started(erlang_python).

%%% processes

send_local(_) ->
    {ok, none} = call(send, [self(), {1, [2]}]),
    {1, [2]} = receive First -> First end,
    register(suite_receiver, self()),
    {ok, none} = call(send, [suite_receiver, 5]),
    5 = receive Second -> Second end,
    {ok, none} = call(send_from_thread, [self(), 6]),
    6 = receive Third -> Third end,
    {ok, _} = py:eval(<<"[__import__('erlang').send(to, i) for i in range(1000)]">>, #{to => self()}),
    ?assertEqual(lists:seq(0, 999), [receive I when is_integer(I) -> I end || _ <- lists:seq(1, 1000)]),
    unregister(suite_receiver).

send_remote(_) ->
    Stop = ensure_distribution(),
    {ok, Peer, Node} = peer:start_link(#{name => peer:random_name(), connection => standard_io, args => ["-pa" | code:get_path()]}),
    true = net_kernel:connect_node(Node),
    Self = self(),
    Echo = erpc:call(Node, fun() ->
        Pid = spawn(fun Loop() -> receive Message -> Self ! {echo, Message}, Loop() end end),
        true = register(remote_echo, Pid),
        Pid
    end),
    {ok, none} = call(send, [Echo, 1]),
    {echo, 1} = receive First -> First after 20000 -> lost end,
    {ok, none} = call(send, [{remote_echo, Node}, 2]),
    {echo, 2} = receive Second -> Second after 20000 -> lost end,
    {ok, none} = call(send, [{remote_echo, 'nobody@nowhere'}, 3]),
    {ok, none} = call(send, [{remote_echo, Node}, 4]),
    {echo, 4} = receive Third -> Third after 20000 -> lost end,
    peer:stop(Peer),
    Stop().

ensure_distribution() ->
    case is_alive() of
        true ->
            fun() -> ok end;
        false ->
            os:cmd("epmd -daemon"),
            {ok, _} = net_kernel:start(callback_suite, #{name_domain => shortnames}),
            fun net_kernel:stop/0
    end.

send_to_the_dead(_) ->
    {Dead, Monitor} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Monitor, _, _, _} -> ok end,
    {ok, Text} = call(send_error, [Dead]),
    ?assertMatch({_, _}, binary:match(Text, <<"not alive">>)),
    {ok, Text} = call(send_error_in_thread, [Dead]),
    {ok, Unknown} = call(send_error, [no_such_process]),
    ?assertMatch({_, _}, binary:match(Unknown, <<"no_such_process">>)),
    {ok, _} = call(send_error, [<<"no such atom either">>]),
    {error, {'TypeError', _}} = call(send, [5, 5]).

whereis_name(_) ->
    Kernel = whereis(kernel_sup),
    {ok, Kernel} = py:eval(<<"__import__('erlang').whereis('kernel_sup')">>),
    Atoms = erlang:system_info(atom_count),
    {ok, none} = py:eval(<<"__import__('erlang').whereis('no_atom_', )">>),
    {ok, _} = py:eval(<<"[__import__('erlang').whereis(f'no_atom_{i}') for i in range(1000)]">>),
    ?assert(erlang:system_info(atom_count) - Atoms < 100),
    {error, {'TypeError', _}} = py:eval(<<"__import__('erlang').whereis(5)">>).

self_process(_) ->
    Self = self(),
    {ok, Self} = call(me, []),
    {ok, <<"nobody">>} = call(me_in_thread, []),
    {ok, {Self, Self}} = run(me_async, []),
    {ok, Self} = run(me, []),
    {ok, {Self, Callback, Self}} = run(me_around_nested, []),
    ?assertNotEqual(Self, Callback).

%%% sleeping and spawning

sleep_sync(_) ->
    {ok, Slept} = call(sleep, [0.05]),
    ?assert(Slept >= 0.05 andalso Slept < 10),
    Started = erlang:monotonic_time(millisecond),
    Sleepers = [spawn_monitor(fun() -> {ok, _} = call(sleep, [1.3]) end) || _ <- lists:seq(1, 8)],
    %% From a process of its own: the context that this one is bound to may be asleep.
    [{ok, 1}] = in_parallel(1, fun(_) -> call(call, [identity, 1]) end),
    ?assert(erlang:monotonic_time(millisecond) - Started < 1250),
    [receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end || {Pid, Monitor} <- Sleepers],
    {error, {'ValueError', _}} = py:eval(<<"__import__('erlang').sleep(float('nan'))">>),
    {ok, _} = call(sleep, [0]),
    {ok, _} = call(sleep, [-1]),
    %% A plain function on a loop is sync code as well.
    {ok, OnLoop} = run(sleep, [0.05]),
    ?assert(OnLoop >= 0.05).

sleep_async(_) ->
    %% One after another they would take half a minute, which is as long as a task is waited for here.
    {ok, Slept} = run(sleep_async, [0.6]),
    ?assert(Slept >= 0.6 andalso Slept < 20).

spawn_task(_) ->
    Self = self(),
    {ok, {true, <<"teller">>}} = call(spawn, [Self, <<"one">>]),
    {<<"one">>, Self} = receive First -> First after 5000 -> lost end,
    {ok, {true, <<"ErlangEventLoop">>}} = run(spawn_in_loop, [Self, <<"two">>]),
    {<<"two">>, Self} = receive Second -> Second after 5000 -> lost end,
    {ok, {true, <<"_UnixSelectorEventLoop">>}} = call(spawn_on_stock_loop, [Self, <<"three">>]),
    {<<"three">>, Self} = receive Third -> Third after 5000 -> lost end,
    {ok, {true, _}} = run(spawn, [Self, <<"four">>]),
    {<<"four">>, Self} = receive Fourth -> Fourth after 5000 -> lost end.

spawn_task_debug(_) ->
    Self = self(),
    {ok, none} = run(set_debug, [true]),
    {ok, {true, <<"teller">>}} = call(spawn, [Self, <<"debug">>]),
    {<<"debug">>, Self} = receive Message -> Message after 5000 -> lost end,
    {ok, none} = run(set_debug, [false]).

%% A task factory is code of the loop's thread; an eager one (Python 3.12) would run the first step in this thread.
spawn_task_factory(_) ->
    {ok, {Thread, Steps}} = call(spawn_with_factory, []),
    ?assertNotEqual([], Steps),
    ?assertEqual([Thread], lists:usort(Steps)),
    ?assertMatch({ok, 1}, run(async_call, [identity, 1])).

spawn_task_many(_) ->
    {ok, true} = call(spawn_many, [2000]).

%%% output

logging(_) ->
    ok = logger:add_handler(suite, ?MODULE, #{config => self(), level => all}),
    ok = py:configure_logging(#{level => debug}),
    ok = py:exec(<<
        "import logging\n"
        "logging.getLogger('suite.part').warning('hello %s', 'world')\n"
        "try:\n    1/0\nexcept ZeroDivisionError:\n    logging.getLogger('suite').exception('failed')\n"
    >>),
    Self = self(),
    #{level := warning, msg := {"~ts", [<<"hello world">>]}, meta := Meta} = log_event(),
    #{python_logger := <<"suite.part">>, pid := Self, line := 2, file := "<erlang>"} = Meta,
    #{level := error, msg := {"~ts", [Text]}} = log_event(),
    ?assertMatch({_, _}, binary:match(Text, <<"ZeroDivisionError">>)),
    ok = logger:remove_handler(suite).

logging_level(_) ->
    ok = logger:add_handler(suite, ?MODULE, #{config => self(), level => all}),
    ok = py:configure_logging(#{level => error}),
    ok = py:exec(<<"import logging\nlogging.warning('quiet')\nlogging.critical('loud')">>),
    #{level := critical, msg := {"~ts", [<<"loud">>]}} = log_event(),
    ok = py:configure_logging(#{level => info}),
    ok = py:exec(<<"import logging\nfor i in range(1000): logging.info('%d', i)">>),
    ?assertEqual(
        [integer_to_binary(I) || I <- lists:seq(0, 999)],
        [begin #{msg := {"~ts", [Text]}} = log_event(), Text end || _ <- lists:seq(1, 1000)]
    ),
    ?assertError({bad_option, level, loud}, py:configure_logging(#{level => loud})),
    ok = py:configure_logging(#{level => error}),
    ok = logger:remove_handler(suite).

%% What asyncio has to say of the cases before is none of the events.
log(#{meta := #{python_logger := <<"asyncio", _/binary>>}}, _) ->
    ok;
log(#{meta := #{python_logger := _}} = Event, #{config := Receiver}) ->
    Receiver ! {log_event, Event};
log(_, _) ->
    ok.

log_event() ->
    receive {log_event, Event} -> Event after 5000 -> no_event end.

print_to_group_leader(_) ->
    Self = self(),
    Leader = spawn_link(fun Loop() ->
        receive
            {io_request, From, Reply, {put_chars, unicode, Text}} ->
                Self ! {printed, unicode:characters_to_binary(Text)},
                From ! {io_reply, Reply, ok},
                Loop()
        end
    end),
    ok = py:configure_output(group_leader),
    try
        {_, Monitor} = spawn_monitor(fun() ->
            group_leader(Leader, self()),
            ok = py:exec(<<"import sys\nprint('a', 1)\nprint('b', file=sys.stderr)\nprint('c', end='', flush=True)">>),
            ok = py:exec(<<"async def say():\n    print('from the loop')">>),
            {ok, none} = py_event_loop:run('__main__', say, [])
        end),
        receive {'DOWN', Monitor, process, _, Reason} -> ?assertEqual(normal, Reason) end,
        ?assertEqual(
            [<<"a 1\n">>, <<"b\n">>, <<"c">>, <<"from the loop\n">>],
            [receive {printed, Text} -> Text after 5000 -> nothing end || _ <- [1, 2, 3, 4]]
        )
    after
        ok = py:configure_output(vm)
    end.

%%% limits

no_growth(_) ->
    Work = fun() ->
        {ok, _} = py:eval(<<"[__import__('erlang').call('identity', i) for i in range(5000)]">>),
        {ok, true} = run(async_many, [1000]),
        {ok, _} = call(nest, [50]),
        {ok, {20, []}} = call(threads, [20, 2])
    end,
    Work(),
    Before = footprint(),
    [Work() || _ <- [1, 2, 3]],
    %% Threads and processes need a moment to end.
    test_support:eventually(fun() ->
        After = footprint(),
        ct:pal("before ~p after ~p", [Before, After]),
        lists:all(fun({Key, Slack}) -> maps:get(Key, After) =< maps:get(Key, Before) + Slack end, [
            {processes, 3}, {threads, 2}, {descriptors, 4}, {calls, 0}
        ])
    end).

footprint() ->
    {ok, #{threads := Threads, calls := Calls}} = py:info(),
    {ok, Descriptors} = file:list_dir("/proc/self/fd"),
    #{
        processes => erlang:system_info(process_count),
        threads => Threads,
        calls => Calls,
        descriptors => length(Descriptors)
    }.

%%% The examples of the document, as they stand there; the names that they leave open are given first

document_call(_) ->
    ok = py_callback:register(my_callback, fun([A, B]) -> A + B end),
    ok = py:exec(<<
        "arg1, arg2 = 2, 3\n"
        "def process(result):\n"
        "    return result * 10\n"
        "import erlang\n"
        "def handler():\n"
        "    # Call Erlang function - blocks until complete\n"
        "    result = erlang.call('my_callback', arg1, arg2)\n"
        "    return process(result)\n"
    >>),
    {ok, 50} = py:call('__main__', handler, []).

document_sleep(_) ->
    ok = py:exec(<<
        "import erlang\n"
        "# Async context - yields to event loop\n"
        "async def async_handler():\n"
        "    await erlang.sleep(0.1)  # Uses asyncio.sleep() internally\n"
        "    return \"done\"\n"
        "# Sync context - blocks Python, releases dirty scheduler\n"
        "def sync_handler():\n"
        "    erlang.sleep(0.1)  # Suspends Erlang process via receive/after\n"
        "    return \"done\"\n"
    >>),
    Slept = fun(Run) ->
        {Time, {ok, <<"done">>}} = timer:tc(Run),
        ?assert(Time >= 100000)
    end,
    Slept(fun() -> py:call('__main__', sync_handler, []) end),
    Slept(fun() -> py_event_loop:run('__main__', async_handler, []) end),
    Slept(fun() -> py_event_loop:run('__main__', sync_handler, []) end),
    Slept(fun() -> py:eval(<<"erlang.run(async_handler())">>) end).

document_spawn_task(_) ->
    Self = self(),
    ok = py_callback:register(finished, fun([What]) -> Self ! {finished, What} end),
    ok = py:exec(<<
        "import asyncio\n"
        "async def other_work():\n"
        "    await asyncio.sleep(0)\n"
        "import erlang\n"
        "# From sync code called by Erlang\n"
        "def handle_request(data):\n"
        "    # This works even though there's no running event loop\n"
        "    erlang.spawn_task(process_async(data))\n"
        "    return 'ok'\n"
        "# From async code\n"
        "async def handler():\n"
        "    # Also works in async context\n"
        "    erlang.spawn_task(background_work())\n"
        "    await other_work()\n"
        "async def process_async(data):\n"
        "    await asyncio.sleep(0.1)\n"
        "    # Do async processing...\n"
        "    await erlang.async_call('finished', data)\n"
        "async def background_work():\n"
        "    await asyncio.sleep(0.1)\n"
        "    # Do background work...\n"
        "    await erlang.async_call('finished', 'background')\n"
    >>),
    {ok, <<"ok">>} = py:call('__main__', handle_request, [<<"data">>]),
    {finished, <<"data">>} = receive First -> First after 5000 -> lost end,
    {ok, none} = py_event_loop:run('__main__', handler, []),
    {finished, <<"background">>} = receive Second -> Second after 5000 -> lost end.
