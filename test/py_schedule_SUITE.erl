%% erlang.schedule, schedule_py, schedule_inline and consume_time_slice.
-module(py_schedule_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CODE, schedule_code).

all() ->
    [
        document_schedule, document_schedule_py, document_schedule_inline, document_time_slice, document_batches,
        document_markers, document_inner,
        transparent, mixed, errors, marker_type, bad_arguments,
        million_steps, same_depth, others_get_their_turn, one_thread,
        timeout_ends_chain, death_ends_chain, stop_ends_chain,
        on_a_loop, from_coroutines, loop_stays_alive, pool, silent,
        names_of_the_caller, nested_chain, same_objects, callback_dies, time_slice, inline_steps_are_not_queued
    ].

suite() ->
    [{timetrap, {minutes, 4}}].

init_per_suite(Config) ->
    {ok, _} = application:ensure_all_started(erlang_python),
    Config.

end_per_suite(_Config) ->
    application:stop(erlang_python).

init_per_testcase(_Case, Config) ->
    {ok, _} = application:ensure_all_started(erlang_python),
    Folder = list_to_binary(?config(data_dir, Config)),
    {ok, _} = py:eval(<<"__import__('sys').path.insert(0, folder)">>, #{folder => Folder}),
    ok = py:exec(<<"import schedule_code">>),
    ok = py_callback:register(identity, fun([X]) -> X end),
    ok = py_callback:register(delayed, fun([X, Milliseconds]) -> timer:sleep(Milliseconds), X end),
    ok = py_callback:register(chain, fun([Function, N]) -> {ok, Value} = call(Function, [N]), Value end),
    Config.

end_per_testcase(_Case, _Config) ->
    ok.

call(Function, Arguments) -> py:call(?CODE, Function, Arguments).

run(Function, Arguments) -> py_event_loop:run(?CODE, Function, Arguments, #{timeout => 120000}).

%%% The examples of the document, as they stand there

document_schedule(_) ->
    py_callback:register(<<"compute">>, fun([X]) -> X * 2 end),
    ok = py:exec(<<
        "import erlang\n"
        "# Register callback in Erlang:\n"
        "# py_callback:register(<<\"compute\">>, fun([X]) -> X * 2 end).\n"
        "def handler(x):\n"
        "    # Returns ScheduleMarker - MUST be returned from handler\n"
        "    return erlang.schedule('compute', x)\n"
        "    # Nothing after this executes - Erlang callback continues\n"
    >>),
    {ok, 10} = py:call('__main__', 'handler', [5]).

document_schedule_py(_) ->
    ok = py:exec(<<
        "import erlang\n"
        "def compute(x, multiplier=2):\n"
        "    return x * multiplier\n"
        "def handler(x):\n"
        "    # Schedule Python function - releases dirty scheduler\n"
        "    return erlang.schedule_py('__main__', 'compute', [x], {'multiplier': 3})\n"
    >>),
    {ok, 15} = py:call('__main__', handler, [5]).

document_schedule_inline(_) ->
    ok = py:exec(<<
        "import erlang\n"
        "def transform(item):\n"
        "    return item + 1\n"
        "def process_chunk(data, offset=0, results=None):\n"
        "    \"\"\"Process data in chunks with inline continuations.\"\"\"\n"
        "    if results is None:\n"
        "        results = []\n"
        "    chunk_end = min(offset + 100, len(data))\n"
        "    for i in range(offset, chunk_end):\n"
        "        results.append(transform(data[i]))\n"
        "    if chunk_end < len(data):\n"
        "        # Continue inline - no Erlang messaging overhead\n"
        "        return erlang.schedule_inline(\n"
        "            '__main__', 'process_chunk',\n"
        "            args=[data, chunk_end, results]\n"
        "        )\n"
        "    return results\n"
    >>),
    {ok, Results} = py:call('__main__', process_chunk, [lists:seq(1, 1234)]),
    ?assertEqual(lists:seq(2, 1235), Results).

document_time_slice(_) ->
    ok = py:exec(<<
        "import erlang\n"
        "processed = []\n"
        "def process(item):\n"
        "    processed.append(item)\n"
        "    return item\n"
        "def long_computation(items, start_idx=0):\n"
        "    results = []\n"
        "    for i in range(start_idx, len(items)):\n"
        "        results.append(process(items[i]))\n"
        "        # Check if we should yield (1% of time slice per iteration)\n"
        "        if erlang.consume_time_slice(1):\n"
        "            # Time slice exhausted - save progress and reschedule\n"
        "            return erlang.schedule_py(\n"
        "                '__main__', 'long_computation',\n"
        "                [items], {'start_idx': i + 1}\n"
        "            )\n"
        "    return results\n"
    >>),
    %% The last slice's results are what it returns; every item was processed once, a hundred in each slice.
    {ok, Last} = py:call('__main__', long_computation, [lists:seq(1, 250)]),
    ?assertEqual(lists:seq(201, 250), Last),
    {ok, Processed} = py:eval(<<"processed">>),
    ?assertEqual(lists:seq(1, 250), Processed).

document_batches(_) ->
    ok = py:exec(<<
        "import erlang\n"
        "seen = []\n"
        "def expensive_operation(item):\n"
        "    seen.append(item)\n"
        "def process_batch(items, batch_size=100, offset=0):\n"
        "    \"\"\"Process items in batches, yielding between batches.\"\"\"\n"
        "    end = min(offset + batch_size, len(items))\n"
        "    # Process this batch\n"
        "    for i in range(offset, end):\n"
        "        expensive_operation(items[i])\n"
        "    if end < len(items):\n"
        "        # More work to do - yield and continue\n"
        "        return erlang.schedule_py(\n"
        "            '__main__', 'process_batch',\n"
        "            [items], {'batch_size': batch_size, 'offset': end}\n"
        "        )\n"
        "    return 'done'\n"
    >>),
    {ok, <<"done">>} = py:call('__main__', process_batch, [lists:seq(1, 950)]),
    {ok, Seen} = py:eval(<<"seen">>),
    ?assertEqual(lists:seq(1, 950), Seen).

document_markers(_) ->
    py_callback:register(callback, fun([X]) -> {called, X} end),
    ok = py:exec(<<
        "arg = 5\n"
        "def wrong():\n"
        "    erlang.schedule('callback', arg)  # No effect!\n"
        "    return \"oops\"  # This is returned instead\n"
        "def correct():\n"
        "    return erlang.schedule('callback', arg)  # Works\n"
    >>),
    {ok, <<"oops">>} = py:call('__main__', wrong, []),
    {ok, {called, 5}} = py:call('__main__', correct, []).

document_inner(_) ->
    py_callback:register(callback, fun([X]) -> {called, X} end),
    ok = py:exec(<<
        "arg = 5\n"
        "def outer():\n"
        "    def inner():\n"
        "        return erlang.schedule('callback', arg)\n"
        "    return inner()  # Works - marker propagates up\n"
        "def broken():\n"
        "    def inner():\n"
        "        erlang.schedule('callback', arg)  # Wrong - not returned\n"
        "    inner()\n"
        "    return \"oops\"\n"
    >>),
    {ok, {called, 5}} = py:call('__main__', outer, []),
    {ok, <<"oops">>} = py:call('__main__', broken, []).

%%% What a marker means

transparent(_) ->
    {ok, 5} = call(schedule, [identity, 5]),
    {ok, 10} = call(count_py, [10]),
    {ok, 10} = call(count_inline, [10]),
    {ok, 0} = call(count_inline, [0]),
    %% What Erlang answers is not converted on its way back to Erlang.
    ok = py_callback:register(term, fun([]) -> {atom, [1 | 2], fun() -> ok end} end),
    {ok, {atom, [1 | 2], Fun}} = call(schedule, [term]),
    ?assert(is_function(Fun, 0)),
    {ok, 3} = py:eval(<<"__import__('erlang').schedule('identity', 3)">>),
    {ok, <<"oops">>} = call(not_returned, []),
    {ok, 7} = py:call(?CODE, schedule, [delayed, 7, 20]),
    Many = [py:async_call(?CODE, schedule, [delayed, I, I rem 7]) || I <- lists:seq(1, 200)],
    ?assertEqual([{ok, I} || I <- lists:seq(1, 200)], [py:await(Reference) || Reference <- Many]).

mixed(_) ->
    {ok, 1000} = call(count_mixed, [1000]),
    {ok, 1000} = run(count_mixed, [1000]).

errors(_) ->
    [
        {error, {'LookupError', <<"in a step">>}} = Run(chain_to, [Kind, ?CODE, fail])
     || Kind <- [schedule_py, schedule_inline], Run <- [fun call/2, fun run/2]
    ],
    {error, {'ModuleNotFoundError', _}} = call(chain_to, [schedule_py, no_such_module, f]),
    {error, {'AttributeError', _}} = call(chain_to, [schedule_inline, ?CODE, no_such_function]),
    {error, {'TypeError', _}} = call(chain_to, [schedule_py, ?CODE, add, 1]),
    {error, {<<"erlang.NotRegisteredError">>, _}} = call(schedule, [nowhere]),
    ok = py_callback:register(bad, fun([]) -> error(badarg) end),
    {error, {<<"erlang.ErlangError">>, <<"error: badarg">>}} = call(schedule, [bad]),
    {error, {<<"erlang.ErlangError">>, <<"error: badarg">>}} = run(schedule, [bad]),
    {error, {'TypeError', _}} = py:eval(<<"__import__('erlang').schedule('identity', object())">>),
    {error, {'LookupError', _, [_ | _]}} = py:call(?CODE, chain_to, [schedule_py, ?CODE, fail], #{}, #{traceback => true}).

marker_type(_) ->
    ok = py:exec(<<"import erlang">>),
    {ok, true} = py:eval(<<"isinstance(erlang.schedule_py('m', 'f'), erlang.ScheduleMarker)">>),
    ok.

bad_arguments(_) ->
    ok = py:exec(<<
        "import erlang\n"
        "def refused(make):\n"
        "    try:\n"
        "        make()\n"
        "    except TypeError:\n"
        "        return True\n"
        "makers = [\n"
        "    lambda: erlang.schedule(),\n"
        "    lambda: erlang.schedule(5),\n"
        "    lambda: erlang.schedule_py('m'),\n"
        "    lambda: erlang.schedule_py('m', 5),\n"
        "    lambda: erlang.schedule_py('m', 'f', 5),\n"
        "    lambda: erlang.schedule_py('m', 'f', [], []),\n"
        "    lambda: erlang.schedule_inline('m', 'f', argh=[]),\n"
        "    lambda: erlang.schedule_inline('m', 'f', [], args=[]),\n"
        "    lambda: erlang.schedule_inline('m', 'f', [], {}, 5),\n"
        "    lambda: erlang.ScheduleMarker(),\n"
        "]\n"
    >>),
    {ok, Refused} = py:eval(<<"[refused(make) for make in makers]">>),
    ?assertEqual([true], lists:usort(Refused)).

%%% Stack, memory, fairness

million_steps(_) ->
    {ok, 1000} = call(count_inline, [1000]),
    {ok, 1000} = call(count_py, [1000]),
    {ok, Before} = call(memory, []),
    {ok, 1000000} = call(count_inline, [1000000]),
    {ok, 1000000} = call(count_py, [1000000]),
    {ok, 1000000} = run(count_inline, [1000000]),
    {ok, 1000000} = run(count_py, [1000000]),
    {ok, After} = call(memory, []),
    ct:pal("~p kB before, ~p kB after", [Before, After]),
    %% A million of anything would be more.
    ?assert(After - Before < 8000).

same_depth(_) ->
    [
        begin
            {ok, Shallow} = Run(Function, [1]),
            {ok, Shallow} = Run(Function, [10000])
        end
     || Function <- [depth_inline, depth_py], Run <- [fun call/2, fun run/2]
    ].

others_get_their_turn(_) ->
    Context = py:context(1),
    [
        begin
            Self = self(),
            Chain = spawn_link(fun() -> Self ! {self(), py:call(Context, ?CODE, Function, [1.3])} end),
            timer:sleep(20),
            Waits = [
                element(1, timer:tc(fun() -> {ok, 3} = py:call(Context, ?CODE, add, [1, 2]) end))
             || _ <- lists:seq(1, 20)
            ],
            ct:pal("~p: others waited ~p us", [Function, Waits]),
            ?assert(lists:max(Waits) < 1200000),
            {ok, true} = receive {Chain, Result} -> Result end
        end
     || Function <- [spin_py, spin_inline]
    ],
    %% Two chains on one context go on side by side.
    {Time, _} = timer:tc(fun() ->
        [{ok, true}, {ok, true}] = in_parallel(2, fun(_) -> py:call(Context, ?CODE, spin_py, [1.1]) end)
    end),
    ?assert(Time < 2100000).

in_parallel(Count, Work) ->
    Self = self(),
    Pids = [spawn_link(fun() -> Self ! {self(), Work(I)} end) || I <- lists:seq(1, Count)],
    [receive {Pid, Result} -> Result end || Pid <- Pids].

%% Steps of a chain stay on the context's thread.
one_thread(_) ->
    Results = in_parallel(8, fun(_) -> call(threads_of_steps, [1000]) end),
    ?assertEqual([{ok, 1}], lists:usort(Results)).

timeout_ends_chain(_) ->
    [
        begin
            {error, timeout} = py:call(?CODE, Function, [], #{}, #{timeout => 500}),
            no_more_steps()
        end
     || Function <- [endless_py, endless_inline]
    ],
    [
        begin
            {error, timeout} = py_event_loop:run(?CODE, Function, [], #{timeout => 50}),
            no_more_steps()
        end
     || Function <- [endless_py, endless_inline]
    ].

no_more_steps() -> no_more_steps(100).

%% On a busy machine a step that has begun may take a while to end.
no_more_steps(Tries) ->
    {ok, Before} = py:eval(<<"__import__('schedule_code').steps">>),
    timer:sleep(50),
    case py:eval(<<"__import__('schedule_code').steps">>) of
        {ok, Before} -> ?assert(Before > 0);
        {ok, _} when Tries > 1 -> no_more_steps(Tries - 1);
        {ok, After} -> error({goes_on, Before, After})
    end.

death_ends_chain(_) ->
    [
        begin
            Pid = spawn(fun() -> Run(endless_py, []) end),
            timer:sleep(50),
            exit(Pid, kill),
            no_more_steps()
        end
     || Run <- [fun call/2, fun run/2]
    ].

stop_ends_chain(_) ->
    Self = self(),
    spawn_link(fun() -> Self ! {chain, call(endless_py, [])} end),
    spawn_link(fun() -> Self ! {loop, run(endless_inline, [])} end),
    spawn_link(fun() -> Self ! {erlang, call(schedule, [delayed, 1, 10000])} end),
    timer:sleep(300),
    ok = application:stop(erlang_python),
    [
        receive {Kind, Result} -> ?assertMatch({error, _}, Result) after 10000 -> ct:fail({hangs, Kind}) end
     || Kind <- [chain, loop, erlang]
    ],
    {ok, _} = application:ensure_all_started(erlang_python).

%%% Event loops

on_a_loop(_) ->
    {ok, 5} = run(schedule, [identity, 5]),
    {ok, 100} = run(count_py, [100]),
    {ok, 100} = run(count_inline, [100]),
    {ok, 7} = run(to_coroutine, []),
    {ok, 8} = run(to_coroutine_inline, []).

from_coroutines(_) ->
    [{ok, 5} = run(coroutine, [Kind]) || Kind <- [schedule, schedule_py, schedule_inline]],
    {ok, 5} = run(coroutine_at_once, []).

%% A loop serves its timers and other tasks while chains run.
loop_stays_alive(_) ->
    Self = self(),
    [
        begin
            spawn_link(fun() -> Self ! {chain, run(Function, [1.3])} end),
            timer:sleep(20),
            {Time, {ok, 9}} = timer:tc(fun() -> run(later, [9]) end),
            ?assert(Time < 1200000),
            {chain, {ok, true}} = receive {chain, _} = Chain -> Chain end
        end
     || Function <- [spin_py, spin_inline]
    ].

pool(_) ->
    Results = in_parallel(20, fun(I) -> py_event_loop_pool:run(?CODE, count_mixed, [I], #{timeout => 30000}) end),
    ?assertEqual([{ok, I} || I <- lists:seq(1, 20)], Results).

silent(_) ->
    Self = self(),
    ok = py_callback:register(tell, fun([X]) -> Self ! {told, X} end),
    ok = py:cast(?CODE, schedule, [tell, 1]),
    ok = py_event_loop:spawn_task(?CODE, schedule, [tell, 2]),
    [receive {told, I} -> ok after 5000 -> ct:fail(lost) end || I <- [1, 2]].

%%% Names, nesting, objects

names_of_the_caller(_) ->
    %% '__main__' is where the caller's own names are: those of eval, and of a function inside a function.
    {ok, 12} = py:eval(
        <<"(f := (lambda x: x * 3), __import__('erlang').schedule_inline('__main__', 'f', [factor]))[1]">>,
        #{factor => 4}
    ),
    ok = py:exec(<<
        "import erlang\n"
        "def outer(n):\n"
        "    def inner(m):\n"
        "        return m + n\n"
        "    return erlang.schedule_inline('__main__', 'inner', [1])\n"
    >>),
    {ok, 11} = py:call('__main__', outer, [10]),
    ok = py:exec(<<
        "import types\n"
        "own = types.ModuleType('not_in_sys_modules')\n"
        "exec('import erlang\\ndef first(): return erlang.schedule_inline(__name__, \"second\")\\n'\n"
        "     'def second(): return \"found\"', own.__dict__)\n"
        "first = own.first\n"
    >>),
    {ok, <<"found">>} = py:call('__main__', first, []).

%% A chain inside of a callback runs on the thread that waits for the callback.
nested_chain(_) ->
    {ok, 500} = py:eval(<<"__import__('erlang').call('chain', 'count_py', 500)">>),
    {ok, 500} = py:eval(<<"__import__('erlang').call('chain', 'count_inline', 500)">>),
    {ok, 30} = py:eval(<<"__import__('erlang').call('chain', 'count_mixed', 30)">>).

same_objects(_) ->
    {ok, true} = call(identity_keeps_objects, []).

callback_dies(_) ->
    ok = py_callback:register(die, fun(_) -> exit(self(), kill) end),
    {error, {<<"erlang.ErlangError">>, <<"exit: killed">>}} = call(schedule, [die]),
    {error, {<<"erlang.ErlangError">>, <<"exit: killed">>}} = run(schedule, [die]),
    Results = in_parallel(50, fun(_) -> call(schedule, [die]) end),
    ?assertMatch([{error, _}], lists:usort(Results)).

time_slice(_) ->
    {ok, 100} = call(slices, [1]),
    {ok, 4} = call(slices, [30]),
    {ok, 1} = call(slices, [100]),
    {ok, false} = call(slice_in_steps, []),
    [{error, {'ValueError', _}} = call(slices, [Percent]) || Percent <- [0, 101, -1]],
    {error, {'TypeError', _}} = call(slices, [<<"1">>]).

%% What makes schedule_inline the faster one: its steps do not go through the queue of the context.
inline_steps_are_not_queued(_) ->
    Steps = 200000,
    Inline = queued_steps(tight_inline, Steps),
    Queued = queued_steps(tight_py, Steps),
    ct:pal("of ~b steps ~b were queued with schedule_inline, ~b with schedule_py", [Steps, Inline, Queued]),
    ?assert(Inline < Steps div 10),
    ?assert(Queued >= Steps).

queued_steps(Function, Steps) ->
    Context = py:context(),
    {ok, #{done := Before}} = py_nif:context_info(Context),
    {ok, Steps} = call(Function, [Steps]),
    {ok, 3} = py:call(Context, operator, add, [1, 2]),
    {ok, #{done := After}} = py_nif:context_info(Context),
    After - Before.
