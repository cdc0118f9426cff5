%% Several HTTP requests at once, from one process: they take as long as the slowest of them.
-module(concurrent_http_requests).

-export([main/0]).

-define(DELAY, 1000).

-spec main() -> ok.
main() ->
    Server = local_http_server:start(?DELAY),
    Start = erlang:monotonic_time(millisecond),
    %% Submit multiple requests concurrently
    Refs = [
        py_event_loop:create_task(http_requests, get, [local_http_server:url(Server, Path)])
     || Path <- ["/users", "/posts", "/comments"]
    ],
    %% Await all results
    Results = [py_event_loop:await(Ref, 10000) || Ref <- Refs],
    Elapsed = erlang:monotonic_time(millisecond) - Start,
    [io:format("~ts~n", [Body]) || {ok, Body} <- Results],
    io:format("3 requests of ~b ms: ~s~n", [?DELAY, verdict(Elapsed)]).

verdict(Elapsed) when Elapsed < 3 * ?DELAY -> "at once";
verdict(_) -> "one after another".
