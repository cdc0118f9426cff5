%% Time and quantiles for the other modules.
-module(bench_clock).

-export([rate/2, seconds/1, samples/2, summary/1]).

%% @doc Runs Work once and says how many per second that was, when it did Count.
-spec rate(pos_integer(), fun(() -> term())) -> float().
rate(Count, Work) ->
    Count / seconds(Work).

%% @doc Seconds that Work takes.
-spec seconds(fun(() -> term())) -> float().
seconds(Work) ->
    Begin = erlang:monotonic_time(nanosecond),
    _ = Work(),
    (erlang:monotonic_time(nanosecond) - Begin) / 1.0e9.

%% @doc Nanoseconds of each of Count runs of Work, which has to return `ok'.
-spec samples(non_neg_integer(), fun(() -> ok)) -> [integer()].
samples(Count, Work) ->
    samples(Count, Work, []).

samples(0, _Work, Samples) ->
    Samples;
samples(Count, Work, Samples) ->
    Begin = erlang:monotonic_time(nanosecond),
    ok = Work(),
    End = erlang:monotonic_time(nanosecond),
    samples(Count - 1, Work, [End - Begin | Samples]).

%% @doc Median and 99th percentile in microseconds, by the nearest rank.
-spec summary([integer()]) -> #{p50_us := float(), p99_us := float()}.
summary(Samples) ->
    Sorted = list_to_tuple(lists:sort(Samples)),
    #{p50_us => quantile(Sorted, 50) / 1000, p99_us => quantile(Sorted, 99) / 1000}.

quantile(Sorted, Percent) ->
    element(max(1, (tuple_size(Sorted) * Percent + 99) div 100), Sorted).
