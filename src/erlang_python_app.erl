%% @doc The application: checks its environment, then starts the supervision tree, whose first child starts Python.
-module(erlang_python_app).

-behaviour(application).

-export([start/2, stop/1]).

-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    case py_config:read() of
        {ok, Config} -> erlang_python_sup:start_link(Config);
        {error, Reason} -> {error, Reason}
    end.

-spec stop(term()) -> ok.
stop(_State) ->
    ok.
