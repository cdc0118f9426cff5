%% @doc Channels of bytes: {@link py_channel} for bodies, files, audio. Python receives `bytes' with
%% `erlang.channel.ByteChannel', whether or not they happen to be text.
-module(py_byte_channel).

-export([new/0, new/1, send/2, send/3, close/1, info/1]).

%% @doc See {@link py_channel:new/0}.
-spec new() -> {ok, py_channel:channel()} | {error, closed | enomem}.
new() ->
    py_channel:new().

%% @doc See {@link py_channel:new/1}; `max_size' counts a few bytes more for each message.
-spec new(py_channel:options()) -> {ok, py_channel:channel()} | {error, closed | enomem}.
new(Options) ->
    py_channel:new(Options).

%% @doc See {@link py_channel:send/2}.
-spec send(py_channel:channel(), iodata()) -> ok | busy | {error, closed | enomem}.
send(Channel, Data) ->
    py_channel:send(Channel, bytes(Data)).

%% @doc See {@link py_channel:send/3}.
-spec send(py_channel:channel(), iodata(), timeout()) -> ok | busy | {error, closed | enomem}.
send(Channel, Data, Timeout) ->
    py_channel:send(Channel, bytes(Data), Timeout).

bytes(Data) ->
    try
        iolist_to_binary(Data)
    catch
        error:badarg -> error({bad_argument, data, Data})
    end.

%% @doc See {@link py_channel:close/1}.
-spec close(py_channel:channel()) -> ok.
close(Channel) ->
    py_channel:close(Channel).

%% @doc See {@link py_channel:info/1}.
-spec info(py_channel:channel()) -> py_channel:info().
info(Channel) ->
    py_channel:info(Channel).
