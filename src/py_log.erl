%% @doc Reports what goes wrong where nobody waits for an answer: exceptions of `py:cast/3' and
%% `py_event_loop:spawn_task/3', and faults of the native core.
-module(py_log).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec init([]) -> {ok, no_state}.
init([]) ->
    ok = py_nif:log_receiver(self()),
    {ok, no_state}.

-spec handle_call(term(), gen_server:from(), State) -> {reply, {error, unknown_call}, State}.
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
handle_info({python_log, Text}, State) when is_binary(Text) ->
    ?LOG_ERROR("erlang_python: ~ts", [Text]),
    {noreply, State};
handle_info(_Message, State) ->
    {noreply, State}.

name(Atom) when is_atom(Atom) -> atom_to_binary(Atom);
name(Binary) -> Binary.
