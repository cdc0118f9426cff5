%% @doc A pool of isolated Pythons ({@link py_isolated}): work in parallel, since each has an interpreter of its own.
%%
%% A call goes to the server that has least to do. The servers know nothing of each other: what all are to have, modules
%% or data, belongs into the option `setup'. When the process of one ends, its calls are answered `{error, {exited,
%% Reason}}', and the others go on.
-module(py_isolated_pool).

-behaviour(supervisor).

-export([start_link/1, start_link/2, child_spec/1, stop/1]).
-export([call/4, call/5, call/6, eval/2, eval/3, eval/4, run/4, run/5]).
-export([servers/1, info/1]).
-export([init/1]).

-export_type([options/0]).

-type options() :: #{size => pos_integer(), atom() => term()}.
%% Those of `py_isolated:options()', and `size', the number of servers, default that of the schedulers.

-define(KEY(Name), {?MODULE, Name}).
-define(MOST, 1024).
%% More than any server has to do.
-define(GONE, 1 bsl 40).

%% @equiv start_link(Name, #{})
-spec start_link(atom()) -> {ok, pid()} | {error, term()}.
start_link(Name) ->
    start_link(Name, #{}).

%% @doc Starts a pool under a name, a supervisor of its servers, and returns when all are ready.
-spec start_link(atom(), options()) -> {ok, pid()} | {error, term()}.
start_link(Name, Options) when is_atom(Name), is_map(Options) ->
    Size = maps:get(size, Options, erlang:system_info(schedulers)),
    is_integer(Size) andalso Size > 0 andalso Size =< ?MOST orelse error({bad_option, size, Size}),
    case supervisor:start_link({local, Name}, ?MODULE, {Name, Size, maps:remove(size, Options)}) of
        {error, {shutdown, {failed_to_start_child, _, Reason}}} -> {error, Reason};
        Result -> Result
    end;
start_link(Name, Options) when is_atom(Name) ->
    error({bad_argument, options, Options});
start_link(Name, _Options) ->
    error({bad_argument, name, Name}).

%% @doc For a supervisor: `{Name, Options}'.
-spec child_spec({atom(), options()}) -> supervisor:child_spec().
child_spec({Name, Options}) ->
    #{id => Name, start => {?MODULE, start_link, [Name, Options]}, type => supervisor}.

%% @doc Ends a pool that no supervisor watches over.
-spec stop(atom()) -> ok.
stop(Name) ->
    gen_server:stop(Name).

%% @equiv call(Name, Module, Function, Arguments, #{}, #{})
-spec call(atom(), py_nif:name(), py_nif:name(), [term()]) -> {ok, term()} | {error, py_isolated:error_reason()}.
call(Name, Module, Function, Arguments) ->
    call(Name, Module, Function, Arguments, #{}, #{}).

%% @equiv call(Name, Module, Function, Arguments, Keywords, #{})
-spec call(atom(), py_nif:name(), py_nif:name(), [term()], map()) ->
    {ok, term()} | {error, py_isolated:error_reason()}.
call(Name, Module, Function, Arguments, Keywords) ->
    call(Name, Module, Function, Arguments, Keywords, #{}).

%% @doc See {@link py_isolated:call/6}.
-spec call(atom(), py_nif:name(), py_nif:name(), [term()], map(), py_isolated:call_options()) ->
    {ok, term()} | {error, py_isolated:error_reason()}.
call(Name, Module, Function, Arguments, Keywords, Options) ->
    on(Name, fun(Server) -> py_isolated:call(Server, Module, Function, Arguments, Keywords, Options) end).

%% @equiv eval(Name, Expression, #{})
-spec eval(atom(), binary() | atom()) -> {ok, term()} | {error, py_isolated:error_reason()}.
eval(Name, Expression) ->
    eval(Name, Expression, #{}, #{}).

%% @equiv eval(Name, Expression, Names, #{})
-spec eval(atom(), binary() | atom(), map()) -> {ok, term()} | {error, py_isolated:error_reason()}.
eval(Name, Expression, Names) ->
    eval(Name, Expression, Names, #{}).

%% @doc See {@link py_isolated:eval/4}.
-spec eval(atom(), binary() | atom(), map(), py_isolated:call_options()) ->
    {ok, term()} | {error, py_isolated:error_reason()}.
eval(Name, Expression, Names, Options) ->
    on(Name, fun(Server) -> py_isolated:eval(Server, Expression, Names, Options) end).

%% @equiv run(Name, Module, Function, Arguments, #{})
-spec run(atom(), py_nif:name(), py_nif:name(), [term()]) -> {ok, term()} | {error, py_isolated:error_reason()}.
run(Name, Module, Function, Arguments) ->
    run(Name, Module, Function, Arguments, #{}).

%% @doc See {@link py_isolated:run/5}.
-spec run(atom(), py_nif:name(), py_nif:name(), [term()], py_isolated:call_options()) ->
    {ok, term()} | {error, py_isolated:error_reason()}.
run(Name, Module, Function, Arguments, Options) ->
    on(Name, fun(Server) -> py_isolated:run(Server, Module, Function, Arguments, Options) end).

%% @doc The names of the servers of a pool; empty when there is no such pool.
-spec servers(atom()) -> [atom()].
servers(Name) ->
    case persistent_term:get(?KEY(Name), undefined) of
        undefined -> [];
        {Servers, _Load} -> tuple_to_list(Servers)
    end.

%% @doc What each server does: see {@link py_isolated:info/1}; `starting' for one that is just being started.
-spec info(atom()) -> #{atom() => py_isolated:info() | starting}.
info(Name) ->
    maps:from_list([{Server, info_of(Server)} || Server <- servers(Name)]).

info_of(Server) ->
    try
        py_isolated:info(Server)
    catch
        exit:{_, {gen_server, call, _}} -> starting
    end.

%%% The server with least to do

on(Name, Request) ->
    case persistent_term:get(?KEY(Name), undefined) of
        undefined ->
            {error, closed};
        {Servers, Load} ->
            Request(choose(Servers, Load, tuple_size(Servers)))
    end.

choose(Servers, Load, Tries) ->
    Size = tuple_size(Servers),
    Index = least(Load, Size, rand:uniform(Size)),
    Server = element(Index, Servers),
    case whereis(Server) of
        undefined when Tries > 1 ->
            %% Until its successor says what it has to do.
            ok = atomics:put(Load, Index, ?GONE),
            choose(Servers, Load, Tries - 1);
        _ ->
            %% Until the server says so itself.
            ok = atomics:add(Load, Index, 1),
            Server
    end.

%% Begins anywhere, so that equal ones take turns.
least(Load, Size, First) ->
    least(Load, Size, First rem Size + 1, First, First, atomics:get(Load, First)).

least(_Load, _Size, First, First, Best, _Least) -> Best;
least(_Load, _Size, _Index, _First, Best, 0) -> Best;
least(Load, Size, Index, First, Best, Least) ->
    case atomics:get(Load, Index) of
        Less when Less < Least -> least(Load, Size, Index rem Size + 1, First, Index, Less);
        _ -> least(Load, Size, Index rem Size + 1, First, Best, Least)
    end.

%%% supervisor

%% @private
-spec init({atom(), pos_integer(), py_isolated:options()}) ->
    {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init({Name, Size, Options}) ->
    Load = atomics:new(Size, [{signed, true}]),
    %% Their number is bounded by that of the pools.
    Servers = [binary_to_atom(<<(atom_to_binary(Name))/binary, "_", (integer_to_binary(N))/binary>>) || N <- lists:seq(1, Size)],
    %% It outlives the pool, for which it costs a pool of the same name nothing.
    ok = persistent_term:put(?KEY(Name), {list_to_tuple(Servers), Load}),
    Children = [
        (py_isolated:child_spec({Server, Options#{load => {Load, N}}}))#{id => Server}
     || {N, Server} <- lists:enumerate(Servers)
    ],
    {ok, {#{strategy => one_for_one, intensity => Size, period => 10}, Children}}.
