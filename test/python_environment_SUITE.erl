%% Which Python runs, what `sys' says of it, and where it imports from.
-module(python_environment_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

all() ->
    [
        same_as_the_interpreter_itself,
        a_launcher_first_on_path_changes_nothing,
        python_variables_of_the_environment,
        venv_in_the_environment,
        activate_venv,
        activate_venv_refuses,
        python_path,
        python_path_of_another_run,
        executable_of_another_run,
        main_thread_is_pythons_own,
        standard_library_works,
        numpy
    ].

init_per_suite(Config) ->
    Venv = test_support:new_venv(filename:join(proplists:get_value(priv_dir, Config), "venv")),
    [{python, test_support:python_executable()}, {venv, Venv} | Config].

end_per_suite(_Config) ->
    ok = test_support:stop().

-define(FACTS,
    "(lambda sys: __import__('json').dumps([sys.executable, sys.prefix, sys.exec_prefix, sys.base_prefix, sys.version,"
    " sys.path]))(__import__('sys'))"
).

%% For pyenv's, the system's and a virtual environment's Python alike: the build's own interpreter is asked.
same_as_the_interpreter_itself(Config) ->
    Expected = facts_of(proplists:get_value(python, Config), "-P"),
    [Executable, Prefix, ExecPrefix, BasePrefix, Version, Path] = facts_inside("", []),
    ?assertEqual(lists:droplast(Expected), [Executable, Prefix, ExecPrefix, BasePrefix, Version]),
    [Package | Rest] = Path,
    ?assertMatch({match, _}, re:run(Package, "^/.*/priv/python$")),
    ?assertEqual(lists:last(Expected), Rest).

a_launcher_first_on_path_changes_nothing(Config) ->
    Bin = filename:join([proplists:get_value(priv_dir, Config), "launcher", "bin"]),
    ok = filelib:ensure_dir(filename:join(Bin, "x")),
    [
        begin
            File = filename:join(Bin, Name),
            ok = file:write_file(File, "#!/bin/sh\nexit 1\n"),
            ok = file:change_mode(File, 8#755)
        end
     || Name <- ["python3", "python"]
    ],
    ?assertEqual(facts_inside("", []), facts_inside("", [{"PATH", Bin ++ ":" ++ os:getenv("PATH")}])).

%% They hold as for any Python.
python_variables_of_the_environment(Config) ->
    Folder = proplists:get_value(priv_dir, Config),
    Path = lists:last(facts_inside("", [{"PYTHONPATH", Folder}])),
    ?assert(lists:member(unicode:characters_to_binary(string:trim(Folder, trailing, "/")), [string:trim(P, trailing, "/") || P <- Path])).

venv_in_the_environment(Config) ->
    Venv = proplists:get_value(venv, Config),
    Expected = facts_of(filename:join([Venv, "bin", "python3"]), "-P"),
    [Executable, Prefix, ExecPrefix, BasePrefix, Version, [_ | Path]] =
        facts_inside(["ok = application:set_env(erlang_python, venv, \"", Venv, "\"),"], []),
    ?assertEqual(Expected, [Executable, Prefix, ExecPrefix, BasePrefix, Version, Path]),
    ?assertEqual(unicode:characters_to_binary(Venv), Prefix),
    {0, Output} = test_support:erl([
        "ok = application:load(erlang_python), ok = application:set_env(erlang_python, venv, <<\"", Venv, "\">>),"
        "{ok, _} = application:ensure_all_started(erlang_python), io:format(\"~p\", [py:call(in_venv, get, [])]), halt()."
    ]),
    ?assertEqual(<<"{ok,42}">>, Output).

activate_venv(Config) ->
    Venv = proplists:get_value(venv, Config),
    {0, Output} = test_support:erl([
        "{ok, _} = application:ensure_all_started(erlang_python),"
        "{error, {'ModuleNotFoundError', _}} = py:call(in_venv, get, []),"
        "ok = py:activate_venv(\"", Venv, "\"), ok = py:activate_venv(<<\"", Venv, "\">>),"
        "{ok, 42} = py:call(in_venv, get, []), {ok, 42} = py_event_loop:run(in_venv, get, []),"
        "{ok, 42} = py:call(py:context(3), in_venv, get, []),"
        "#{prefix := Prefix, path := Path, executable := Executable} = py:python_info(),"
        "Path = lists:uniq(Path), {ok, 4.0} = py:call(math, sqrt, [16.0]),"
        "io:format(\"~ts ~ts\", [Prefix, Executable]), halt()."
    ]),
    ?assertEqual(iolist_to_binary([Venv, " ", Venv, "/bin/python3"]), Output).

activate_venv_refuses(Config) ->
    ok = test_support:start(),
    Folder = filename:join(proplists:get_value(priv_dir, Config), "no_venv"),
    ok = filelib:ensure_dir(filename:join(Folder, "x")),
    #{path := Path} = py:python_info(),
    ?assertMatch({error, {'ValueError', <<"no virtual environment: ", _/binary>>}}, py:activate_venv(Folder)),
    ?assertMatch({error, {'ValueError', _}}, py:activate_venv("/nowhere")),
    ok = file:write_file(filename:join(Folder, "pyvenv.cfg"), "home = /nowhere\n"),
    ?assertMatch({error, {'ValueError', <<_/binary>>}}, py:activate_venv(Folder)),
    ?assertMatch(#{path := Path}, py:python_info()).

python_path(Config) ->
    [First, Second] = [module_folder(Name, Config) || Name <- ["first", "second"]],
    ok = test_support:start([{python_path, [First, list_to_binary(Second), First]}]),
    ?assertEqual({ok, <<"first">>}, py:call(environment_first, name, [])),
    ?assertEqual({ok, <<"second">>}, py:call(environment_second, name, [])),
    #{path := [_, A, B | Rest] = Path} = py:python_info(),
    ?assertEqual([list_to_binary(First), list_to_binary(Second)], [A, B]),
    ?assertEqual([], [P || P <- Rest, P =:= A orelse P =:= B], Path).

python_path_of_another_run(Config) ->
    [Third, Fourth] = [module_folder(Name, Config) || Name <- ["third", "fourth"]],
    ok = test_support:start([{python_path, [Third]}]),
    ?assertEqual({ok, <<"third">>}, py:call(environment_third, name, [])),
    ok = test_support:start([{python_path, [Fourth]}]),
    ?assertEqual({ok, <<"fourth">>}, py:call(environment_fourth, name, [])),
    #{path := Path} = py:python_info(),
    ?assertNot(lists:member(list_to_binary(Third), Path)),
    ok = test_support:start(),
    #{path := Plain} = py:python_info(),
    ?assertEqual(Path -- [list_to_binary(Fourth)], Plain).

executable_of_another_run(Config) ->
    ok = test_support:start(),
    ok = test_support:stop(),
    Venv = proplists:get_value(venv, Config),
    ok = application:set_env(erlang_python, venv, Venv),
    {error, Reason} = application:start(erlang_python),
    ?assertMatch({match, _}, re:run(io_lib:format("~p", [Reason]), "Python runs as .*another VM")),
    ok = test_support:start(),
    ?assertEqual({ok, 4.0}, py:call(math, sqrt, [16.0])).

main_thread_is_pythons_own(_Config) ->
    ok = test_support:start(),
    %% It stays alive and is none of those that run calls.
    ok = py:exec(<<"import threading">>),
    ?assertEqual({ok, true}, py:eval(<<"threading.main_thread().is_alive()">>)),
    ?assertEqual({ok, false}, py:eval(<<"threading.current_thread() is threading.main_thread()">>)),
    ?assertEqual({ok, false}, py_event_loop:run(builtins, eval, [<<"__import__('threading').current_thread() is __import__('threading').main_thread()">>])).

%% Extension modules find libpython's symbols, and nothing takes the VM for a Python program.
standard_library_works(_Config) ->
    ok = test_support:start(),
    Modules = [
        "_ctypes", "_decimal", "_hashlib", "_json", "_pickle", "_socket", "_sqlite3", "_ssl", "_struct", "_bz2", "_lzma", "zlib",
        "array", "asyncio", "concurrent.futures", "ctypes", "datetime", "email", "http.client", "logging", "multiprocessing",
        "queue", "select", "sqlite3", "ssl", "subprocess", "tempfile", "unicodedata", "urllib.request", "venv", "xml.etree.ElementTree"
    ],
    [?assertMatch({ok, _}, py:eval(iolist_to_binary(["__import__('", M, "').__name__"])), M) || M <- Modules],
    ?assertEqual({ok, [<<>>]}, py:eval(<<"__import__('sys').argv">>)),
    {ok, Threads} = py:eval(<<"list(__import__('concurrent.futures').futures.ThreadPoolExecutor(4).map(abs, range(-4, 0)))">>),
    ?assertEqual([4, 3, 2, 1], Threads).

%% Where it is installed: PYTHONPATH may name a folder with it.
numpy(_Config) ->
    ok = test_support:start(),
    case py:exec(<<"import numpy">>) of
        {error, {'ModuleNotFoundError', _}} ->
            {skip, "numpy is not installed"};
        ok ->
            Ndarray = <<"numpy.array([[1, 2], [3, 4]], dtype='int16')">>,
            ?assertEqual({ok, [[1, 2], [3, 4]]}, py:eval(Ndarray)),
            ?assertEqual(
                {ok, <<<<N:16/native>> || N <- [1, 2, 3, 4]>>}, py:eval(Ndarray, #{}, #{arrays => binary})
            ),
            [
                ?assertEqual({ok, Value}, py:eval(Expression), Expression)
             || {Expression, Value} <- [
                    {<<"numpy.float64(0.5)">>, 0.5},
                    {<<"numpy.float32(0.5)">>, 0.5},
                    {<<"numpy.int64(-5)">>, -5},
                    {<<"numpy.uint64((1 << 64) - 1)">>, (1 bsl 64) - 1},
                    {<<"numpy.bool_(True)">>, true},
                    {<<"numpy.arange(6)[::2]">>, [0, 2, 4]},
                    {<<"numpy.array([numpy.nan, numpy.inf])">>, [nan, infinity]},
                    {<<"numpy.array(['a', None], dtype=object)">>, [<<"a">>, none]},
                    {<<"numpy.zeros((0, 3))">>, []},
                    {<<"{'a': numpy.array([True])}">>, #{<<"a">> => [true]}}
                ]
            ],
            %% From several threads, and without flushing denormals.
            Pids = [spawn_monitor(fun() -> {ok, 499500} = py:eval(<<"int(numpy.arange(1000).sum())">>) end) || _ <- lists:seq(1, 8)],
            [receive {'DOWN', M, process, P, R} -> ?assertEqual(normal, R) end || {P, M} <- Pids],
            ?assertEqual({ok, true}, py:eval(<<"bool((numpy.full(1, 2.2250738585072014e-308) / 2)[0] > 0)">>))
    end.

%%% Helpers

module_folder(Name, Config) ->
    Folder = filename:join(filename:absname(proplists:get_value(priv_dir, Config)), Name),
    File = filename:join(Folder, "environment_" ++ Name ++ ".py"),
    ok = filelib:ensure_dir(File),
    ok = file:write_file(File, ["def name(): return '", Name, "'"]),
    Folder.

%% What an interpreter says of itself.
facts_of(Executable, Flags) ->
    Output = os:cmd(lists:join($\s, [Executable, Flags, "-c \"print(" ?FACTS ")\""])),
    parse(unicode:characters_to_binary(string:trim(Output))).

%% What Python in a fresh VM says.
facts_inside(Setup, Environment) ->
    {0, Output} = test_support:erl(
        [
            "ok = application:load(erlang_python),",
            Setup,
            "{ok, _} = application:ensure_all_started(erlang_python),"
            "{ok, Facts} = py:eval(<<\"" ?FACTS "\">>), io:put_chars(Facts), halt()."
        ],
        #{env => Environment}
    ),
    parse(Output).

parse(Json) ->
    ok = test_support:start(),
    {ok, Facts} = py:call(json, loads, [Json]),
    Facts.
