%% @doc The top supervisor. `rest_for_one': without Python nothing after it can work.
-module(erlang_python_sup).

-behaviour(supervisor).

-export([start_link/1, init/1]).

-spec start_link(py_config:config()) -> {ok, pid()} | {error, term()}.
start_link(Config) ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, Config).

-spec init(py_config:config()) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(Config) ->
    %% The tables belong to this process, so that what is in them survives a restart of any worker.
    ok = py_callback:new_table(),
    ok = py_stream_server:new_table(),
    Flags = #{strategy => rest_for_one, intensity => 10, period => 10},
    {ok,
        {Flags, [
            worker(py_log, []),
            worker(py_runtime, [Config]),
            %% Before the loops: the end of one of these is nothing to Python's calls of Erlang.
            supervisor(py_callback_sup),
            supervisor(py_event_worker_sup),
            worker(py_event_worker_starter, []),
            worker(py_event_loop, []),
            worker(py_event_loop_pool, [Config]),
            worker(py_stream_server, [])
        ]}}.

supervisor(Module) ->
    #{id => Module, start => {Module, start_link, []}, type => supervisor}.

worker(Module, Args) ->
    #{id => Module, start => {Module, start_link, Args}, shutdown => 5000}.
