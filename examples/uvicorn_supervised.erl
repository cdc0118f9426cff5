%% A supervisor with a FastAPI application, served by uvicorn, as its child:
%%
%%   sh examples/run.sh examples/uvicorn_supervised.erl
%%
%%   curl http://127.0.0.1:8000/
%%   curl -X POST -H 'Content-Type: application/json' -d '{"dividend": 1, "divisor": 0}' http://127.0.0.1:8000/jobs
%%
%% The second request makes a task of the application raise; the supervisor starts the server again.
-module(uvicorn_supervised).

-behaviour(supervisor).

-export([main/0, start_link/1, init/1]).

-spec main() -> no_return().
main() ->
    {ok, Supervisor} = start_link(#{host => <<"127.0.0.1">>, port => 8000}),
    [{_, Worker, _, _}] = supervisor:which_children(Supervisor),
    io:format("http://127.0.0.1:~b/~n", [uvicorn_worker:port(Worker)]),
    timer:sleep(infinity).

-spec start_link(uvicorn_worker:address()) -> {ok, pid()} | {error, term()}.
start_link(Address) ->
    supervisor:start_link(?MODULE, Address).

-spec init(uvicorn_worker:address()) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(Address) ->
    {ok, {#{strategy => one_for_one, intensity => 5, period => 10}, [uvicorn_worker:child_spec(server, Address)]}}.
