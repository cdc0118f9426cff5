%% A request is answered at once; what is only worth knowing is reported in the background, by a task that nobody waits
%% for.
-module(background_processing).

-export([main/0]).

%% What the collector takes for an event.
-define(DELAY, 1000).

-record(request, {path :: binary(), user_id :: integer()}).

-spec main() -> ok.
main() ->
    Collector = local_http_server:start(?DELAY),
    Url = local_http_server:url(Collector, ""),
    Start = erlang:monotonic_time(millisecond),
    Responses = [handle_request(Url, #request{path = <<"/index">>, user_id = N}) || N <- lists:seq(1, 5)],
    Elapsed = erlang:monotonic_time(millisecond) - Start,
    io:format("~b responses ~s the collector~n", [length(Responses), before(Elapsed)]),
    io:format("~b events arrived~n", [arrived(Collector, 5)]).

%% Fire-and-forget analytics
handle_request(Url, Request) ->
    %% Process request...
    Response = process(Request),
    %% Log analytics in background (don't wait)
    ok = py_event_loop:spawn_task(http_requests, track_event, [
        Url,
        <<"page_view">>,
        #{path => Request#request.path, user_id => Request#request.user_id}
    ]),
    Response.

process(#request{path = Path}) -> {200, Path}.

before(Elapsed) when Elapsed < ?DELAY -> "without waiting for";
before(_) -> "after".

%% How many events the collector has, once there are as many or after ten seconds.
arrived(Collector, Count) ->
    arrived(Collector, Count, 1000).

arrived(Collector, Count, Tries) ->
    case length(local_http_server:served(Collector)) of
        Arrived when Arrived >= Count; Tries =:= 0 ->
            Arrived;
        _ ->
            timer:sleep(10),
            arrived(Collector, Count, Tries - 1)
    end.
