%% @doc Channels: messages from Erlang processes to Python code, in order and each of them once.
%%
%% Python receives with `erlang.channel.Channel', in threads by blocking or in coroutines by awaiting. Any number of
%% processes may send and any number of receivers share a channel. A channel is a reference; it goes when nobody has it
%% any more. See docs/channel.md.
-module(py_channel).

-export([new/0, new/1, send/2, send/3, close/1, info/1]).

-export_type([channel/0, options/0, info/0]).

-type channel() :: py_nif:channel().

-type options() :: #{
    max_size => pos_integer() | infinity,
    owner => pid() | none
}.
%% `max_size': in bytes of the external term format, default `infinity'; `owner' (default: the caller): the process of
%% this node with which the channel is closed, `none' for one that lives as long as somebody has it.

-type info() :: #{
    size := non_neg_integer(),
    max_size := non_neg_integer(),
    messages := non_neg_integer(),
    receivers := non_neg_integer(),
    closed := boolean()
}.

%% @equiv new(#{})
-spec new() -> {ok, channel()} | {error, closed | enomem}.
new() ->
    new(#{}).

%% @doc Makes a channel. `{error, closed}': the application does not run.
-spec new(options()) -> {ok, channel()} | {error, closed | enomem}.
new(Options) ->
    ok = py_task:check_options(Options, [max_size, owner]),
    py_nif:channel_new(max_size(maps:get(max_size, Options, infinity)), owner(maps:get(owner, Options, self()))).

max_size(infinity) -> 0;
max_size(Size) when is_integer(Size), Size > 0 -> Size;
max_size(Other) -> error({bad_option, max_size, Other}).

owner(none) -> none;
owner(Owner) when is_pid(Owner), node(Owner) =:= node() -> Owner;
owner(Other) -> error({bad_option, owner, Other}).

%% @doc Sends a message. `busy': the channel holds messages, and with this one more than `max_size' bytes; a message that
%% is larger by itself is accepted when nothing else waits. `{error, closed}': see {@link close/1}.
-spec send(channel(), term()) -> ok | busy | {error, closed | enomem}.
send(Channel, Message) ->
    try
        py_nif:channel_send(Channel, Message, erlang:external_size(Message))
    catch
        error:badarg -> error({bad_argument, channel, Channel})
    end.

%% @doc Sends a message, and waits for room at most Timeout milliseconds; `busy' after that.
-spec send(channel(), term(), timeout()) -> ok | busy | {error, closed | enomem}.
send(Channel, Message, infinity) ->
    send_until(Channel, Message, infinity);
send(Channel, Message, Timeout) when is_integer(Timeout), Timeout >= 0, Timeout =< 16#ffffffff ->
    send_until(Channel, Message, erlang:monotonic_time(millisecond) + Timeout);
send(_Channel, _Message, Timeout) ->
    error({bad_argument, timeout, Timeout}).

send_until(Channel, Message, Deadline) ->
    case send(Channel, Message) of
        busy -> await_room(Channel, Message, Deadline);
        Result -> Result
    end.

await_room(Channel, Message, Deadline) ->
    Reference = make_ref(),
    case py_nif:channel_expect_room(Channel, Reference, erlang:external_size(Message)) of
        false ->
            send_until(Channel, Message, Deadline);
        true ->
            receive
                {channel_room, Reference} -> send_until(Channel, Message, Deadline)
            after remaining(Deadline) ->
                ok = py_nif:channel_forget_room(Channel, Reference),
                receive
                    {channel_room, Reference} -> send(Channel, Message)
                after 0 -> busy
                end
            end;
        {error, Reason} ->
            {error, Reason}
    end.

remaining(infinity) -> infinity;
remaining(Deadline) -> max(0, Deadline - erlang:monotonic_time(millisecond)).

%% @doc Refuses messages from now on. Receivers get what was sent before, then `ChannelClosed', or the end of their
%% `for'. The end of the application closes all channels.
-spec close(channel()) -> ok.
close(Channel) ->
    try
        py_nif:channel_close(Channel)
    catch
        error:badarg -> error({bad_argument, channel, Channel})
    end.

%% @doc What a channel holds: `size' in bytes, `max_size' (0: any), the number of `messages', of `receivers' that wait,
%% and whether it is `closed'.
-spec info(channel()) -> info().
info(Channel) ->
    try
        py_nif:channel_info(Channel)
    catch
        error:badarg -> error({bad_argument, channel, Channel})
    end.
