%% The short tour that `make run` shows: every line of its output is a call and what came back.
-module(tour).

-export([main/0]).

-define(SLEEPERS, 1000).
-define(SECONDS, 0.5).

%% Runs the tour and ends the VM: with status 0, or 1 when something is not as it should be.
-spec main() -> no_return().
main() ->
    {ok, _} = application:ensure_all_started(erlang_python),
    try
        function(),
        coroutine(),
        thousand_coroutines(),
        exception()
    of
        _ -> halt(0)
    catch
        Class:Reason:Stack ->
            io:format("~nThe tour failed: ~p:~p~n~p~n", [Class, Reason, Stack]),
            halt(1)
    end.

function() ->
    io:format("A function:~n"),
    show("py_event_loop:run(math, sqrt, [16.0])"),
    {ok, 4.0} = print(py_event_loop:run(math, sqrt, [16.0])).

coroutine() ->
    io:format("~nA coroutine; while it sleeps, no thread of the VM and none of Python's is busy:~n"),
    show("py_event_loop:run(asyncio, sleep, [0.1, done])"),
    {ok, <<"done">>} = print(py_event_loop:run(asyncio, sleep, [0.1, done])).

thousand_coroutines() ->
    io:format("~n~b coroutines that each sleep ~p s, all at once:~n", [?SLEEPERS, ?SECONDS]),
    show("Tasks = [py_event_loop:create_task(asyncio, sleep, [0.5, N]) || N <- lists:seq(1, 1000)]"),
    show("[py_event_loop:await(Task) || Task <- Tasks]"),
    Numbers = lists:seq(1, ?SLEEPERS),
    Start = erlang:monotonic_time(millisecond),
    Tasks = [py_event_loop:create_task(asyncio, sleep, [?SECONDS, N]) || N <- Numbers],
    Results = [py_event_loop:await(Task) || Task <- Tasks],
    Elapsed = erlang:monotonic_time(millisecond) - Start,
    Results = [{ok, N} || N <- Numbers],
    io:format("  -> ~b results after ~b ms~n", [length(Results), Elapsed]),
    %% One after another they would take 500 s; ten times one sleep leaves room for a busy machine.
    true = Elapsed < ?SECONDS * 1000 * 10.

exception() ->
    io:format("~nAn exception:~n"),
    show("py_event_loop:run(json, loads, [<<\"{\">>])"),
    {error, {_Class, _Message}} = print(py_event_loop:run(json, loads, [<<"{">>])).

show(Call) -> io:format("  ~s~n", [Call]).

print(Result) ->
    io:format("  -> ~p~n", [Result]),
    Result.
