%% @doc A pool of event loops: the calls of {@link py_event_loop}, spread over several loops.
%%
%% All tasks of one process go to one loop, chosen by its pid, and start there in order. The environment key
%% `event_loop_pool_size' gives the number of loops; a loop's thread is started with its first task.
-module(py_event_loop_pool).

-behaviour(gen_server).

-export([start_link/1]).
-export([run/3, run/4, create_task/3, create_task/4, create_task/5, spawn_task/3, spawn_task/4]).
-export([await/1, await/2, await_all/1, await_all/2, cancel/1]).
-export([stream/3, stream/4, stream_start/3, stream_start/4]).
-export([get_loop/0, info/0, info/1, get_stats/0, loops/0, restart_loop/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

%% An atom, since a tuple costs several times as much to look up.
-define(KEY, '$py_event_loop_pool').
-define(RESTARTS, {?MODULE, restarts}).

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

%% @doc See {@link py_event_loop:create_task/5}.
-spec create_task(py_nif:name(), py_nif:name(), [term()], map(), py_event_loop:task_options()) -> reference().
create_task(Module, Function, Arguments, Keywords, Options) ->
    py_event_loop:create_task_on(
        loop(), Module, Function, Arguments, Keywords, py_event_loop:task_flags(Options)
    ).

%% @doc See {@link py_event_loop:spawn_task/3}.
-spec spawn_task(py_nif:name(), py_nif:name(), [term()]) -> ok | {error, busy | closed | enomem}.
spawn_task(Module, Function, Arguments) ->
    py_event_loop:spawn_task_on(loop(), Module, Function, Arguments, #{}).

%% @doc See {@link py_event_loop:spawn_task/4}.
-spec spawn_task(py_nif:name(), py_nif:name(), [term()], map()) -> ok | {error, busy | closed | enomem}.
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

%% @doc See {@link py_event_loop:stream/3}.
-spec stream(py_nif:name(), py_nif:name(), [term()]) -> {ok, [term()]} | {error, term()}.
stream(Module, Function, Arguments) ->
    py_event_loop:stream_on(loop(), Module, Function, Arguments, #{}).

%% @doc See {@link py_event_loop:stream/4}.
-spec stream(py_nif:name(), py_nif:name(), [term()], py_event_loop:options()) -> {ok, [term()]} | {error, term()}.
stream(Module, Function, Arguments, Options) ->
    py_event_loop:stream_on(loop(), Module, Function, Arguments, Options).

%% @doc See {@link py_event_loop:stream_start/3}.
-spec stream_start(py_nif:name(), py_nif:name(), [term()]) -> {ok, reference()} | {error, term()}.
stream_start(Module, Function, Arguments) ->
    py_event_loop:stream_start_on(loop(), Module, Function, Arguments, #{}).

%% @doc See {@link py_event_loop:stream_start/4}.
-spec stream_start(py_nif:name(), py_nif:name(), [term()], py_stream:options()) ->
    {ok, reference()} | {error, term()}.
stream_start(Module, Function, Arguments, Options) ->
    py_event_loop:stream_start_on(loop(), Module, Function, Arguments, Options).

%% @doc The loop of the calling process: always the same for one process.
-spec get_loop() -> {ok, py_nif:event_loop()} | {error, not_started}.
get_loop() ->
    case persistent_term:get(?KEY, {}) of
        {} -> {error, not_started};
        Loops -> {ok, choose(Loops)}
    end.

%% @doc What the loop of the calling process does: {@link py_event_loop:info/1}.
-spec info() -> {ok, py_event_loop:loop_info()} | {error, closed}.
info() ->
    py_event_loop:info(loop()).

%% @doc See {@link py_event_loop:info/1}.
-spec info(py_nif:event_loop()) -> {ok, py_event_loop:loop_info()} | {error, closed}.
info(Loop) ->
    py_event_loop:info(Loop).

%% @doc The number of loops, what each of them does ({@link py_event_loop:info/1}), how often a loop was replaced, and
%% how many threads of replaced loops have not ended (yet).
-spec get_stats() ->
    #{
        num_loops := non_neg_integer(),
        supported := boolean(),
        loops := [py_event_loop:loop_info()],
        restarts := non_neg_integer(),
        abandoned := non_neg_integer()
    }.
get_stats() ->
    Infos = [Info || Loop <- loops(), {ok, Info} <- [py_nif:event_loop_info(Loop)]],
    #{
        num_loops => length(Infos),
        supported => true,
        loops => Infos,
        restarts => persistent_term:get(?RESTARTS, 0),
        abandoned => py_nif:event_loops_abandoned()
    }.

%% @doc Replaces a loop whose Python thread is stuck, given by its number (1 and up) or reference. Its tasks, queued,
%% running and waiting ones, are answered `{error, loop_restarted}'; later tasks go to a new loop.
%%
%% A thread cannot be ended from outside. It is asked to end, and Python code that it runs is interrupted by a
%% SystemExit a second later, and twice more if it catches that; one that is inside a C function that does not return
%% stays, with the descriptors that it uses, and is counted in {@link get_stats/0}. A thread that does not even release
%% the GIL there stops all of Python, which no new loop can help.
-spec restart_loop(pos_integer() | py_nif:event_loop()) -> ok | {error, not_found | not_started | inet:posix()}.
restart_loop(IndexOrLoop) when is_integer(IndexOrLoop); is_reference(IndexOrLoop) ->
    try
        gen_server:call(?MODULE, {restart_loop, IndexOrLoop})
    catch
        exit:{noproc, _} -> {error, not_started}
    end;
restart_loop(Other) ->
    error({bad_argument, loop, Other}).

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
    case new_loops(Size, []) of
        {ok, Loops} ->
            persistent_term:put(?KEY, list_to_tuple(Loops)),
            {ok, Loops};
        {error, Reason} ->
            {stop, Reason}
    end.

new_loops(0, Loops) ->
    {ok, Loops};
new_loops(Missing, Loops) ->
    case py_event_loop:new_loop() of
        {ok, Loop} ->
            new_loops(Missing - 1, [Loop | Loops]);
        {error, Reason} ->
            %% terminate/2 is not called after this.
            lists:foreach(fun py_nif:event_loop_destroy/1, Loops),
            {error, Reason}
    end.

%% @private
-spec handle_call(term(), gen_server:from(), [py_nif:event_loop()]) ->
    {reply, ok | {error, term()}, [py_nif:event_loop()]}.
handle_call({restart_loop, Index}, From, Loops) when is_integer(Index), Index > 0, Index =< length(Loops) ->
    handle_call({restart_loop, lists:nth(Index, Loops)}, From, Loops);
handle_call({restart_loop, Old}, _From, Loops) ->
    case lists:member(Old, Loops) andalso replace(Old, Loops) of
        false ->
            {reply, {error, not_found}, Loops};
        {ok, Replaced} ->
            %% The new loop is in place before the old one refuses tasks.
            ok = py_nif:event_loop_abandon(Old),
            {reply, ok, Replaced};
        {error, Reason} ->
            {reply, {error, Reason}, Loops}
    end;
handle_call(_Request, _From, Loops) ->
    {reply, {error, unknown_call}, Loops}.

replace(Old, Loops) ->
    case py_event_loop:new_loop() of
        {ok, New} ->
            Replaced = [
                case Loop of
                    Old -> New;
                    _ -> Loop
                end
             || Loop <- Loops
            ],
            persistent_term:put(?KEY, list_to_tuple(Replaced)),
            persistent_term:put(?RESTARTS, persistent_term:get(?RESTARTS, 0) + 1),
            {ok, Replaced};
        {error, Reason} ->
            {error, Reason}
    end.

%% @private
-spec handle_cast(term(), State) -> {noreply, State}.
handle_cast(_Message, Loops) ->
    {noreply, Loops}.

%% @private
-spec handle_info(term(), State) -> {noreply, State} | {stop, term(), State} when State :: [py_nif:event_loop()].
handle_info({event_loop_ended, Loop}, Loops) ->
    case lists:member(Loop, Loops) andalso replace(Loop, Loops) of
        false ->
            {noreply, Loops};
        {ok, Replaced} ->
            ok = py_event_loop:ended(?MODULE),
            {noreply, Replaced};
        {error, Reason} ->
            {stop, Reason, Loops}
    end;
handle_info(_Message, Loops) ->
    {noreply, Loops}.

%% @private
-spec terminate(term(), [py_nif:event_loop()]) -> ok.
terminate(_Reason, Loops) ->
    _ = persistent_term:erase(?KEY),
    lists:foreach(fun py_nif:event_loop_destroy/1, Loops).
