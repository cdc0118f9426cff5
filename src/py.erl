%% @doc Python from Erlang: calls, expressions and statements on contexts.
%%
%% A context is an OS thread that runs Python. The first call of a process binds it to a context, where all its later
%% calls run, in order, while the process lives; so thread-bound objects (sqlite3 connections, `threading.local') work
%% across calls. Contexts are started on demand, up to the number that the environment key `contexts' gives. No
%% scheduler of the VM is held while Python runs: the caller waits in `receive'.
%%
%% Modules and functions are named by atoms or binaries, may be dotted (`'os.path''), and may go on into classes
%% (`'datetime.datetime', now').
%%
%% Results are `{ok, Value}' or `{error, Reason}', where Reason is `{Class, Message}' for a Python exception (Class an
%% atom for built-in exceptions, a binary `<<"module.Name">>' for others), `{Class, Message, Traceback}' with the
%% option `#{traceback => true}', `timeout', `busy' when the queue of the context is full, or `closed' when the
%% application stops. How values are converted: docs/type-conversion.md.
-module(py).

-export([call/3, call/4, call/5, call/6]).
-export([eval/1, eval/2, eval/3]).
-export([exec/1, exec/2]).
-export([cast/3, cast/4]).
-export([async_call/3, async_call/4, await/1, await/2]).
-export([stream/3, stream/4, stream/5, stream_eval/1, stream_eval/2, stream_eval/3]).
-export([stream_start/3, stream_start/4, stream_eval_start/1, stream_eval_start/2, stream_eval_start/3]).
-export([stream_next/1, stream_next/2, stream_more/2, stream_cancel/1]).
-export([context/0, context/1, interrupt/1, replace/1]).
-export([version/0, python_info/0, info/0, memory/0, activate_venv/1]).

-export([register_function/2, register_function/3, unregister_function/1]).
-export([configure_logging/1, configure_output/1]).

-export_type([options/0, error_reason/0]).

-type options() :: #{
    timeout => timeout(),
    interrupt => boolean(),
    kwargs => map(),
    traceback => boolean(),
    arrays => list | binary,
    context => own | any | py_nif:context()
}.
%% `timeout' in milliseconds, default `infinity'; `interrupt' (default false): when the timeout passes,
%% `KeyboardInterrupt' is raised in the Python code, see {@link interrupt/1}; `context' default `own'.

-type error_reason() ::
    {atom() | binary(), binary()}
    | {atom() | binary(), binary(), [binary()]}
    | timeout
    | busy
    | context_replaced
    | closed.

-define(KEY, '$erlang_python_context').
-define(CALL, 0).
-define(EVAL, 1).
-define(EXEC, 2).
-define(OPTIONS, [timeout, interrupt, kwargs, traceback, arrays, context]).

%% @equiv call(Module, Function, Arguments, #{}, #{})
-spec call(py_nif:name(), py_nif:name(), [term()]) -> {ok, term()} | {error, error_reason()}.
call(Module, Function, Arguments) ->
    run(own_context(), ?CALL, Module, Function, Arguments, #{}, 0, infinity).

%% @doc With keyword arguments; or, with a context first, on that context.
-spec call
    (py_nif:name(), py_nif:name(), [term()], map()) -> {ok, term()} | {error, error_reason()};
    (py_nif:context(), py_nif:name(), py_nif:name(), [term()]) -> {ok, term()} | {error, error_reason()}.
call(Context, Module, Function, Arguments) when is_reference(Context) ->
    run(target(Context), ?CALL, Module, Function, Arguments, #{}, 0, infinity);
call(Module, Function, Arguments, Keywords) ->
    run(own_context(), ?CALL, Module, Function, Arguments, Keywords, 0, infinity).

%% @doc With keyword arguments and options, or a timeout in milliseconds.
-spec call
    (py_nif:name(), py_nif:name(), [term()], map(), options() | timeout()) ->
        {ok, term()} | {error, error_reason()};
    (py_nif:context(), py_nif:name(), py_nif:name(), [term()], map()) ->
        {ok, term()} | {error, error_reason()}.
call(Context, Module, Function, Arguments, Keywords) when is_reference(Context) ->
    run(target(Context), ?CALL, Module, Function, Arguments, Keywords, 0, infinity);
call(Module, Function, Arguments, Keywords, Options) ->
    with_options(?CALL, Module, Function, Arguments, Keywords, options(Options)).

%% @doc On a context, with keyword arguments and options or a timeout.
-spec call(py_nif:context(), py_nif:name(), py_nif:name(), [term()], map(), options() | timeout()) ->
    {ok, term()} | {error, error_reason()}.
call(Context, Module, Function, Arguments, Keywords, Options) ->
    with_options(?CALL, Module, Function, Arguments, Keywords, (options(Options))#{context => Context}).

%% @equiv eval(Expression, #{})
-spec eval(binary() | atom()) -> {ok, term()} | {error, error_reason()}.
eval(Expression) ->
    eval(Expression, #{}).

%% @doc The value of a Python expression, in the namespace of `__main__' and with the names that the map gives.
-spec eval(binary() | atom(), #{py_nif:name() => term()}) -> {ok, term()} | {error, error_reason()}.
eval(Expression, Names) ->
    run(own_context(), ?EVAL, '__main__', Expression, [], Names, 0, infinity).

%% @doc With options or a timeout.
-spec eval(binary() | atom(), #{py_nif:name() => term()}, options() | timeout()) ->
    {ok, term()} | {error, error_reason()}.
eval(Expression, Names, Options) ->
    with_options(?EVAL, '__main__', Expression, [], Names, options(Options)).

%% @equiv exec(Statements, #{})
-spec exec(binary()) -> ok | {error, error_reason()}.
exec(Statements) ->
    run(own_context(), ?EXEC, '__main__', Statements, [], #{}, 0, infinity).

%% @doc Runs Python statements in `__main__', which all contexts share.
-spec exec(binary(), options() | timeout()) -> ok | {error, error_reason()}.
exec(Statements, Options) ->
    with_options(?EXEC, '__main__', Statements, [], #{}, options(Options)).

%% @equiv cast(Module, Function, Arguments, #{})
-spec cast(py_nif:name(), py_nif:name(), [term()]) -> ok | {error, busy | closed}.
cast(Module, Function, Arguments) ->
    cast(Module, Function, Arguments, #{}).

%% @doc A call whose result nobody waits for, on the caller's context and in order with its calls. It runs also when the
%% caller is gone; an exception is logged.
-spec cast(py_nif:name(), py_nif:name(), [term()], map()) -> ok | {error, busy | closed}.
cast(Module, Function, Arguments, Keywords) ->
    Cast = fun(Context) ->
        py_nif:context_cast(Context, make_ref(), ?CALL, Module, Function, Arguments, Keywords, 1)
    end,
    try Cast(own_context()) of
        {error, closed} ->
            erase(?KEY),
            Cast(own);
        Result ->
            Result
    catch
        error:badarg -> py_task:reject({context, own}, Module, Function, Arguments, Keywords)
    end.

%% @equiv async_call(Module, Function, Arguments, #{})
-spec async_call(py_nif:name(), py_nif:name(), [term()]) -> reference().
async_call(Module, Function, Arguments) ->
    async_call(Module, Function, Arguments, #{}).

%% @doc Starts a coroutine or a plain function on the pool of event loops; {@link await/1} gets the result.
-spec async_call(py_nif:name(), py_nif:name(), [term()], map()) -> reference().
async_call(Module, Function, Arguments, Keywords) ->
    py_event_loop_pool:create_task(Module, Function, Arguments, Keywords).

%% @equiv await(Reference, 5000)
-spec await(reference()) -> {ok, term()} | {error, term()}.
await(Reference) ->
    py_event_loop:await(Reference).

%% @doc Waits for the result of {@link async_call/3}, at most Timeout milliseconds.
-spec await(reference(), timeout()) -> {ok, term()} | {error, term()}.
await(Reference, Timeout) ->
    py_event_loop:await(Reference, Timeout).

%% @equiv stream(Module, Function, Arguments, #{}, #{})
-spec stream(py_nif:name(), py_nif:name(), [term()]) -> {ok, [term()]} | {error, error_reason()}.
stream(Module, Function, Arguments) ->
    stream(Module, Function, Arguments, #{}).

%% @equiv stream(Module, Function, Arguments, Keywords, #{})
-spec stream(py_nif:name(), py_nif:name(), [term()], map()) -> {ok, [term()]} | {error, error_reason()}.
stream(Module, Function, Arguments, Keywords) ->
    stream(Module, Function, Arguments, Keywords, #{}).

%% @doc All values of the generator, or other iterable, that a function returns; options as of {@link call/5}. For
%% values one by one, or without an end, see {@link stream_start/4}; for asynchronous generators
%% {@link py_event_loop:stream/4}.
-spec stream(py_nif:name(), py_nif:name(), [term()], map(), options() | timeout()) ->
    {ok, [term()]} | {error, error_reason()}.
stream(Module, Function, Arguments, Keywords, Options) ->
    {More, Others} = keywords_apart(options(Options)),
    Run = fun(M, F, A) -> call(M, F, A, #{}, Others) end,
    py_stream:collect(call, Run, Module, Function, Arguments, merge(Keywords, More)).

%% @equiv stream_eval(Expression, #{})
-spec stream_eval(binary() | atom()) -> {ok, [term()]} | {error, error_reason()}.
stream_eval(Expression) ->
    stream_eval(Expression, #{}).

%% @equiv stream_eval(Expression, Names, #{})
-spec stream_eval(binary() | atom(), #{py_nif:name() => term()}) -> {ok, [term()]} | {error, error_reason()}.
stream_eval(Expression, Names) ->
    stream_eval(Expression, Names, #{}).

%% @doc All values of the iterable that an expression yields, evaluated as {@link eval/3} does.
-spec stream_eval(binary() | atom(), #{py_nif:name() => term()}, options() | timeout()) ->
    {ok, [term()]} | {error, error_reason()}.
stream_eval(Expression, Names, Options) ->
    Run = fun(M, F, A) -> call(M, F, A, #{}, options(Options)) end,
    py_stream:collect_expression(Run, Expression, Names).

%% @equiv stream_start(Module, Function, Arguments, #{})
-spec stream_start(py_nif:name(), py_nif:name(), [term()]) -> {ok, reference()} | {error, error_reason()}.
stream_start(Module, Function, Arguments) ->
    stream_start(Module, Function, Arguments, #{}).

%% @doc Has the values of the generator, or other iterable, that a function returns sent to a process one by one:
%% `{py_stream, Reference, {data, Value}}', in order, and at the end `{py_stream, Reference, done}' or
%% `{py_stream, Reference, {error, Reason}}'. It runs on the caller's context, at most about 10 ms at a time, so that
%% others get their turn there. When the owner dies, the generator is closed.
-spec stream_start(py_nif:name(), py_nif:name(), [term()], py_stream:options()) ->
    {ok, reference()} | {error, error_reason()}.
stream_start(Module, Function, Arguments, Options) ->
    {Target, Others} = stream_target(Options),
    py_stream:start(Target, Module, Function, Arguments, #{}, Others).

%% @equiv stream_eval_start(Expression, #{})
-spec stream_eval_start(binary() | atom()) -> {ok, reference()} | {error, error_reason()}.
stream_eval_start(Expression) ->
    stream_eval_start(Expression, #{}).

%% @equiv stream_eval_start(Expression, Names, #{})
-spec stream_eval_start(binary() | atom(), #{py_nif:name() => term()}) ->
    {ok, reference()} | {error, error_reason()}.
stream_eval_start(Expression, Names) ->
    stream_eval_start(Expression, Names, #{}).

%% @doc As {@link stream_start/4}, of the iterable that an expression yields.
-spec stream_eval_start(binary() | atom(), #{py_nif:name() => term()}, py_stream:options()) ->
    {ok, reference()} | {error, error_reason()}.
stream_eval_start(Expression, Names, Options) ->
    {Target, Others} = stream_target(Options),
    py_stream:start_expression(Target, {Expression, Names}, Others).

%% @equiv stream_next(Stream, infinity)
-spec stream_next(reference()) -> {ok, term()} | done | {error, term()}.
stream_next(Stream) ->
    stream_next(Stream, infinity).

%% @doc The next value of a stream of this process, `done' after the last; waits at most Timeout milliseconds. Asks for
%% one more value when the stream has a window.
-spec stream_next(reference(), timeout()) -> {ok, term()} | done | {error, term()}.
stream_next(Stream, Timeout) ->
    py_stream:next(Stream, Timeout).

%% @doc Allows a stream that was started with a `window' to send so many more values; {@link stream_next/2} does by
%% itself.
-spec stream_more(reference(), pos_integer()) -> ok.
stream_more(Stream, Count) ->
    py_stream:more(Stream, Count).

%% @doc Ends a stream: its generator is closed, and when this returns, the caller has no message of it and gets none. One
%% that has ended is left alone.
-spec stream_cancel(reference()) -> ok.
stream_cancel(Stream) ->
    py_stream:cancel(Stream).

%% @doc The caller's context, to which it is bound if it was not.
-spec context() -> py_nif:context().
context() ->
    context(own).

%% @doc Context number N, which is started if need be, or the caller's `own'.
-spec context(pos_integer() | own) -> py_nif:context().
context(Choice) ->
    try py_nif:context_acquire(Choice) of
        {ok, Context} -> Context;
        {error, Reason} -> error(Reason)
    catch
        error:badarg -> error({bad_argument, context, Choice})
    end.

%% @equiv py_callback:register(Name, Fun)
-spec register_function(py_callback:name(), py_callback:callback()) -> ok.
register_function(Name, Callback) ->
    py_callback:register(Name, Callback).

%% @doc Makes `Module:Function/1', which gets the list of Python's arguments, known to Python under a name.
-spec register_function(py_callback:name(), module(), atom()) -> ok.
register_function(Name, Module, Function) ->
    py_callback:register(Name, {Module, Function}).

%% @equiv py_callback:unregister(Name)
-spec unregister_function(py_callback:name()) -> ok.
unregister_function(Name) ->
    py_callback:unregister(Name).

%% @doc Sends what Python's `logging' logs at a level and above to `logger'; `logger' names a logger of Python, default
%% is the root.
-spec configure_logging(#{level => debug | info | warning | error | critical, logger => binary()}) ->
    ok | {error, error_reason()}.
configure_logging(Options) ->
    py_task:check_options(Options, [level, logger]),
    Level = maps:get(level, Options, info),
    lists:member(Level, [debug, info, warning, error, critical]) orelse error({bad_option, level, Level}),
    Logger = maps:get(logger, Options, none),
    done(call('erlang._logging', configure, [atom_to_binary(Level), Logger])).

%% @doc Where `print' and what Python writes to stderr goes: to the group leader of the process on whose behalf Python
%% runs, or to the VM's own output, as it does unless this was called.
-spec configure_output(group_leader | vm) -> ok | {error, error_reason()}.
configure_output(To) when To =:= group_leader; To =:= vm ->
    done(call('erlang._logging', setup_output, [atom_to_binary(To)]));
configure_output(Other) ->
    error({bad_argument, output, Other}).

done({ok, _None}) -> ok;
done({error, Reason}) -> {error, Reason}.

%% @doc Raises `KeyboardInterrupt' in the Python code that the context runs now; the caller of that code gets
%% `{error, {'KeyboardInterrupt', _}}' unless the code catches it. Code inside a C function that blocks (`time.sleep',
%% a lock) notices when that returns; `erlang.call' and the like notice at once. `{error, idle}': it runs nothing.
-spec interrupt(py_nif:context()) -> ok | {error, idle | closed}.
interrupt(Context) ->
    try
        py_nif:context_interrupt(Context)
    catch
        error:badarg -> error({bad_argument, context, Context})
    end.

%% @doc Gives a context that does not come back a new thread. The reference stays valid and the processes that are bound
%% to it stay so; everybody who waits for it gets `{error, context_replaced}'. The old thread cannot be ended from
%% outside: `SystemExit' is raised there, and until it comes back it is one of `abandoned' in {@link info/0}. What the
%% thread had of its own (`threading.local', sqlite3 connections) is lost.
-spec replace(py_nif:context()) -> ok | {error, closed | binary()}.
replace(Context) ->
    try
        py_nif:context_replace(Context)
    catch
        error:badarg -> error({bad_argument, context, Context})
    end.

%% @doc The version of this application.
-spec version() -> binary().
version() ->
    _ = application:load(erlang_python),
    {ok, Version} = application:get_key(erlang_python, vsn),
    list_to_binary(Version).

%% @doc The Python that runs; `mode' is what `erlang.detect_mode()' tells.
-spec python_info() -> #{
    version := binary(),
    executable := binary(),
    prefix := binary(),
    base_prefix := binary(),
    build := binary(),
    compiler := binary(),
    mode := free_threaded | subinterp | shared_gil,
    path := [binary()]
}.
python_info() ->
    {ok, Info} = call('erlang._info', python_info, []),
    #{
        <<"version">> := Version,
        <<"executable">> := Executable,
        <<"prefix">> := Prefix,
        <<"base_prefix">> := BasePrefix,
        <<"build">> := Build,
        <<"compiler">> := Compiler,
        <<"mode">> := Mode,
        <<"path">> := Path
    } = Info,
    #{
        version => Version,
        executable => Executable,
        prefix => Prefix,
        base_prefix => BasePrefix,
        build => Build,
        compiler => Compiler,
        mode => mode(Mode),
        path => Path
    }.

mode(<<"free_threaded">>) -> free_threaded;
mode(<<"subinterp">>) -> subinterp;
mode(<<"shared_gil">>) -> shared_gil.

%% @doc Threads of the core and the state of each context.
-spec info() -> {ok, map()} | {error, not_started}.
info() ->
    py_nif:runtime_info().

%% @doc Memory, in bytes: `python', what the interpreter took from the system (arenas of small objects and all larger
%% blocks; not what extension modules allocate by themselves), `most', the highest that ever was, `limit' (the
%% environment key `python_memory_limit'), and `core', what the Go part of the native core has. `undefined' where
%% `PYTHONMALLOC' or `PYTHONDEVMODE' chose other allocators. `tasks' and `loops' are how many of them the core keeps.
-spec memory() -> #{
    python := non_neg_integer() | undefined,
    most := non_neg_integer() | undefined,
    limit := pos_integer() | infinity,
    core := non_neg_integer(),
    tasks := non_neg_integer(),
    loops := non_neg_integer()
}.
memory() ->
    Limit = application:get_env(erlang_python, python_memory_limit, infinity),
    maps:put(limit, Limit, py_nif:memory_info()).

%% @doc Makes the packages of a virtual environment importable, in front of those that were there.
-spec activate_venv(file:filename_all()) -> ok | {error, error_reason()}.
activate_venv(Path) ->
    case call('erlang._info', activate_venv, [unicode:characters_to_binary(filename:absname(Path))]) of
        {ok, _None} -> ok;
        {error, Reason} -> {error, Reason}
    end.

%%% Internal

own_context() ->
    case get(?KEY) of
        undefined ->
            case py_nif:context_lookup() of
                {ok, Context} ->
                    put(?KEY, Context),
                    Context;
                none ->
                    own
            end;
        Context ->
            Context
    end.

%% In a callback the context may be the one that waits for it, and then has to run the call meanwhile.
target(Context) ->
    case get(?KEY) of
        Call when is_integer(Call) -> {Context, Call};
        _ -> Context
    end.

named({Context, _Call}) -> Context;
named(Context) -> Context.

options(Options) when is_map(Options) -> Options;
options(infinity) -> #{};
options(Timeout) when is_integer(Timeout), Timeout >= 0, Timeout =< 16#ffffffff -> #{timeout => Timeout};
options(Other) -> error({bad_argument, options, Other}).

with_options(Kind, Module, Function, Arguments, Keywords, Options) ->
    py_task:check_options(Options, ?OPTIONS),
    Context =
        case Options of
            #{context := own} -> own_context();
            #{context := any} -> any;
            #{context := Named} when is_reference(Named) -> target(Named);
            #{context := Other} -> error({bad_option, context, Other});
            #{} -> own_context()
        end,
    run(
        Context,
        Kind,
        Module,
        Function,
        Arguments,
        merge(Keywords, py_task:keywords(Options)),
        py_task:flags(Options),
        py_task:timeout(Options, infinity)
    ).

keywords_apart(Options) ->
    {py_task:keywords(Options), maps:remove(kwargs, Options)}.

%% A stream has the same context from its beginning to its end; in a callback it is the one that waits for it.
stream_target(Options) when is_map(Options) ->
    Context =
        case Options of
            #{context := own} -> stream_context();
            #{context := Named} when is_reference(Named) -> target(Named);
            #{context := Other} -> error({bad_option, context, Other});
            #{} -> stream_context()
        end,
    {{context, Context}, maps:remove(context, Options)};
stream_target(Other) ->
    error({bad_argument, options, Other}).

stream_context() ->
    case get(?KEY) of
        Call when is_integer(Call) ->
            case py_nif:context_of_call(Call) of
                {ok, Context} -> {Context, Call};
                %% A thread of Python's own waits, a loop, or nobody.
                none -> context(own)
            end;
        _ ->
            context(own)
    end.

merge(Keywords, More) when map_size(More) =:= 0 -> Keywords;
merge(Keywords, More) -> maps:merge(Keywords, More).

%% The reference is made here, in the function that receives, so that the VM need not look at older messages.
run(Context, Kind, Module, Function, Arguments, Keywords, Flags, Timeout) ->
    Reference = make_ref(),
    try py_nif:context_call(Context, Reference, Kind, Module, Function, Arguments, Keywords, Flags) of
        Id when is_integer(Id) ->
            receive
                {async_result, Reference, Result} -> Result
            after Timeout ->
                case py_nif:task_cancel(Id) of
                    true ->
                        ok = py_task:interrupt(Id, Flags),
                        {error, timeout};
                    false -> receive {async_result, Reference, Result} -> Result end
                end
            end;
        {error, closed} ->
            retry(Context, Kind, Module, Function, Arguments, Keywords, Flags, Timeout);
        Result ->
            Result
    catch
        error:badarg -> py_task:reject({context, named(Context)}, Module, Function, Arguments, Keywords)
    end.

%% The context that the process remembers may be of an earlier run of the application.
retry(Context, Kind, Module, Function, Arguments, Keywords, Flags, Timeout) ->
    case get(?KEY) of
        Context ->
            erase(?KEY),
            run(own, Kind, Module, Function, Arguments, Keywords, Flags, Timeout);
        _ ->
            {error, closed}
    end.
