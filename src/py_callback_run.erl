%% @private Runs a registered function in the calling process, which is made for it, and puts what it raises into words.
%% How the answer travels is the business of py_callback_server (Python in the VM) and py_isolated_callback.
-module(py_callback_run).

-export([run/3, failure/3, text/2]).

-export_type([failure/0]).

-type failure() :: {error | exit | throw, term(), binary(), binary()}.
%% Class, reason, stack trace as text, message.

%% @doc Runs the function of a name on behalf of a process, whose group leader the calling process gets.
-spec run(term(), binary(), [term()]) -> {value, term()} | {not_registered, binary()} | {failure, failure()}.
run(Process, Name, Arguments) ->
    ok = adopt_group_leader(Process),
    case py_callback:lookup(Name) of
        {ok, Callback} ->
            try
                {value, apply_callback(Callback, Arguments)}
            catch
                Class:Reason:Stack -> {failure, failure(Class, Reason, Stack)}
            end;
        error ->
            {not_registered, Name}
    end.

apply_callback({Module, Function}, Arguments) -> Module:Function(Arguments);
apply_callback(Fun, Arguments) -> Fun(Arguments).

adopt_group_leader(Process) when is_pid(Process), node(Process) =:= node() ->
    case process_info(Process, group_leader) of
        {group_leader, Leader} ->
            true = group_leader(Leader, self()),
            ok;
        undefined ->
            ok
    end;
adopt_group_leader(_) ->
    ok.

%% @doc What was raised, for Python.
-spec failure(error | exit | throw, term(), list()) -> failure().
failure(Class, Reason, Stack) ->
    %% ~P: a large reason must not become a message of megabytes.
    {Class, Reason, stack_text(Class, Reason, Stack), text("~ts: ~0tP", [Class, Reason, 40])}.

stack_text(_, _, []) -> <<>>;
stack_text(Class, Reason, Stack) ->
    try
        text("~ts", [erl_error:format_exception(Class, Reason, Stack)])
    catch
        _:_ -> text("~0tP", [Stack, 100])
    end.

%% @doc A formatted text as UTF-8.
-spec text(io:format(), [term()]) -> binary().
text(Format, Arguments) ->
    unicode:characters_to_binary(io_lib:format(Format, Arguments)).
