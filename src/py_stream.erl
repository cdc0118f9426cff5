%% @private Streams as their consumers see them: what the stream functions of {@link py}, {@link py_event_loop} and
%% {@link py_event_loop_pool} share. See docs/streaming.md.
-module(py_stream).

-export([collect/6, collect_expression/3, start/6, start_expression/3]).
-export([next/2, more/2, cancel/1]).

-export_type([options/0, target/0]).

-type options() :: #{
    owner => pid(),
    window => pos_integer() | infinity,
    interrupt => boolean(),
    kwargs => map(),
    traceback => boolean(),
    context => own | py_nif:context()
}.
%% `owner' (default: the caller), a process of this node, gets the messages; `window' (default `infinity') is how many
%% values may be sent before {@link py:stream_more/2} asks for more; `interrupt' (default false): cancelling raises
%% `KeyboardInterrupt' in the Python code if it runs just then; `context' (not with event loops) default `own'.

-type target() ::
    {context, py_nif:context() | {py_nif:context(), py_nif:call()}}
    | {loop, py_nif:event_loop()}.
%% Where a stream runs.

-define(MODULE_OF_PYTHON, 'erlang._streams').
-define(OPTIONS, [owner, window, interrupt, kwargs, traceback]).

%% @doc The call that collects a stream as a whole, as py:call/5 and py_event_loop:run/4 take it.
-spec collect(call | task, fun((term(), term(), [term()]) -> Result), py_nif:name(), py_nif:name(), [term()], map()) ->
    Result.
collect(Kind, Run, Module, Function, Arguments, Keywords) ->
    ok = py_task:check_call(Module, Function, Arguments, Keywords),
    Run(?MODULE_OF_PYTHON, collector(Kind), [Module, Function, Arguments, Keywords]).

collector(call) -> collect_call;
collector(task) -> collect_async.

%% @doc The same for an expression.
-spec collect_expression(fun((term(), term(), [term()]) -> Result), py_nif:name(), map()) -> Result.
collect_expression(Run, Expression, Names) ->
    ok = check_expression(Expression, Names),
    Run(?MODULE_OF_PYTHON, collect_expression, [Expression, Names]).

%% @doc Starts the stream of what a function returns.
-spec start(target(), py_nif:name(), py_nif:name(), [term()], map(), options()) ->
    {ok, reference()} | {error, py:error_reason()}.
start({Kind, _} = Target, Module, Function, Arguments, Keywords, Options) ->
    ok = py_task:check_call(Module, Function, Arguments, Keywords),
    {Owner, Window, Flags} = checked(Options),
    Entry =
        case Kind of
            context -> start_call;
            loop -> drive
        end,
    py_stream_server:start(Target, Owner, Window, Flags, Entry, [
        Module, Function, Arguments, maps:merge(Keywords, py_task:keywords(Options))
    ]).

%% @doc Starts the stream of an expression on a context.
-spec start_expression(target(), {py_nif:name(), map()}, options()) -> {ok, reference()} | {error, py:error_reason()}.
start_expression(Target, {Expression, Names}, Options) ->
    ok = check_expression(Expression, Names),
    {Owner, Window, Flags} = checked(Options),
    py_stream_server:start(Target, Owner, Window, Flags, start_expression, [Expression, Names]).

checked(Options) ->
    ok = py_task:check_options(Options, ?OPTIONS),
    {owner(maps:get(owner, Options, self())), window(maps:get(window, Options, infinity)), py_task:flags(Options)}.

owner(Owner) when is_pid(Owner), node(Owner) =:= node() -> Owner;
owner(Other) -> error({bad_option, owner, Other}).

window(infinity) -> infinity;
window(Window) when is_integer(Window), Window > 0 -> Window;
window(Other) -> error({bad_option, window, Other}).

check_expression(Expression, Names) ->
    is_atom(Expression) orelse is_binary(Expression) orelse error({bad_argument, expression, Expression}),
    is_map(Names) orelse error({bad_argument, names, Names}),
    ok.

%% @doc See {@link py:stream_next/2}.
-spec next(reference(), timeout()) -> {ok, term()} | done | {error, term()}.
next(Reference, Timeout) when is_reference(Reference) ->
    receive
        {py_stream, Reference, Event} -> event(Reference, Event)
    after 0 ->
        case py_stream_server:owner(Reference) of
            {ok, Owner} when Owner =:= self() -> wait(Reference, Timeout);
            {ok, Owner} -> error({not_owner, Reference, Owner});
            %% The last message of a stream is sent before it is closed.
            none -> wait(Reference, 0)
        end
    end;
next(Other, _Timeout) ->
    error({bad_argument, stream, Other}).

wait(Reference, Timeout) ->
    receive
        {py_stream, Reference, Event} -> event(Reference, Event)
    after Timeout ->
        case py_stream_server:owner(Reference) of
            {ok, _} -> {error, timeout};
            none -> next_of_closed(Reference)
        end
    end.

next_of_closed(Reference) ->
    receive
        {py_stream, Reference, Event} -> event(Reference, Event)
    after 0 -> done
    end.

event(Reference, {data, Value}) ->
    ok = py_stream_server:received(Reference),
    {ok, Value};
event(_Reference, End) ->
    End.

%% @doc See {@link py:stream_more/2}.
-spec more(reference(), pos_integer()) -> ok.
more(Reference, _Count) when not is_reference(Reference) ->
    error({bad_argument, stream, Reference});
more(Reference, Count) when is_integer(Count), Count > 0 ->
    py_stream_server:more(Reference, Count);
more(_Reference, Count) ->
    error({bad_argument, count, Count}).

%% @doc See {@link py:stream_cancel/1}.
-spec cancel(reference()) -> ok.
cancel(Reference) when is_reference(Reference) ->
    ok = py_stream_server:cancel(Reference),
    flush(Reference);
cancel(Other) ->
    error({bad_argument, stream, Other}).

flush(Reference) ->
    receive
        {py_stream, Reference, _} -> flush(Reference)
    after 0 -> ok
    end.
