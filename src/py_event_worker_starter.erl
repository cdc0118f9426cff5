%% @private Starts a worker for each loop that asks for one, which the core does when the loop first parks.
-module(py_event_worker_starter).

-behaviour(gen_server).

-export([start_link/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec init([]) -> {ok, no_state}.
init([]) ->
    ok = py_nif:worker_starter(self()),
    {ok, no_state}.

-spec handle_call(term(), gen_server:from(), State) -> {reply, {error, unknown_call}, State}.
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), State) -> {noreply, State}.
handle_cast(_Message, State) ->
    {noreply, State}.

-spec handle_info(term(), State) -> {noreply, State}.
handle_info({start_worker, Loop}, State) ->
    _ = py_event_worker_sup:start_worker(Loop),
    {noreply, State};
handle_info(_Message, State) ->
    {noreply, State}.
