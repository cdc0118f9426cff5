%% Hooks, modules, contexts, threads and the process's descriptors, misused. Each case in a VM of its own, which must
%% answer afterwards and stop with status 0 (py_vm.erl). docs/robustness.md has a row for each case.
-module(py_hostile_hooks_SUITE).

-compile([export_all, nowarn_export_all]).

all() ->
    [
        hooks, trace_stays, audit_hook, deleted_import, modules, huge_arguments, notes, contexts, threads_end,
        lock_at_interrupt, closed_descriptors, closed_later, input, switch_interval, interpreters, thread_without_memory
    ].

suite() -> [{timetrap, {minutes, 5}}].

run(Case) -> run(Case, #{}).

run(Case, Options) -> ok = py_vm:run_case(?MODULE, Case, Options).

is_answer({ok, _}) -> true;
is_answer({error, timeout}) -> false;
is_answer({error, {Class, Text}}) -> (is_atom(Class) orelse is_binary(Class)) andalso is_binary(Text);
is_answer({error, {Class, Text, Lines}}) -> is_answer({error, {Class, Text}}) andalso is_list(Lines);
is_answer({error, Reason}) -> is_atom(Reason).

hooks(_) -> run(hooks).

run_hooks() ->
    ok = py_callback:register(hostile_echo, fun([X]) -> X end),
    {ok, Hooks} = py:call(hooks, hooks, []),
    [
        {Hook, Function, true} = {Hook, Function, is_answer(Result)}
     || [Hook, Function] <- Hooks,
        Result <- [
            py:call(hooks, set_hook, [Hook, Function], #{}, 20000),
            py_event_loop:run(hooks, set_hook, [Hook, Function], #{timeout => 20000})
        ]
    ],
    ok.

trace_stays(_) -> run(trace_stays).

%% What a call leaves in place on its thread is there for the next one; Python takes away a function that raises.
run_trace_stays() ->
    [
        begin
            _ = py:call(hooks, leave_trace, [Function], #{}, 20000),
            _ = py:call(json, dumps, [[1, 2]], #{}, 20000),
            {ok, <<"[1, 2]">>} = py:call(json, dumps, [[1, 2]], #{}, 20000)
        end
     || Function <- [<<"raises">>, <<"leaves">>, <<"recurses">>]
    ],
    ok.

audit_hook(_) -> run(audit_hook, #{answers => false}).

run_audit_hook() ->
    {ok, <<"added">>} = py:call(hooks, audit, []),
    {error, {_, _}} = py:eval(<<"1 + 1">>),
    {ok, 3} = py:call(operator, add, [1, 2]),
    true = is_answer(py_event_loop:run(operator, add, [1, 2])),
    {error, {_, _}} = py:call(os, fork, []),
    {error, {_, _}} = py:call(decimal, 'Decimal', [1]),
    ok.

deleted_import(_) -> run(deleted_import, #{answers => false}).

run_deleted_import() ->
    {ok, 3} = py:call(operator, add, [1, 2]),
    {ok, <<"deleted">>} = py:call(hooks, delete_import, []),
    {error, {_, _}} = py:call(decimal, 'Decimal', [1]),
    {ok, 3} = py:call(operator, add, [1, 2]),
    _ = py_event_loop:run(asyncio, sleep, [0.01], #{timeout => 1000}),
    application:stop(erlang_python).

modules(_) -> run(modules).

run_modules() ->
    {ok, Names} = py:call(hooks, add_modules, []),
    [
        {Name, Function, true} = {Name, Function, is_answer(Result)}
     || Name <- Names, Function <- [<<"f">>, <<"f.g.h">>, <<"__class__">>, <<"__dict__">>, <<>>, <<".">>, <<"a..b">>],
        Result <- [
            py:call(Name, Function, [], #{}, 20000),
            py:call(<<Name/binary, ".sub">>, Function, [], #{}, 20000),
            py_event_loop:run(Name, Function, [], #{timeout => 20000})
        ]
    ],
    ok.

huge_arguments(_) -> run(huge_arguments).

run_huge_arguments() ->
    Count = 100000,
    Map = maps:from_list([{<<"k", (integer_to_binary(N))/binary>>, N} || N <- lists:seq(1, Count)]),
    {ok, Count} = py:call(hooks, keywords, [], Map, 60000),
    {ok, Count} = py_event_loop:run(hooks, keywords, [], #{kwargs => Map}),
    {ok, 1000000} = py:call(hooks, arguments, lists:seq(1, 1000000), #{}, 60000),
    {error, {'TypeError', _}} = py:call(hooks, keywords, [], #{a => 1, <<"a">> => 2}),
    {error, {'TypeError', _}} = py:call(hooks, keywords, [], #{{1} => 1}),
    {ok, 1} = py:call(hooks, keywords, [], #{<<"no name", 0>> => 1}),
    LongName = binary:copy(<<"x">>, 10000000),
    {error, {_, _}} = py:call(hooks, LongName, []),
    {error, {_, _}} = py:call(LongName, f, []),
    ok.

notes(_) -> run(notes).

run_notes() ->
    [
        {Kind, true} = {Kind, is_answer(Result)}
     || Kind <- [<<"surrogate">>, <<"many">>, <<"number">>, <<"objects">>, <<"property">>, <<"groups">>, <<"cycle">>],
        Result <- [
            py:call(hooks, noted, [Kind], #{}, 30000),
            py:call(hooks, noted, [Kind], #{}, #{traceback => true, timeout => 60000}),
            py_event_loop:run(hooks, noted, [Kind], #{timeout => 30000})
        ]
    ],
    ok.

contexts(_) -> run(contexts).

run_contexts() ->
    {ok, <<"alive">>} = py_event_loop:run(hooks, contexts, [], #{timeout => 20000}),
    ok.

threads_end(_) -> run(threads_end).

run_threads_end() ->
    ok = py_callback:register(hostile_echo, fun([X]) -> X end),
    {ok, Left} = py:call(hooks, threads_end, [60], #{}, 60000),
    true = Left < 10,
    ok.

lock_at_interrupt(_) -> run(lock_at_interrupt).

run_lock_at_interrupt() ->
    [
        begin
            {error, timeout} = py:call(hooks, hold_lock, [], #{}, #{timeout => 50, interrupt => true}),
            {ok, true} = py:call(hooks, take_lock, [], #{}, 30000)
        end
     || _ <- lists:seq(1, 20)
    ],
    ok.

closed_descriptors(_) -> run(closed_descriptors).

%% Each descriptor of the VM and of the core is refused by os.close() and os.dup2().
run_closed_descriptors() ->
    {ok, 3} = py_event_loop:run(operator, add, [1, 2]),
    {ok, Closed} = py:call(hooks, close_all, [0, 300], #{}, 20000),
    true = Closed > 10,
    py_vm:answers(),
    {ok, Over} = py:call(hooks, duplicate_over_all, [3, 300], #{}, 20000),
    true = Over > 10,
    %% The number that it told first is the one that is used.
    {ok, <<"OSError">>} = py:call(hooks, close_changing, [3]),
    py_vm:answers(),
    "port\n" = os:cmd("echo port"),
    {ok, _} = file:list_dir("/"),
    ok.

closed_later(_) -> run(closed_later).

%% What Python opened is Python's to close, also under a number that the VM had before.
run_closed_later() ->
    ok = py:exec(<<
        "import os\n"
        "for _ in range(50):\n"
        "    a, b = os.pipe()\n"
        "    os.dup2(a, b)\n"
        "    os.close(a)\n"
        "    os.close(b)\n"
        "    os.close(os.eventfd(0))\n"
        "    os.close(os.open('/dev/null', os.O_RDONLY))\n"
        "copy = os.dup(1)\n"
        "os.dup2(os.open('/dev/null', os.O_WRONLY), 1)\n"
        "os.dup2(copy, 1)\n"
        "os.close(copy)\n"
    >>),
    ok.

input(_) -> run(input).

run_input() ->
    {ok, [false, <<>>, <<"EOFError">>, <<>>, none]} = py:call(hooks, read_input, [], #{}, 20000),
    ok.

switch_interval(_) -> run(switch_interval).

%% Nobody keeps the GIL for good: a call that loops can be interrupted.
run_switch_interval() ->
    {error, {'ValueError', _}} = py:call(hooks, switch_interval, [1.0e6]),
    {ok, 0.5} = py:call(hooks, switch_interval, [0.5]),
    {error, timeout} = py:eval(<<"[0 for x in iter(int, 1)]">>, #{}, #{timeout => 100, interrupt => true}),
    {ok, 3} = py:call(operator, add, [1, 2], #{}, 20000),
    {ok, 0.005} = py:call(hooks, switch_interval, [0.005]),
    ok.

interpreters(_) -> run(interpreters).

run_interpreters() ->
    ok = py_callback:register(hostile_echo, fun([X]) -> X end),
    {ok, Seen} = py:call(hooks, interpreters, [], #{}, 60000),
    true = length(Seen) >= 8,
    ok.

thread_without_memory(_) ->
    run(thread_without_memory, #{env => [{python_memory_limit, 100000000}, {contexts, 40} | py_vm:hostile_env()]}).

%% CPython ends the process when it gets no memory for the state of a thread: contexts and loops that start while
%% Python's memory is used up get theirs all the same.
run_thread_without_memory() ->
    {ok, <<"full">>} = py:call(hooks, fill_memory, [], #{}, 60000),
    Pids = [
        spawn_monitor(fun() -> exit({answer, py:call(time, sleep, [0.3], #{}, 20000)}) end)
     || _ <- lists:seq(1, 30)
    ],
    [
        receive
            {'DOWN', Monitor, process, Pid, {answer, Answer}} -> true = is_answer(Answer)
        end
     || {Pid, Monitor} <- Pids
    ],
    {ok, Loop} = py_nif:event_loop_new(),
    ok = py_nif:event_loop_start(Loop),
    true = is_answer(py_event_loop:run_on(Loop, operator, add, [1, 2], #{timeout => 20000})),
    ok = py_nif:event_loop_destroy(Loop),
    {ok, <<"free">>} = py:call(hooks, free_memory, []),
    {ok, _} = py:call(gc, collect, []),
    ok.
