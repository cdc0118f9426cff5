%% What bench_isolated.py measures inside a VM: calls to Python in processes of its own, and in the VM.
-module(bench_isolated_cases).

-export([prepare/0, calls/2, processes/3, values/3, parallel/2, start/0, memory/0]).

-type where() :: isolated | vm.

-define(KEY, ?MODULE).

%% @doc Starts two servers, which live as long as the VM.
-spec prepare() -> true.
prepare() ->
    Self = self(),
    _ = spawn(fun() ->
        Servers = [element(2, {ok, _} = py_isolated:start_link(#{})) || _ <- [1, 2]],
        persistent_term:put(?KEY, Servers),
        Self ! prepared,
        receive never -> ok end
    end),
    receive prepared -> ok end,
    Code = <<"import operator\ndef bench_work(n):\n    return sum(i * i for i in range(n * 10000))">>,
    [ok = py_isolated:exec(Server, Code) || Server <- servers()],
    ok = py:exec(Code),
    true.

servers() -> persistent_term:get(?KEY).

call(isolated, Server, Module, Function, Arguments) -> py_isolated:call(Server, Module, Function, Arguments);
call(vm, _, Module, Function, Arguments) -> py:call(Module, Function, Arguments).

%% @doc Microseconds of a call.
-spec calls(where(), pos_integer()) -> map().
calls(Where, Count) ->
    Server = hd(servers()),
    bench_clock:summary(bench_clock:samples(Count, fun() -> {ok, 2.0} = call(Where, Server, math, sqrt, [4.0]), ok end)).

%% @doc Calls per second of several processes.
-spec processes(where(), pos_integer(), pos_integer()) -> float().
processes(Where, Processes, Count) ->
    Server = hd(servers()),
    Self = self(),
    Each = max(1, Count div Processes),
    bench_clock:rate(Processes * Each, fun() ->
        Pids = [
            spawn_link(fun() ->
                [{ok, 2.0} = call(Where, Server, math, sqrt, [4.0]) || _ <- lists:seq(1, Each)],
                Self ! {done, self()}
            end)
         || _ <- lists:seq(1, Processes)
        ],
        [receive {done, Pid} -> ok end || Pid <- Pids]
    end).

%% @doc Microseconds in which a value goes to Python and comes back, the mean of several.
-spec values(where(), integers | bytes | documents, pos_integer()) -> float().
values(Where, Kind, Count) ->
    Server = hd(servers()),
    Value = value(Kind),
    {Time, _} = timer:tc(fun() ->
        [{ok, Value} = call(Where, Server, operator, concat, [Value | extra(Kind)]) || _ <- lists:seq(1, Count)]
    end),
    Time / Count.

%% Concatenation with nothing returns it.
extra(bytes) -> [<<>>];
extra(_) -> [[]].

value(integers) -> lists:seq(1, 10000);
value(bytes) -> binary:copy(<<"x">>, 1000000);
value(documents) ->
    [#{<<"id">> => N, <<"name">> => <<"name">>, <<"tags">> => [<<"a">>, <<"b">>], <<"score">> => 0.5} || N <- lists:seq(1, 100)].

%% @doc Microseconds in which two processes' computations are done that start at once.
-spec parallel(where(), pos_integer()) -> non_neg_integer().
parallel(Where, Size) ->
    Self = self(),
    {Time, _} = timer:tc(fun() ->
        Pids = [
            spawn_link(fun() ->
                {ok, _} = call(Where, Server, '__main__', bench_work, [Size]),
                Self ! {done, self()}
            end)
         || Server <- servers()
        ],
        [receive {done, Pid} -> ok end || Pid <- Pids]
    end),
    Time.

%% @doc Microseconds from the start of a server to the answer of its first call.
-spec start() -> non_neg_integer().
start() ->
    {Time, {ok, Server}} = timer:tc(fun() ->
        {ok, Server} = py_isolated:start_link(#{}),
        {ok, 2.0} = py_isolated:call(Server, math, sqrt, [4.0]),
        {ok, Server}
    end),
    ok = py_isolated:stop(Server),
    Time.

%% @doc What a process has of its own, in kB, as far as the system tells.
-spec memory() -> non_neg_integer().
memory() ->
    #{os_pid := OsPid} = py_isolated:info(hd(servers())),
    {ok, Text} = file:read_file("/proc/" ++ integer_to_list(OsPid) ++ "/status"),
    {match, [Kilobytes]} = re:run(Text, "VmRSS:\\s+([0-9]+) kB", [{capture, all_but_first, list}]),
    list_to_integer(Kilobytes).
