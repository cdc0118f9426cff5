%% @private Starts a process for each call of Python and tells the core when one of them dies without an answer.
%%
%% A plain process: it is on the way of every call, and does nothing but spawn.
-module(py_callback_server).

-export([start_link/0, init/1, execute/4]).
-export([system_continue/3, system_terminate/4, system_code_change/4]).

-define(CONTEXT, '$erlang_python_context').
-define(VALUE, 0).
-define(FAILURE, 1).
-define(NOT_REGISTERED, 2).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    proc_lib:start_link(?MODULE, init, [self()]).

-spec init(pid()) -> no_return().
init(Parent) ->
    %% Thousands of calls may wait here; they must not be copied by each garbage collection.
    _ = process_flag(message_queue_data, off_heap),
    %% Before the name: whoever finds the successor of a server that died can rely on Python's calls reaching it.
    ok = py_nif:callback_server(self()),
    true = register(?MODULE, self()),
    proc_lib:init_ack(Parent, {ok, self()}),
    loop(Parent).

loop(Parent) ->
    receive
        {python_call, Id, Process, Name, Arguments} ->
            %% The tag brings the call's id back: a map of all monitors cost as much as the rest.
            _ = spawn_opt(?MODULE, execute, [Id, Process, Name, Arguments], [{monitor, [{tag, {down, Id}}]}]),
            loop(Parent);
        {{down, _}, _, process, _, normal} ->
            loop(Parent);
        {{down, Id}, _, process, _, Reason} ->
            _ = reply(Id, ?FAILURE, py_callback_run:failure(exit, Reason, [])),
            loop(Parent);
        {system, From, Request} ->
            sys:handle_system_msg(Request, From, Parent, ?MODULE, [], no_state);
        _ ->
            loop(Parent)
    end.

-spec system_continue(pid(), [sys:dbg_opt()], no_state) -> no_return().
system_continue(Parent, _Debug, no_state) ->
    loop(Parent).

-spec system_terminate(term(), pid(), [sys:dbg_opt()], no_state) -> no_return().
system_terminate(Reason, _Parent, _Debug, no_state) ->
    exit(Reason).

-spec system_code_change(no_state, module(), term(), term()) -> {ok, no_state}.
system_code_change(no_state, _Module, _OldVersion, _Extra) ->
    {ok, no_state}.

%%% The process of a call

-spec execute(py_nif:call(), pid() | undefined, binary(), [term()]) -> term().
execute(Id, Process, Name, Arguments) ->
    %% py:call goes to the thread that waits for this call.
    put(?CONTEXT, Id),
    case py_callback_run:run(Process, Name, Arguments) of
        {value, Value} -> reply(Id, ?VALUE, Value);
        {not_registered, Name} -> reply(Id, ?NOT_REGISTERED, Name);
        {failure, Failure} -> reply(Id, ?FAILURE, Failure)
    end.

reply(Id, Status, Term) ->
    case py_nif:callback_reply(Id, Status, Term) of
        ok -> ok;
        {send, Pid, Reference} -> Pid ! {async_result, Reference, result(Status, Term)}
    end.

%% What a task that returned erlang.schedule() is answered with.
result(?VALUE, Value) -> {ok, Value};
result(?FAILURE, {_, _, _, Message}) -> {error, {<<"erlang.ErlangError">>, Message}};
result(?NOT_REGISTERED, Name) ->
    {error, {<<"erlang.NotRegisteredError">>, <<"no Erlang function is registered as '", Name/binary, "'">>}}.
