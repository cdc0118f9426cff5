%% A plain supervisor of the children that it is given.
-module(isolated_supervisor).

-behaviour(supervisor).

-export([init/1]).

init(Children) ->
    {ok, {#{strategy => one_for_one, intensity => 3, period => 10}, Children}}.
