%% @doc Erlang functions that Python can call: `erlang.call(Name, *Args)'.
%%
%% A function is a fun of one argument, or the name of a function of one argument, which gets the list of Python's
%% arguments. Names are atoms or binaries; `foo' and `<<"foo">>' are the same name. Registering a name again replaces
%% its function.
%%
%% Each call runs in a process of its own, with the group leader of the process on whose behalf Python runs. While it
%% runs, {@link py:call/3} in that process is executed by the very Python thread that waits for it.
-module(py_callback).

-behaviour(gen_server).

-export([register/2, register/3, unregister/1, registered/0, lookup/1]).
-export([start_link/0, new_table/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-export_type([name/0, callback/0, options/0]).

-type name() :: atom() | binary().
-type callback() :: fun(([term()]) -> term()) | {module(), atom()}.
-type options() :: #{owner => application | pid()}.
%% `owner': the name is unregistered when that process ends; default `application': when the application stops.

-define(TABLE, ?MODULE).

%% @equiv register(Name, Callback, #{})
-spec register(name(), callback()) -> ok.
register(Name, Callback) ->
    ?MODULE:register(Name, Callback, #{}).

%% @doc Makes a function known to Python under a name.
-spec register(name(), callback(), options()) -> ok.
register(Name, Callback, Options) ->
    Binary = name(Name),
    is_callback(Callback) orelse error({bad_argument, callback, Callback}),
    request({register, Binary, Callback, owner(Options)}).

%% @doc Makes Python forget a function; no error if there was none. Calls that run go on.
-spec unregister(name()) -> ok.
unregister(Name) ->
    request({unregister, name(Name)}).

%% @doc The names of all registered functions, sorted.
-spec registered() -> [binary()].
registered() ->
    lists:sort([Name || {Name, _, Owner} <- table(), Owner =/= builtin]).

%% @private
-spec lookup(binary()) -> {ok, callback()} | error.
lookup(Name) ->
    try ets:lookup(?TABLE, Name) of
        [{_, Callback, _}] -> {ok, Callback};
        [] -> error
    catch
        error:badarg -> error
    end.

table() ->
    try
        ets:tab2list(?TABLE)
    catch
        error:badarg -> error({not_started, erlang_python})
    end.

request(Request) ->
    try
        gen_server:call(?MODULE, Request, infinity)
    catch
        exit:{noproc, _} -> error({not_started, erlang_python})
    end.

name(Name) when is_atom(Name) -> atom_to_binary(Name);
name(Name) when is_binary(Name), Name =/= <<>> ->
    is_list(unicode:characters_to_list(Name)) orelse error({bad_argument, name, Name}),
    Name;
name(Name) ->
    error({bad_argument, name, Name}).

is_callback(Callback) when is_function(Callback, 1) -> true;
is_callback({Module, Function}) -> is_atom(Module) andalso is_atom(Function);
is_callback(_) -> false.

owner(Options) when is_map(Options) ->
    case maps:to_list(maps:without([owner], Options)) of
        [] -> ok;
        [{Key, Value} | _] -> error({bad_option, Key, Value})
    end,
    case Options of
        #{owner := application} -> application;
        #{owner := Pid} when is_pid(Pid) -> Pid;
        #{owner := Other} -> error({bad_option, owner, Other});
        #{} -> application
    end;
owner(Options) ->
    error({bad_argument, options, Options}).

%%% The registrar: the only writer of the table

%% @private
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @private
-spec new_table() -> ok.
new_table() ->
    ?TABLE = ets:new(?TABLE, [named_table, public, {read_concurrency, true}]),
    true = ets:insert(?TABLE, [{Name, Callback, builtin} || {Name, Callback} <- py_callback_builtin:all()]),
    ok.

%% @private
-spec init([]) -> {ok, #{reference() => binary()}}.
init([]) ->
    Rows = [Row || {_, _, Owner} = Row <- ets:tab2list(?TABLE), Owner =/= builtin],
    ok = py_nif:callback_names(reset, [Name || {Name, _, _} <- Rows]),
    {ok, maps:from_list([{monitor(process, Owner), Name} || {Name, _, Owner} <- Rows, is_pid(Owner)])}.

%% @private
-spec handle_call(term(), gen_server:from(), Monitors) -> {reply, ok | {error, unknown_call}, Monitors}.
handle_call({register, Name, Callback, Owner}, _From, Monitors) ->
    Others = forget(Name, Monitors),
    true = ets:insert(?TABLE, {Name, Callback, Owner}),
    ok = py_nif:callback_names(add, [Name]),
    case is_pid(Owner) of
        true -> {reply, ok, Others#{monitor(process, Owner) => Name}};
        false -> {reply, ok, Others}
    end;
handle_call({unregister, Name}, _From, Monitors) ->
    case ets:lookup(?TABLE, Name) of
        [{_, _, Owner}] when Owner =/= builtin ->
            remove(Name),
            {reply, ok, forget(Name, Monitors)};
        _ ->
            {reply, ok, Monitors}
    end;
handle_call(_Request, _From, Monitors) ->
    {reply, {error, unknown_call}, Monitors}.

%% @private
-spec handle_cast(term(), Monitors) -> {noreply, Monitors}.
handle_cast(_Message, Monitors) ->
    {noreply, Monitors}.

%% @private
-spec handle_info(term(), Monitors) -> {noreply, Monitors}.
handle_info({'DOWN', Monitor, process, _, _}, Monitors) ->
    case maps:take(Monitor, Monitors) of
        {Name, Others} ->
            remove(Name),
            {noreply, Others};
        error ->
            {noreply, Monitors}
    end;
handle_info(_Message, Monitors) ->
    {noreply, Monitors}.

remove(Name) ->
    true = ets:delete(?TABLE, Name),
    ok = py_nif:callback_names(remove, [Name]).

%% Ends the watch over the owner that the name had.
forget(Name, Monitors) ->
    Old = [Monitor || {Monitor, Registered} <- maps:to_list(Monitors), Registered =:= Name],
    [demonitor(Monitor, [flush]) || Monitor <- Old],
    maps:without(Old, Monitors).
