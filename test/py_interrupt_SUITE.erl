%% Ending Python code from outside, and replacing contexts that do not come back. Each case in a VM of its own.
-module(py_interrupt_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

cases() ->
    [
        running_call, idle_context, timeout_interrupts, only_the_task_meant, nested, waiting_for_erlang, queued_calls,
        loop_function, replace_stuck, replace_blocked, replace_idle, replace_under_load, replace_keeps_numbers, stop_with_stuck,
        wrong_arguments
    ].

all() -> cases().

suite() -> [{timetrap, {minutes, 3}}].

run(Case) ->
    Function = list_to_atom("run_" ++ atom_to_list(Case)),
    Path = filename:join(filename:dirname(code:which(?MODULE)), "hostile"),
    ok = py_vm:run(?MODULE, Function, [], #{env => [{python_path, [Path]}, {contexts, 4}]}).

%% Runs a call in a process of its own; {Pid, Context, Monitor}.
start(Module, Function, Arguments) ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        Self ! {context, self(), py:context()},
        exit({result, py:call(Module, Function, Arguments)})
    end),
    receive {context, Pid, Context} -> {Pid, Context, Monitor} end.

%% A call that has begun to swallow what is raised in it.
start_stubborn() ->
    Call = start(odd, stubborn, []),
    %% Asked again and again: a question that waits might do so on the very context whose call it waits for.
    test_support:eventually(fun() ->
        py:call(odd, is_stubborn, [], #{}, #{context => any, timeout => 1000}) =:= {ok, true}
    end),
    Call.

result({Pid, _, Monitor}) ->
    receive
        {'DOWN', Monitor, process, Pid, {result, Result}} -> Result
    after 20000 -> error(no_result)
    end.

%% Until the context runs something.
interrupt(Context) -> interrupt(Context, 1000).

interrupt(Context, N) when N > 0 ->
    case py:interrupt(Context) of
        ok -> ok;
        {error, idle} -> timer:sleep(10), interrupt(Context, N - 1)
    end.

info(Context, Key) ->
    {ok, #{Key := Value}} = py_nif:context_info(Context),
    Value.

%% The threads of contexts that were replaced end soon.
nobody_is_abandoned() ->
    test_support:eventually(fun() -> {ok, #{abandoned := Abandoned}} = py:info(), Abandoned =:= 0 end).

running_call(_) -> run(running_call).

run_running_call() ->
    {_, Context, _} = Call = start(odd, busy, []),
    ok = interrupt(Context),
    {error, {'KeyboardInterrupt', _}} = result(Call),
    {ok, 3} = py:call(Context, operator, add, [1, 2]),
    ok.

idle_context(_) -> run(idle_context).

run_idle_context() ->
    {error, idle} = py:interrupt(py:context()),
    {ok, 3} = py:call(operator, add, [1, 2]),
    {error, idle} = py:interrupt(py:context()),
    ok.

timeout_interrupts(_) -> run(timeout_interrupts).

%% The same context is free again at once.
run_timeout_interrupts() ->
    {error, timeout} = py:call(odd, busy, [], #{}, #{timeout => 100, interrupt => true}),
    {ok, 3} = py:call(operator, add, [1, 2], #{}, 5000),
    {error, timeout} = py:eval(<<"[0 for x in iter(int, 1)]">>, #{}, #{timeout => 100, interrupt => true}),
    {error, timeout} = py:exec(<<"while True: pass">>, #{timeout => 100, interrupt => true}),
    {ok, 3} = py:call(operator, add, [1, 2], #{}, 5000),
    ok.

only_the_task_meant(_) -> run(only_the_task_meant).

%% Interrupts that come too late hit no other call of the context.
run_only_the_task_meant() ->
    Context = py:context(),
    Victim = spawn_link(fun() -> short_calls(Context) end),
    Results = [
        py:call(Context, operator, add, [N, 1], #{}, #{})
     || N <- lists:seq(1, 20000)
    ],
    unlink(Victim),
    exit(Victim, kill),
    [] = [Result || {error, _} = Result <- Results],
    ok.

short_calls(Context) ->
    _ = py:call(Context, time, sleep, [0.0001], #{}, #{timeout => 0, interrupt => true}),
    short_calls(Context).

nested(_) -> run(nested).

%% The outer call's interrupt waits for the inner call, which is somebody else's.
run_nested() ->
    ok = py_callback:register(inner, fun([]) -> py:call(odd, blocked, [1.5]) end),
    {error, timeout} = py:call(erlang, call, [inner], #{}, #{timeout => 100, interrupt => true}),
    {ok, 3} = py:call(operator, add, [1, 2], #{}, 20000),
    ok.

waiting_for_erlang(_) -> run(waiting_for_erlang).

run_waiting_for_erlang() ->
    ok = py_callback:register(sleeper, fun([]) -> timer:sleep(infinity) end),
    {_, Context, _} = Call = start(erlang, call, [sleeper]),
    ok = interrupt(Context),
    {error, {'KeyboardInterrupt', _}} = result(Call),
    ok.

queued_calls(_) -> run(queued_calls).

%% Those that wait behind it are run.
run_queued_calls() ->
    {_, Context, _} = Call = start(odd, busy, []),
    Self = self(),
    [spawn(fun() -> Self ! {queued, py:call(Context, operator, add, [N, 1])} end) || N <- lists:seq(1, 10)],
    timer:sleep(50),
    ok = interrupt(Context),
    {error, {'KeyboardInterrupt', _}} = result(Call),
    [2, 3, 4, 5, 6, 7, 8, 9, 10, 11] = lists:sort([receive {queued, {ok, V}} -> V after 5000 -> none end || _ <- lists:seq(1, 10)]),
    ok.

loop_function(_) -> run(loop_function).

run_loop_function() ->
    {error, timeout} = py_event_loop:run(odd, busy, [], #{timeout => 100, interrupt => true}),
    {ok, 3} = py_event_loop:run(operator, add, [1, 2]),
    {ok, <<"slept">>} = py_event_loop:run(asyncio, sleep, [0.01, <<"slept">>]),
    ok.

replace_stuck(_) -> run(replace_stuck).

%% A call that swallows what is raised in it: its caller and those behind it are told, and bound processes go on.
run_replace_stuck() ->
    {Pid, Context, _} = Call = start_stubborn(),
    Self = self(),
    [spawn(fun() -> Self ! {queued, py:call(Context, operator, add, [1, 2])} end) || _ <- lists:seq(1, 10)],
    test_support:eventually(fun() -> info(Context, queued) =:= 10 end),
    ok = interrupt(Context),
    timer:sleep(50),
    true = is_process_alive(Pid),
    ok = py:replace(Context),
    {error, context_replaced} = result(Call),
    [receive {queued, Queued} -> {error, context_replaced} = Queued after 5000 -> error(no_answer) end || _ <- lists:seq(1, 10)],
    {ok, 3} = py:call(Context, operator, add, [1, 2], #{}, 20000),
    {ok, #{abandoned := 1}} = py:info(),
    ok.

replace_blocked(_) -> run(replace_blocked).

%% A thread that comes back ends, and does not answer a second time.
run_replace_blocked() ->
    Context = py:context(),
    {ok, Before} = py:call(threading, get_ident, []),
    Self = self(),
    spawn(fun() -> Self ! {blocked, py:call(Context, time, sleep, [2])} end),
    %% It sleeps, and is not still busy with the call before.
    test_support:eventually(fun() -> info(Context, busy_ns) > 50000000 end),
    ok = py:replace(Context),
    receive {blocked, Blocked} -> {error, context_replaced} = Blocked after 1500 -> error(late) end,
    {ok, #{abandoned := 1}} = py:info(),
    {ok, After} = py:call(threading, get_ident, []),
    true = Before =/= After,
    nobody_is_abandoned(),
    receive Late -> error({late, Late}) after 100 -> ok end,
    {ok, After} = py:call(threading, get_ident, []),
    ok.

replace_idle(_) -> run(replace_idle).

run_replace_idle() ->
    Context = py:context(),
    [
        begin
            ok = py:replace(Context),
            {ok, 3} = py:call(Context, operator, add, [1, 2])
        end
     || _ <- lists:seq(1, 50)
    ],
    nobody_is_abandoned(),
    {ok, #{contexts := Contexts}} = py:info(),
    1 = length(Contexts),
    ok.

replace_under_load(_) -> run(replace_under_load).

%% Whoever calls meanwhile is answered by the old context or the new one, and nobody is bound to one that is gone.
run_replace_under_load() ->
    Context = py:context(1),
    Self = self(),
    Replacer = spawn_link(fun() -> replace_for_ever(Context) end),
    Named = [spawn_link(fun() -> Self ! {self(), named_calls(Context, 5000)} end) || _ <- lists:seq(1, 2)],
    Fresh = [spawn_link(fun() -> Self ! {self(), fresh_processes(2000)} end) || _ <- lists:seq(1, 4)],
    Reasons = lists:usort(lists:append([receive {Pid, Results} -> Results end || Pid <- Named ++ Fresh])),
    unlink(Replacer),
    exit(Replacer, kill),
    [] = Reasons -- [ok, {error, context_replaced}],
    ok.

replace_for_ever(Context) ->
    ok = py:replace(Context),
    %% Their threads need a moment to end.
    {ok, #{abandoned := Abandoned}} = py:info(),
    timer:sleep(
        case Abandoned > 20 of
            true -> 50;
            false -> rand:uniform(2) - 1
        end
    ),
    replace_for_ever(Context).

named_calls(Context, Count) ->
    lists:usort([outcome(py:call(Context, math, sqrt, [16.0])) || _ <- lists:seq(1, Count)]).

fresh_processes(Count) ->
    lists:usort(lists:append([fresh_process() || _ <- lists:seq(1, Count)])).

%% A first call, which binds the process, and others that find the context by that.
fresh_process() ->
    {Pid, Monitor} = spawn_monitor(fun() ->
        exit({results, [outcome(py:call(math, sqrt, [16.0])) | [outcome(own_call()) || _ <- [1, 2]]]})
    end),
    receive {'DOWN', Monitor, process, Pid, {results, Results}} -> Results end.

own_call() ->
    Reference = make_ref(),
    case py_nif:context_call(own, Reference, 0, math, sqrt, [16.0], #{}, 0) of
        Id when is_integer(Id) -> receive {async_result, Reference, Result} -> Result end;
        Result -> Result
    end.

outcome({ok, 4.0}) -> ok;
outcome(Error) -> Error.

replace_keeps_numbers(_) -> run(replace_keeps_numbers).

run_replace_keeps_numbers() ->
    Second = py:context(2),
    ok = py:replace(Second),
    Second = py:context(2),
    {ok, #{number := 2}} = py_nif:context_info(Second),
    ok.

stop_with_stuck(_) -> run(stop_with_stuck).

run_stop_with_stuck() ->
    {_, Context, _} = Call = start_stubborn(),
    ok = interrupt(Context),
    ok = py:replace(Context),
    {error, context_replaced} = result(Call),
    ok = application:stop(erlang_python),
    %% The core closes its contexts soon after.
    test_support:eventually(fun() -> py:replace(Context) =:= {error, closed} end),
    {error, closed} = py:interrupt(Context),
    {ok, _} = application:ensure_all_started(erlang_python),
    ok.

wrong_arguments(_) -> run(wrong_arguments).

run_wrong_arguments() ->
    [
        {'EXIT', {{bad_argument, context, Wrong}, _}} = (catch Fun(Wrong))
     || Fun <- [fun py:interrupt/1, fun py:replace/1], Wrong <- [1, own, make_ref()]
    ],
    {'EXIT', {{bad_option, interrupt, yes}, _}} = (catch py:call(a, b, [], #{}, #{interrupt => yes})),
    ok.
