%% Which context a call runs on, and what happens to the others meanwhile: affinity, balance, timeouts, limits.
-module(context_pool_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

all() ->
    [
        a_process_keeps_its_context,
        thread_locals_stay,
        sqlite_connections_stay,
        waiting_processes_get_contexts_of_their_own,
        sleepers_run_in_parallel,
        sleepers_run_in_parallel_after_asking_for_a_context,
        any_takes_a_free_context,
        a_bound_process_has_its_turn,
        contexts_are_limited,
        processes_are_spread_over_contexts,
        dead_processes_free_their_context,
        dead_before_the_first_call_ran,
        timeout_is_kept_and_nothing_arrives_late,
        timeouts_race_with_answers,
        cancelled_call_does_not_run,
        call_after_a_timeout,
        killed_caller_drops_queued_calls,
        running_call_of_a_killed_caller_finishes,
        killed_callers_leak_nothing,
        queue_limit_is_busy,
        queue_limit_before_the_first_context,
        many_processes,
        new_processes_do_not_keep_out_bound_ones,
        sleeping_python_holds_no_scheduler,
        busy_python_holds_no_scheduler,
        deep_recursion_is_an_error,
        memory_does_not_grow
    ].

init_per_testcase(_Case, Config) ->
    ok = test_support:start(),
    ok = define(),
    Config.

end_per_testcase(_Case, _Config) ->
    ok = test_support:stop().

define() ->
    test_support:python("
        import sqlite3, threading, time

        pool_list = []
        pool_local = threading.local()
        pool_connections = {}

        def pool_set(value):
            pool_local.value = value

        def pool_get():
            return getattr(pool_local, 'value', None)

        def pool_open(name):
            connection = sqlite3.connect(':memory:')
            connection.execute('create table numbers (n integer)')
            pool_connections[name] = connection

        def pool_insert(name, number):
            pool_connections[name].execute('insert into numbers values (?)', (number,))

        def pool_sum(name):
            return pool_connections[name].execute('select sum(n) from numbers').fetchone()[0]

        def pool_sleep_and_append(seconds, value):
            time.sleep(seconds)
            pool_list.append(value)

        def pool_turn(seconds):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                pass
    "),
    %% A context counts as busy until after its answer has arrived.
    test_support:eventually(fun() -> sum(busy_ns) =:= 0 end).

%%% Affinity

a_process_keeps_its_context(_Config) ->
    Workers = [spawn_link(fun turn/0) || _ <- lists:seq(1, 10)],
    Threads = lists:usort([thread() || _ <- lists:seq(1, 500)]),
    [kill_linked(Pid) || Pid <- Workers],
    ?assertMatch([_], Threads).

turn() ->
    {ok, _} = py:call(math, sqrt, [16.0]),
    turn().

thread_locals_stay(_Config) ->
    %% More processes than contexts would be, so some share a thread; each sees what its thread saw last.
    Seen = in_parallel(5, fun(N) ->
        {ok, none} = py:call('__main__', pool_set, [{N, thread()}]),
        [{thread(), element(2, py:call('__main__', pool_get, []))} || _ <- lists:seq(1, 50)]
    end),
    [?assertMatch({Thread, {_, Thread}}, {Thread, Value}) || {Thread, Value} <- lists:append(Seen)].

sqlite_connections_stay(_Config) ->
    Sums = in_parallel(10, fun(N) ->
        Name = <<"connection", (integer_to_binary(N))/binary>>,
        {ok, none} = py:call('__main__', pool_open, [Name]),
        [{ok, none} = py:call('__main__', pool_insert, [Name, I]) || I <- lists:seq(1, 50)],
        py:call('__main__', pool_sum, [Name])
    end),
    ?assertEqual(lists:duplicate(10, {ok, 1275}), Sums),
    %% From another thread sqlite3 refuses: that the calls above worked says something.
    {ok, none} = py:call(py:context(1), '__main__', pool_open, [<<"own">>]),
    ?assertMatch(
        {error, {<<"sqlite3.ProgrammingError">>, <<"SQLite objects created in a thread", _/binary>>}},
        py:call(py:context(2), '__main__', pool_sum, [<<"own">>])
    ).

%%% Balance

waiting_processes_get_contexts_of_their_own(_Config) ->
    Threads = in_parallel(8, fun(_) ->
        {ok, none} = py:call(time, sleep, [1.2]),
        thread()
    end),
    ?assertEqual(8, length(lists:usort(Threads))).

sleepers_run_in_parallel(_Config) ->
    {Milliseconds, Results} = test_support:milliseconds(fun() ->
        in_parallel(12, fun(_) -> py:call(time, sleep, [0.5]) end)
    end),
    ?assertEqual(lists:duplicate(12, {ok, none}), Results),
    %% One after another: 6000.
    ?assert(Milliseconds < 3000, Milliseconds).

sleepers_run_in_parallel_after_asking_for_a_context(_Config) ->
    Barrier = self(),
    {Milliseconds, _} = test_support:milliseconds(fun() ->
        in_parallel(12, fun(_) ->
            %% Short first calls may share a context; who asks for one gets the one with the fewest processes.
            _ = py:context(),
            {ok, 4.0} = py:call(math, sqrt, [16.0]),
            Barrier ! {there, self()},
            receive go -> ok end,
            {ok, none} = py:call(time, sleep, [0.5])
        end, fun(Pids) ->
            [receive {there, Pid} -> ok end || Pid <- Pids],
            [Pid ! go || Pid <- Pids]
        end)
    end),
    ?assert(Milliseconds < 3000, Milliseconds).

%% The only context has many calls that any context could take, and those of its process come between them.
a_bound_process_has_its_turn(_Config) ->
    ok = test_support:start([{contexts, 1}]),
    {ok, 4.0} = py:call(math, sqrt, [16.0]),
    Finished = counters:new(1, []),
    Self = self(),
    Pids = [
        spawn_link(fun() ->
            {ok, none} = py:call(time, sleep, [0.01], #{}, #{context => any}),
            ok = counters:add(Finished, 1, 1),
            Self ! {finished, self()}
        end)
     || _ <- lists:seq(1, 300)
    ],
    test_support:eventually(fun() -> counters:get(Finished, 1) > 0 end),
    {ok, 4.0} = py:call(math, sqrt, [16.0]),
    Before = counters:get(Finished, 1),
    [receive {finished, Pid} -> ok end || Pid <- Pids],
    ?assert(Before < 250, Before).

any_takes_a_free_context(_Config) ->
    {Milliseconds, Results} = test_support:milliseconds(fun() ->
        in_parallel(12, fun(_) ->
            {ok, none} = py:call(time, sleep, [0.25], #{}, #{context => any}),
            py:call(time, sleep, [0.25], #{}, #{context => any})
        end)
    end),
    ?assertEqual(lists:duplicate(12, {ok, none}), Results),
    ?assert(Milliseconds < 3000, Milliseconds),
    %% Nobody is bound by it.
    ?assertEqual(0, sum(processes) - bound(self())),
    %% The process's own context sleeps; another one answers.
    Own = py:context(),
    Sleeper = spawn_link(fun() -> py:call(Own, time, sleep, [5]) end),
    test_support:eventually(fun() -> info(Own, busy_ns) > 0 end),
    {Short, _} = test_support:milliseconds(fun() ->
        {ok, 4.0} = py:call(math, sqrt, [16.0], #{}, #{context => any})
    end),
    kill_linked(Sleeper),
    ?assert(Short < 4000, Short).

contexts_are_limited(_Config) ->
    ok = test_support:start([{contexts, 2}]),
    {Milliseconds, Results} = test_support:milliseconds(fun() ->
        in_parallel(6, fun(_) -> py:call(time, sleep, [0.3]) end)
    end),
    ?assertEqual(lists:duplicate(6, {ok, none}), Results),
    ?assertEqual(2, length(infos())),
    ?assert(Milliseconds >= 890, Milliseconds).

processes_are_spread_over_contexts(_Config) ->
    ok = test_support:start([{contexts, 3}]),
    in_parallel(9, fun(_) -> py:context() end, fun(_) ->
        test_support:eventually(fun() -> [P || #{processes := P} <- infos()] =:= [3, 3, 3] end)
    end, hold).

dead_processes_free_their_context(_Config) ->
    _ = in_parallel(20, fun(_) -> {ok, none} = py:call(time, sleep, [0.05]) end),
    test_support:eventually(fun() -> sum(processes) =:= bound(self()) end),
    Contexts = length(infos()),
    %% The contexts are taken again; a busy machine may have started another one before one of them woke up.
    _ = in_parallel(10, fun(_) -> {ok, 4.0} = py:call(math, sqrt, [16.0]) end),
    ?assert(length(infos()) < Contexts + 8).

dead_before_the_first_call_ran(_Config) ->
    ok = test_support:start([{contexts, 1}]),
    Sleeper = spawn_link(fun() -> {ok, none} = py:call(time, sleep, [1.2]), receive stop -> ok end end),
    test_support:eventually(fun() -> [1] =:= [1 || #{busy_ns := B} <- infos(), B > 0] end),
    Waiting = [spawn(fun() -> py:call(math, sqrt, [16.0]) end) || _ <- lists:seq(1, 10)],
    [test_support:eventually(fun() -> element(2, process_info(Pid, status)) =:= waiting end) || Pid <- Waiting],
    [ok = test_support:kill(Pid) || Pid <- Waiting],
    ?assertEqual({ok, 4.0}, test_support:in_process(fun() -> py:call(math, sqrt, [16.0]) end)),
    test_support:eventually(fun() -> sum(processes) =:= 1 end),
    Sleeper ! stop,
    test_support:eventually(fun() -> sum(processes) =:= 0 end).

%%% Timeouts

timeout_is_kept_and_nothing_arrives_late(_Config) ->
    {Milliseconds, Result} = test_support:milliseconds(fun() -> py:call(time, sleep, [3], #{}, 200) end),
    ?assertEqual({error, timeout}, Result),
    ?assert(Milliseconds >= 200 andalso Milliseconds < 2500, Milliseconds),
    ?assertEqual({error, timeout}, py:eval(<<"time.sleep(3)">>, #{}, #{timeout => 10, context => any})),
    ?assertEqual({error, timeout}, py:exec(<<"time.sleep(3)">>, #{timeout => 10, context => any})),
    timer:sleep(3500),
    ?assertEqual([], test_support:mailbox()),
    ?assertEqual({ok, 4.0}, py:call(math, sqrt, [16.0])).

timeouts_race_with_answers(_Config) ->
    Outcomes = in_parallel(4, fun(_) ->
        Outcomes = [py:call(time, sleep, [0.001], #{}, N rem 4) || N <- lists:seq(1, 1000)],
        {ok, 4.0} = py:call(math, sqrt, [16.0]),
        [] = test_support:mailbox(),
        Outcomes
    end),
    Kinds = lists:usort(lists:append(Outcomes)),
    ?assertEqual([], Kinds -- [{ok, none}, {error, timeout}]),
    ?assertEqual(2, length(Kinds)).

cancelled_call_does_not_run(_Config) ->
    Context = py:context(1),
    Sleeper = spawn_link(fun() -> py:call(Context, time, sleep, [1]) end),
    test_support:eventually(fun() -> info(Context, busy_ns) > 0 end),
    ?assertEqual({error, timeout}, py:call(Context, '__main__', 'pool_list.append', [1], #{}, 50)),
    ?assertEqual({error, timeout}, py:call(Context, '__main__', 'pool_list.append', [1], #{}, 0)),
    ?assertEqual({ok, []}, py:eval(<<"pool_list">>, #{}, #{context => Context})),
    ?assert(gone_soon(Sleeper)).

call_after_a_timeout(_Config) ->
    ?assertEqual({error, timeout}, py:call('__main__', pool_sleep_and_append, [1.5, 1], #{}, 50)),
    %% Python cannot be stopped: it goes on, and what follows waits for its turn.
    ?assertEqual({ok, [1]}, py:eval(pool_list)).

%%% Killed callers

killed_caller_drops_queued_calls(_Config) ->
    Context = py:context(1),
    Sleeper = spawn_link(fun() -> py:call(Context, time, sleep, [1]) end),
    test_support:eventually(fun() -> info(Context, busy_ns) > 0 end),
    Callers = [spawn(fun() -> py:call(Context, '__main__', 'pool_list.append', [N]) end) || N <- lists:seq(1, 10)],
    test_support:eventually(fun() -> info(Context, queued) =:= 10 end),
    {Dead, Alive} = lists:split(5, Callers),
    [ok = test_support:kill(Pid) || Pid <- Dead],
    {ok, Appended} = py:eval(<<"pool_list">>, #{}, #{context => Context}),
    ?assertEqual([6, 7, 8, 9, 10], lists:sort(Appended)),
    [?assertNot(is_process_alive(Pid)) || Pid <- [Sleeper | Alive], not gone_soon(Pid)].

gone_soon(Pid) ->
    ok =:= test_support:eventually(fun() -> not is_process_alive(Pid) end).

running_call_of_a_killed_caller_finishes(_Config) ->
    Context = py:context(1),
    Caller = spawn(fun() -> py:call(Context, '__main__', pool_sleep_and_append, [0.5, 1]) end),
    test_support:eventually(fun() -> info(Context, busy_ns) > 0 end),
    ok = test_support:kill(Caller),
    ?assertEqual({ok, [1]}, py:eval(<<"pool_list">>, #{}, #{context => Context})).

killed_callers_leak_nothing(_Config) ->
    ok = test_support:start([{contexts, 4}]),
    Call = fun Call() -> {ok, none} = py:call(time, sleep, [0.002]), Call() end,
    [
        begin
            Pids = [spawn(Call) || _ <- lists:seq(1, 30)],
            timer:sleep(rand:uniform(20)),
            [exit(Pid, kill) || Pid <- Pids]
        end
     || _ <- lists:seq(1, 30)
    ],
    test_support:eventually(fun() -> sum(processes) =:= 0 andalso sum(queued) =:= 0 end),
    ?assertEqual(4, length(infos())),
    {Milliseconds, _} = test_support:milliseconds(fun() ->
        in_parallel(4, fun(_) -> {ok, none} = py:call(time, sleep, [1]) end)
    end),
    ?assert(Milliseconds < 3800, Milliseconds).

%%% Limits

queue_limit_is_busy(_Config) ->
    ok = test_support:start([{context_queue_limit, 5}]),
    Context = py:context(),
    Sleeper = spawn_link(fun() -> py:call(Context, time, sleep, [1.5]) end),
    test_support:eventually(fun() -> info(Context, busy_ns) > 0 end),
    [?assertEqual(ok, py:cast(math, sqrt, [16.0])) || _ <- lists:seq(1, 5)],
    ?assertEqual({error, busy}, py:cast(math, sqrt, [16.0])),
    ?assertEqual({error, busy}, py:call(math, sqrt, [16.0])),
    ?assertEqual({error, busy}, py:call(Context, math, sqrt, [16.0])),
    ?assertEqual({error, busy}, py:exec(<<"pass">>)),
    test_support:eventually(fun() -> info(Context, queued) =:= 0 andalso not is_process_alive(Sleeper) end),
    ?assertEqual({ok, 4.0}, py:call(math, sqrt, [16.0])).

queue_limit_before_the_first_context(_Config) ->
    ok = test_support:start([{context_queue_limit, 3}, {contexts, 1}]),
    Sleeper = spawn_link(fun() -> py:call(py:context(1), time, sleep, [1.5]) end),
    test_support:eventually(fun() -> [1] =:= [1 || #{busy_ns := B} <- infos(), B > 0] end),
    %% The first waits for a context, three for the first.
    ?assertEqual([ok, ok, ok, ok, {error, busy}], [py:cast(math, sqrt, [16.0]) || _ <- lists:seq(1, 5)]),
    ?assertEqual({error, busy}, py:call(math, sqrt, [16.0])),
    [
        ?assertEqual(Expected, test_support:in_process(fun() -> py:cast(math, sqrt, [16.0]) end))
     || Expected <- [ok, ok, {error, busy}]
    ],
    test_support:eventually(fun() -> not is_process_alive(Sleeper) end),
    test_support:eventually(fun() -> py:call(math, sqrt, [16.0]) =:= {ok, 4.0} end).

%% A process whose first call ran is bound to its context. First calls of other processes, of which there are always
%% more, must not keep that context from its later ones.
new_processes_do_not_keep_out_bound_ones(_Config) ->
    ok = test_support:start([{contexts, 1}]),
    {ok, _} = py:call(math, sqrt, [4.0]),
    Stop = atomics:new(1, []),
    Feeders = [spawn_monitor(fun() -> feed(Stop) end) || _ <- lists:seq(1, 300)],
    timer:sleep(100),
    Results = [py:call(math, sqrt, [16.0], #{}, 20000) || _ <- lists:seq(1, 3)],
    atomics:put(Stop, 1, 1),
    [receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end || {Pid, Monitor} <- Feeders],
    ?assertEqual([{ok, 4.0} || _ <- lists:seq(1, 3)], Results).

%% One new process after the other.
feed(Stop) ->
    {ok, none} = test_support:in_process(fun() -> py:call(time, sleep, [0.001]) end),
    case atomics:get(Stop, 1) of
        0 -> feed(Stop);
        1 -> ok
    end.

many_processes(_Config) ->
    Results = in_parallel(3000, fun(N) ->
        [py:call(builtins, abs, [-N - I]) || I <- lists:seq(1, 20)]
    end),
    ?assertEqual([[{ok, N + I} || I <- lists:seq(1, 20)] || N <- lists:seq(1, 3000)], Results),
    ?assert(length(infos()) =< 64).

%%% The VM meanwhile

sleeping_python_holds_no_scheduler(Config) ->
    no_scheduler_is_held(Config, 50, fun() -> {ok, none} = py:call(time, sleep, [2]) end).

busy_python_holds_no_scheduler(Config) ->
    no_scheduler_is_held(Config, 10, fun() -> {ok, none} = py:call('__main__', pool_turn, [1.5]) end).

no_scheduler_is_held(Config, Count, Call) ->
    Self = self(),
    Old = erlang:system_flag(scheduler_wall_time, true),
    [spawn_link(fun() -> Call(), Self ! done end) || _ <- lists:seq(1, Count)],
    test_support:eventually(fun() -> length([1 || #{busy_ns := B} <- infos(), B > 0]) >= Count end),
    Before = lists:sort(erlang:statistics(scheduler_wall_time_all)),
    timer:sleep(500),
    After = lists:sort(erlang:statistics(scheduler_wall_time_all)),
    %% Files are read and written by dirty schedulers, messages go through normal ones.
    {Milliseconds, _} = test_support:milliseconds(fun() -> use_files_and_messages(Config) end),
    [receive done -> ok after 60000 -> error(timeout) end || _ <- lists:seq(1, Count)],
    erlang:system_flag(scheduler_wall_time, Old),
    Utilisation = [
        (Active2 - Active1) / (Total2 - Total1)
     || {{Id, Active1, Total1}, {Id, Active2, Total2}} <- lists:zip(Before, After)
    ],
    ct:pal("utilisation of the schedulers, normal, dirty CPU, dirty I/O: ~w", [
        [round(U * 1000) / 1000 || U <- Utilisation]
    ]),
    %% A scheduler that is held by a call is at 1.
    [?assert(U < 0.9, Utilisation) || U <- Utilisation],
    ?assert(Milliseconds < 10000, Milliseconds).

use_files_and_messages(Config) ->
    Name = filename:join(proplists:get_value(priv_dir, Config), "file"),
    [
        begin
            ok = file:write_file(Name, integer_to_binary(N)),
            ?assertEqual({ok, integer_to_binary(N)}, file:read_file(Name))
        end
     || N <- lists:seq(1, 50)
    ],
    Echo = spawn_link(fun Echo() -> receive {From, N} -> From ! {echo, N}, Echo() end end),
    [begin Echo ! {self(), N}, receive {echo, N} -> ok end end || N <- lists:seq(1, 1000)],
    kill_linked(Echo).

deep_recursion_is_an_error(_Config) ->
    test_support:python("
        import copy, json, operator, pickle

        class PoolDeep:
            def __getattr__(self, name):
                return getattr(self, name)

        def pool_recurse(n):
            return pool_recurse(n + 1)

        def pool_nested(depth):
            outer = []
            for _ in range(depth):
                outer = [outer]
            return outer

        def pool_key(n):
            return max([n], key=pool_key)
    "),
    Expressions = [
        <<"pool_recurse(0)">>,
        <<"PoolDeep().x">>,
        <<"pool_key(1)">>,
        <<"repr(pool_nested(100000))">>,
        <<"json.dumps(pool_nested(100000))">>,
        <<"json.loads('[' * 100000)">>,
        <<"pickle.dumps(pool_nested(100000))">>,
        <<"copy.deepcopy(pool_nested(100000))">>,
        <<"pool_nested(100000) == pool_nested(100000)">>,
        <<"compile('(' * 5000 + ')' * 5000, '', 'eval')">>,
        <<"compile('-' * 50000 + '1', '', 'eval')">>,
        <<"eval('[' * 1000 + ']' * 1000)">>
    ],
    [
        begin
            ?assertMatch({error, {_, _}}, py:eval(Expression), Expression),
            ?assertMatch({error, {_, _}}, py:eval(Expression, #{}, #{context => any}), Expression)
        end
     || Expression <- Expressions
    ],
    ?assertEqual({ok, 4.0}, py:call(math, sqrt, [16.0])).

memory_does_not_grow(_Config) ->
    Binary = binary:copy(<<"x">>, 1000000),
    Work = fun() ->
        [
            begin
                {ok, Binary} = py:call(builtins, str, [Binary]),
                {ok, Binary} = py:call(builtins, bytes, [{bytes, Binary}]),
                {error, {'ValueError', _}} = py:call(builtins, int, [Binary], #{}, #{traceback => false}),
                true = erlang:garbage_collect()
            end
         || _ <- lists:seq(1, 100)
        ]
    end,
    Work(),
    Before = resident_bytes(),
    Work(),
    Work(),
    Grown = resident_bytes() - Before,
    %% 800 results of 1 MB each went through.
    ?assert(Grown < 200000000, Grown).

resident_bytes() ->
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = binary:split(Text, <<" ">>, [global]),
    binary_to_integer(Pages) * 4096.

%%% Helpers

thread() ->
    {ok, Identity} = py:call(threading, get_ident, []),
    Identity.

in_parallel(Count, Work) ->
    in_parallel(Count, Work, fun(_) -> ok end).

in_parallel(Count, Work, Meanwhile) ->
    in_parallel(Count, Work, Meanwhile, go_on).

%% What the work gave in Count processes at once, in their order. `hold': they live until Meanwhile is done.
in_parallel(Count, Work, Meanwhile, Hold) ->
    Self = self(),
    Pids = [
        spawn_link(fun() ->
            Result = Work(N),
            Hold =:= hold andalso receive let_go -> ok end,
            Self ! {self(), Result}
        end)
     || N <- lists:seq(1, Count)
    ],
    _ = Meanwhile(Pids),
    [Pid ! let_go || Pid <- Pids, Hold =:= hold],
    [receive {Pid, Result} -> Result after 120000 -> error(timeout) end || Pid <- Pids].

kill_linked(Pid) ->
    unlink(Pid),
    ok = test_support:kill(Pid).

infos() ->
    {ok, #{contexts := Infos}} = py:info(),
    Infos.

sum(Key) ->
    lists:sum([maps:get(Key, Info) || Info <- infos()]).

info(Context, Key) ->
    {ok, #{Key := Value}} = py_nif:context_info(Context),
    Value.

%% 1 when the process has a context.
bound(Pid) when Pid =:= self() ->
    case py_nif:context_lookup() of
        {ok, _} -> 1;
        none -> 0
    end.
