%% Exceptions on their way to Erlang: whatever their class does, the caller gets an error and the VM stays up.
-module(python_error_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

all() ->
    [{group, How} || How <- hows()].

groups() ->
    Cases = [
        builtin_classes,
        classes_of_modules,
        classes_of_code,
        messages,
        odd_str,
        odd_classes,
        exits,
        tracebacks,
        chained,
        groups_of_exceptions,
        recursion,
        memory_error,
        raised_classes_and_instances,
        unpicklable_state,
        errors_do_not_leak
    ],
    [{How, [], Cases} || How <- hows()].

%% Every way to run Python has the same errors.
hows() -> [call, call_any, event_loop, event_loop_pool, coroutine].

init_per_suite(Config) ->
    ok = test_support:start(),
    test_support:python("
        def error_run(source):
            exec(source, globals())

        async def error_run_coroutine(source):
            exec(source, globals())

        class ErrorPlain(Exception):
            pass

        class ErrorOuter:
            class Inner(ValueError):
                pass

        class ErrorStrRaises(Exception):
            def __str__(self): raise RuntimeError('no text')

        class ErrorStrExits(Exception):
            def __str__(self): raise SystemExit(1)

        class ErrorStrNumber(Exception):
            def __str__(self): return 42

        class ErrorStrRecursion(Exception):
            def __str__(self): return str(self)

        class ErrorStrBytes(Exception):
            def __str__(self): return b'bytes'

        class ErrorReprRaises(Exception):
            def __repr__(self): raise RuntimeError('no repr')

        class ErrorMeta(type):
            @property
            def __name__(cls): raise RuntimeError('no name')
            @property
            def __module__(cls): raise RuntimeError('no module')
            def __getattribute__(cls, name): raise RuntimeError('nothing')

        class ErrorOddMeta(Exception, metaclass=ErrorMeta):
            pass

        class ErrorGetattribute(Exception):
            def __getattribute__(self, name): raise RuntimeError(name)

        class ErrorStrSubclass(Exception):
            def __str__(self):
                class S(str):
                    def encode(self, *args): raise RuntimeError('encode')
                return S('a str of a subclass')

        class ErrorModuleIsNumber(Exception):
            pass
        ErrorModuleIsNumber.__module__ = 42

        class ErrorLongName(Exception):
            pass
        ErrorLongName.__qualname__ = 'N' * 100000

        class ErrorNew(Exception):
            def __new__(cls, *args): raise TypeError('not made')
    "),
    Config.

end_per_suite(_Config) ->
    ok = test_support:stop().

init_per_group(How, Config) -> [{how, How} | Config].

end_per_group(_How, _Config) -> ok.

builtin_classes(Config) ->
    {ok, Names} = py:eval(<<
        "[n for n, c in vars(__import__('builtins')).items() if isinstance(c, type) and issubclass(c, Exception)"
        " and c.__name__ == n and n not in ('ExceptionGroup', 'StopIteration', 'StopAsyncIteration')"
        " and not n.startswith('Unicode')]"
    >>),
    ?assert(length(Names) > 40),
    [
        ?assertMatch({error, {Class, <<_/binary>>}}, run(["raise ", Name, "('text')"], Config))
     || Name <- Names, Class <- [binary_to_existing_atom(Name)]
    ],
    ?assertMatch({error, {'UnicodeDecodeError', _}}, run("b'\\xff'.decode()", Config)),
    %% An alias is the class that it stands for.
    ?assertMatch({error, {'OSError', _}}, run("raise IOError('text')", Config)).

classes_of_modules(Config) ->
    ?assertMatch({error, {<<"json.decoder.JSONDecodeError">>, _}}, run("import json; json.loads('{')", Config)),
    ?assertMatch({error, {<<"sqlite3.OperationalError">>, _}}, run("import sqlite3; sqlite3.connect(':memory:').execute('x')", Config)),
    ?assertMatch({error, {<<"subprocess.TimeoutExpired">>, _}}, run("import subprocess; raise subprocess.TimeoutExpired('x', 1)", Config)).

classes_of_code(Config) ->
    ?assertMatch({error, {<<"__main__.ErrorPlain">>, <<"text">>}}, run("raise ErrorPlain('text')", Config)),
    ?assertMatch({error, {<<"__main__.ErrorOuter.Inner">>, <<"text">>}}, run("raise ErrorOuter.Inner('text')", Config)),
    %% A class of the same name is not the built-in one.
    ?assertMatch(
        {error, {<<"__main__.ValueError">>, _}},
        run("raise type('ValueError', (Exception,), {'__module__': '__main__'})('text')", Config)
    ).

messages(Config) ->
    ?assertEqual({error, {'ValueError', <<>>}}, run("raise ValueError", Config)),
    ?assertEqual({error, {'ValueError', <<"('a', 1)">>}}, run("raise ValueError('a', 1)", Config)),
    ?assertEqual({error, {'KeyError', <<"'a'">>}}, run("{}['a']", Config)),
    ?assertEqual({error, {'ValueError', <<"äöü 大"/utf8>>}}, run(<<"raise ValueError('äöü 大')"/utf8>>, Config)),
    ?assertEqual({error, {'ValueError', <<"a", 0, "b">>}}, run("raise ValueError('a\\0b')", Config)),
    ?assertEqual({error, {'ValueError', <<"lone \\udc80">>}}, run("raise ValueError('lone \\udc80')", Config)),
    Long = binary:copy(<<"x">>, 1000000),
    ?assertEqual({error, {'ValueError', Long}}, run("raise ValueError('x' * 1000000)", Config)).

odd_str(Config) ->
    [
        ?assertEqual(
            {error, {<<"__main__.", Class/binary>>, <<"<unprintable __main__.", Class/binary, " object>">>}},
            run(["raise ", Class], Config)
        )
     || Class <- [<<"ErrorStrRaises">>, <<"ErrorStrExits">>, <<"ErrorStrNumber">>, <<"ErrorStrRecursion">>, <<"ErrorStrBytes">>]
    ],
    ?assertEqual({error, {<<"__main__.ErrorStrSubclass">>, <<"a str of a subclass">>}}, run("raise ErrorStrSubclass", Config)),
    ?assertMatch({error, {<<"__main__.ErrorReprRaises">>, <<"x">>}}, run("raise ErrorReprRaises('x')", Config)).

odd_classes(Config) ->
    [
        ?assertMatch({error, {<<_/binary>>, <<_/binary>>}}, run(["raise ", Class], Config))
     || Class <- ["ErrorOddMeta", "ErrorGetattribute", "ErrorModuleIsNumber", "ErrorLongName"]
    ],
    ?assertMatch({error, {'TypeError', <<"not made">>}}, run("raise ErrorNew", Config)).

exits(Config) ->
    [
        ?assertMatch({error, {Class, <<_/binary>>}}, run(Source, Config), Source)
     || {Class, Source} <- [
            {'SystemExit', "raise SystemExit(3)"},
            {'SystemExit', "import sys; sys.exit('text')"},
            {'SystemExit', "exit()"},
            {'KeyboardInterrupt', "raise KeyboardInterrupt"},
            {'GeneratorExit', "raise GeneratorExit('text')"},
            {'BaseException', "raise BaseException('text')"}
        ]
    ],
    ?assertEqual(ok, run("pass", Config)).

tracebacks(Config) ->
    Result = run("def error_inner(): raise ValueError('text')\ndef error_outer(): error_inner()\nerror_outer()", Config, #{
        traceback => true
    }),
    ?assertMatch({error, {'ValueError', <<"text">>, [<<"Traceback (most recent call last):\n">> | _]}}, Result),
    {error, {_, _, Lines}} = Result,
    Text = iolist_to_binary(Lines),
    [?assertMatch({_, _}, binary:match(Text, Name), Text) || Name <- [<<"error_inner">>, <<"error_outer">>, <<"ValueError: text">>]],
    %% What cannot be formatted is still an error.
    [
        ?assertMatch({error, {<<_/binary>>, <<_/binary>>, Lines2}} when is_list(Lines2), run(["raise ", Class], Config, #{traceback => true}))
     || Class <- ["ErrorStrRaises", "ErrorStrExits", "ErrorOddMeta", "ErrorGetattribute", "ErrorStrNumber"]
    ].

chained(Config) ->
    Source = "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ValueError('second') from e",
    ?assertEqual({error, {'ValueError', <<"second">>}}, run(Source, Config)),
    {error, {'ValueError', <<"second">>, Lines}} = run(Source, Config, #{traceback => true}),
    ?assertMatch({_, _}, binary:match(iolist_to_binary(Lines), <<"direct cause">>)),
    %% A chain that is a ring.
    Ring = "a = ValueError('a')\nb = ValueError('b')\na.__context__ = b\nb.__context__ = a\nraise a",
    ?assertMatch({error, {'ValueError', <<"a">>, [_ | _]}}, run(Ring, Config, #{traceback => true})).

groups_of_exceptions(Config) ->
    ?assertMatch(
        {error, {'ExceptionGroup', <<"both (2 sub-exceptions)">>}},
        run("raise ExceptionGroup('both', [ValueError(1), TypeError(2)])", Config)
    ),
    ?assertMatch(
        {error, {'BaseExceptionGroup', _, [_ | _]}},
        run("raise BaseExceptionGroup('both', [SystemExit(1), TypeError(2)])", Config, #{traceback => true})
    ).

recursion(Config) ->
    Source = "def error_recurse(): error_recurse()\nerror_recurse()",
    ?assertMatch({error, {'RecursionError', _}}, run(Source, Config)),
    ?assertMatch({error, {'RecursionError', _, [_ | _]}}, run(Source, Config, #{traceback => true})).

memory_error(Config) ->
    ?assertMatch({error, {Class, _}} when Class =:= 'MemoryError'; Class =:= 'OverflowError', run("bytes(1 << 62)", Config)).

raised_classes_and_instances(Config) ->
    ?assertMatch({error, {'TypeError', <<"exceptions must derive from BaseException">>}}, run("raise 'text'", Config)),
    ?assertMatch({error, {'RuntimeError', <<"No active exception to re", _/binary>>}}, run("raise", Config)).

unpicklable_state(Config) ->
    ?assertMatch({error, {'ValueError', _}}, run("e = ValueError(lambda: 1)\ne.self = e\nraise e", Config)).

errors_do_not_leak(Config) ->
    ok = run("import gc, weakref\nclass ErrorKept(Exception): pass\nerror_kept = weakref.WeakSet()", Config),
    [
        {error, _} = run("e = ErrorKept()\nerror_kept.add(e)\ntry:\n    raise e\nfinally:\n    del e", Config, #{traceback => true})
     || _ <- lists:seq(1, 20)
    ],
    test_support:eventually(fun() -> py:eval(<<"gc.collect() * 0 + len(error_kept)">>) =:= {ok, 0} end).

%%% Helpers

run(Source, Config) ->
    run(Source, Config, #{}).

run(Source, Config, Options) ->
    Text = iolist_to_binary(Source),
    Result =
        case proplists:get_value(how, Config) of
            call -> py:call('__main__', error_run, [Text], #{}, Options);
            call_any -> py:call('__main__', error_run, [Text], #{}, Options#{context => any});
            event_loop -> py_event_loop:run('__main__', error_run, [Text], Options);
            event_loop_pool -> py_event_loop_pool:run('__main__', error_run, [Text], Options);
            coroutine -> py_event_loop:run('__main__', error_run_coroutine, [Text], Options)
        end,
    case Result of
        {ok, none} -> ok;
        {error, _} -> Result
    end.
