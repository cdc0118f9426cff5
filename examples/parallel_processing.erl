%% Many items, a process for each chunk of them: the tasks of a process run in order on its loop of the pool, those of
%% different processes at once.
-module(parallel_processing).

-export([main/0]).

-define(ITEMS, 40).
-define(DELAY, 200).

-spec main() -> ok.
main() ->
    Server = local_http_server:start(?DELAY),
    Url = local_http_server:url(Server, ""),
    Start = erlang:monotonic_time(millisecond),
    Results = lists:append(process_batch(Url, lists:seq(1, ?ITEMS))),
    Elapsed = erlang:monotonic_time(millisecond) - Start,
    io:format("~b items, ~b letters~n", [length(Results), lists:sum([Letters || {ok, Letters} <- Results])]),
    io:format("in less than the ~b ms of one after another: ~p~n", [?ITEMS * ?DELAY, Elapsed < ?ITEMS * ?DELAY]).

%% Process items in parallel using multiple Erlang processes
%% Each process gets its own event loop for ordered execution
process_batch(Url, Items) ->
    Parent = self(),
    Pids = [
        spawn_link(fun() ->
            Results = [
                begin
                    Ref = py_event_loop_pool:create_task(http_requests, handle, [Url, Item]),
                    py_event_loop_pool:await(Ref)
                end
             || Item <- Chunk
            ],
            Parent ! {done, self(), Results}
        end)
     || Chunk <- partition(Items, 5)
    ],
    [receive {done, Pid, R} -> R end || Pid <- Pids].

%% Chunks of that many items; the last one may have fewer.
partition(Items, Size) when length(Items) =< Size -> [Items];
partition(Items, Size) ->
    {Chunk, Rest} = lists:split(Size, Items),
    [Chunk | partition(Rest, Size)].
