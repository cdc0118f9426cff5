%% @doc Owns Python for one run of the application: starts it, or joins the one that an earlier run started, and ends
%% what belongs to the run.
-module(py_runtime).

-behaviour(gen_server).

-export([start_link/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(START_TIMEOUT, 60000).

-spec start_link(py_config:config()) -> {ok, pid()} | {error, term()}.
start_link(Config) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, Config, [{timeout, infinity}]).

-spec init(py_config:config()) -> {ok, py_config:config()} | {stop, term()}.
init(Config) ->
    process_flag(trap_exit, true),
    case py_nif:runtime_start(Config) of
        ok -> await_start(Config);
        {error, Reason} -> {stop, {python, Reason}}
    end.

await_start(Config) ->
    receive
        {python_started, ok} -> {ok, Config};
        {python_started, {error, Reason}} -> {stop, {python, Reason}}
    after ?START_TIMEOUT -> {stop, {python, timeout}}
    end.

-spec handle_call(term(), gen_server:from(), State) -> {reply, {error, unknown_call}, State}.
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), State) -> {noreply, State}.
handle_cast(_Message, State) ->
    {noreply, State}.

-spec handle_info(term(), State) -> {noreply, State}.
handle_info(_Message, State) ->
    {noreply, State}.

-spec terminate(term(), py_config:config()) -> ok.
terminate(_Reason, _Config) ->
    py_nif:runtime_stop().
