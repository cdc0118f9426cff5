%% docs/type-conversion.md, line by line: what becomes what, and which error names what cannot.
-module(conversion_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

all() ->
    [
        scalars_to_python,
        containers_to_python,
        refused_to_python,
        scalars_to_erlang,
        containers_to_erlang,
        subclasses_to_erlang,
        numbers_by_protocol,
        refused_to_erlang,
        buffers,
        arrays,
        huge_integers,
        floats_exactly,
        strings,
        atoms,
        atoms_are_bounded,
        names_do_not_make_atoms,
        opaque_terms,
        opaque_terms_of_another_node,
        colliding_keys,
        depth,
        cycles,
        containers_that_change,
        objects_that_raise,
        large_maps,
        functions_of_the_table_are_the_same_everywhere
    ].

init_per_suite(Config) ->
    ok = test_support:start(),
    test_support:python("
        import array, collections, dataclasses, datetime, decimal, enum, fractions, mmap, pathlib, typing, uuid
        import erlang

        def conversion_describe(value):
            return type(value).__module__ + '.' + type(value).__qualname__, repr(value)

        def conversion_echo(value):
            return value

        class ConversionNumber(enum.IntEnum):
            ONE = 1

        class ConversionText(str, enum.Enum):
            A = 'a'

        class ConversionPlain(enum.Enum):
            A = 'a'

        class ConversionIndex:
            def __index__(self): return 7

        class ConversionFloat:
            def __float__(self): return 0.5

        class ConversionBadIndex:
            def __index__(self): raise ValueError('no index')

        class ConversionPair(typing.NamedTuple):
            x: int
            y: str

        @dataclasses.dataclass
        class ConversionPoint:
            x: int
            y: typing.Any = None
            kind: typing.ClassVar[str] = 'point'

        @dataclasses.dataclass(frozen=True, slots=True)
        class ConversionSlots:
            x: int

        class ConversionGetattr:
            def __getattr__(self, name): return lambda *args: 1

        class ConversionOuter:
            class Inner: pass
    "),
    Config.

end_per_suite(_Config) ->
    ok = test_support:stop().

%%% Erlang to Python

scalars_to_python(_Config) ->
    [
        ?assertEqual({ok, {Type, Repr}}, describe(Term), Term)
     || {Term, Type, Repr} <- [
            {0, <<"builtins.int">>, <<"0">>},
            {-1, <<"builtins.int">>, <<"-1">>},
            {1 bsl 59, <<"builtins.int">>, <<"576460752303423488">>},
            {1 bsl 64, <<"builtins.int">>, <<"18446744073709551616">>},
            {-(1 bsl 64), <<"builtins.int">>, <<"-18446744073709551616">>},
            {0.5, <<"builtins.float">>, <<"0.5">>},
            {-0.0, <<"builtins.float">>, <<"-0.0">>},
            {true, <<"builtins.bool">>, <<"True">>},
            {false, <<"builtins.bool">>, <<"False">>},
            {none, <<"builtins.NoneType">>, <<"None">>},
            {nil, <<"builtins.NoneType">>, <<"None">>},
            {undefined, <<"builtins.NoneType">>, <<"None">>},
            {nan, <<"builtins.float">>, <<"nan">>},
            {infinity, <<"builtins.float">>, <<"inf">>},
            {neg_infinity, <<"builtins.float">>, <<"-inf">>},
            {ok, <<"builtins.str">>, <<"'ok'">>},
            {'', <<"builtins.str">>, <<"''">>},
            {'größe', <<"builtins.str">>, <<"'größe'"/utf8>>},
            {'大', <<"builtins.str">>, <<"'大'"/utf8>>},
            {<<>>, <<"builtins.str">>, <<"''">>},
            {<<"text">>, <<"builtins.str">>, <<"'text'">>},
            {<<"a", 0, "b">>, <<"builtins.str">>, <<"'a\\x00b'">>},
            {<<255>>, <<"builtins.bytes">>, <<"b'\\xff'">>},
            {{bytes, <<"text">>}, <<"builtins.bytes">>, <<"b'text'">>},
            {{bytes, <<>>}, <<"builtins.bytes">>, <<"b''">>}
        ]
    ].

containers_to_python(_Config) ->
    [
        ?assertEqual({ok, {Type, Repr}}, describe(Term), Term)
     || {Term, Type, Repr} <- [
            {[], <<"builtins.list">>, <<"[]">>},
            {"abc", <<"builtins.list">>, <<"[97, 98, 99]">>},
            {[a, [1]], <<"builtins.list">>, <<"['a', [1]]">>},
            {{}, <<"builtins.tuple">>, <<"()">>},
            {{a}, <<"builtins.tuple">>, <<"('a',)">>},
            {{bytes, 1}, <<"builtins.tuple">>, <<"('bytes', 1)">>},
            {{bytes, <<1>>, 2}, <<"builtins.tuple">>, <<"('bytes', '\\x01', 2)">>},
            {#{}, <<"builtins.dict">>, <<"{}">>},
            {#{a => #{1 => [b]}}, <<"builtins.dict">>, <<"{'a': {1: ['b']}}">>},
            {#{{1, a} => 2}, <<"builtins.dict">>, <<"{(1, 'a'): 2}">>}
        ]
    ].

refused_to_python(_Config) ->
    error_of('TypeError', "improper list", echo([1 | 2])),
    error_of('TypeError', "improper list", echo(#{a => {[1 | 2]}})),
    error_of('TypeError', "bitstring", echo(<<1:3>>)),
    error_of('TypeError', "bitstring", echo([<<1:9>>])),
    error_of('TypeError', "map key \\[1\\] cannot be hashed", echo(#{[1] => 2})),
    error_of('TypeError', "map key #\\{.*cannot be hashed", echo(#{#{} => 2})),
    error_of('TypeError', "cannot be hashed", echo(#{{a, [1]} => 2})).

%%% Python to Erlang

scalars_to_erlang(_Config) ->
    [
        ?assertEqual({ok, Term}, py:eval(Expression), Expression)
     || {Expression, Term} <- [
            {<<"0">>, 0},
            {<<"-(1 << 63)">>, -(1 bsl 63)},
            {<<"1 << 64">>, 1 bsl 64},
            {<<"True">>, true},
            {<<"False">>, false},
            {<<"None">>, none},
            {<<"0.1">>, 0.1},
            {<<"float('nan')">>, nan},
            {<<"float('inf')">>, infinity},
            {<<"-float('inf')">>, neg_infinity},
            {<<"''">>, <<>>},
            {<<"'text'">>, <<"text">>},
            {<<"b'text'">>, <<"text">>},
            {<<"b'\\xff'">>, <<255>>},
            {<<"bytearray(b'text')">>, <<"text">>},
            {<<"memoryview(b'text')">>, <<"text">>},
            {<<"memoryview(b'text')[::2]">>, <<"tx">>},
            {<<"erlang.Atom('ok')">>, ok},
            {<<"erlang.Atom('größe')"/utf8>>, 'größe'},
            {<<"erlang.Atom('大')"/utf8>>, '大'}
        ]
    ].

containers_to_erlang(_Config) ->
    [
        ?assertEqual({ok, Term}, py:eval(Expression), Expression)
     || {Expression, Term} <- [
            {<<"[]">>, []},
            {<<"[1, [2]]">>, [1, [2]]},
            {<<"()">>, {}},
            {<<"(1, (2,))">>, {1, {2}}},
            {<<"{}">>, #{}},
            {<<"{'a': {1: None}}">>, #{<<"a">> => #{1 => none}}},
            {<<"{(1, 2): 3, None: 4, True: 5}">>, #{{1, 2} => 3, none => 4, true => 5}},
            {<<"{1.0: 2}">>, #{1.0 => 2}},
            {<<"set()">>, []},
            {<<"{1}">>, [1]},
            {<<"frozenset({'a'})">>, [<<"a">>]},
            {<<"ConversionPair(1, 'a')">>, {1, <<"a">>}},
            {<<"ConversionPoint(1, [2])">>, #{<<"x">> => 1, <<"y">> => [2]}},
            {<<"ConversionPoint(1, ConversionPoint(2))">>, #{
                <<"x">> => 1, <<"y">> => #{<<"x">> => 2, <<"y">> => none}
            }},
            {<<"ConversionSlots(1)">>, #{<<"x">> => 1}}
        ]
    ],
    {ok, Set} = py:eval(<<"set(range(1000))">>),
    ?assertEqual(lists:seq(0, 999), lists:sort(Set)).

subclasses_to_erlang(_Config) ->
    [
        ?assertEqual({ok, Term}, py:eval(Expression), Expression)
     || {Expression, Term} <- [
            {<<"ConversionNumber.ONE">>, 1},
            {<<"ConversionText.A">>, <<"a">>},
            {<<"collections.OrderedDict(a=1)">>, #{<<"a">> => 1}},
            {<<"collections.defaultdict(list, a=[1])">>, #{<<"a">> => [1]}},
            {<<"collections.Counter('aab')">>, #{<<"a">> => 2, <<"b">> => 1}},
            {<<"type('L', (list,), {})([1, 2])">>, [1, 2]},
            {<<"type('F', (float,), {'__float__': lambda self: 1 / 0})(0.5)">>, 0.5},
            {<<"type('I', (int,), {'__index__': lambda self: 1 / 0})(5)">>, 5},
            {<<"type('S', (str,), {'__str__': lambda self: 1 / 0})('s')">>, <<"s">>},
            {<<"type('B', (bytes,), {})(b'b')">>, <<"b">>}
        ]
    ].

numbers_by_protocol(_Config) ->
    ?assertEqual({ok, 7}, py:eval(<<"ConversionIndex()">>)),
    ?assertEqual({ok, 0.5}, py:eval(<<"ConversionFloat()">>)),
    ?assertEqual({ok, 0.25}, py:eval(<<"decimal.Decimal('0.25')">>)),
    ?assertEqual({ok, 0.5}, py:eval(<<"fractions.Fraction(1, 2)">>)),
    ?assertEqual({ok, nan}, py:eval(<<"decimal.Decimal('nan')">>)),
    error_of('ValueError', "no index", py:eval(<<"ConversionBadIndex()">>)).

refused_to_erlang(_Config) ->
    [
        error_of('TypeError', ["cannot convert ", Name, " to an Erlang term"], py:eval(Expression))
     || {Expression, Name} <- [
            {<<"object()">>, "object"},
            {<<"[1, {'a': (object(),)}]">>, "object"},
            {<<"print">>, "builtin_function_or_method"},
            {<<"lambda: 1">>, "function"},
            {<<"int">>, "type"},
            {<<"ConversionPoint">>, "type"},
            {<<"iter([])">>, "list_iterator"},
            {<<"range(3)">>, "range"},
            {<<"(x for x in [])">>, "generator"},
            {<<"1j">>, "complex"},
            {<<"datetime.datetime.now()">>, "datetime\\.datetime"},
            {<<"pathlib.Path('/')">>, "pathlib\\..*Path"},
            {<<"ConversionPlain.A">>, "__main__\\.ConversionPlain"},
            {<<"ConversionGetattr()">>, "__main__\\.ConversionGetattr"},
            {<<"ConversionOuter.Inner()">>, "__main__\\.ConversionOuter\\.Inner"},
            {<<"...">>, "ellipsis"},
            {<<"collections">>, "module"},
            {<<"{}.keys()">>, "dict_keys"}
        ]
    ],
    error_of('UnicodeEncodeError', "surrogates not allowed", py:eval(<<"'\\udc80'">>)),
    error_of('UnicodeEncodeError', "surrogates not allowed", py:eval(<<"{'a\\ud800': 1}">>)).

%%% Buffers and arrays

buffers(_Config) ->
    ?assertEqual({ok, <<1, 2, 3>>}, py:eval(<<"memoryview(bytearray([1, 2, 3]))">>)),
    ?assertEqual({ok, <<3, 2, 1>>}, py:eval(<<"memoryview(bytes([1, 2, 3]))[::-1]">>)),
    ok = py:exec(<<"conversion_map = mmap.mmap(-1, 4)\nconversion_map[:] = b'abcd'">>),
    ?assertEqual({ok, <<"abcd">>}, py:eval(conversion_map)),
    %% What is exported is let go again.
    ?assertEqual(ok, py:exec(<<"conversion_bytes = bytearray(b'abc')">>)),
    ?assertEqual({ok, <<"abc">>}, py:eval(conversion_bytes)),
    ?assertEqual(ok, py:exec(<<"conversion_bytes.extend(b'd')\nconversion_map.close()">>)),
    error_of('ValueError', "released", py:eval(<<"[m := memoryview(b'abc'), m.release(), m][2]">>)).

arrays(_Config) ->
    [
        begin
            ?assertEqual({ok, List}, py:eval(Expression), Expression),
            ?assertEqual({ok, Binary}, py:eval(Expression, #{}, #{arrays => binary}), Expression)
        end
     || {Expression, List, Binary} <- [
            {<<"array.array('h', [1, -2])">>, [1, -2], <<1:16/native, -2:16/native>>},
            {<<"array.array('d', [0.5])">>, [0.5], <<0.5:64/float-native>>},
            {<<"array.array('i')">>, [], <<>>},
            {<<"memoryview(array.array('i', [1, 2, 3]))[::2]">>, [1, 3], <<1:32/native, 3:32/native>>},
            {<<"memoryview(bytes(range(4))).cast('B', (2, 2))">>, <<0, 1, 2, 3>>, <<0, 1, 2, 3>>}
        ]
    ],
    ?assertEqual({ok, [nan]}, py:eval(<<"array.array('d', [float('nan')])">>)),
    ?assertEqual({ok, <<1:16/native>>}, py:eval(<<"erlang.Binary(array.array('h', [1]))">>)),
    ?assertEqual({ok, #{<<"a">> => [<<1:16/native>>]}}, py:eval(<<"{'a': [erlang.Binary(array.array('h', [1]))]}">>)),
    error_of('TypeError', "exports a buffer, not str", py:eval(<<"erlang.Binary('text')">>)).

%%% Numbers and texts

huge_integers(_Config) ->
    Edges = [N + D || Bits <- [7, 8, 15, 16, 27, 28, 31, 32, 59, 60, 61, 62, 63, 64, 65, 127, 128, 2039, 2040, 2041, 4096, 100000],
        N <- [1 bsl Bits, -(1 bsl Bits)], D <- [-1, 0, 1]],
    [?assertEqual({ok, N}, echo(N)) || N <- Edges],
    ?assertEqual({ok, Edges}, echo(Edges)),
    %% Not by a text in between: the values themselves agree.
    [?assertEqual({ok, true}, py:eval(<<"n == sign * (1 << bits) + d">>, #{
        n => Sign * (1 bsl Bits) + D, sign => Sign, bits => Bits, d => D
    })) || Bits <- [59, 60, 63, 64, 2040, 100000], Sign <- [1, -1], D <- [-1, 0, 1]],
    %% More than the VM can hold.
    error_of('OverflowError', "int too large", py:eval(<<"1 << (1 << 27)">>)),
    ?assertEqual({ok, 4.0}, py:call(math, sqrt, [16.0])).

floats_exactly(_Config) ->
    [
        begin
            {ok, Back} = echo(F),
            ?assertEqual(<<F/float>>, <<Back/float>>)
        end
     || F <- [0.0, -0.0, 0.1, 1.0e308, -1.7976931348623157e308, 2.2250738585072014e-308, 5.0e-324, 1 / 3]
    ],
    %% Denormals are not flushed to zero.
    ?assertEqual({ok, 5.0e-324}, py:eval(<<"2.2250738585072014e-308 / (1 << 52)">>)).

strings(_Config) ->
    [
        ?assertEqual({ok, Text}, echo(Text))
     || Text <- [
            <<"ascii">>, <<"ä"/utf8>>, <<"€"/utf8>>, <<"😀"/utf8>>, <<0>>, <<127>>, <<"\x{7ff}\x{800}\x{fffd}\x{10ffff}"/utf8>>,
            binary:copy(<<"ä"/utf8>>, 100000)
        ]
    ],
    %% Invalid UTF-8 arrives as bytes and comes back the same.
    [
        begin
            ?assertEqual({ok, Bytes}, echo(Bytes)),
            ?assertMatch({ok, {<<"builtins.bytes">>, _}}, describe(Bytes))
        end
     || Bytes <- [<<128>>, <<192, 128>>, <<237, 160, 128>>, <<244, 144, 128, 128>>, <<"abc", 195>>, <<255, 254>>, <<224, 159, 191>>]
    ].

%%% Atoms

atoms(_Config) ->
    ?assertEqual({ok, [ok, <<"ok">>]}, py:eval(<<"[erlang.Atom('ok'), 'ok']">>)),
    ?assertEqual({ok, #{state => running}}, py:eval(<<"{erlang.Atom('state'): erlang.Atom('running')}">>)),
    %% What has a meaning of its own in Python comes back with it.
    ?assertEqual({ok, [true, none, nan]}, py:eval(<<"[erlang.Atom(x) for x in ('true', 'none', 'nan')]">>)),
    ?assertEqual({ok, true}, py:eval(<<"erlang.Atom('a') == 'a' and hash(erlang.Atom('a')) == hash('a')">>)),
    Longest = list_to_atom(lists:duplicate(255, $x)),
    ?assertEqual({ok, Longest}, py:eval(<<"erlang.Atom('x' * 255)">>)),
    Widest = list_to_atom(lists:duplicate(255, 16#5927)),
    ?assertEqual({ok, Widest}, py:eval(<<"erlang.Atom('大' * 255)"/utf8>>)),
    ?assertEqual({ok, unicode:characters_to_binary(lists:duplicate(255, 16#5927))}, echo(Widest)),
    error_of('ValueError', "at most 255 characters, not 256", py:eval(<<"erlang.Atom('x' * 256)">>)),
    error_of('TypeError', "", py:eval(<<"erlang.Atom(1)">>)).

atoms_are_bounded(_Config) ->
    %% The count is that of the node's life: a VM of its own.
    {0, Output} = test_support:erl([
        "ok = application:load(erlang_python), ok = application:set_env(erlang_python, max_new_atoms, 50),"
        "{ok, _} = application:ensure_all_started(erlang_python),"
        "New = fun(N) -> py:eval(<<\"__import__('erlang').Atom('brand_new_%d' % n)\">>, #{n => N}) end,"
        "Results = [New(N) || N <- lists:seq(1, 60)],"
        "50 = length([ok || {ok, A} <- Results, is_atom(A)]),"
        "[{error, {'ValueError', Text}} | _] = lists:nthtail(50, Results),"
        "Same = [New(N) || N <- lists:seq(1, 50)], 50 = length([ok || {ok, A} <- Same, is_atom(A)]),"
        "{ok, ok} = py:eval(<<\"__import__('erlang').Atom('ok')\">>),"
        "io:format(\"~ts~n\", [Text]), halt()."
    ]),
    ?assertMatch({match, _}, re:run(Output, "at most 50 new Erlang atoms"), Output).

names_do_not_make_atoms(_Config) ->
    Before = erlang:system_info(atom_count),
    {ok, Map} = py:eval(<<"{'conversion_key_%d' % n: 'conversion_value_%d' % n for n in range(1000)}">>),
    ?assertEqual(1000, map_size(Map)),
    [{error, {<<_/binary>>, _}} = py:eval(<<"exec('raise type(\"ConversionE%d\" % n, (Exception,), {})')">>, #{n => N}) || N <- lists:seq(1, 200)],
    ?assert(erlang:system_info(atom_count) - Before < 100).

%%% Opaque terms

opaque_terms(_Config) ->
    [Port | _] = erlang:ports(),
    Local = fun(X) -> X + 1 end,
    Terms = [self(), make_ref(), Port, Local, fun lists:map/2, alias_of_nobody()],
    [
        begin
            ?assertEqual({ok, Term}, echo(Term)),
            ?assertEqual({ok, [Term, {Term}]}, echo([Term, {Term}])),
            ?assertEqual({ok, #{Term => Term}}, echo(#{Term => Term})),
            ?assertEqual({ok, true}, py:eval(<<"a == b and hash(a) == hash(b) and not a != b">>, #{a => Term, b => Term})),
            ?assertEqual({ok, false}, py:eval(<<"a == b">>, #{a => Term, b => make_ref()}))
        end
     || Term <- Terms
    ],
    {ok, Names} = py:eval(<<"[type(t).__module__ + '.' + type(t).__name__ for t in terms]">>, #{terms => Terms}),
    ?assertEqual(
        [<<"erlang.Pid">>, <<"erlang.Ref">>, <<"erlang.Port">>, <<"erlang.Fun">>, <<"erlang.Fun">>, <<"erlang.Ref">>], Names
    ),
    %% Kept in Python, they come back the same later, and elsewhere.
    ok = py:exec(<<"conversion_kept = []">>),
    {ok, none} = py:call('__main__', 'conversion_kept.extend', [Terms]),
    erlang:garbage_collect(),
    ?assertEqual({ok, Terms}, test_support:in_process(fun() -> py:eval(conversion_kept) end)),
    {ok, [_, _, _, Fun | _]} = py:eval(conversion_kept),
    ?assertEqual(2, Fun(1)),
    [error_of('TypeError', "", py:eval(<<"type(t)()">>, #{t => Term})) || Term <- Terms],
    [error_of('TypeError', "", py:eval(<<"__import__('pickle').dumps(t)">>, #{t => Term})) || Term <- Terms].

alias_of_nobody() ->
    Alias = erlang:alias(),
    true = erlang:unalias(Alias),
    Alias.

opaque_terms_of_another_node(_Config) ->
    Pid = binary_to_term(<<131, 88, 100, 0, 7, "x@other", 50:32, 0:32, 1:32>>),
    ?assertEqual({ok, Pid}, echo(Pid)),
    ?assertEqual({ok, #{Pid => [Pid]}}, echo(#{Pid => [Pid]})).

%%% Errors of containers

colliding_keys(_Config) ->
    error_of('ValueError', "equals another key", echo(#{1 => a, 1.0 => b})),
    error_of('ValueError', "equals another key", echo(#{a => 1, <<"a">> => 2})),
    error_of('ValueError', "equals another key", echo(#{true => 1, 1 => 2})),
    error_of('ValueError', "equals another key", echo(#{nil => 1, undefined => 2})),
    error_of('ValueError', "the same Erlang term: <<\"a\">>", py:eval(<<"{'a': 1, b'a': 2}">>)),
    error_of('ValueError', "the same Erlang term", py:eval(<<"{**{n: n for n in range(500)}, 'a': 1, b'a': 2}">>)),
    error_of('ValueError', "the same Erlang term", py:eval(<<"{None: 1, erlang.Atom('none'): 2}">>)),
    %% 1 and 1.0 are one key in Python, two in Erlang.
    ?assertEqual({ok, #{1 => 2}}, py:eval(<<"{1: 1, 1.0: 2}">>)).

depth(_Config) ->
    test_support:python("
        def conversion_nest(depth, make):
            value = None
            for _ in range(depth):
                value = make(value)
            return value

        def conversion_depth(value):
            depth = 0
            while value is not None:
                value = value[0] if isinstance(value, (list, tuple)) else value['a']
                depth += 1
            return depth
    "),
    Nest = fun(Depth, Make) -> lists:foldl(fun(_, Value) -> Make(Value) end, none, lists:seq(1, Depth)) end,
    Makers = [
        {fun(V) -> [V] end, <<"lambda v: [v]">>},
        {fun(V) -> {V} end, <<"lambda v: (v,)">>},
        {fun(V) -> #{<<"a">> => V} end, <<"lambda v: {'a': v}">>}
    ],
    [
        begin
            Deep = Nest(9000, Make),
            ?assertEqual({ok, 9000}, py:call('__main__', conversion_depth, [Deep])),
            ?assertEqual({ok, Deep}, py:eval(<<"conversion_nest(9000, ", Source/binary, ")">>)),
            [
                begin
                    error_of('RecursionError', "nested", py:call('__main__', conversion_depth, [Nest(Depth, Make)])),
                    error_of('RecursionError', "nested", py:eval(<<"conversion_nest(depth, ", Source/binary, ")">>, #{depth => Depth})),
                    ?assertMatch({error, {'RecursionError', _}}, py_event_loop:run('__main__', conversion_depth, [Nest(Depth, Make)]))
                end
             || Depth <- [10001, 100000]
            ]
        end
     || {Make, Source} <- Makers
    ],
    ?assertEqual({ok, 4.0}, py:call(math, sqrt, [16.0])).

cycles(_Config) ->
    [
        error_of('RecursionError', "containing itself", py:eval(Expression))
     || Expression <- [
            <<"[l := [], l.append(l), l][2]">>,
            <<"[d := {}, d.update(a=d), d][2]">>,
            <<"[p := ConversionPoint(1), setattr(p, 'y', p), p][2]">>,
            <<"[l := [], l.append((l,)), l][2]">>
        ]
    ],
    %% The same object twice is no cycle.
    ?assertEqual({ok, [[1], [1]]}, py:eval(<<"[[l := [1]], l][0] and [l, l]">>)).

containers_that_change(_Config) ->
    test_support:python("
        class ConversionGrows:
            def __init__(self, container): self.container = container
            def __index__(self):
                change = {list: lambda c: c.append(1), dict: lambda c: c.update({len(c) + 1000: 1}), set: lambda c: c.add(len(c) + 1000)}
                change[type(self.container)](self.container)
                return 1

        class ConversionShrinks:
            def __init__(self, container): self.container = container
            def __index__(self):
                self.container.clear()
                return 1

        def conversion_changing(kind, how):
            container = kind()
            for n in range(20):
                if kind is list: container.append(n)
                elif kind is set: container.add(n)
                else: container[n] = n
            item = how(container)
            if kind is list: container.insert(3, item)
            elif kind is set: container.add(item)
            else: container[5] = item
            return container
    "),
    [
        error_of('RuntimeError', "changed", py:eval(iolist_to_binary(["conversion_changing(", Kind, ", ", How, ")"])))
     || Kind <- ["list", "dict", "set"], How <- ["ConversionGrows", "ConversionShrinks"]
    ].

objects_that_raise(_Config) ->
    test_support:python("
        class ConversionRaises:
            def __init__(self, exception): self.exception = exception
            def __index__(self): raise self.exception
    "),
    [
        ?assertMatch({error, {Class, _}}, py:eval(<<"[1, {'a': ConversionRaises(", Source/binary, ")}]">>))
     || {Class, Source} <- [
            {'ValueError', <<"ValueError('x')">>}, {'SystemExit', <<"SystemExit(1)">>}, {'KeyboardInterrupt', <<"KeyboardInterrupt()">>}
        ]
    ],
    %% `TypeError' says that there is no index: then it is an object like any other.
    error_of('TypeError', "ConversionRaises", py:eval(<<"ConversionRaises(TypeError('x'))">>)).

large_maps(_Config) ->
    [
        begin
            Map = maps:from_list([{integer_to_binary(N), N} || N <- lists:seq(1, Size)]),
            ?assertEqual({ok, Map}, echo(Map)),
            ?assertEqual({ok, Map}, py:eval(<<"{str(n): n for n in range(1, size + 1)}">>, #{size => Size})),
            ?assertEqual({ok, [#{<<"m">> => Map}]}, echo([#{<<"m">> => Map}]))
        end
     || Size <- [1, 31, 32, 33, 127, 128, 129, 1000, 5000, 20000]
    ].

functions_of_the_table_are_the_same_everywhere(_Config) ->
    Term = [1, 0.5, <<"a">>, <<255>>, {none, true}, #{<<"k">> => [self()]}],
    ?assertEqual({ok, Term}, py:call('__main__', conversion_echo, [Term])),
    ?assertEqual({ok, Term}, py:call('__main__', conversion_echo, [], #{value => Term})),
    ?assertEqual({ok, Term}, py:eval(<<"value">>, #{value => Term})),
    ?assertEqual({ok, Term}, py_event_loop:run('__main__', conversion_echo, [Term])),
    ?assertEqual({ok, Term}, py_event_loop:run(asyncio, sleep, [0, Term])),
    ?assertEqual({ok, Term}, py_event_loop_pool:run(asyncio, sleep, [0], #{kwargs => #{result => Term}})),
    ?assertEqual({ok, Term}, py:await(py:async_call(asyncio, sleep, [0, Term]))).

%%% Helpers

describe(Term) ->
    py:call('__main__', conversion_describe, [Term]).

echo(Term) ->
    py:call('__main__', conversion_echo, [Term]).

error_of(Class, Pattern, Result) ->
    ?assertMatch({error, {Class, <<_/binary>>}}, Result),
    {error, {_, Message}} = Result,
    ?assertMatch({match, _}, re:run(Message, Pattern, [unicode]), Message).
