%% @private Supervises the workers of the loops; a killed one is replaced, one whose loop is closed is not.
-module(py_event_worker_sup).

-behaviour(supervisor).

-export([start_link/0, start_worker/1, init/1]).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% @doc Starts the worker of a loop.
-spec start_worker(py_nif:event_loop()) -> supervisor:startchild_ret().
start_worker(Loop) ->
    supervisor:start_child(?MODULE, [<<"loop">>, Loop]).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    %% Workers hold nothing that a fault of theirs could have spoilt, so many may be killed at a time.
    Flags = #{strategy => simple_one_for_one, intensity => 1000, period => 1},
    Worker = #{
        id => py_event_worker,
        start => {py_event_worker, start_supervised, []},
        restart => transient,
        shutdown => 1000
    },
    {ok, {Flags, [Worker]}}.
