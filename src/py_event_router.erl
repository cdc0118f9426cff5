%% @doc The older name of {@link py_event_worker}.
-module(py_event_router).

-export([start_link/1]).

%% @doc Starts a worker for the loop.
-spec start_link(py_nif:event_loop()) -> {ok, pid()} | ignore | {error, term()}.
start_link(Loop) ->
    py_event_worker:start_link(<<"router">>, Loop).
