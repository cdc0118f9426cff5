%% @private What {@link py_reactor_context} asks of the sockets of Erlang, of whichever kind.
-module(py_reactor_socket).

-export([descriptor/1, peer/1, address/1, close/1]).

%% @doc The descriptor of a socket.
-spec descriptor(term()) -> {ok, py_nif:fd()} | {error, term()}.
descriptor(Socket) when is_port(Socket) ->
    case inet:getfd(Socket) of
        {ok, Fd} -> {ok, Fd};
        {error, Reason} -> {error, Reason}
    end;
%% One of gen_tcp or gen_udp with the option {inet_backend, socket}.
descriptor({'$inet', _Module, {_Pid, {'$socket', _} = Socket}}) ->
    descriptor(Socket);
descriptor({'$socket', _} = Socket) ->
    case socket:getopt(Socket, {otp, fd}) of
        {ok, Fd} -> {ok, Fd};
        {error, Reason} -> {error, Reason}
    end;
descriptor(Other) ->
    {error, {not_a_descriptor, Other}}.

%% @doc `addr', `port' and `type' of the other side, as far as there is one.
-spec peer(term()) -> map().
peer({'$socket', _} = Socket) ->
    maps:merge(type_of(Socket), peer_name(catch socket:peername(Socket)));
peer(Socket) ->
    maps:merge(type_of(Socket), peer_name(catch inet:peername(Socket))).

peer_name({ok, {local, Path}}) -> #{addr => Path};
peer_name({ok, {Address, Port}}) -> #{addr => address(Address), port => Port};
peer_name({ok, #{family := local, path := Path}}) -> #{addr => Path};
peer_name({ok, #{addr := Address, port := Port}}) -> #{addr => address(Address), port => Port};
peer_name(_) -> #{}.

type_of(Socket) when is_port(Socket) ->
    case erlang:port_info(Socket, name) of
        {name, Name} ->
            case {catch inet:sockname(Socket), Name} of
                {{ok, {local, _}}, _} -> #{type => unix};
                {_, "udp_inet"} -> #{type => udp};
                {_, "tcp_inet"} -> #{type => tcp};
                _ -> #{}
            end;
        _ ->
            #{}
    end;
type_of({'$socket', _} = Socket) ->
    case {socket:getopt(Socket, {socket, domain}), socket:getopt(Socket, {socket, type})} of
        {{ok, local}, _} -> #{type => unix};
        {_, {ok, stream}} -> #{type => tcp};
        {_, {ok, dgram}} -> #{type => udp};
        _ -> #{}
    end;
type_of({'$inet', _Module, {_Pid, {'$socket', _} = Socket}}) ->
    type_of(Socket);
type_of(_) ->
    #{}.

%% @doc An IP address, or a text as `inet:ntoa/1' gives it, as a binary; everything else as it is.
-spec address(term()) -> term().
address(Address) when is_tuple(Address) ->
    case inet:ntoa(Address) of
        {error, einval} -> Address;
        Text -> list_to_binary(Text)
    end;
address(Text) when is_list(Text) ->
    try unicode:characters_to_binary(Text) of
        Binary when is_binary(Binary) -> Binary;
        _ -> Text
    catch
        error:badarg -> Text
    end;
address(Other) ->
    Other.

%% @doc Gives up the VM's own descriptor.
-spec close(term()) -> ok.
close({'$socket', _} = Socket) ->
    _ = socket:close(Socket),
    ok;
close(Socket) ->
    inet:close(Socket).
