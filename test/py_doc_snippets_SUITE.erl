%% The shorter pieces of code in the documents, as they stand there: tasks from Erlang, the pool, and asyncio's functions
%% by erlang.run(). What the pieces leave open (modules, names) is given first. Whole programs: py_doc_examples_SUITE,
%% task_examples_SUITE; calls to Erlang: py_callback_SUITE, py_schedule_SUITE; py_nif: py_low_level_SUITE.
-module(py_doc_snippets_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(test_support, [eventually/1, python/1]).

all() ->
    [
        task_run,
        task_create,
        task_await,
        task_spawn,
        task_concurrent_requests,
        task_background_processing,
        pool_api,
        pool_parallel_processing,
        timer_basic_usage,
        timer_asyncio_sleep,
        timer_run,
        timer_gather,
        timer_wait_for,
        timer_create_task,
        timer_wait,
        timer_loop_functions,
        timer_timeout
    ].

suite() -> [{timetrap, {minutes, 1}}].

init_per_suite(Config) ->
    ok = test_support:start(),
    Config.

end_per_suite(_Config) ->
    ok = test_support:stop().

%% The modules that the documents' Erlang code names.
init_per_testcase(_Case, Config) ->
    python("
        import asyncio, sys, types

        snippets_seen = []
        snippets_own = []

        def snippets_module(name, **functions):
            module = types.ModuleType(name)
            vars(module).update(functions)
            if name in sys.modules:
                snippets_own.append((name, sys.modules[name]))
            else:
                snippets_own.append((name, None))
            sys.modules[name] = module

        async def snippets_async(*args, **kwargs):
            await asyncio.sleep(0.01)
            return [list(args), kwargs]

        def snippets_note(*args, **kwargs):
            snippets_seen.append([list(args), kwargs])

        async def snippets_note_later(*args, **kwargs):
            await asyncio.sleep(0.01)
            snippets_note(*args, **kwargs)

        async def snippets_double(item):
            await asyncio.sleep(0.001)
            return 2 * item

        snippets_module('my_module', my_async_func=snippets_async)
        snippets_module('aiohttp', get=snippets_async)
        snippets_module('logger', log_event=snippets_note, info=snippets_note)
        snippets_module('metrics', record=snippets_note_later)
        snippets_module('analytics', track_event=snippets_note_later)
        snippets_module('processor', handle=snippets_double)
    "),
    Config.

end_per_testcase(_Case, _Config) ->
    python("
        while snippets_own:
            name, module = snippets_own.pop()
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    ").

seen() ->
    {ok, Seen} = py:eval(<<"snippets_seen">>),
    Seen.

%%% Tasks

task_run(_Config) ->
    Basic = erlang(
        "%% Basic usage\n"
        "{ok, Result} = py_event_loop:run(my_module, my_async_func, [arg1, arg2]).\n",
        []
    ),
    ?assertEqual([[<<"arg1">>, <<"arg2">>], #{}], value('Result', Basic)),
    Options = erlang(
        "%% With options (timeout, kwargs)\n"
        "{ok, Result} = py_event_loop:run(aiohttp, get, [Url], #{\n"
        "    timeout => 10000,\n"
        "    kwargs => #{headers => #{}}\n"
        "}).\n",
        [{'Url', <<"http://localhost">>}]
    ),
    ?assertEqual([[<<"http://localhost">>], #{<<"headers">> => #{}}], value('Result', Options)).

task_create(_Config) ->
    Bindings = erlang(
        "%% Submit task\n"
        "Ref = py_event_loop:create_task(my_module, my_async_func, [arg1]).\n"
        "%% Do other work while task runs...\n"
        "do_other_work(),\n"
        "%% Await result when needed\n"
        "{ok, Result} = py_event_loop:await(Ref).\n",
        []
    ),
    ?assert(is_reference(value('Ref', Bindings))),
    ?assertEqual([[<<"arg1">>], #{}], value('Result', Bindings)).

%% Three ways to wait, not three waits for one task.
task_await(_Config) ->
    [
        begin
            Ref = py_event_loop:create_task(my_module, my_async_func, [N]),
            ?assertEqual([[N], #{}], value('Result', erlang(Line, [{'Ref', Ref}])))
        end
     || {N, Line} <- [
            {1, "%% Default timeout (5 seconds)\n{ok, Result} = py_event_loop:await(Ref).\n"},
            {2, "%% Custom timeout\n{ok, Result} = py_event_loop:await(Ref, 10000).\n"},
            {3, "%% Infinite timeout\n{ok, Result} = py_event_loop:await(Ref, infinity).\n"}
        ]
    ].

task_spawn(_Config) ->
    _ = erlang(
        "%% Background logging\n"
        "ok = py_event_loop:spawn_task(logger, log_event, [EventData]).\n"
        "%% With kwargs\n"
        "ok = py_event_loop:spawn_task(metrics, record, [Name, Value], #{tags => Tags}).\n",
        [{'EventData', #{event => login}}, {'Name', <<"hits">>}, {'Value', 5}, {'Tags', [a, b]}]
    ),
    eventually(fun() ->
        seen() =:=
            [
                [[#{<<"event">> => <<"login">>}], #{}],
                [[<<"hits">>, 5], #{<<"tags">> => [<<"a">>, <<"b">>]}]
            ]
    end).

task_concurrent_requests(_Config) ->
    Bindings = erlang(
        "%% Submit multiple requests concurrently\n"
        "Refs = [\n"
        "    py_event_loop:create_task(aiohttp, get, [<<\"https://api.example.com/users\">>]),\n"
        "    py_event_loop:create_task(aiohttp, get, [<<\"https://api.example.com/posts\">>]),\n"
        "    py_event_loop:create_task(aiohttp, get, [<<\"https://api.example.com/comments\">>])\n"
        "],\n"
        "%% Await all results\n"
        "Results = [py_event_loop:await(Ref, 10000) || Ref <- Refs].\n",
        []
    ),
    ?assertEqual(
        [{ok, [[<<"https://api.example.com/", Path/binary>>], #{}]} || Path <- [<<"users">>, <<"posts">>, <<"comments">>]],
        value('Results', Bindings)
    ).

task_background_processing(_Config) ->
    Module = compile(
        "-export([handle/2]).\n"
        "-record(request, {path, user_id}).\n"
        "handle(Path, Id) -> handle_request(#request{path = Path, user_id = Id}).\n"
        "process(#request{path = Path}) -> {200, Path}.\n",
        "%% Fire-and-forget analytics\n"
        "handle_request(Request) ->\n"
        "    %% Process request...\n"
        "    Response = process(Request),\n"
        "    %% Log analytics in background (don't wait)\n"
        "    ok = py_event_loop:spawn_task(analytics, track_event, [\n"
        "        <<\"page_view\">>,\n"
        "        #{path => Request#request.path, user_id => Request#request.user_id}\n"
        "    ]),\n"
        "    Response.\n"
    ),
    ?assertEqual({200, <<"/">>}, Module:handle(<<"/">>, 7)),
    eventually(fun() -> seen() =:= [[[<<"page_view">>, #{<<"path">> => <<"/">>, <<"user_id">> => 7}], #{}]] end).

%%% The pool

pool_api(_Config) ->
    Bindings = erlang(
        "%% Get event loop for current process (always the same loop for same PID)\n"
        "{ok, LoopRef} = py_event_loop_pool:get_loop().\n"
        "%% Submit task and await result\n"
        "Ref = py_event_loop_pool:create_task(math, sqrt, [16.0]),\n"
        "{ok, 4.0} = py_event_loop_pool:await(Ref).\n"
        "%% Blocking call\n"
        "{ok, 4.0} = py_event_loop_pool:run(math, sqrt, [16.0]).\n"
        "%% Fire-and-forget\n"
        "ok = py_event_loop_pool:spawn_task(logger, info, [<<\"message\">>]).\n"
        "%% Pool statistics\n"
        "#{num_loops := N, supported := true} = py_event_loop_pool:get_stats().\n",
        []
    ),
    ?assertEqual({ok, value('LoopRef', Bindings)}, py_event_loop_pool:get_loop()),
    ?assertEqual(length(py_event_loop_pool:loops()), value('N', Bindings)),
    eventually(fun() -> seen() =:= [[[<<"message">>], #{}]] end).

pool_parallel_processing(_Config) ->
    Module = compile(
        "-export([process_batch/1]).\n"
        "partition(Items, Size) when length(Items) =< Size -> [Items];\n"
        "partition(Items, Size) ->\n"
        "    {Chunk, Rest} = lists:split(Size, Items),\n"
        "    [Chunk | partition(Rest, Size)].\n",
        "%% Process items in parallel using multiple Erlang processes\n"
        "%% Each process gets its own event loop for ordered execution\n"
        "process_batch(Items) ->\n"
        "    Parent = self(),\n"
        "    Pids = [spawn_link(fun() ->\n"
        "        Results = [begin\n"
        "            Ref = py_event_loop_pool:create_task(processor, handle, [Item]),\n"
        "            py_event_loop_pool:await(Ref)\n"
        "        end || Item <- Chunk],\n"
        "        Parent ! {done, self(), Results}\n"
        "    end) || Chunk <- partition(Items, 100)],\n"
        "    [receive {done, Pid, R} -> R end || Pid <- Pids].\n"
    ),
    Items = lists:seq(1, 950),
    ?assertEqual([{ok, 2 * Item} || Item <- Items], lists:append(Module:process_batch(Items))).

%%% asyncio by erlang.run()

timer_basic_usage(_Config) ->
    passes(
        "import erlang\n"
        "import asyncio\n"
        "async def my_handler():\n"
        "    # Sleep using Erlang's timer system\n"
        "    await asyncio.sleep(0.1)  # 100ms - uses erlang:send_after internally\n"
        "    return \"done\"\n"
        "# Run a coroutine with Erlang event loop\n"
        "result = erlang.run(my_handler())\n"
    ),
    ?assertEqual({ok, <<"done">>}, py:eval(<<"result">>)).

timer_asyncio_sleep(_Config) ->
    {Time, ok} = timer:tc(fun() ->
        passes(
            "import erlang\n"
            "import asyncio\n"
            "async def example():\n"
            "    # Simple sleep - uses Erlang timer system\n"
            "    await asyncio.sleep(0.05)  # 50ms\n"
            "erlang.run(example())\n"
        )
    end),
    ?assert(Time >= 50000).

timer_run(_Config) ->
    passes(
        "import erlang\n"
        "import asyncio\n"
        "async def main():\n"
        "    await asyncio.sleep(0.01)\n"
        "    return 42\n"
        "result = erlang.run(main())\n"
        "assert result == 42\n"
    ).

timer_gather(_Config) ->
    passes(
        "import erlang\n"
        "import asyncio\n"
        "async def task(n):\n"
        "    await asyncio.sleep(0.01)\n"
        "    return n * 2\n"
        "async def main():\n"
        "    results = await asyncio.gather(task(1), task(2), task(3))\n"
        "    assert results == [2, 4, 6]\n"
        "erlang.run(main())\n"
    ).

timer_wait_for(_Config) ->
    passes(
        "import erlang\n"
        "import asyncio\n"
        "async def fast_task():\n"
        "    await asyncio.sleep(0.01)\n"
        "    return 'done'\n"
        "async def main():\n"
        "    try:\n"
        "        result = await asyncio.wait_for(fast_task(), timeout=1.0)\n"
        "    except asyncio.TimeoutError:\n"
        "        print(\"Task timed out\")\n"
        "erlang.run(main())\n"
    ).

timer_create_task(_Config) ->
    passes(
        "import erlang\n"
        "import asyncio\n"
        "async def background_work():\n"
        "    await asyncio.sleep(0.1)\n"
        "    return 'background_done'\n"
        "async def main():\n"
        "    task = asyncio.create_task(background_work())\n"
        "    # Do other work while task runs\n"
        "    await asyncio.sleep(0.05)\n"
        "    # Wait for task to complete\n"
        "    result = await task\n"
        "    assert result == 'background_done'\n"
        "erlang.run(main())\n"
    ).

timer_wait(_Config) ->
    passes(
        "import erlang\n"
        "import asyncio\n"
        "async def main():\n"
        "    tasks = [\n"
        "        asyncio.create_task(asyncio.sleep(0.01))\n"
        "        for i in range(3)\n"
        "    ]\n"
        "    done, pending = await asyncio.wait(\n"
        "        tasks,\n"
        "        return_when=asyncio.ALL_COMPLETED\n"
        "    )\n"
        "    assert len(done) == 3\n"
        "    assert len(pending) == 0\n"
        "erlang.run(main())\n"
    ).

%% The last line raises RuntimeError, as its comment says: nothing runs the loop.
timer_loop_functions(_Config) ->
    try
        ?assertMatch(
            {error, {'RuntimeError', <<"no running event loop">>}},
            py:exec(<<
                "import erlang\n"
                "import asyncio\n"
                "# Create a new Erlang-backed event loop\n"
                "loop = erlang.new_event_loop()\n"
                "# Set the current event loop\n"
                "asyncio.set_event_loop(loop)\n"
                "# Get the running loop (raises RuntimeError if none)\n"
                "loop = asyncio.get_running_loop()\n"
            >>)
        ),
        passes(
            "assert type(loop) is erlang.ErlangEventLoop\n"
            "assert asyncio.get_event_loop_policy().get_event_loop() is loop\n"
        )
    after
        passes("asyncio.set_event_loop(None)\nloop.close()\n")
    end.

timer_timeout(_Config) ->
    ok = py:exec(<<"async def slow_operation():\n    await asyncio.sleep(30)\n">>),
    {Time, Result} = timer:tc(fun() ->
        py:exec(<<
            "import erlang\n"
            "import asyncio\n"
            "async def main():\n"
            "    async with asyncio.timeout(1.0):\n"
            "        await slow_operation()  # Raises TimeoutError if > 1s\n"
            "erlang.run(main())\n"
        >>)
    end),
    ?assertMatch({error, {'TimeoutError', _}}, Result),
    ?assert(Time >= 1000000 andalso Time < 20000000).

%%% Helpers

passes(Source) ->
    ?assertEqual(ok, py:exec(list_to_binary(Source))).

value(Name, Bindings) ->
    {value, Value} = erl_eval:binding(Name, Bindings),
    Value.

%% Evaluates expressions as a shell does; the functions that they leave open do nothing.
erlang(Text, Bindings) ->
    Start = lists:foldl(fun({Name, Value}, New) -> erl_eval:add_binding(Name, Value, New) end,
        erl_eval:new_bindings(), Bindings),
    evaluate(Text, 1, Start).

evaluate(Text, Line, Bindings) ->
    case erl_scan:tokens([], Text ++ "\n", Line) of
        {done, {ok, Tokens, Next}, Rest} ->
            {ok, Expressions} = erl_parse:parse_exprs(Tokens),
            {value, _, More} = erl_eval:exprs(Expressions, Bindings, {value, fun(_Name, _Arguments) -> ok end}),
            evaluate(Rest, Next, More);
        {done, {eof, _}, _} ->
            Bindings;
        {more, _} ->
            "" = string:trim(Text),
            Bindings
    end.

%% A module of the piece from the document and of what it leaves open.
compile(Given, Piece) ->
    Module = binary_to_atom(test_support:unique("doc_snippet_")),
    Forms = forms("-module(" ++ atom_to_list(Module) ++ ").\n" ++ Given ++ Piece, 1),
    {ok, Module, Binary} = compile:forms(Forms),
    {module, Module} = code:load_binary(Module, "doc_snippet", Binary),
    Module.

forms(Text, Line) ->
    case erl_scan:tokens([], Text ++ "\n", Line) of
        {done, {ok, Tokens, Next}, Rest} ->
            {ok, Form} = erl_parse:parse_form(Tokens),
            [Form | forms(Rest, Next)];
        _ ->
            []
    end.
