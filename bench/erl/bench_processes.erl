%% Many processes that do the same thing at once.
-module(bench_processes).

-export([rate/3]).

%% @doc How often per second Work runs when so many processes run it Each times. They wait for a start signal, so
%% that their creation is not counted.
-spec rate(pos_integer(), pos_integer(), fun(() -> term())) -> float().
rate(Processes, Each, Work) ->
    Workers = [spawn_monitor(fun() -> worker(Each, Work) end) || _ <- lists:seq(1, Processes)],
    bench_clock:rate(Processes * Each, fun() ->
        [Pid ! start || {Pid, _} <- Workers],
        [receive {'DOWN', Monitor, process, Pid, Reason} -> normal = Reason end || {Pid, Monitor} <- Workers]
    end).

worker(Each, Work) ->
    receive start -> ok end,
    repeat(Each, Work).

repeat(0, _Work) ->
    ok;
repeat(Count, Work) ->
    _ = Work(),
    repeat(Count - 1, Work).
