%% The work that scripts/refresh-pgo.sh profiles.
-module(pgo_work).

-export([main/1]).

%% Runs the mix for about that many seconds, then stops the application, which closes the profile, and the VM.
-spec main(pos_integer()) -> no_return().
main(Seconds) ->
    {ok, _} = application:ensure_all_started(erlang_python),
    Kinds = [fun sequential/1, fun fifty/1, fun coroutines/1, fun calls/1],
    Share = Seconds * 1000 div length(Kinds),
    [Kind(erlang:monotonic_time(millisecond) + Share) || Kind <- Kinds],
    ok = application:stop(erlang_python),
    halt(0).

sequential(End) ->
    repeat(End, fun() -> {ok, 4.0} = py_event_loop:run(math, sqrt, [16.0]) end).

fifty(End) ->
    Workers = [spawn_monitor(fun() -> sequential(End) end) || _ <- lists:seq(1, 50)],
    [receive {'DOWN', Reference, process, Pid, normal} -> ok end || {Pid, Reference} <- Workers].

coroutines(End) ->
    repeat(End, fun() ->
        Tasks = [py_event_loop:create_task(asyncio, sleep, [0, N]) || N <- lists:seq(1, 200)],
        [{ok, _} = py_event_loop:await(Task) || Task <- Tasks]
    end).

calls(End) ->
    repeat(End, fun() -> {ok, 4.0} = py:call(math, sqrt, [16.0]) end).

repeat(End, Work) ->
    Work(),
    case erlang:monotonic_time(millisecond) < End of
        true -> repeat(End, Work);
        false -> ok
    end.
