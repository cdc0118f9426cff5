%% Properties of the conversion, both directions: what goes there and back is what docs/type-conversion.md says.
%%
%% An independent model decides: `there_and_back/1' for terms, and Python's own description of its objects.
-module(conversion_property_SUITE).

-include_lib("stdlib/include/assert.hrl").
-include("property.hrl").

-compile(export_all).

-define(RUNS, 1000).
%% Of a generated term; PropEr takes minutes to make nested ones of its default, 42.
-define(MOST, 14).

all() ->
    [
        terms_there_and_back,
        terms_as_arguments,
        terms_through_an_event_loop,
        terms_through_a_process,
        objects_of_a_process,
        integers,
        floats,
        binaries,
        objects_to_erlang,
        objects_there_and_back,
        any_bytes_as_source,
        many_processes_at_once
    ].

init_per_suite(Config) ->
    ok = test_support:use_library(proper),
    ok = test_support:start(),
    test_support:python("
        import random, struct

        def property_echo(value):
            return value

        def property_pair(*args, **kwargs):
            return (list(args), kwargs)

        def property_describe(value):
            '''The value as a term of tagged tuples, whose conversion needs nothing but tuples, lists, str and int.'''
            if value is None or isinstance(value, bool):
                return ('constant', repr(value))
            if isinstance(value, int):
                return ('int', hex(value))
            if isinstance(value, float):
                return ('float', struct.pack('>d', value).hex())
            if isinstance(value, str):
                return ('str', value.encode().hex())
            if isinstance(value, bytes):
                return ('bytes', value.hex())
            if isinstance(value, list):
                return ('list', [property_describe(v) for v in value])
            if isinstance(value, tuple):
                return ('tuple', [property_describe(v) for v in value])
            if isinstance(value, dict):
                return ('dict', sorted((property_describe(k), property_describe(v)) for k, v in value.items()))
            raise TypeError(type(value))

        def property_make(seed, depth=4):
            '''A random object.'''
            r = random.Random(seed)
            def key():
                return r.choice([lambda: r.randrange(-2**70, 2**70), lambda: text(), lambda: (r.randrange(9), text())])()
            def text():
                return ''.join(chr(r.choice([r.randrange(32, 127), r.randrange(0xa0, 0xd800), r.randrange(0x10000, 0x110000)]))
                               for _ in range(r.randrange(6)))
            def make(depth):
                kinds = [
                    lambda: None, lambda: r.random() < 0.5, lambda: r.randrange(-2**70, 2**70), lambda: r.randrange(-9, 9),
                    lambda: r.uniform(-1e300, 1e300), text, lambda: b'\\xff' + r.randbytes(r.randrange(6)),
                ]
                if depth > 0:
                    kinds += 2 * [
                        lambda: [make(depth - 1) for _ in range(r.randrange(5))],
                        lambda: tuple(make(depth - 1) for _ in range(r.randrange(5))),
                        lambda: {key(): make(depth - 1) for _ in range(r.randrange(5))},
                    ]
                return r.choice(kinds)()
            return make(depth)

        def property_same(seed, value):
            return property_make(seed) == value
    "),
    Config.

end_per_suite(_Config) ->
    ok = test_support:stop().

%%% Properties

%% What converts there is Python code, which must agree with the C code of the VM.
terms_through_a_process(_Config) ->
    {ok, Server} = py_isolated:start_link(#{}),
    holds(
        ?FORALL(Term, python_term(), {ok, there_and_back(Term)} =:= py_isolated:eval(Server, <<"x">>, #{x => Term}))
    ),
    ok = py_isolated:stop(Server).

objects_of_a_process(_Config) ->
    {ok, Server} = py_isolated:start_link(#{}),
    %% Pids and their likes have no number that would be the same there.
    Describe = <<"(type(x).__name__, __import__('re').sub(r'<erlang\\.\\w+ [^>]*>+', '', repr(x)))">>,
    holds(
        ?FORALL(
            Term, python_term(), py:eval(Describe, #{x => Term}) =:= py_isolated:eval(Server, Describe, #{x => Term})
        )
    ),
    ok = py_isolated:stop(Server).

terms_there_and_back(_Config) ->
    holds(?FORALL(Term, python_term(), {ok, there_and_back(Term)} =:= py:call('__main__', property_echo, [Term]))).

terms_as_arguments(_Config) ->
    holds(
        ?FORALL(
            {Positional, Keywords},
            {list(python_term()), ?LET(Pairs, list({keyword(), python_term()}), maps:from_list(Pairs))},
            {ok, {there_and_back(Positional), there_and_back(Keywords)}} =:=
                py:call('__main__', property_pair, Positional, Keywords)
        )
    ).

terms_through_an_event_loop(_Config) ->
    holds(
        ?FORALL(Term, python_term(), {ok, there_and_back(Term)} =:= py_event_loop:run(asyncio, sleep, [0, Term]))
    ).

integers(_Config) ->
    holds(
        ?FORALL(
            Integer,
            integer_of_any_size(),
            py:call(builtins, hex, [Integer]) =:= {ok, hex(Integer)} andalso
                py:call(builtins, int, [hex(Integer), 16]) =:= {ok, Integer}
        )
    ).

hex(Integer) when Integer < 0 -> <<"-", (hex(-Integer))/binary>>;
hex(Integer) -> <<"0x", (string:lowercase(integer_to_binary(Integer, 16)))/binary>>.

floats(_Config) ->
    holds(
        ?FORALL(
            Bits,
            binary(8),
            case Bits of
                <<Float/float>> ->
                    {ok, Back} = py:call('__main__', property_echo, [Float]),
                    <<Back/float>> =:= Bits;
                _ ->
                    %% Infinities and NaNs, which no Erlang float is.
                    {ok, Special} = py:eval(<<"__import__('struct').unpack('>d', bits)[0]">>, #{bits => {bytes, Bits}}),
                    lists:member(Special, [nan, infinity, neg_infinity])
            end
        )
    ).

binaries(_Config) ->
    holds(
        ?FORALL(
            Binary,
            oneof([binary(), text(), ?LET({A, B}, {text(), binary()}, <<A/binary, B/binary>>)]),
            begin
                Type = case unicode:characters_to_list(Binary) of
                    List when is_list(List) -> <<"str">>;
                    _ -> <<"bytes">>
                end,
                py:call('__main__', property_echo, [Binary]) =:= {ok, Binary} andalso
                    py:call('__main__', property_echo, [{bytes, Binary}]) =:= {ok, Binary} andalso
                    py:eval(<<"type(b).__name__">>, #{b => Binary}) =:= {ok, Type}
            end
        )
    ).

%% What Python says of an object is what Erlang says of the term.
objects_to_erlang(_Config) ->
    holds(
        ?FORALL(Seed, integer_of_any_size(), begin
            {ok, Term} = py:call('__main__', property_make, [Seed]),
            {ok, Described} = py:eval(<<"property_describe(property_make(seed))">>, #{seed => Seed}),
            normal(Described) =:= describe(Term)
        end)
    ).

objects_there_and_back(_Config) ->
    holds(
        ?FORALL(Seed, integer_of_any_size(), begin
            {ok, Term} = py:call('__main__', property_make, [Seed]),
            {ok, true} =:= py:call('__main__', property_same, [Seed, Term])
        end)
    ).

%% Code of any bytes is a value or an error.
any_bytes_as_source(_Config) ->
    holds(
        ?FORALL(
            Source,
            oneof([binary(), list_to_source()]),
            case py:eval(Source) of
                {ok, _} -> true;
                {error, {Class, Message}} -> (is_atom(Class) orelse is_binary(Class)) andalso is_binary(Message)
            end
        )
    ).

many_processes_at_once(_Config) ->
    Self = self(),
    Pids = [
        spawn_link(fun() ->
            Property = ?FORALL(
                Term, python_term(), {ok, there_and_back(Term)} =:= py:call('__main__', property_echo, [Term])
            ),
            Self ! {self(), proper:quickcheck(Property, [quiet, {numtests, 100}, {max_size, ?MOST}])}
        end)
     || _ <- lists:seq(1, 8)
    ],
    ?assertEqual(lists:duplicate(8, true), [receive {Pid, Result} -> Result end || Pid <- Pids]).

holds(Property) ->
    ?assert(proper:quickcheck(Property, [{to_file, user}, quiet, long_result, {numtests, ?RUNS}, {max_size, ?MOST}]) =:= true, proper:counterexample()).

%%% Generators

%% A term that Python can have: no improper lists, and map keys that are hashable and different in Python too.
python_term() ->
    ?SIZED(Size, python_term(Size)).

python_term(0) ->
    scalar();
python_term(Size) ->
    Smaller = ?LAZY(python_term(Size div 4)),
    %% Without the new size the lists at each depth would be as long as those at the top.
    resize(
        Size div 2,
        frequency([
            {4, scalar()},
            {2, list(Smaller)},
            {2, ?LET(List, list(Smaller), list_to_tuple(List))},
            {2, ?LET(Pairs, list({key(), Smaller}), maps:from_list(Pairs))}
        ])
    ).

scalar() ->
    oneof([
        integer(),
        integer_of_any_size(),
        float(),
        binary(),
        text(),
        boolean(),
        oneof([none, nil, undefined, nan, infinity, neg_infinity]),
        oneof([ok, error, '', 'größe', '大', 'with space', bytes]),
        {bytes, binary()},
        exactly(self()),
        ?LAZY(make_ref()),
        exactly(fun lists:map/2)
    ]).

%% All of one kind: `1' and `1.0', `a' and `<<"a">>', `true' and `1' would be one key in Python.
key() ->
    oneof([
        ?LET(N, integer_of_any_size(), N + (1 bsl 65)),
        text(),
        {key, integer()},
        exactly(self())
    ]).

text() ->
    proper_unicode:utf8().

keyword() ->
    ?LET(N, integer(0, 50), <<"keyword_", (integer_to_binary(N))/binary>>).

integer_of_any_size() ->
    ?LET(
        {Bits, Sign, Difference},
        {oneof([integer(0, 70), integer(0, 3000)]), oneof([1, -1]), integer()},
        Sign * (1 bsl Bits) + Difference
    ).

list_to_source() ->
    ?LET(
        Words,
        list(oneof(["(", ")", "[", "]", "{", "}", "1", "x", " ", "\n", ":", "lambda ", "for ", "in ", "if ", "'", "\"\"\"", ",",
            "not ", "f'{", "0x", "1e", "\\", "#", "\t", ":="])),
        iolist_to_binary(Words)
    ).

%%% The model

%% What a term is after it was in Python.
there_and_back(Atom) when Atom =:= nil; Atom =:= undefined -> none;
there_and_back(Atom) when is_boolean(Atom); Atom =:= none; Atom =:= nan; Atom =:= infinity; Atom =:= neg_infinity -> Atom;
there_and_back(Atom) when is_atom(Atom) -> atom_to_binary(Atom);
there_and_back({bytes, Binary}) when is_binary(Binary) -> Binary;
there_and_back(Tuple) when is_tuple(Tuple) -> list_to_tuple(there_and_back(tuple_to_list(Tuple)));
there_and_back(List) when is_list(List) -> [there_and_back(Element) || Element <- List];
there_and_back(Map) when is_map(Map) ->
    maps:from_list([{there_and_back(Key), there_and_back(Value)} || {Key, Value} <- maps:to_list(Map)]);
there_and_back(Other) ->
    Other.

%% What property_describe() says of the object that becomes this term.
describe(none) -> {<<"constant">>, <<"None">>};
describe(true) -> {<<"constant">>, <<"True">>};
describe(false) -> {<<"constant">>, <<"False">>};
describe(N) when is_integer(N) -> {<<"int">>, hex(N)};
describe(F) when is_float(F) -> {<<"float">>, hex_of(<<F/float>>)};
describe(<<255, _/binary>> = B) -> {<<"bytes">>, hex_of(B)};
describe(B) when is_binary(B) -> {<<"str">>, hex_of(B)};
describe(L) when is_list(L) -> {<<"list">>, [describe(E) || E <- L]};
describe(T) when is_tuple(T) -> {<<"tuple">>, [describe(E) || E <- tuple_to_list(T)]};
describe(M) when is_map(M) -> {<<"dict">>, lists:sort([{describe(K), describe(V)} || {K, V} <- maps:to_list(M)])}.

%% Erlang's order of the pairs.
normal({<<"dict">>, Pairs}) -> {<<"dict">>, lists:sort([{normal(K), normal(V)} || {K, V} <- Pairs])};
normal({Kind, List}) when is_list(List) -> {Kind, [normal(E) || E <- List]};
normal(Other) -> Other.

hex_of(Binary) ->
    string:lowercase(<<<<(integer_to_binary(Nibble, 16))/binary>> || <<Nibble:4>> <= Binary>>).
