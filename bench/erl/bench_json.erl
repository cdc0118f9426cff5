%% JSON of maps, lists, numbers, binaries and atoms: what answers are made of. OTP has its own from 27 on.
-module(bench_json).

-export([encode/1]).

-type value() :: #{atom() | binary() => value()} | [value()] | number() | boolean() | null | atom() | binary().

-spec encode(value()) -> iodata().
encode(Map) when is_map(Map) ->
    Members = [[encode(name(Key)), $:, encode(Value)] || {Key, Value} <- maps:to_list(Map)],
    [${, lists:join($,, Members), $}];
encode(List) when is_list(List) -> [$[, lists:join($,, [encode(Value) || Value <- List]), $]];
encode(Integer) when is_integer(Integer) -> integer_to_list(Integer);
encode(Float) when is_float(Float) -> float_to_list(Float, [short]);
encode(Atom) when Atom =:= true; Atom =:= false; Atom =:= null -> atom_to_list(Atom);
encode(none) -> "null";
encode(Atom) when is_atom(Atom) -> encode(name(Atom));
encode(Binary) when is_binary(Binary) -> [$", [escape(Char) || <<Char/utf8>> <= Binary], $"].

name(Atom) when is_atom(Atom) -> atom_to_binary(Atom);
name(Binary) when is_binary(Binary) -> Binary.

escape($") -> "\\\"";
escape($\\) -> "\\\\";
%% The lines are ASCII, whatever the encoding of the terminal.
escape(Char) when Char < 32; Char > 126, Char < 16#10000 -> io_lib:format("\\u~4.16.0b", [Char]);
escape(Char) when Char >= 16#10000 ->
    <<High:16, Low:16>> = unicode:characters_to_binary([Char], utf8, utf16),
    io_lib:format("\\u~4.16.0b\\u~4.16.0b", [High, Low]);
escape(Char) -> Char.
