%% Faults under the event loop: descriptors that go away, too few of them, peers that misbehave. Each case in a VM of its
%% own, which must answer afterwards.
-module(py_fault_SUITE).

-compile([export_all, nowarn_export_all]).

all() ->
    [
        closed_behind, closed_transport, out_of_descriptors, reset, half_close, byte_by_byte, never_reads,
        many_connections, no_buffers, stale, stale_without_descriptors, threads_without_descriptors, high_poll_set,
        lossy_link, soak
    ].

suite() -> [{timetrap, {minutes, 4}}].

folder() -> filename:join(filename:dirname(code:which(?MODULE)), "hostile").

%% The result of a coroutine of faults.py, on a context's asyncio.run would be another loop: here it is the pool's.
run(Function, Arguments) ->
    Environment = [{python_path, [folder()]}, {sandbox, #{limits => allow}}],
    {ok, Value} = py_vm:run(py_event_loop, run, [faults, Function, Arguments, #{timeout => 60000}], #{env => Environment}),
    Value.

closed_behind(_) -> [<<"CancelledError">>, <<"other">>] = cancelled(run(closed_behind, [])).

%% wait_for raises TimeoutError or the task's cancellation, depending on the version.
cancelled(Ends) -> lists:usort([case End of <<"TimeoutError">> -> <<"CancelledError">>; _ -> End end || End <- Ends]).

closed_transport(_) ->
    true = is_binary(run(closed_transport, [])).

out_of_descriptors(_) -> [0, <<"OSError">>, true] = run(out_of_descriptors, []).

reset(_) ->
    Seen = run(reset, []),
    <<"60">> = lists:last(Seen),
    true = lists:member(<<"ConnectionResetError">>, Seen).

half_close(_) -> [1000000, true] = run(half_close, []).

byte_by_byte(_) -> 50 = run(byte_by_byte, []).

never_reads(_) -> [true, true] = run(never_reads, []).

%% 10,000 connections, half of them dropped with a reset.
many_connections(_) ->
    [Served, 0] = run(many_connections, [10000, 100]),
    true = Served >= 5000.

no_buffers(_) ->
    Seen = run(no_buffers, []),
    <<"False">> = lists:last(Seen),
    true = length(Seen) >= 2.

%% The VM is in a network namespace whose only way out loses 5 packets of 100, doubles 2 and holds each for 5 to 40
%% milliseconds, so that they overtake each other.
lossy_link(_) ->
    case missing() of
        [] -> over_lossy_link();
        Missing -> {skip, "needs " ++ lists:join(", ", Missing)}
    end.

over_lossy_link() ->
    {ok, Python} = py_vm:run(py, eval, [<<"__import__('sys').executable">>]),
    Link = outside_program:start(binary_to_list(Python), [filename:join(folder(), "lossy_link.py"), "0.05", "0.02", "0.005", "0.04"]),
    try
        [Namespace] = outside_program:wait_for(Link, "^ready (\\S+)$", 30000),
        Environment = [{python_path, [folder()]}],
        {ok, Seen} = py_vm:run(py_event_loop, run, [faults, lossy_link, [<<"10.77.0.2">>], #{timeout => 90000}], #{
            env => Environment, within => ["nsenter", "--net=" ++ binary_to_list(Namespace)]
        }),
        ct:pal("~p", [Seen]),
        #{
            <<"streams">> := [true, true, true, true, true],
            <<"strange">> := 0,
            <<"lost">> := Lost,
            <<"doubled">> := Doubled,
            <<"ordered">> := false,
            <<"nobody">> := [<<"TimeoutError">>],
            <<"bounded">> := true,
            <<"descriptors">> := 0
        } = Seen,
        %% The network was what it is meant to be.
        true = Lost > 0 andalso Lost < 200,
        true = Doubled > 0
    after
        outside_program:stop(Link)
    end.

%% What the case needs and the machine has not.
missing() ->
    Root = string:trim(os:cmd("id -u")) =:= "0",
    Namespace = Root andalso string:trim(os:cmd("unshare --net true && echo made")) =:= "made",
    [What || {What, false} <- [
        {"root", Root},
        {"network namespaces", Namespace},
        {"/dev/net/tun", element(1, file:read_file_info("/dev/net/tun")) =:= ok},
        {"nsenter", os:find_executable("nsenter") =/= false},
        {"ip", os:find_executable("ip") =/= false}
    ]].

%% A descriptor was closed while a duplicate keeps the file open: the poll set is replaced, and the old one closed.
stale(_) -> 0 = run(stale, [20]).

stale_without_descriptors(_) -> true = run(stale_without_descriptors, []).

%% No descriptor, so no thread either: the contexts that there are take the calls, tasks wait for a thread of their loop.
threads_without_descriptors(_) ->
    Environment = [{python_path, [folder()]}, {sandbox, #{limits => allow}}, {contexts, 4}],
    ok = py_vm:run(?MODULE, run_threads_without_descriptors, [], #{env => Environment}).

run_threads_without_descriptors() ->
    %% What the code server would have to read then.
    _ = [code:ensure_loaded(Module) || Module <- [py_event_loop, py_event_loop_pool, py_task, logger, logger_server]],
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{receiver => self()}}),
    {ok, Taken} = py:call(faults, take_descriptors, []),
    true = Taken > 0,
    Callers = [spawn_monitor(fun() -> exit(py:call(math, sqrt, [16.0], #{}, 10000)) end) || _ <- lists:seq(1, 20)],
    Answers = [receive {'DOWN', Monitor, process, Pid, Why} -> Why end || {Pid, Monitor} <- Callers],
    %% All contexts are busy for a while.
    ok = py:cast(time, sleep, [0.5]),
    {Pid1, Monitor1} = spawn_monitor(fun() -> exit(py:call(math, sqrt, [16.0], #{}, 10000)) end),
    Later = receive {'DOWN', Monitor1, process, Pid1, Why1} -> Why1 end,
    Task = py_event_loop:create_task(math, sqrt, [16.0]),
    Waits = py_event_loop:await(Task, 500),
    {ok, none} = py:call(faults, give_descriptors, []),
    Answered = py_event_loop:await(Task, 10000),
    ok = logger:remove_handler(?MODULE),
    {Later, Waits, Answered} = {{ok, 4.0}, {error, timeout}, {ok, 4.0}},
    [{ok, 4.0}] = lists:usort(Answers),
    %% The first failure of several in a row.
    Logged = logged(0),
    true = Logged >= 1 andalso Logged < 20,
    ok.

%% @private The handler of logger.
log(#{msg := {"erlang_python: ~ts", [Text]}}, #{config := #{receiver := Receiver}}) -> Receiver ! {logged, Text};
log(_, _) -> ok.

logged(Count) ->
    receive
        {logged, _} -> logged(Count + 1)
    after 0 -> Count
    end.

%% The VM learns the limit on descriptors when it starts, and waits for none above it.
high_poll_set(_) ->
    ok = py_vm:run(?MODULE, run_high_poll_set, [], #{
        env => [{python_path, [folder()]}], descriptors => 256, timeout => 60000
    }).

run_high_poll_set() ->
    {ok, none} = py:call(faults, take_descriptors_below, [300]),
    {ok, Late} = py:call(faults, lateness, [], #{}, 30000),
    true = Late < 9,
    {ok, Loop} = py_nif:event_loop_new(),
    {ok, {ReadFd, WriteFd}} = py_nif:create_test_pipe(),
    {ok, Reader} = py_nif:add_reader(Loop, ReadFd, 1),
    Self = self(),
    spawn_link(fun() -> Self ! {polled, py_nif:poll_events(Loop, 20000)} end),
    timer:sleep(200),
    {ok, 1} = py_nif:write_test_fd(WriteFd, <<"x">>),
    receive {polled, 1} -> ok after 10000 -> error(not_told) end,
    ok = py_nif:remove_reader(Loop, Reader),
    ok = py_nif:event_loop_destroy(Loop),
    ok.

%% The short form of `make soak'.
soak(_) ->
    Samples = py_vm:run(py_soak, run, [16, 4], #{
        env => [{python_path, [folder()]}, {contexts, 16}, {event_loop_pool_size, 2}], timeout => 200000
    }),
    ct:pal("~ts", [py_soak:report(Samples)]),
    %% Too short to tell a leak from warming up.
    [] = [Problem || Problem <- py_soak:problems(Samples), element(1, Problem) =/= rss_kb_per_round].
