%% @doc A pool of event loops: the calls of {@link py_event_loop}, spread over several loops.
%%
%% All tasks of one process go to one loop, chosen by its pid, and start there in order. The environment key
%% `event_loop_pool_size' gives the number of loops; a loop's thread is started with its first task.
-module(py_event_loop_pool).

-behaviour(gen_server).

-export([start_link/1]).
-export([run/3, run/4, create_task/3, create_task/4, spawn_task/3, spawn_task/4]).
-export([await/1, await/2, await_all/1, await_all/2, cancel/1]).
-export([get_loop/0, get_stats/0, loops/0]).
-export([init/1, handle_call/3, handle_cast/2, terminate/2]).

-define(KEY, {?MODULE, loops}).

%% @private
-spec start_link(py_config:config()) -> {ok, pid()} | {error, term()}.
start_link(Config) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, Config, []).

%% @doc See {@link py_event_loop:run/3}.
-spec run(py_nif:name(), py_nif:name(), [term()]) -> {ok, term()} | {error, term()}.
run(Module, Function, Arguments) ->
    py_event_loop:run_on(loop(), Module, Function, Arguments, #{}).

%% @doc See {@link py_event_loop:run/4}.
-spec run(py_nif:name(), py_nif:name(), [term()], py_event_loop:options()) -> {ok, term()} | {error, term()}.
run(Module, Function, Arguments, Options) ->
    py_event_loop:run_on(loop(), Module, Function, Arguments, Options).

%% @doc See {@link py_event_loop:create_task/3}.
-spec create_task(py_nif:name(), py_nif:name(), [term()]) -> reference().
create_task(Module, Function, Arguments) ->
    py_event_loop:create_task_on(loop(), Module, Function, Arguments, #{}, 0).

%% @doc See {@link py_event_loop:create_task/4}.
-spec create_task(py_nif:name(), py_nif:name(), [term()], map()) -> reference().
create_task(Module, Function, Arguments, Keywords) ->
    py_event_loop:create_task_on(loop(), Module, Function, Arguments, Keywords, 0).

%% @doc See {@link py_event_loop:spawn_task/3}.
-spec spawn_task(py_nif:name(), py_nif:name(), [term()]) -> ok | {error, busy | closed}.
spawn_task(Module, Function, Arguments) ->
    py_event_loop:spawn_task_on(loop(), Module, Function, Arguments, #{}).

%% @doc See {@link py_event_loop:spawn_task/4}.
-spec spawn_task(py_nif:name(), py_nif:name(), [term()], map()) -> ok | {error, busy | closed}.
spawn_task(Module, Function, Arguments, Keywords) ->
    py_event_loop:spawn_task_on(loop(), Module, Function, Arguments, Keywords).

%% @doc See {@link py_event_loop:await/1}.
-spec await(reference()) -> {ok, term()} | {error, term()}.
await(Reference) ->
    py_event_loop:await(Reference).

%% @doc See {@link py_event_loop:await/2}.
-spec await(reference(), timeout()) -> {ok, term()} | {error, term()}.
await(Reference, Timeout) ->
    py_event_loop:await(Reference, Timeout).

%% @doc See {@link py_event_loop:await_all/1}.
-spec await_all([reference()]) -> [{ok, term()} | {error, term()}].
await_all(References) ->
    py_event_loop:await_all(References).

%% @doc See {@link py_event_loop:await_all/2}.
-spec await_all([reference()], timeout()) -> [{ok, term()} | {error, term()}].
await_all(References, Timeout) ->
    py_event_loop:await_all(References, Timeout).

%% @doc See {@link py_event_loop:cancel/1}.
-spec cancel(reference()) -> ok.
cancel(Reference) ->
    py_event_loop:cancel(Reference).

%% @doc The loop of the calling process: always the same for one process.
-spec get_loop() -> {ok, py_nif:event_loop()} | {error, not_started}.
get_loop() ->
    case persistent_term:get(?KEY, {}) of
        {} -> {error, not_started};
        Loops -> {ok, choose(Loops)}
    end.

%% @doc The number of loops, and what each of them does.
-spec get_stats() -> #{num_loops := non_neg_integer(), supported := boolean(), loops := [map()]}.
get_stats() ->
    Infos = [Info || Loop <- loops(), {ok, Info} <- [py_nif:event_loop_info(Loop)]],
    #{num_loops => length(Infos), supported => true, loops => Infos}.

%% @doc All loops of the pool.
-spec loops() -> [py_nif:event_loop()].
loops() ->
    tuple_to_list(persistent_term:get(?KEY, {})).

loop() ->
    case persistent_term:get(?KEY, {}) of
        {} -> error({not_started, erlang_python});
        Loops -> choose(Loops)
    end.

choose(Loops) ->
    element(erlang:phash2(self(), tuple_size(Loops)) + 1, Loops).

%%% gen_server: owns the loops

%% @private
-spec init(py_config:config()) -> {ok, [py_nif:event_loop()]} | {stop, term()}.
init(#{event_loop_pool_size := Size}) ->
    process_flag(trap_exit, true),
    %% One that was killed could not end its loops.
    lists:foreach(fun py_nif:event_loop_destroy/1, loops()),
    try
        Loops = [new_loop() || _ <- lists:seq(1, Size)],
        persistent_term:put(?KEY, list_to_tuple(Loops)),
        {ok, Loops}
    catch
        throw:Reason -> {stop, Reason}
    end.

new_loop() ->
    case py_nif:event_loop_new() of
        {ok, Loop} ->
            ok = py_nif:event_loop_start(Loop),
            Loop;
        {error, Reason} ->
            throw(Reason)
    end.

%% @private
-spec handle_call(term(), gen_server:from(), State) -> {reply, {error, unknown_call}, State}.
handle_call(_Request, _From, Loops) ->
    {reply, {error, unknown_call}, Loops}.

%% @private
-spec handle_cast(term(), State) -> {noreply, State}.
handle_cast(_Message, Loops) ->
    {noreply, Loops}.

%% @private
-spec terminate(term(), [py_nif:event_loop()]) -> ok.
terminate(_Reason, Loops) ->
    _ = persistent_term:erase(?KEY),
    lists:foreach(fun py_nif:event_loop_destroy/1, Loops).
