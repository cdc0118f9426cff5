%% @private What Python needs to reach Erlang.
-module(py_callback_sup).

-behaviour(supervisor).

-export([start_link/0, init/1]).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Flags = #{strategy => one_for_one, intensity => 100, period => 10},
    {ok,
        {Flags, [
            #{id => Module, start => {Module, start_link, []}, shutdown => 5000}
         || Module <- [py_callback, py_callback_sender, py_callback_server]
        ]}}.
