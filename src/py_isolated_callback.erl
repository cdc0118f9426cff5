%% @private What isolated Python asks Erlang for; each answer is a term in external format.
-module(py_isolated_callback).

-export([call/3, send/1, whereis/1, registered/1, failure/3, busy/0]).

%% @doc Runs a registered function in the calling process, made for it, and has the server send its value. What this
%% process asks of the same server goes to the Python thread that waits for the answer.
-spec call({pid(), port()}, pos_integer(), binary()) -> ok.
call({Server, Port}, Number, Data) ->
    put('$py_isolated_call', {Server, Number}),
    Server ! {answer, Port, Number, answer(Data)},
    ok.

answer(Data) ->
    case py_isolated_term:decode(Data) of
        {ok, {Name, Arguments, Process}} when is_binary(Name), is_list(Arguments) ->
            encoded(py_callback_run:run(Process, Name, Arguments));
        {ok, _} ->
            bad_term();
        error ->
            bad_term()
    end.

encoded({value, Value}) -> term_to_binary({ok, Value});
encoded({not_registered, Name}) -> term_to_binary({not_registered, Name});
encoded({failure, Failure}) -> encoded_failure(Failure).

%% @doc The answer for a function that raised; Python gets a reason that it has no object for as a text.
-spec failure(error | exit | throw, term(), list()) -> binary().
failure(Class, Reason, Stack) ->
    encoded_failure(py_callback_run:failure(Class, Reason, Stack)).

encoded_failure({Class, Reason, Stack, Message}) ->
    term_to_binary({error, atom_to_binary(Class), plain(Reason, Message), Stack, Message}).

plain(Reason, _) when is_atom(Reason); is_binary(Reason); is_number(Reason) -> Reason;
plain(Reason, Message) ->
    case is_convertible(Reason) of
        true -> Reason;
        false -> Message
    end.

is_convertible([]) -> true;
is_convertible([Head | Tail]) -> is_list(Tail) andalso is_convertible(Head) andalso is_convertible(Tail);
is_convertible(Tuple) when is_tuple(Tuple) -> is_convertible(tuple_to_list(Tuple));
is_convertible(Map) when is_map(Map) -> lists:all(fun is_key/1, maps:keys(Map)) andalso is_convertible(maps:values(Map));
is_convertible(Bits) when is_bitstring(Bits) -> is_binary(Bits);
is_convertible(_) -> true.

is_key(Key) -> is_atom(Key) orelse is_binary(Key) orelse is_integer(Key) orelse is_pid(Key) orelse is_reference(Key).

%% @doc Sends a message: to a process, a registered name, or a name on a node.
-spec send(binary()) -> binary().
send(Data) ->
    case py_isolated_term:decode(Data) of
        {ok, {To, Message}} -> send(To, Message);
        _ -> bad_term()
    end.

send(Pid, Message) when is_pid(Pid), node(Pid) =:= node() ->
    case is_process_alive(Pid) of
        true -> sent(Pid, Message);
        false -> no_process("the process ~p does not exist", [Pid])
    end;
send(Pid, Message) when is_pid(Pid) ->
    sent(Pid, Message);
send({Name, Node}, Message) when is_binary(Name), is_binary(Node) ->
    case {existing(Name), existing(Node)} of
        {{ok, NameAtom}, {ok, NodeAtom}} -> sent({NameAtom, NodeAtom}, Message);
        _ -> no_process("no process is registered as '~ts' on ~ts", [Name, Node])
    end;
send(Name, Message) when is_binary(Name); is_atom(Name) ->
    case find(Name) of
        {ok, Pid} -> sent(Pid, Message);
        error -> no_process("no process is registered as '~ts'", [Name])
    end;
send(_, _) ->
    term_to_binary({bad_term, <<"a message goes to a process, a name, or a name and a node">>}).

sent(To, Message) ->
    %% The server must not wait for a connection to another node.
    _ = erlang:send(To, Message, [noconnect, nosuspend]) =/= ok andalso spawn(fun() -> To ! Message end),
    term_to_binary({ok, none}).

%% @doc The process of a name, or none.
-spec whereis(binary()) -> binary().
whereis(Data) ->
    case py_isolated_term:decode(Data) of
        {ok, Name} when is_binary(Name) ->
            case find(Name) of
                {ok, Pid} -> term_to_binary({ok, Pid});
                error -> term_to_binary({ok, none})
            end;
        _ ->
            bad_term()
    end.

%% @doc Whether a function is registered under a name.
-spec registered(binary()) -> binary().
registered(Data) ->
    case py_isolated_term:decode(Data) of
        {ok, Name} when is_binary(Name) -> term_to_binary({ok, py_callback:lookup(Name) =/= error});
        _ -> bad_term()
    end.

find(Name) when is_binary(Name) ->
    case existing(Name) of
        {ok, Atom} -> find(Atom);
        error -> error
    end;
find(Name) ->
    case erlang:whereis(Name) of
        Pid when is_pid(Pid) -> {ok, Pid};
        _ -> error
    end.

existing(Name) ->
    try
        {ok, binary_to_existing_atom(Name)}
    catch
        error:_ -> error
    end.

%% @doc The answer when too many functions run already.
-spec busy() -> binary().
busy() ->
    term_to_binary({error, <<"error">>, busy, <<>>, <<"too many calls of one Python are being answered">>}).

no_process(Format, Arguments) ->
    term_to_binary({no_process, py_callback_run:text(Format, Arguments)}).

bad_term() ->
    term_to_binary({bad_term, <<"the arguments have an atom that does not exist, or are too large for Erlang">>}).
