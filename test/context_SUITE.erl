%% Calls, expressions and statements on contexts: names, arguments, options, results.
-module(context_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

all() ->
    [
        call_by_atoms_and_binaries,
        dotted_modules,
        attributes_of_classes,
        names_outside_ascii,
        names_that_do_not_exist,
        names_of_a_wrong_kind,
        not_callable,
        positional_arguments,
        many_arguments,
        keyword_arguments,
        wrong_arguments,
        options,
        bad_options,
        named_contexts,
        eval,
        eval_with_names,
        eval_refuses,
        exec,
        exec_is_shared_by_all_contexts,
        exec_in_parallel,
        source_with_odd_bytes,
        coroutines_are_for_event_loops,
        cast_runs,
        cast_outlives_its_caller,
        cast_is_in_order_with_calls,
        cast_exception_is_logged,
        async_call_and_await,
        module_replaced_in_sys_modules,
        import_error_inside_a_module,
        many_imports_at_once,
        large_arguments_and_results,
        mailbox_stays_clean
    ].

init_per_suite(Config) ->
    ok = test_support:start(),
    test_support:python("
        import sys, types

        def context_arguments(*args, **kwargs):
            return (list(args), kwargs)

        class ContextOuter:
            class Inner:
                @staticmethod
                def answer():
                    return 42
                @classmethod
                def name(cls):
                    return cls.__name__

        context_list = []

        def context_module(name, source):
            module = types.ModuleType(name)
            exec(source, module.__dict__)
            sys.modules[name] = module
    "),
    Config.

end_per_suite(_Config) ->
    ok = test_support:stop().

%%% Names

call_by_atoms_and_binaries(_Config) ->
    [
        ?assertEqual({ok, 4.0}, py:call(Module, Function, [16.0]))
     || Module <- [math, <<"math">>], Function <- [sqrt, <<"sqrt">>]
    ].

dotted_modules(_Config) ->
    ?assertEqual({ok, <<"a/b">>}, py:call('os.path', join, [a, b])),
    ?assertEqual({ok, <<"\"a\"">>}, py:call(<<"json.encoder">>, encode_basestring, [a])),
    %% Imported by nobody before.
    ?assertMatch({ok, [_ | _]}, py:call('xml.dom.minidom', 'NodeList', [[1]])).

attributes_of_classes(_Config) ->
    ?assertEqual({ok, 42}, py:call('__main__', 'ContextOuter.Inner.answer', [])),
    ?assertEqual({ok, 42}, py:call('__main__.ContextOuter', 'Inner.answer', [])),
    ?assertEqual({ok, 42}, py:call(<<"__main__.ContextOuter.Inner">>, answer, [])),
    ?assertEqual({ok, <<"Inner">>}, py:call('__main__.ContextOuter.Inner', name, [])),
    error_of('ModuleNotFoundError', "no_such", py:call('__main__.no_such.Inner', name, [])),
    error_of('AttributeError', "'ContextOuter' has no attribute 'no_such'", py:call('__main__.ContextOuter.no_such', name, [])),
    ?assertMatch({error, {'TypeError', <<"cannot convert datetime.datetime ", _/binary>>}}, py:call('datetime.datetime', now, [])),
    ?assertEqual({ok, #{<<"a">> => 0}}, py:call(builtins, 'dict.fromkeys', [[a], 0])),
    ?assertEqual({ok, 97}, py:call('builtins.str', '__len__', [binary:copy(<<"x">>, 97)])).

names_outside_ascii(_Config) ->
    ok = py:exec(<<"def größe(straße): return straße * 2"/utf8>>),
    ?assertEqual({ok, 8}, py:call('__main__', 'größe', [4])),
    ?assertEqual({ok, 8}, py:call('__main__', <<"größe"/utf8>>, [], #{'straße' => 4})),
    ok = py:exec(<<"def 大(): return '小'"/utf8>>),
    ?assertEqual({ok, <<"小"/utf8>>}, py:call('__main__', '大', [])).

names_that_do_not_exist(_Config) ->
    error_of('ModuleNotFoundError', "No module named 'no_such_module'", py:call(no_such_module, f, [])),
    error_of('ModuleNotFoundError', "os\\.no_such", py:call('os.no_such', f, [])),
    error_of('ModuleNotFoundError', "os\\.no_such", py:call('os.no_such.more', f, [])),
    error_of('ModuleNotFoundError', "'no_such'", py:call('no_such.more.still', f, [])),
    error_of('AttributeError', "no attribute 'no_such_function'", py:call(math, no_such_function, [])),
    error_of('AttributeError', "no attribute 'no_such'", py:call('__main__', 'ContextOuter.no_such.answer', [])),
    error_of('ValueError', "Empty module name", py:call(<<>>, f, [])),
    error_of('AttributeError', "", py:call(math, <<>>, [])),
    error_of('AttributeError', "", py:call(os, <<"path..join">>, [])),
    %% Not an atom for each name that does not exist.
    Atoms = erlang:system_info(atom_count),
    [{error, _} = py:call(math, test_support:unique("no_such_"), []) || _ <- lists:seq(1, 100)],
    ?assert(erlang:system_info(atom_count) - Atoms < 50).

names_of_a_wrong_kind(_Config) ->
    ?assertError({bad_argument, module, "math"}, py:call("math", sqrt, [])),
    ?assertError({bad_argument, module, 1}, py:call(1, sqrt, [])),
    ?assertError({bad_argument, function, "sqrt"}, py:call(math, "sqrt", [])),
    ?assertError({bad_argument, function, _}, py:eval("1")),
    ?assertError({bad_argument, function, _}, py:exec("1")),
    ?assertError({bad_argument, module, _}, py:cast(self(), f, [])),
    error_of('TypeError', "name of a module", py:call(<<255>>, sqrt, [])),
    error_of('TypeError', "name of a function", py:call(math, <<255>>, [])).

not_callable(_Config) ->
    error_of('TypeError', "'float' object is not callable", py:call(math, pi, [])).

%%% Arguments

positional_arguments(_Config) ->
    ?assertEqual({ok, {[], #{}}}, arguments([], #{})),
    ?assertEqual({ok, {[1, <<"a">>, [2]], #{}}}, arguments([1, a, [2]], #{})).

many_arguments(_Config) ->
    [
        begin
            Positional = lists:seq(1, Count),
            ?assertEqual({ok, {Positional, #{}}}, arguments(Positional, #{})),
            Named = maps:from_list([{<<"k", (integer_to_binary(N))/binary>>, N} || N <- Positional]),
            ?assertEqual({ok, {Positional, Named}}, arguments(Positional, Named))
        end
     || Count <- [7, 8, 9, 15, 16, 17, 31, 32, 33, 200, 5000]
    ].

keyword_arguments(_Config) ->
    ?assertEqual({ok, {[1], #{<<"a">> => 2, <<"b">> => 3}}}, arguments([1], #{a => 2, <<"b">> => 3})),
    ?assertEqual({ok, <<"[\n 1\n]">>}, py:call(json, dumps, [[1]], #{indent => 1})),
    %% Beside those of the options, which win.
    ?assertEqual(
        {ok, {[], #{<<"a">> => 1, <<"b">> => 3, <<"c">> => 4}}},
        py:call('__main__', context_arguments, [], #{a => 1, b => 2}, #{kwargs => #{b => 3, c => 4}})
    ).

wrong_arguments(_Config) ->
    ?assertError({bad_argument, args, foo}, py:call(math, sqrt, foo)),
    ?assertError({bad_argument, kwargs, []}, py:call(math, sqrt, [1], [])),
    ?assertError({bad_argument, kwargs, [{a, 1}]}, py:cast(math, sqrt, [1], [{a, 1}])),
    ?assertError({bad_argument, args, [1 | 2]}, py:call(math, sqrt, [1 | 2])),
    error_of('TypeError', "name of a keyword argument", arguments([], #{1 => 2})),
    error_of('TypeError', "name of a keyword argument", arguments([], #{"a" => 2})),
    error_of('TypeError', "keyword argument a is given as an atom and as a binary", arguments([], #{a => 1, <<"a">> => 2})),
    error_of('TypeError', "improper list", py:call(math, sqrt, [[1 | 2]])),
    error_of('TypeError', "unexpected keyword argument|takes no keyword", py:call(math, sqrt, [1], #{x => 1})),
    error_of('TypeError', "exactly one argument", py:call(math, sqrt, [])).

%%% Options

options(_Config) ->
    ?assertEqual({ok, 4.0}, py:call(math, sqrt, [16.0], #{}, #{})),
    ?assertEqual({ok, 4.0}, py:call(math, sqrt, [16.0], #{}, infinity)),
    ?assertEqual({ok, 4.0}, py:call(math, sqrt, [16.0], #{}, 60000)),
    ?assertEqual({ok, 4.0}, py:call(math, sqrt, [16.0], #{}, #{timeout => infinity, context => own})),
    ?assertEqual({ok, 4.0}, py:call(math, sqrt, [16.0], #{}, #{timeout => 60000, context => any, traceback => false})),
    ?assertEqual({ok, 4}, py:eval(<<"2 + 2">>, #{}, 60000)),
    ?assertEqual(ok, py:exec(<<"pass">>, #{timeout => 60000})),
    ok = py:exec(<<"import array">>),
    ?assertEqual({ok, [1, 2]}, py:eval(<<"array.array('h', [1, 2])">>, #{}, #{arrays => list})),
    ?assertEqual(
        {ok, <<1:16/native, 2:16/native>>}, py:eval(<<"array.array('h', [1, 2])">>, #{}, #{arrays => binary})
    ),
    {error, {'ZeroDivisionError', <<"division by zero">>}} = py:eval(<<"1 / 0">>, #{}, #{traceback => false}),
    {error, {'ZeroDivisionError', <<"division by zero">>, [_ | _]}} = py:eval(<<"1 / 0">>, #{}, #{traceback => true}).

bad_options(_Config) ->
    [
        ?assertError({bad_option, Key, Value}, py:call(math, sqrt, [16.0], #{}, #{Key => Value}))
     || {Key, Value} <- [
            {timeout, -1},
            {timeout, soon},
            {timeout, 1.0},
            %% More than `receive' takes, which would be found out when the task is on its way.
            {timeout, 16#100000000},
            {traceback, 1},
            {arrays, tuple},
            {context, 3},
            {context, somewhere},
            {kwargs, [{a, 1}]},
            {no_such_option, true}
        ]
    ],
    [
        ?assertError({bad_argument, options, Bad}, py:call(math, sqrt, [16.0], #{}, Bad))
     || Bad <- [-1, soon, [{timeout, 1}], 1.0, 16#100000000]
    ].

named_contexts(_Config) ->
    First = py:context(1),
    Second = py:context(2),
    Own = py:context(),
    Thread = fun(Context) -> element(2, py:call(Context, threading, get_ident, [])) end,
    ?assertNotEqual(Thread(First), Thread(Second)),
    ?assertEqual(Thread(First), Thread(py:context(1))),
    ?assertEqual({ok, Thread(Own)}, py:call(threading, get_ident, [])),
    ?assertEqual({ok, Thread(Second)}, py:call(threading, get_ident, [], #{}, #{context => Second})),
    ?assertEqual({ok, Thread(Second)}, py:eval(<<"__import__('threading').get_ident()">>, #{}, #{context => Second})),
    ?assertEqual({ok, {[1], #{<<"a">> => 2}}}, py:call(First, '__main__', context_arguments, [1], #{a => 2})),
    ?assertEqual({ok, 4.0}, py:call(First, math, sqrt, [16.0], #{}, 60000)),
    ?assertError({bad_argument, context, _}, py:call(make_ref(), math, sqrt, [16.0])),
    ?assertError({bad_argument, context, 0}, py:context(0)),
    ?assertError({bad_argument, context, 65}, py:context(65)),
    ?assertError({bad_argument, context, any}, py:context(any)).

%%% Expressions and statements

eval(_Config) ->
    ?assertEqual({ok, 4}, py:eval(<<"2 + 2">>)),
    ?assertEqual({ok, 4}, py:eval('2 + 2')),
    ok = py:exec(<<"context_value = 21">>),
    ?assertEqual({ok, 42}, py:eval(<<"context_value * 2">>)),
    ?assertEqual({ok, 42}, py:eval(context_value, #{context_value => 42})),
    ?assertEqual({ok, 21}, py:eval(context_value)).

eval_with_names(_Config) ->
    ?assertEqual({ok, 3}, py:eval(<<"a + b">>, #{a => 1, <<"b">> => 2})),
    %% Scopes inside an expression see them too.
    ?assertEqual({ok, [1, 2]}, py:eval(<<"[x + a for x in range(2)]">>, #{a => 1})),
    ?assertEqual({ok, 1}, py:eval(<<"(lambda: a)()">>, #{a => 1})),
    ?assertEqual({ok, <<"shadowed">>}, py:eval(<<"len">>, #{len => shadowed})),
    %% They are gone afterwards.
    error_of('NameError', "context_passing", py:eval(<<"context_passing or True">>)),
    ?assertEqual({ok, true}, py:eval(<<"context_passing or True">>, #{context_passing => false})),
    error_of('NameError', "context_passing", py:eval(<<"context_passing or True">>)).

eval_refuses(_Config) ->
    error_of('SyntaxError', "", py:eval(<<"x = 1">>)),
    error_of('SyntaxError', "", py:eval(<<"import os">>)),
    error_of('SyntaxError', "", py:eval(<<>>)),
    error_of('SyntaxError', "never closed", py:eval(<<"(">>)),
    error_of('TypeError', "name of a variable must be a str, not int", py:eval(<<"1">>, #{1 => 2})),
    error_of('TypeError', "name of a variable must be a str, not bytes", py:eval(<<"1">>, #{<<255>> => 2})),
    ?assertError({bad_argument, kwargs, [a]}, py:eval(<<"1">>, [a])).

exec(_Config) ->
    ?assertEqual(ok, py:exec(<<>>)),
    ?assertEqual(ok, py:exec(<<"def context_f(x):\n    return x + 1\n\ncontext_y = context_f(1)">>)),
    ?assertEqual({ok, 2}, py:eval(<<"context_y">>)),
    ?assertEqual({ok, 6}, py:call('__main__', context_f, [5])),
    error_of('SyntaxError', "", py:exec(<<"def">>)),
    error_of('IndentationError', "line 2", py:exec(<<"if True:\nx = 1">>)),
    %% What ran before the exception stays.
    error_of('ZeroDivisionError', "", py:exec(<<"context_y = 3\n1 / 0\ncontext_y = 4">>)),
    ?assertEqual({ok, 3}, py:eval(<<"context_y">>)).

exec_is_shared_by_all_contexts(_Config) ->
    ok = test_support:in_process(fun() -> py:exec(<<"def context_shared(): return 'seen'">>) end),
    [?assertEqual({ok, <<"seen">>}, py:call(py:context(N), '__main__', context_shared, [])) || N <- lists:seq(1, 5)],
    ?assertEqual({ok, <<"seen">>}, test_support:in_process(fun() -> py:call('__main__', context_shared, []) end)),
    ?assertEqual({ok, <<"seen">>}, py_event_loop:run('__main__', context_shared, [])),
    ?assertEqual({ok, <<"seen">>}, py_event_loop_pool:run('__main__', context_shared, [])).

exec_in_parallel(_Config) ->
    Work = fun(N) ->
        fun() ->
            Name = <<"context_parallel_", (integer_to_binary(N))/binary>>,
            ok = py:exec(<<"def ", Name/binary, "(x): return x + ", (integer_to_binary(N))/binary>>),
            {ok, Value} = py:call('__main__', Name, [1]),
            {N, Value}
        end
    end,
    Self = self(),
    Pids = [spawn_link(fun() -> Self ! {self(), (Work(N))()} end) || N <- lists:seq(1, 50)],
    Results = [receive {Pid, Result} -> Result after 60000 -> none end || Pid <- Pids],
    ?assertEqual([{N, N + 1} || N <- lists:seq(1, 50)], Results).

source_with_odd_bytes(_Config) ->
    error_of('ValueError', "null bytes", py:eval(<<"1", 0>>)),
    error_of('ValueError', "null bytes", py:exec(<<"x = 1", 0, "\ny = 2">>)),
    error_of('UnicodeDecodeError', "utf-8", py:exec(<<"x = '", 255, "'">>)),
    ?assertEqual({ok, <<"é"/utf8>>}, py:eval(<<"'é'"/utf8>>)),
    %% The source is UTF-8, whatever it says of itself.
    ok = py:exec(<<"# -*- coding: latin-1 -*-\ncontext_accent = 'é'"/utf8>>),
    ?assertEqual({ok, <<"é"/utf8>>}, py:eval(context_accent)).

coroutines_are_for_event_loops(_Config) ->
    error_of('TypeError', "py:async_call or py_event_loop:run", py:call(asyncio, sleep, [0])),
    ?assertEqual({ok, none}, py_event_loop:run(asyncio, sleep, [0])).

%%% Without waiting

cast_runs(_Config) ->
    ok = py:exec(<<"context_list.clear()">>),
    ?assertEqual(ok, py:cast('__main__', 'context_list.append', [1])),
    ?assertEqual({ok, [1]}, py:eval(context_list)),
    ?assertEqual(ok, py:cast('__main__', 'context_list.extend', [[2, 3]], #{})),
    ?assertEqual({ok, [1, 2, 3]}, py:eval(context_list)),
    ?assertEqual([], test_support:mailbox()).

cast_outlives_its_caller(_Config) ->
    ok = py:exec(<<"context_list.clear()">>),
    Cast = fun() -> [ok = py:cast('__main__', 'context_list.append', [N]) || N <- lists:seq(1, 20)] end,
    [test_support:in_process(Cast) || _ <- lists:seq(1, 5)],
    test_support:eventually(fun() -> py:eval(<<"len(context_list)">>) =:= {ok, 100} end).

cast_is_in_order_with_calls(_Config) ->
    [
        test_support:in_process(fun() ->
            ok = py:exec(<<"context_list.clear()">>),
            [ok = py:cast('__main__', 'context_list.append', [N]) || N <- lists:seq(1, 500)],
            ?assertEqual({ok, lists:seq(1, 500)}, py:eval(context_list))
        end)
     || _ <- lists:seq(1, 10)
    ],
    %% A first call that is a cast, before the process has a context.
    ok = py:exec(<<"context_list.clear()">>),
    test_support:in_process(fun() ->
        [ok = py:cast('__main__', 'context_list.append', [N]) || N <- lists:seq(1, 500)],
        _ = py:context(),
        ?assertEqual({ok, lists:seq(1, 500)}, py:eval(context_list))
    end).

cast_exception_is_logged(_Config) ->
    {ok, Events} = test_support:logged(fun() ->
        ok = py:cast(math, sqrt, [-1]),
        ok = py:cast('__main__', 'context_list.no_such', []),
        ok = py:cast(test_support:unique("no_such_module_"), f, [])
    end, 3),
    Text = iolist_to_binary(lists:join($\n, Events)),
    [
        ?assertMatch({match, _}, re:run(Text, Pattern), Text)
     || Pattern <- ["math\\.sqrt: ValueError: ", "AttributeError: .*no_such", "ModuleNotFoundError: .*no_such_module_"]
    ].

async_call_and_await(_Config) ->
    ?assertEqual({ok, 4.0}, py:await(py:async_call(math, sqrt, [16.0]))),
    ?assertEqual({ok, <<"done">>}, py:await(py:async_call(asyncio, sleep, [0.01, done]), 60000)),
    ?assertEqual({ok, {[1], #{<<"a">> => 2}}}, py:await(py:async_call('__main__', context_arguments, [1], #{a => 2}))),
    ?assertMatch({error, {'ValueError', _}}, py:await(py:async_call(math, sqrt, [-1]))),
    References = [py:async_call(asyncio, sleep, [0.5, N]) || N <- lists:seq(1, 200)],
    {Milliseconds, Results} = test_support:milliseconds(fun() -> [py:await(R, 60000) || R <- References] end),
    ?assertEqual([{ok, N} || N <- lists:seq(1, 200)], Results),
    ?assert(Milliseconds < 200 * 500 div 4),
    ?assertError({bad_argument, reference, 1}, py:await(1)).

%%% Modules

module_replaced_in_sys_modules(_Config) ->
    Module = test_support:unique("context_module_"),
    {ok, none} = py:call('__main__', context_module, [Module, <<"def f(): return 1">>]),
    ?assertEqual({ok, 1}, py:call(Module, f, [])),
    {ok, none} = py:call('__main__', context_module, [Module, <<"def f(): return 2">>]),
    ?assertEqual({ok, 2}, py:call(Module, f, [])),
    ok = py:exec(<<"sys.modules['", Module/binary, "'].f = lambda: 3">>),
    ?assertEqual({ok, 3}, py:call(Module, f, [])),
    ok = py:exec(<<"del sys.modules['", Module/binary, "']">>),
    error_of('ModuleNotFoundError', Module, py:call(Module, f, [])).

import_error_inside_a_module(Config) ->
    Folder = proplists:get_value(priv_dir, Config),
    ok = py:exec(<<"sys.path.append('", (unicode:characters_to_binary(Folder))/binary, "')">>),
    ok = file:write_file(filename:join(Folder, "context_broken.py"), <<"import no_such_module_inside">>),
    ok = file:write_file(filename:join(Folder, "context_exiting.py"), <<"raise SystemExit(1)">>),
    error_of('ModuleNotFoundError', "no_such_module_inside", py:call(context_broken, f, [])),
    error_of('ModuleNotFoundError', "no_such_module_inside", py:call('context_broken.part', f, [])),
    error_of('SystemExit', "1", py:call(context_exiting, f, [])),
    ok = file:write_file(filename:join(Folder, "context_late.py"), <<"def f(): return 'late'">>),
    {ok, none} = py:call(importlib, invalidate_caches, []),
    ?assertEqual({ok, <<"late">>}, py:call(context_late, f, [])).

many_imports_at_once(Config) ->
    Folder = proplists:get_value(priv_dir, Config),
    ok = file:write_file(
        filename:join(Folder, "context_slow_import.py"),
        <<"import time\ntime.sleep(0.3)\nimported = []\nimported.append(1)\ndef f(): return imported">>
    ),
    ok = py:exec(<<"sys.path.append('", (unicode:characters_to_binary(Folder))/binary, "')">>),
    {ok, none} = py:call(importlib, invalidate_caches, []),
    Self = self(),
    Call = fun() -> Self ! {imported, py:call(context_slow_import, f, [])} end,
    [spawn_link(Call) || _ <- lists:seq(1, 20)],
    [?assertEqual({ok, [1]}, receive {imported, R} -> R after 60000 -> none end) || _ <- lists:seq(1, 20)].

%%% The rest

large_arguments_and_results(_Config) ->
    Binary = binary:copy(<<255, "0123456789">>, 500000),
    ?assertEqual({ok, Binary}, py:call(builtins, bytes, [Binary])),
    List = lists:seq(1, 300000),
    ?assertEqual({ok, List}, py:call(builtins, list, [List])),
    Text = binary:copy(<<"äöü"/utf8>>, 100000),
    ?assertEqual({ok, Text}, py:call(builtins, str, [Text])).

mailbox_stays_clean(_Config) ->
    self() ! before,
    [{ok, 4.0} = py:call(math, sqrt, [16.0]) || _ <- lists:seq(1, 1000)],
    [{ok, 4.0} = py_event_loop:run(math, sqrt, [16.0]) || _ <- lists:seq(1, 1000)],
    [{error, _} = py:call(math, sqrt, [-1]) || _ <- lists:seq(1, 100)],
    ?assertEqual([before], test_support:mailbox()),
    receive before -> ok end.

%%% Helpers

arguments(Positional, Keywords) ->
    py:call('__main__', context_arguments, Positional, Keywords).

error_of(Class, Pattern, Result) ->
    ?assertMatch({error, {Class, <<_/binary>>}}, Result),
    {error, {_, Message}} = Result,
    ?assertMatch({match, _}, re:run(Message, Pattern), Message).
