%% Code that misbehaves: each case in a VM of its own, which must answer afterwards and stop with status 0 (py_vm.erl).
%% docs/robustness.md has a row for each case.
-module(py_hostile_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

%% A case is run_<name>/0 in the fresh VM.
cases() ->
    [
        recursion, deep_terms, exit, exceptions, destructors, blocking_destructor, values, exhausted_memory, busy_call, busy_task,
        busy_callback, blocked_call, generators, threads_at_stop, run_in_task, close_loop, stop_loop, cancel_all,
        broken_loop, replaced_internals, broken_asyncio, broken_modules, broken_builtins, closed_outputs, imports,
        crowd, killed_callers, stop_under_load, killed_workers, huge_results, refuses_cancel, closed_selector,
        replaced_keys, odd_futures, vanishing_names, wrong_process, native_module, threads_that_end
    ].

all() -> cases().

suite() -> [{timetrap, {minutes, 5}}].

run(Case) -> run(Case, #{}).

run(Case, Options) -> ok = py_vm:run_case(?MODULE, Case, Options).

%% ---- recursion

recursion(_) -> run(recursion).

%% On a context and on a loop: RecursionError, another error of Python's own, or a result; never a crash.
run_recursion() ->
    {ok, Names} = py:call(recursion, names, []),
    [recurse(Name, Run) || Name <- Names, Run <- [context, loop]],
    {error, {'RecursionError', _}} = py:call(recursion, high_limit, [1000000], #{}, 60000),
    ok.

recurse(Name, context) -> expected_depth(Name, py:call(recursion, attempt, [Name], #{}, 60000));
recurse(Name, loop) -> expected_depth(Name, py_event_loop:run(recursion, attempt, [Name], #{timeout => 60000})).

expected_depth(_, {error, {'RecursionError', _}}) -> ok;
expected_depth(<<"compile_", _/binary>>, {error, {Class, _}}) when Class =:= 'MemoryError'; Class =:= 'SyntaxError' -> ok;
expected_depth(<<"literal_eval_", _/binary>>, {error, {Class, _}}) when Class =:= 'MemoryError'; Class =:= 'SyntaxError' -> ok;
expected_depth(<<"exceptions">>, {error, {'ValueError', _}}) -> ok;
expected_depth(<<"groups">>, {error, {'ExceptionGroup', _}}) -> ok;
expected_depth(Name, {ok, true}) ->
    %% These need no recursion at all, on some versions of Python.
    true = lists:member(Name, [
        <<"hash_deep_tuple">>, <<"pickle_loads">>, <<"compile_lists">>, <<"re_match">>, <<"partials">>,
        <<"compile_if_else">>, <<"compile_elif">>, <<"compile_plus">>, <<"repr_deep_list">>, <<"re_compile">>,
        <<"generators">>, <<"isinstance_tuple">>, <<"ast_dump">>, <<"ast_unparse">>
    ]),
    ok.

deep_terms(_) -> run(deep_terms).

run_deep_terms() ->
    Nest = fun(Wrap) -> lists:foldl(fun(_, Inner) -> Wrap(Inner) end, [], lists:seq(1, 100000)) end,
    [
        {error, {'RecursionError', _}} = py:call(builtins, len, [Nest(Wrap)], #{}, 60000)
     || Wrap <- [fun(T) -> [T] end, fun(T) -> {T} end, fun(T) -> #{a => T} end, fun(T) -> [1 | T] end, fun(T) -> #{T => 1} end],
        py:call(builtins, len, [Nest(Wrap)], #{}, 60000) =/= {ok, 100000}
    ],
    Fine = lists:foldl(fun(_, Inner) -> [Inner] end, [], lists:seq(1, 5000)),
    {ok, Fine} = py:call(operator, getitem, [[Fine], 0]),
    ok.

%% ---- the end of the program

exit(_) -> run(exit).

run_exit() ->
    {error, {'SystemExit', <<"3">>}} = py:call(odd, leave, []),
    {error, {'SystemExit', _}} = py:call(odd, leave, [[1, 2]]),
    {error, {'SystemExit', _}} = py:exec(<<"raise SystemExit">>),
    {error, {'SystemExit', _}} = py:eval(<<"exit(5)">>),
    {error, {'KeyboardInterrupt', _}} = py:call(odd, interrupt, []),
    {error, {'SystemExit', <<"3">>}} = py_event_loop:run(odd, leave, []),
    {error, {'KeyboardInterrupt', _}} = py_event_loop:run(odd, interrupt, []),
    {error, {'SystemExit', <<"3">>}} = py_event_loop:run(odd, leave_later, []),
    {ok, <<"alive">>} = py_event_loop:run(odd, leave_in_callback, []),
    {ok, <<"alive">>} = py_event_loop:run(odd, raise_in_callback, []),
    {ok, <<"alive">>} = py:call(odd, leave_in_thread, []),
    {ok, <<"alive">>} = py:call(odd, leave_in_destructor, []),
    {ok, <<"alive">>} = py_event_loop:run(odd, leave_in_destructor, []),
    ok = py:cast(odd, leave, [4]),
    %% A hundred at once, on all loops.
    Refs = [py_event_loop_pool:create_task(odd, leave_later, [N]) || N <- lists:seq(1, 100)],
    [{error, {'SystemExit', _}} = py_event_loop:await(Ref, 20000) || Ref <- Refs],
    ok.

exceptions(_) -> run(exceptions).

run_exceptions() ->
    {ok, Names} = py:eval(<<"list(__import__('odd').EXCEPTIONS)">>),
    lists:foreach(
        fun(Name) ->
            [
                {Name, Way, true} = {Name, Way, is_error(Result)}
             || {Way, Result} <- [
                    {call, py:call(odd, throw, [Name], #{}, 30000)},
                    {traceback, py:call(odd, throw, [Name], #{}, #{traceback => true, timeout => 30000})},
                    {plain_task, py_event_loop:run(odd, throw, [Name], #{timeout => 30000})},
                    {task, py_event_loop:run(odd, throw_later, [Name], #{timeout => 30000})}
                ]
            ],
            ok = py:cast(odd, throw, [Name])
        end,
        Names
    ),
    ok.

is_error({error, {Class, Text}}) when is_binary(Text) -> is_atom(Class) orelse is_binary(Class);
is_error({error, {_, Text, Lines}}) when is_binary(Text) -> is_list(Lines);
is_error({error, cancelled}) -> true;
is_error(_) -> false.

destructors(_) -> run(destructors).

run_destructors() ->
    ok = py_callback:register(hostile_echo, fun([X]) -> X end),
    {ok, <<"alive">>} = py:call(odd, drop_raising, []),
    {ok, <<"alive">>} = py_event_loop:run(odd, drop_raising, []),
    {ok, <<"alive">>} = py:call(odd, drop_calling, [], #{}, 20000),
    {ok, <<"alive">>} = py_event_loop:run(odd, drop_calling, [], #{timeout => 20000}),
    %% A destructor that makes the next object for ever (3.11, 3.12) or until it is too deep (3.13).
    case py:call(odd, 'Endless', [], #{}, 1000) of
        {error, timeout} -> ok;
        {error, {'TypeError', _}} -> ok
    end,
    ok.

blocking_destructor(_) -> run(blocking_destructor).

%% Of an object that the core gives up, because nobody waits for the chain that has it: the application can be stopped
%% and started all the same.
run_blocking_destructor() ->
    Caller = spawn(fun() -> py:call(odd, chain_of_blocking, []) end),
    %% Asked again and again: a question that waits might do so on the context of the chain.
    Ask = fun(Question) -> py:call(odd, Question, [], #{}, #{timeout => 30000, context => any}) =:= {ok, true} end,
    wait_until(fun() -> Ask(chain_begun) end),
    exit(Caller, kill),
    wait_until(fun() -> Ask(blocked_destructor) end),
    restart(),
    {ok, 4.0} = py:call(math, sqrt, [16.0]),
    {ok, 4.0} = py_event_loop:run(math, sqrt, [16.0]),
    ok.

%% ---- values

values(_) -> run(values).

run_values() ->
    {ok, Names} = py:eval(<<"list(__import__('odd').VALUES)">>),
    lists:foreach(
        fun(Name) ->
            [
                {Name, true} = {Name, is_answer(Result)}
             || Result <- [
                    py:call(odd, value, [Name], #{}, 60000),
                    py_event_loop:run(odd, value, [Name], #{timeout => 60000}),
                    py_event_loop:run(odd, value_later, [Name], #{timeout => 60000})
                ]
            ]
        end,
        Names
    ),
    {error, _} = py:call(odd, value, [<<"cycle">>]),
    {error, _} = py:call(odd, value, [<<"surrogates">>]),
    {error, {'TypeError', _}} = py:call(odd, value, [<<"coroutine">>]),
    ok.

is_answer({ok, _}) -> true;
is_answer(Other) -> is_error(Other).

huge_results(_) -> run(huge_results).

%% 2^10,000,000 and what Erlang cannot hold; a term much larger than the object that it is made of.
run_huge_results() ->
    {ok, Big} = py:call(odd, integer, [10000000], #{}, 60000),
    true = Big =:= 1 bsl 10000000,
    {ok, true} = py:call(operator, eq, [Big, Big]),
    {error, {Class, _}} = py:call(odd, integer, [1000000000], #{}, 60000),
    true = lists:member(Class, ['OverflowError', 'MemoryError']),
    {ok, Rows} = py:call(odd, too_big, [1000], #{}, 60000),
    1000 = length(Rows),
    ok.

exhausted_memory(_) -> run(exhausted_memory, #{env => [{sandbox, #{limits => allow}} | py_vm:hostile_env()]}).

run_exhausted_memory() ->
    {ok, Seen} = py:call(odd, exhaust, [256 * 1024 * 1024], #{}, 60000),
    [<<"MemoryError">> = Kind || Kind <- Seen],
    ok.

%% ---- code that does not come back

busy_call(_) -> run(busy_call).

run_busy_call() ->
    {error, timeout} = py:call(odd, busy, [], #{}, 200),
    ok.

busy_task(_) -> run(busy_task, #{answers => false}).

%% One loop is lost to it; the other loop and all contexts go on.
run_busy_task() ->
    {ok, Loop} = py_nif:event_loop_new(),
    ok = py_nif:event_loop_start(Loop),
    {error, timeout} = py_event_loop:run_on(Loop, odd, busy_later, [], #{timeout => 300}),
    py_vm:answers(),
    ok.

busy_callback(_) -> run(busy_callback, #{answers => false}).

run_busy_callback() ->
    {ok, Loop} = py_nif:event_loop_new(),
    ok = py_nif:event_loop_start(Loop),
    {ok, <<"armed">>} = py_event_loop:run_on(Loop, odd, busy_callback, [], #{timeout => 5000}),
    %% As soon as the callback is called.
    wait_until(fun() -> py_event_loop:run_on(Loop, operator, add, [1, 2], #{timeout => 300}) =:= {error, timeout} end),
    py_vm:answers(),
    ok.

blocked_call(_) -> run(blocked_call).

%% Blocked in C at stop, with and without the GIL: the VM stops nevertheless.
run_blocked_call() ->
    {error, timeout} = py:call(odd, blocked, [], #{}, 100),
    Self = self(),
    spawn(fun() -> Self ! {started, self()}, py:call(odd, lock_forever, []) end),
    spawn(fun() -> py:call(odd, stubborn, []) end),
    receive {started, _} -> ok end,
    timer:sleep(100),
    ok.

generators(_) -> run(generators).

run_generators() ->
    {ok, <<"alive">>} = py:call(odd, generators, []),
    {ok, <<"alive">>} = py_event_loop:run(odd, async_generators, []),
    {ok, _} = py:call(gc, collect, []),
    ok.

threads_at_stop(_) -> run(threads_at_stop).

run_threads_at_stop() ->
    {ok, Count} = py:call(odd, threads, []),
    true = Count >= 5,
    ok.

refuses_cancel(_) -> run(refuses_cancel).

%% A task that swallows its cancellation, at stop.
run_refuses_cancel() ->
    Refs = [py_event_loop_pool:create_task(odd, Name, []) || Name <- [refuses_cancel, never, refuses_cancel, never]],
    timer:sleep(50),
    ok = application:stop(erlang_python),
    [{error, _} = py_event_loop:await(Ref, 20000) || Ref <- Refs],
    {ok, _} = application:ensure_all_started(erlang_python),
    ok.

%% ---- asyncio, misused

run_in_task(_) -> run(run_in_task).

run_run_in_task() ->
    {ok, <<"asyncio.run() cannot be called from a running event loop">>} = py_event_loop:run(odd, run_inside, []),
    ok.

close_loop(_) -> run(close_loop).

run_close_loop() ->
    {ok, <<"Cannot close a running event loop">>} = py_event_loop:run(odd, close_loop, []),
    ok.

stop_loop(_) -> run(stop_loop).

run_stop_loop() ->
    [{ok, <<"alive">>} = py_event_loop:run(odd, stop_loop, []) || _ <- lists:seq(1, 10)],
    ok.

cancel_all(_) -> run(cancel_all).

run_cancel_all() ->
    Others = [py_event_loop:create_task(odd, never, []) || _ <- lists:seq(1, 10)],
    {error, cancelled} = py_event_loop:run(odd, cancel_all, []),
    [{error, cancelled} = py_event_loop:await(Ref, 5000) || Ref <- Others],
    ok.

%% A loop that its own task took apart answers no more or with errors; its callers time out, other loops and contexts
%% go on, and the application can be restarted.
misused_loop(Function) ->
    {ok, Loop} = py_nif:event_loop_new(),
    ok = py_nif:event_loop_start(Loop),
    _ = py_event_loop:run_on(Loop, odd, Function, [], #{timeout => 1000}),
    _ = py_event_loop:run_on(Loop, operator, add, [1, 2], #{timeout => 300}),
    _ = py_event_loop:run_on(Loop, asyncio, sleep, [0.01], #{timeout => 300}),
    py_vm:answers(),
    ok = py_nif:event_loop_destroy(Loop),
    restart(),
    py_vm:answers(),
    ok.

restart() ->
    ok = application:stop(erlang_python),
    {ok, _} = application:ensure_all_started(erlang_python).

broken_loop(_) -> run(broken_loop).
run_broken_loop() -> misused_loop(break_loop).

replaced_internals(_) -> run(replaced_internals).
run_replaced_internals() -> misused_loop(replace_internals).

%% asyncio itself, and modules and builtins of everybody, taken apart: Python code has every right to fail from then on;
%% the VM answers, and stops.
broken_asyncio(_) -> run(broken_asyncio, #{answers => false}).

run_broken_asyncio() ->
    _ = py_event_loop:run(odd, break_asyncio, [], #{timeout => 1000}),
    after_breaking().

broken_modules(_) -> run(broken_modules, #{answers => false}).

run_broken_modules() ->
    {ok, <<"broken">>} = py:call(odd, break_modules, []),
    after_breaking().

broken_builtins(_) -> run(broken_builtins, #{answers => false}).

run_broken_builtins() ->
    {ok, <<"broken">>} = py:call(odd, break_builtins, []),
    %% Not even an import works any more.
    [{error, {_, _}} = py:call(Module, f, []) || Module <- [operator, odd, json]],
    _ = py_event_loop:run(operator, add, [1, 2], #{timeout => 500}),
    application:stop(erlang_python).

after_breaking() ->
    {ok, 3} = py:call(operator, add, [1, 2]),
    {error, _} = py:call(odd, leave, []),
    _ = py_event_loop:run(operator, add, [1, 2], #{timeout => 500}),
    _ = py_event_loop:run(asyncio, sleep, [0.01], #{timeout => 500}),
    _ = py_event_loop:run(odd, leave_later, [], #{timeout => 500}),
    application:stop(erlang_python).

closed_outputs(_) -> run(closed_outputs).

run_closed_outputs() ->
    {ok, <<"alive">>} = py:call(odd, close_outputs, []),
    {ok, none} = py:call(builtins, print, [<<"into nothing">>]),
    ok = py:cast(odd, leave, []),
    {ok, <<"alive">>} = py:call(odd, leave_in_thread, []),
    ok.

%% ---- imports

imports(_) -> run(imports).

run_imports() ->
    [
        {error, {'ValueError', <<"this module cannot be imported">>}} = py:call(fails_on_import, f, [])
     || _ <- lists:seq(1, 3)
    ],
    {error, {'SystemExit', _}} = py:call(exits_on_import, f, []),
    {error, {'ModuleNotFoundError', _}} = py:call(no_such_module, f, []),
    {error, {'ImportError', _}} = py:call(cycle_broken, f, []),
    {ok, Value} = py:call(cycle_a, value, []),
    true = is_integer(Value),
    {ok, <<"reloaded">>} = py:call(odd, reload_erlang, []),
    {ok, _} = py:call(odd, reimport_native, []),
    py_vm:answers(),
    ok.

%% ---- many at once

crowd(_) -> run(crowd).

run_crowd() ->
    ok = py_callback:register(hostile_echo, fun([X]) -> X end),
    {ok, []} = py:call(odd, crowd, [100, 3.0], #{}, 60000),
    ok.

killed_callers(_) -> run(killed_callers).

%% Thousands of callers killed at random points of calls, tasks and callbacks; nothing is left behind.
run_killed_callers() ->
    ok = py_callback:register(hostile_wait, fun([Ms]) -> timer:sleep(Ms), Ms end),
    Work = [
        fun() -> py:call(time, sleep, [rand:uniform(20) / 10000]) end,
        fun() -> py:call(operator, add, [1, 2]) end,
        fun() -> py_event_loop:run(asyncio, sleep, [rand:uniform(20) / 1000]) end,
        fun() -> py:call(erlang, call, [hostile_wait, rand:uniform(3)]) end,
        fun() -> py_event_loop_pool:run(operator, add, [1, 2]) end
    ],
    Kill = fun(N) ->
        Pid = spawn(fun() -> forever(lists:nth(1 + N rem length(Work), Work)) end),
        timer:sleep(rand:uniform(3) - 1),
        exit(Pid, kill)
    end,
    Killers = [
        spawn_monitor(fun() -> [Kill(N) || N <- lists:seq(1, 300)] end)
     || _ <- lists:seq(1, 10)
    ],
    [receive {'DOWN', M, process, P, Why} -> normal = Why end || {P, M} <- Killers],
    wait_until(fun() ->
        {ok, #{contexts := Contexts}} = py:info(),
        lists:all(fun(#{queued := Q, processes := P}) -> Q =:= 0 andalso P =< 1 end, Contexts)
    end),
    ok.

forever(Fun) ->
    Fun(),
    forever(Fun).

stop_under_load(_) -> run(stop_under_load).

run_stop_under_load() ->
    Pids = [spawn_monitor(fun() -> load(N) end) || N <- lists:seq(1, 50)],
    [
        begin
            timer:sleep(200),
            restart()
        end
     || _ <- lists:seq(1, 4)
    ],
    [P ! stop || {P, _} <- Pids],
    [receive {'DOWN', M, process, P, Why} -> normal = Why end || {P, M} <- Pids],
    ok.

%% Every call has an answer, {error, closed} or the like when the application is away.
load(N) ->
    receive
        stop -> ok
    after 0 ->
        Result =
            case N rem 4 of
                0 -> py:call(operator, add, [N, 1]);
                1 -> catch_noproc(fun() -> py_event_loop:run(operator, add, [N, 1]) end);
                2 -> catch_noproc(fun() -> py_event_loop_pool:run(asyncio, sleep, [0.001, N + 1]) end);
                3 -> py:call(time, sleep, [0.001])
            end,
        case Result of
            {ok, Value} when Value =:= N + 1; Value =:= none -> ok;
            {error, Reason} when is_atom(Reason) -> timer:sleep(1);
            {error, {'SystemExit', _}} -> timer:sleep(1);
            {error, {noproc, _}} -> timer:sleep(1)
        end,
        load(N)
    end.

catch_noproc(Fun) ->
    try
        Fun()
    catch
        exit:Reason -> {error, {noproc, Reason}};
        error:Reason -> {error, {noproc, Reason}}
    end.

killed_workers(_) -> run(killed_workers).

%% Every process of the application, supervisors included, killed in turn; it comes back each time.
run_killed_workers() ->
    Names = [
        py_log, py_runtime, py_event_worker_sup, py_event_worker_starter, py_event_loop, py_event_loop_pool, py_callback
    ],
    lists:foreach(
        fun(Name) ->
            case whereis(Name) of
                undefined ->
                    ok;
                Pid ->
                    exit(Pid, kill),
                    wait_until(fun() -> not lists:member(whereis(Name), [Pid, undefined]) end),
                    wait_until(fun() -> works() end)
            end
        end,
        Names
    ),
    [
        begin
            [exit(Pid, kill) || {_, Pid, worker, _} <- catch_children(py_event_worker_sup), is_pid(Pid)],
            wait_until(fun() -> works() end)
        end
     || _ <- lists:seq(1, 5)
    ],
    exit(whereis(erlang_python_sup), kill),
    wait_until(fun() -> whereis(erlang_python_sup) =:= undefined end),
    wait_until(fun() -> application:ensure_all_started(erlang_python) =:= {ok, [erlang_python]} end),
    ok.

catch_children(Supervisor) ->
    try
        supervisor:which_children(Supervisor)
    catch
        exit:_ -> []
    end.

works() ->
    try
        {ok, 3} = py:call(operator, add, [1, 2], #{}, 2000),
        {ok, 3} = py_event_loop:run(operator, add, [1, 2], #{timeout => 2000}),
        {ok, _} = py_event_loop:run(asyncio, sleep, [0.01], #{timeout => 2000}),
        true
    catch
        _:_ -> false
    end.

wait_until(Fun) -> wait_until(Fun, 300).

wait_until(Fun, 0) ->
    error({never, Fun});
wait_until(Fun, N) ->
    case Fun() of
        true ->
            ok;
        false ->
            timer:sleep(50),
            wait_until(Fun, N - 1)
    end.

%% ---- the native parts, while they run

closed_selector(_) -> run(closed_selector).

%% By the function that runs in its wait, by what the native calls ask, and by another thread.
run_closed_selector() ->
    lists:foreach(
        fun(Function) ->
            {ok, Loop} = py_nif:event_loop_new(),
            ok = py_nif:event_loop_start(Loop),
            {error, closed} = py_event_loop:run_on(Loop, native, Function, [], #{timeout => 20000}),
            {error, closed} = py_event_loop:run_on(Loop, operator, add, [1, 2], #{timeout => 20000})
        end,
        [close_and_return_coroutine, close_and_return_future, close_and_return_awaitable]
    ),
    %% Nobody else gets at a loop that somebody drives.
    {ok, <<"OSError", _/binary>>} = py:call(native, second_selector, []),
    {ok, 9} = py:call(native, close_within_calls, []),
    {ok, [<<"RuntimeError: Event loop is closed">>, _]} = py:call(native, close_within_events, []),
    {ok, [Outcome, Outcome, Outcome]} = py:call(native, close_elsewhere, [], #{}, 30000),
    <<"ValueError: the selector is closed">> = Outcome,
    ok.

replaced_keys(_) -> run(replaced_keys).

run_replaced_keys() ->
    {ok, Outcomes} = py:call(native, replace_keys, []),
    {Last, Wrong} = {lists:last(Outcomes), lists:droplast(Outcomes)},
    [true = lists:member(Outcome, [<<"TypeError">>, <<"KeyError">>]) || Outcome <- Wrong],
    <<"returned">> = Last,
    ok.

odd_futures(_) -> run(odd_futures).

%% Each is answered once, and none is counted as a task that waits.
run_odd_futures() ->
    {ok, <<"calls">>} = py_event_loop:run(native, odd_future, [calls]),
    {ok, <<"calls_and_raises">>} = py_event_loop:run(native, odd_future, [calls_and_raises]),
    {error, closed} = py_event_loop:run(native, odd_future, [forgets]),
    {ok, _} = py_event_loop:run(asyncio, sleep, [0.01]),
    %% The loop tells of its tasks when it comes to wait, which is after the answer.
    wait_until(fun() -> {ok, #{running := Running}} = py_event_loop:info(), Running =:= 0 end),
    ok.

vanishing_names(_) -> run(vanishing_names, #{os_env => [{"PYTHONMALLOC", "debug"}]}).

run_vanishing_names() ->
    {ok, 6} = py:call(native, emptied_arguments, []),
    {ok, <<"called with 1">>} = py:call(native, vanished_function, []),
    {ok, <<"prepared">>} = py:call(native, remove_main_when_warned, []),
    [ok = py:exec(<<"y = 1\nx = '\\d'\nassert y == 1">>) || _ <- lists:seq(1, 20)],
    [{ok, <<"\\d">>} = py:eval(<<"'\\d'">>) || _ <- lists:seq(1, 20)],
    ok.

wrong_process(_) -> run(wrong_process).

run_wrong_process() ->
    [
        {ok, <<"ProcessError">>} = py:call(native, wrong_process, [Value])
     || Value <- [make_ref(), fun() -> ok end, hd(erlang:ports()), <<"text">>, 1]
    ],
    {ok, <<"returned">>} = py:call(native, wrong_process, [self()]),
    ok.

native_module(_) -> run(native_module).

run_native_module() ->
    {ok, true} = py:call(native, import_again, [20]),
    Pid = self(),
    {ok, Pid} = py:call(erlang, self, []),
    {ok, <<"the package erlang works in Python's main interpreter only">>} = py:call(native, in_subinterpreter, [], #{}, 30000),
    {ok, an_atom} = py:eval(<<"__import__('erlang').Atom('an_atom')">>),
    {error, {'ZeroDivisionError', _}} = py:eval(<<"1 / 0">>),
    ok.

threads_that_end(_) -> run(threads_that_end).

run_threads_that_end() ->
    {ok, true} = py:call(native, threads_that_end, [40], #{}, 60000),
    ok.
