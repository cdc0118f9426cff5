#!/usr/bin/env escript
%% -*- erlang -*-
%%! -noshell
%% Python and Erlang call each other in every way at once, and callers and callees are killed, for so many seconds:
%%
%%   test/stress/callback_stress.escript [Seconds]        (600; after rebar3 compile)
%%
%% Ends with status 1 at the first hang, wrong or lost answer, or when processes, threads, descriptors or memory grow.
-module(callback_stress).
-mode(compile).

-define(STEP_LIMIT, 60000).

main([]) ->
    main(["600"]);
main([Text]) ->
    Root = filename:dirname(filename:dirname(filename:dirname(filename:absname(escript:script_name())))),
    true = code:add_pathz(filename:join(Root, "_build/default/lib/erlang_python/ebin")),
    {ok, _} = application:ensure_all_started(erlang_python),
    ok = py:exec(python()),
    register_all(),
    Seconds = list_to_integer(Text),
    Counter = counters:new(1, []),
    io:format("warm-up~n"),
    run_for(Seconds div 10 + 2, Counter),
    Before = footprint(),
    io:format("~p~n", [Before]),
    [
        begin
            run_for(max(1, Seconds div 10), Counter),
            io:format("~p rounds, ~p~n", [counters:get(Counter, 1), footprint()])
        end
     || _ <- lists:seq(1, 10)
    ],
    After = footprint(),
    Grown = [
        Key
     || {Key, Slack} <- [{processes, 5}, {threads, 4}, {waiters, 4}, {descriptors, 8}, {calls, 0}, {rss_mb, 30}],
        maps:get(Key, After) > maps:get(Key, Before) + Slack
    ],
    io:format("before ~p~nafter  ~p~n", [Before, After]),
    case Grown of
        [] -> io:format("passed: ~p rounds in ~p s~n", [counters:get(Counter, 1), Seconds]);
        _ -> io:format("grown: ~p~n", [Grown]), halt(1)
    end.

run_for(Seconds, Counter) ->
    End = erlang:monotonic_time(second) + Seconds,
    Workers = [
        spawn_monitor(fun() -> rounds(Work, End, Counter) end)
     || Work <- works(), _ <- [1, 2]
    ],
    [
        receive
            {'DOWN', Monitor, process, Pid, normal} -> ok;
            {'DOWN', Monitor, process, Pid, Reason} -> io:format("failed: ~p~n", [Reason]), halt(1)
        after (Seconds + 120) * 1000 ->
            io:format("hangs: ~p ~p~n", [process_info(Pid, current_stacktrace), py:info()]),
            halt(1)
        end
     || {Pid, Monitor} <- Workers
    ],
    timer:sleep(500).

rounds(Work, End, Counter) ->
    case erlang:monotonic_time(second) >= End of
        true ->
            ok;
        false ->
            %% Each round in a process of its own: contexts are bound and freed all the time.
            {Pid, Monitor} = spawn_monitor(fun() -> Work() end),
            receive
                {'DOWN', Monitor, process, Pid, normal} -> ok;
                {'DOWN', Monitor, process, Pid, Reason} -> exit({Work, Reason})
            after ?STEP_LIMIT ->
                exit({hangs, Work, process_info(Pid, current_stacktrace), py:info()})
            end,
            counters:add(Counter, 1, 1),
            rounds(Work, End, Counter)
    end.

works() ->
    [
        fun nesting/0, fun mixed_threads/0, fun asynchronous/0, fun killed_callees/0, fun killed_callers/0,
        fun timeouts/0, fun chains/0, fun sends/0, fun spawns/0, fun crowd/0, fun named_contexts/0,
        fun cut_chains/0, fun cancelled/0
    ].

call(Function, Arguments) -> py:call('__main__', Function, Arguments).

nesting() ->
    Depth = rand:uniform(100),
    {ok, Depth} = call(nest, [Depth]),
    {ok, Depth} = py_event_loop_pool:run('__main__', nest, [Depth], #{timeout => ?STEP_LIMIT}).

mixed_threads() ->
    {ok, []} = call(threads, [rand:uniform(10), 20]).

asynchronous() ->
    {ok, true} = py_event_loop_pool:run('__main__', many, [200], #{timeout => ?STEP_LIMIT}),
    {ok, true} = call(stock_loop, [50]).

killed_callees() ->
    {ok, <<"killed">>} = call(caught, [stress_kill]),
    {ok, <<"killed">>} = call(caught, [stress_killed_late]),
    {error, {<<"erlang.ErlangError">>, <<"exit: killed">>}} = call(scheduled, [stress_kill]).

killed_callers() ->
    Pids = [spawn(fun() -> _ = call(nest, [50]), _ = call(delayed, [20]) end) || _ <- [1, 2, 3]],
    timer:sleep(rand:uniform(10)),
    [exit(Pid, kill) || Pid <- Pids].

timeouts() ->
    Value = rand:uniform(1000000),
    case call(limited, [Value, rand:uniform(3), 0.002]) of
        {ok, Value} -> ok;
        {ok, <<"timeout">>} -> ok
    end,
    case py:call('__main__', delayed, [3], #{}, 2) of
        {ok, 3} -> ok;
        {error, timeout} -> ok
    end.

chains() ->
    {ok, 2000} = call(chain, [2000]),
    {ok, 2000} = py_event_loop_pool:run('__main__', chain, [2000], #{timeout => ?STEP_LIMIT}).

sends() ->
    {ok, none} = call(send, [self(), 500]),
    Expected = lists:seq(0, 499),
    Expected = [receive I when is_integer(I) -> I after 10000 -> exit(lost_message) end || _ <- Expected].

spawns() ->
    {ok, none} = call(spawn_tell, [self()]),
    receive told -> ok; <<"told">> -> ok after 30000 -> exit(lost_task) end.

%% Fifty chains at once; each answer is its own.
crowd() ->
    Self = self(),
    Pids = [spawn_link(fun() -> Self ! {self(), N, call(nest, [N])} end) || N <- lists:seq(1, 50)],
    [receive {Pid, N, Result} -> {ok, N} = Result end || Pid <- Pids].

%% Chains on a context that each level names. (Two chains on several contexts could wait for each other.)
named_contexts() ->
    Depth = rand:uniform(60),
    {ok, Depth} = named_call(rand:uniform(3), Depth).

named_call(Context, Depth) ->
    py:call(py:context(Context), '__main__', nest, [Depth, stress_named, Context]).

%% A callback in the middle of a chain dies, at once or while Python runs for it; all levels above it hear of that.
cut_chains() ->
    Depth = 1 + rand:uniform(50),
    At = rand:uniform(Depth) - 1,
    {error, {<<"erlang.ErlangError">>, _}} = call(cut, [Depth, At, true]),
    case call(cut, [Depth, At, false]) of
        {ok, Depth} -> ok;
        {error, {<<"erlang.ErlangError">>, _}} -> ok
    end.

cancelled() ->
    Refs = [py_event_loop_pool:create_task('__main__', wait_for_ever, []) || _ <- lists:seq(1, 20)],
    timer:sleep(rand:uniform(5)),
    [ok = py_event_loop_pool:cancel(Ref) || Ref <- Refs],
    Results = py_event_loop_pool:await_all(Refs, ?STEP_LIMIT),
    [{error, cancelled}] = lists:usort(Results).

register_all() ->
    ok = py_callback:register(stress_nest, fun([N]) -> {ok, V} = call(nest, [N]), V end),
    ok = py_callback:register(stress_named, fun([N, Context]) -> {ok, V} = named_call(Context, N), V end),
    ok = py_callback:register(stress_cut, fun
        ([At, At, true]) ->
            exit(self(), kill);
        ([N, At, AtOnce]) ->
            Self = self(),
            _ = N =:= At andalso spawn(fun() -> timer:sleep(rand:uniform(3) - 1), exit(Self, kill) end),
            {ok, V} = call(cut, [N, At, AtOnce]),
            V
    end),
    ok = py_callback:register(stress_never, fun([]) -> timer:sleep(100) end),
    ok = py_callback:register(stress_delayed, fun([X, Milliseconds]) -> timer:sleep(Milliseconds), X end),
    ok = py_callback:register(stress_identity, fun([X]) -> X end),
    ok = py_callback:register(stress_kill, fun([]) -> exit(self(), kill) end),
    ok = py_callback:register(stress_killed_late, fun([]) ->
        Self = self(),
        spawn(fun() -> timer:sleep(rand:uniform(5)), exit(Self, kill) end),
        {ok, _} = call(nest, [20]),
        receive never -> ok end
    end).

footprint() ->
    {ok, #{threads := Threads, waiters := Waiters, calls := Calls}} = py:info(),
    {ok, Descriptors} = file:list_dir("/proc/self/fd"),
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [Rss]} = re:run(Status, "VmRSS:\\s+(\\d+)", [{capture, all_but_first, list}]),
    #{
        processes => erlang:system_info(process_count),
        threads => Threads,
        waiters => Waiters,
        calls => Calls,
        descriptors => length(Descriptors),
        rss_mb => list_to_integer(Rss) div 1024
    }.

python() ->
    <<"
import asyncio, random, threading
import erlang

def nest(n, name='stress_nest', *context):
    return 0 if n <= 0 else erlang.call(name, n - 1, *context) + 1

def cut(n, at, at_once):
    return 0 if n <= 0 else erlang.call('stress_cut', n - 1, at, at_once) + 1

async def wait_for_ever():
    await asyncio.gather(*(erlang.async_call('stress_never') for _ in range(3)), asyncio.sleep(3600))

def delayed(ms):
    return erlang.call('stress_delayed', ms, ms)

def limited(value, ms, seconds):
    try:
        return erlang.call('stress_delayed', value, ms, timeout=seconds)
    except TimeoutError:
        return 'timeout'

def caught(name):
    try:
        erlang.call(name)
    except erlang.ErlangError as error:
        return error.reason

def scheduled(name):
    return erlang.schedule(name)

def threads(count, each):
    wrong = []
    def work(number):
        for i in range(each):
            value = number * 1000 + i
            name, more = ('stress_delayed', (random.randrange(3),)) if i % 4 == 0 else ('stress_identity', ())
            answer = erlang.call(name, value, *more)
            if answer != value:
                wrong.append((value, answer))
    workers = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
    return wrong

async def many(n):
    answers = await asyncio.gather(*(erlang.async_call('stress_delayed', i, i % 4) for i in range(n)))
    future = erlang.async_call('stress_delayed', 0, 1)
    future.cancel()
    return answers == list(range(n))

def stock_loop(n):
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(many(n))

def chain(n, i=0):
    if i == n:
        return erlang.schedule('stress_identity', i)
    step = erlang.schedule_inline if i % 5 else erlang.schedule_py
    return step('__main__', 'chain', [n, i + 1])

def send(to, n):
    for i in range(n):
        erlang.send(to, i)

async def tell(to):
    await asyncio.sleep(0.001)
    await erlang.async_call('stress_identity', 1)
    erlang.send(to, 'told')

def spawn_tell(to):
    erlang.spawn_task(tell(to))
">>.
