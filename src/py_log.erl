%% @doc Reports what goes wrong where nobody waits for an answer: exceptions of `py:cast/3' and
%% `py_event_loop:spawn_task/3', and faults of the native core.
-module(py_log).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0, put_chars/2, flush/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec init([]) -> {ok, no_state}.
init([]) ->
    ok = py_nif:log_receiver(self()),
    {ok, no_state}.

%% @doc Writes a text to the group leader of a process, or of the caller if that process is gone.
-spec put_chars(pid() | atom(), unicode:chardata()) -> ok.
put_chars(Process, Text) ->
    %% A group leader that is gone is no reason for Python to fail.
    _ = catch io:put_chars(group_leader_of(Process), Text),
    ok.

group_leader_of(Process) when is_pid(Process), node(Process) =:= node() ->
    case process_info(Process, group_leader) of
        {group_leader, Leader} -> Leader;
        undefined -> group_leader()
    end;
group_leader_of(_) ->
    group_leader().

%% @doc Returns when what was sent before has been logged.
-spec flush() -> ok.
flush() ->
    gen_server:call(?MODULE, flush, infinity).

-spec handle_call(term(), gen_server:from(), State) -> {reply, ok | {error, unknown_call}, State}.
handle_call(flush, _From, State) ->
    {reply, ok, State};
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), State) -> {noreply, State}.
handle_cast(_Message, State) ->
    {noreply, State}.

-spec handle_info(term(), State) -> {noreply, State}.
handle_info({python_log, {Module, Function, {Class, Message, Traceback}}}, State) ->
    ?LOG_ERROR("Python exception in ~ts.~ts: ~ts: ~ts~n~ts", [
        name(Module), name(Function), name(Class), Message, Traceback
    ]),
    {noreply, State};
handle_info({python_log, {Class, Message, Traceback}}, State) ->
    ?LOG_ERROR("Python exception ~ts: ~ts~n~ts", [name(Class), Message, Traceback]),
    {noreply, State};
handle_info({python_log_record, Level, Text, Process, Metadata}, State) ->
    logger:log(Level, "~ts", [Text], metadata(Process, Metadata)),
    {noreply, State};
handle_info({python_log, Text}, State) when is_binary(Text) ->
    ?LOG_ERROR("erlang_python: ~ts", [Text]),
    {noreply, State};
handle_info(_Message, State) ->
    {noreply, State}.

name(Atom) when is_atom(Atom) -> atom_to_binary(Atom);
name(Binary) -> Binary.

%% No domain: the default handler of logger shows only events without one, or of OTP itself.
metadata(Process, #{<<"file">> := File, <<"line">> := Line, <<"time">> := Time} = Metadata) ->
    Standard = #{
        file => unicode:characters_to_list(File),
        line => Line,
        time => Time,
        python_logger => maps:get(<<"python_logger">>, Metadata),
        python_module => maps:get(<<"python_module">>, Metadata),
        python_function => maps:get(<<"python_function">>, Metadata),
        python_thread => maps:get(<<"python_thread">>, Metadata)
    },
    case is_pid(Process) of
        true -> Standard#{pid => Process};
        false -> Standard
    end.
