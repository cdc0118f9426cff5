%% @private Frames on the pipe to an isolated Python: size (4 bytes, without itself), kind (1 byte), number (8 bytes), and
%% a term in external format or nothing. `python/erlang/_isolated_link.py' is the other end.
-module(py_isolated_frame).

-export([new/1, add/2, frame/3, request/1, asked/1]).

-export_type([buffer/0, asked/0]).

-record(buffer, {
    %% Of data that is no whole frame yet, the last first.
    parts = [] :: [binary()],
    size = 0 :: non_neg_integer(),
    %% What the frame that has begun needs, as far as it is known.
    needed = 4 :: pos_integer(),
    limit :: pos_integer()
}).

-opaque buffer() :: #buffer{}.
-type asked() :: hello | ready | refused | value | exception | call | send | whereis | registered | unknown.

%% What is in a frame beside its size and its term.
-define(HEAD, 9).

%% @doc An empty buffer for frames whose terms have at most so many bytes.
-spec new(pos_integer()) -> buffer().
new(Limit) ->
    #buffer{limit = Limit}.

%% @doc The whole frames, in their order, once data are added: their kind, number and term. `too_large' when one is
%% announced that is beyond the limit, so that nobody can fill the memory of the VM.
-spec add(binary(), buffer()) -> {[{asked(), non_neg_integer(), binary()}], buffer()} | too_large.
add(Data, #buffer{parts = Parts, size = Size, needed = Needed} = Buffer) when Size + byte_size(Data) < Needed ->
    {[], Buffer#buffer{parts = [Data | Parts], size = Size + byte_size(Data)}};
add(Data, #buffer{parts = [], limit = Limit}) ->
    frames(Data, Limit, []);
add(Data, #buffer{parts = Parts, limit = Limit}) ->
    frames(iolist_to_binary(lists:reverse(Parts, [Data])), Limit, []).

frames(<<Size:32, _/binary>>, Limit, _Frames) when Size > Limit + ?HEAD; Size < ?HEAD ->
    too_large;
frames(<<Size:32, Kind, Number:64, Rest/binary>>, Limit, Frames) when byte_size(Rest) >= Size - ?HEAD ->
    <<Term:(Size - ?HEAD)/binary, Others/binary>> = Rest,
    frames(Others, Limit, [{asked(Kind), Number, Term} | Frames]);
frames(Data, Limit, Frames) ->
    Needed =
        case Data of
            <<Size:32, _/binary>> -> Size + 4;
            _ -> 4
        end,
    %% A copy: a few bytes would keep all that was received with them.
    Parts = [binary:copy(Data) || Data =/= <<>>],
    {lists:reverse(Frames), #buffer{parts = Parts, size = byte_size(Data), needed = Needed, limit = Limit}}.

%% @doc A frame for Python.
-spec frame(byte(), non_neg_integer(), iodata()) -> iolist().
frame(Kind, Number, Term) ->
    [<<(iolist_size(Term) + ?HEAD):32, Kind, Number:64>>, Term].

%% @doc The kind of a frame for Python by its name.
-spec request(call | eval | exec | run | cancel | interrupt | answer | stop | configure) -> byte().
request(call) -> 1;
request(eval) -> 2;
request(exec) -> 3;
request(run) -> 4;
request(cancel) -> 5;
request(interrupt) -> 6;
request(answer) -> 7;
request(stop) -> 8;
request(configure) -> 9.

%% @doc The name of the kind of a frame from Python.
-spec asked(byte()) -> asked().
asked(1) -> hello;
asked(2) -> ready;
asked(3) -> refused;
asked(4) -> value;
asked(5) -> exception;
asked(6) -> call;
asked(7) -> send;
asked(8) -> whereis;
asked(9) -> registered;
asked(_) -> unknown.
