%% @doc Python in a process of the operating system of its own, where nothing that it does can harm the VM: a crash in C
%% code, memory without end, a function that never returns.
%%
%% A server of this module starts `python3' and stays its only user; its supervisor is that of whoever starts it. The
%% functions are those of {@link py}, with the server as first argument, and values convert by the same rules. What it
%% costs is a message through a pipe for each call, and an interpreter's memory for each server.
%%
%% When the process ends, by itself or killed, its calls are answered `{error, {exited, Reason}}' and it is started anew,
%% for which calls that wait wait. docs/isolated.md tells the rest.
-module(py_isolated).

-export([start_link/0, start_link/1, start_link/2, child_spec/1, stop/1, stop/2]).
-export([call/4, call/5, call/6, eval/2, eval/3, eval/4, exec/2, exec/3, run/4, run/5]).
-export([interrupt/1, kill/1, info/1]).

-export_type([server/0, options/0, call_options/0, error_reason/0, exit_reason/0, info/0]).

-type server() :: gen_server:server_ref().

-type options() :: #{
    python => file:filename_all(),
    venv => file:filename_all(),
    python_path => [file:filename_all()],
    env => [{string() | binary(), string() | binary() | false}],
    cd => file:filename_all(),
    setup => binary(),
    limits => #{memory | cpu | files | file_size | core => non_neg_integer()},
    start_timeout => timeout(),
    stop_timeout => non_neg_integer(),
    restarts => {non_neg_integer(), pos_integer()},
    queue_limit => pos_integer(),
    load => {atomics:atomics_ref(), pos_integer()}
}.
%% `python': default is the one of the VM, or that of `venv'. `python_path': folders in front of `sys.path', after which
%% those of the environment key of that name come. `env': variables, `false' takes one away. `cd': its folder.
%% `setup': statements that each new process runs before anything else. `limits': bytes of address space, seconds of
%% processor time, open files, bytes of a file, bytes of a core dump. `start_timeout' (30000) and `stop_timeout' (5000)
%% in milliseconds. `restarts' ({3, 10}): the process may end as often in as many seconds by itself; beyond that the
%% server ends as well. `queue_limit' (100000): calls that wait; more are answered `{error, busy}'. `load':
%% where the server keeps the number of its requests, for whoever has several.

-type call_options() :: #{
    timeout => timeout(),
    interrupt => boolean(),
    kill_after => timeout(),
    kwargs => map(),
    traceback => boolean(),
    arrays => list | binary
}.
%% Those of {@link py:call/5}, and `kill_after': when the timeout passes, or the caller dies, and the call still runs so
%% many milliseconds later, the process is killed. Default `infinity'.

-type error_reason() ::
    py:error_reason() | {exited, exit_reason()} | cancelled.

-type exit_reason() :: killed | protocol_error | {signal, pos_integer()} | {status, non_neg_integer()} | unknown.
%% `protocol_error': it sent what Python does not send, or more than may wait, and was killed; `unknown': something that
%% it started has its end of the pipe, so that the VM did not hear how it ended.

-type info() :: #{
    state := starting | running | killed,
    os_pid := pos_integer() | none,
    queued := non_neg_integer(),
    running := non_neg_integer(),
    calls := non_neg_integer(),
    restarts := non_neg_integer()
}.

-define(OPTIONS, [
    python, venv, python_path, env, cd, setup, limits, start_timeout, stop_timeout, restarts, queue_limit, load
]).
-define(CALL_OPTIONS, [timeout, interrupt, kill_after, kwargs, traceback, arrays]).
-define(LIMITS, [memory, cpu, files, file_size, core]).
-define(LONGEST_TIMEOUT, 16#ffffffff).
-define(LARGEST_FRAME, 16#ffffff00).
-define(IS_TIMEOUT(Timeout),
    (Timeout =:= infinity orelse is_integer(Timeout) andalso Timeout >= 0 andalso Timeout =< ?LONGEST_TIMEOUT)
).
%% Of the process dictionary: the server and the number of the question that the process of a callback answers.
-define(CALLBACK, '$py_isolated_call').

%% The package is found beside the libraries; -P keeps the folder in which the VM runs off sys.path.
-define(BOOTSTRAP,
    "import sys; sys._erlang_python_isolated = True; sys.path.insert(0, sys.argv.pop()); "
    "import erlang._isolated; erlang._isolated.main()"
).

%% @equiv start_link(#{})
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    start_link(#{}).

%% @doc Starts a server, and Python; returns when Python is ready. Errors: `{setup_failed, Reason}', `start_timeout',
%% `{exited, Reason}', `{cannot_start, Python, Posix}'.
-spec start_link(options()) -> {ok, pid()} | {error, term()}.
start_link(Options) ->
    gen_server:start_link(py_isolated_server, settings(Options), [{timeout, infinity}]).

%% @doc The same under a name.
-spec start_link({local, atom()} | {global, term()} | {via, module(), term()}, options()) ->
    {ok, pid()} | {error, term()}.
start_link(Name, Options) ->
    gen_server:start_link(Name, py_isolated_server, settings(Options), [{timeout, infinity}]).

%% @doc For a supervisor: `{Name, Options}', Name being that of the process, too, or options alone.
-spec child_spec({atom(), options()} | options()) -> supervisor:child_spec().
child_spec({Name, Options}) ->
    (child_spec(Options))#{id => Name, start => {?MODULE, start_link, [{local, Name}, Options]}};
child_spec(Options) ->
    #{
        id => ?MODULE,
        start => {?MODULE, start_link, [Options]},
        %% Longer than the server waits for Python to end.
        shutdown => maps:get(stop_timeout, Options, 5000) + 5000
    }.

%% @equiv stop(Server, infinity)
-spec stop(server()) -> ok.
stop(Server) ->
    stop(Server, infinity).

%% @doc Ends Python and the server; calls are answered `{error, closed}'.
-spec stop(server(), timeout()) -> ok.
stop(Server, Timeout) ->
    gen_server:stop(Server, normal, Timeout).

%% @equiv call(Server, Module, Function, Arguments, #{}, #{})
-spec call(server(), py_nif:name(), py_nif:name(), [term()]) -> {ok, term()} | {error, error_reason()}.
call(Server, Module, Function, Arguments) ->
    call(Server, Module, Function, Arguments, #{}, #{}).

%% @equiv call(Server, Module, Function, Arguments, Keywords, #{})
-spec call(server(), py_nif:name(), py_nif:name(), [term()], map()) -> {ok, term()} | {error, error_reason()}.
call(Server, Module, Function, Arguments, Keywords) ->
    call(Server, Module, Function, Arguments, Keywords, #{}).

%% @doc Calls a function. Calls run one after the other.
-spec call(server(), py_nif:name(), py_nif:name(), [term()], map(), call_options()) ->
    {ok, term()} | {error, error_reason()}.
call(Server, Module, Function, Arguments, Keywords, Options) ->
    ok = py_task:check_call(Module, Function, Arguments, Keywords),
    request(Server, call, {name(Module), name(Function), Arguments, names(kwargs, Keywords)}, Options).

%% @equiv eval(Server, Expression, #{})
-spec eval(server(), binary() | atom()) -> {ok, term()} | {error, error_reason()}.
eval(Server, Expression) ->
    eval(Server, Expression, #{}).

%% @equiv eval(Server, Expression, Names, #{})
-spec eval(server(), binary() | atom(), map()) -> {ok, term()} | {error, error_reason()}.
eval(Server, Expression, Names) ->
    eval(Server, Expression, Names, #{}).

%% @doc The value of an expression, which may use the names given and those of `__main__'.
-spec eval(server(), binary() | atom(), map(), call_options()) -> {ok, term()} | {error, error_reason()}.
eval(Server, Expression, Names, Options) ->
    is_atom(Expression) orelse is_binary(Expression) orelse error({bad_argument, expression, Expression}),
    is_map(Names) orelse error({bad_argument, names, Names}),
    request(Server, eval, {name(Expression), names(names, Names)}, Options).

%% @equiv exec(Server, Code, #{})
-spec exec(server(), binary()) -> ok | {error, error_reason()}.
exec(Server, Code) ->
    exec(Server, Code, #{}).

%% @doc Runs statements in `__main__'.
-spec exec(server(), binary(), call_options()) -> ok | {error, error_reason()}.
exec(Server, Code, Options) ->
    is_binary(Code) orelse error({bad_argument, code, Code}),
    case request(Server, exec, {Code}, Options) of
        {ok, ok} -> ok;
        {error, Reason} -> {error, Reason}
    end.

%% @equiv run(Server, Module, Function, Arguments, #{})
-spec run(server(), py_nif:name(), py_nif:name(), [term()]) -> {ok, term()} | {error, error_reason()}.
run(Server, Module, Function, Arguments) ->
    run(Server, Module, Function, Arguments, #{}).

%% @doc Runs a coroutine function, or any other, on the process's event loop, where any number of them run concurrently,
%% beside the calls. The default timeout is 5000 ms, as of {@link py_event_loop:run/4}.
-spec run(server(), py_nif:name(), py_nif:name(), [term()], call_options()) -> {ok, term()} | {error, error_reason()}.
run(Server, Module, Function, Arguments, Options) ->
    ok = py_task:check_options(Options, ?CALL_OPTIONS),
    Keywords = py_task:keywords(Options),
    ok = py_task:check_call(Module, Function, Arguments, Keywords),
    Defaults = #{timeout => 5000},
    request(Server, run, {name(Module), name(Function), Arguments, names(kwargs, Keywords)}, maps:merge(Defaults, Options)).

%% @doc Raises `KeyboardInterrupt' in the call that runs now, also in one that waits in a system call.
-spec interrupt(server()) -> ok.
interrupt(Server) ->
    gen_server:call(Server, interrupt, infinity).

%% @doc Kills the process; another one is started.
-spec kill(server()) -> ok.
kill(Server) ->
    gen_server:call(Server, kill, infinity).

%% @doc What the server does: the number of its process, calls that wait and run, all calls so far, restarts.
-spec info(server()) -> info().
info(Server) ->
    gen_server:call(Server, info, infinity).

%%% Requests

request(Server, Kind, Term, Options) ->
    ok = py_task:check_options(Options, ?CALL_OPTIONS),
    Timeout = py_task:timeout(Options, infinity),
    KillAfter = kill_after(Options),
    Flags = py_task:flags(Options),
    {Via, To} = via(Server),
    Data = term_to_binary(list_to_tuple([Via, self(), Flags | tuple_to_list(Term)])),
    case byte_size(Data) < ?LARGEST_FRAME of
        true -> request(To, Kind, Via, Data, Timeout, KillAfter, Options);
        false -> {error, {'OverflowError', <<"arguments for an isolated Python have at most 4 GiB">>}}
    end.

request(To, Kind, Via, Data, Timeout, KillAfter, Options) ->
    Traceback = maps:get(traceback, Options, false),
    Wanted = #{timeout => Timeout, kill_after => KillAfter, interrupt => maps:get(interrupt, Options, false)},
    try gen_server:call(To, {request, Kind, Via, Data, Wanted}, infinity) of
        {value, Value} -> py_isolated_term:value(Value);
        {exception, Exception} -> {error, reason(Kind, py_isolated_term:exception(Exception, Traceback))};
        {error, Reason} -> {error, Reason}
    catch
        exit:{{nodedown, _} = Reason, _} -> {error, Reason};
        exit:{calling_self, {gen_server, call, _}} -> error({bad_argument, server, To});
        exit:{_, {gen_server, call, _}} -> {error, closed}
    end.

reason(run, {<<"asyncio.exceptions.CancelledError">>, _}) -> cancelled;
reason(run, {<<"asyncio.exceptions.CancelledError">>, _, _}) -> cancelled;
reason(_, Reason) -> Reason.

%% Where this process runs for a call of that server's Python, the thread that waits for it does what it asks.
via(Server) ->
    case get(?CALLBACK) of
        {Pid, Number} ->
            case resolved(Server) of
                Pid -> {Number, Pid};
                _ -> {0, Server}
            end;
        undefined ->
            {0, Server}
    end.

resolved(Pid) when is_pid(Pid) -> Pid;
resolved(Name) when is_atom(Name) -> whereis(Name);
resolved({Name, Node}) when is_atom(Name), Node =:= node() -> whereis(Name);
resolved({global, Name}) -> global:whereis_name(Name);
resolved({via, Module, Name}) -> Module:whereis_name(Name);
resolved(_) -> undefined.

kill_after(#{kill_after := Time}) when ?IS_TIMEOUT(Time) -> Time;
kill_after(#{kill_after := Other}) -> error({bad_option, kill_after, Other});
kill_after(_) -> infinity.

name(Name) when is_atom(Name) -> atom_to_binary(Name);
name(Name) -> Name.

%% Python's names are texts, whatever they may be in Erlang.
names(Argument, Map) ->
    Named = maps:fold(fun(Key, Value, Names) -> Names#{name(Key) => Value} end, #{}, Map),
    map_size(Named) =:= map_size(Map) andalso lists:all(fun is_binary/1, maps:keys(Named)) orelse
        error({bad_argument, Argument, Map}),
    Named.

%%% Options

settings(Options) ->
    ok = py_task:check_options(Options, ?OPTIONS),
    {ok, Config} = py_config:read(),
    #{
        executable => executable(Options),
        arguments => ["-X", "utf8", "-P", "-c", ?BOOTSTRAP, maps:get(package_path, Config)],
        environment => [variable(Pair) || Pair <- list(env, Options)],
        folder => folder(Options),
        config => #{
            none_atom => atom_to_binary(maps:get(none_atom, Config)),
            max_bytes => maps:get(max_term_bytes, Config),
            paths => [path(python_path, Path) || Path <- list(python_path, Options)] ++ maps:get(paths, Config),
            limits => limits(maps:get(limits, Options, #{})),
            setup => setup(Options)
        },
        max_bytes => maps:get(max_term_bytes, Config),
        start_timeout => option(start_timeout, Options, 30000, fun(T) -> ?IS_TIMEOUT(T) end),
        stop_timeout => option(stop_timeout, Options, 5000, fun(T) -> T =/= infinity andalso ?IS_TIMEOUT(T) end),
        restarts => option(restarts, Options, {3, 10}, fun is_intensity/1),
        load => maps:get(load, Options, none),
        queue_limit => option(queue_limit, Options, 100000, fun(N) -> is_integer(N) andalso N > 0 end)
    }.

option(Key, Options, Default, Check) ->
    Value = maps:get(Key, Options, Default),
    Check(Value) orelse error({bad_option, Key, Value}),
    Value.

is_intensity({Most, Period}) -> is_integer(Most) andalso Most >= 0 andalso is_integer(Period) andalso Period > 0;
is_intensity(_) -> false.

executable(#{python := Python}) ->
    path(python, Python);
executable(#{venv := Venv}) ->
    filename:join([path(venv, Venv), "bin", "python3"]);
executable(_) ->
    case py_nif:runtime_info() of
        {ok, #{executable := Executable}} -> Executable;
        {error, not_started} -> error({not_started, erlang_python})
    end.

folder(#{cd := Folder}) -> unicode:characters_to_list(path(cd, Folder));
folder(_) -> none.

list(Key, Options) ->
    case maps:get(Key, Options, []) of
        List when is_list(List) -> List;
        Other -> error({bad_option, Key, Other})
    end.

path(Key, Path) ->
    try unicode:characters_to_binary(filename:absname(Path)) of
        Binary when is_binary(Binary) -> Binary;
        _ -> error({bad_option, Key, Path})
    catch
        error:_ -> error({bad_option, Key, Path})
    end.

variable({Name, false}) -> {text(Name), false};
variable({Name, Value}) -> {text(Name), text(Value)};
variable(Other) -> error({bad_option, env, Other}).

text(Text) ->
    try unicode:characters_to_list(Text) of
        List when is_list(List) -> List;
        _ -> error({bad_option, env, Text})
    catch
        error:badarg -> error({bad_option, env, Text})
    end.

limits(Limits) when is_map(Limits) ->
    [
        (lists:member(Key, ?LIMITS) andalso is_integer(Value) andalso Value >= 0 andalso Value < 1 bsl 63) orelse
            error({bad_option, limits, {Key, Value}})
     || {Key, Value} <- maps:to_list(Limits)
    ],
    maps:fold(fun(Key, Value, All) -> All#{atom_to_binary(Key) => Value} end, #{}, Limits);
limits(Other) ->
    error({bad_option, limits, Other}).

setup(#{setup := Code}) when is_binary(Code) -> Code;
setup(#{setup := Other}) -> error({bad_option, setup, Other});
setup(_) -> <<>>.
