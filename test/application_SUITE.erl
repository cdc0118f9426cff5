%% The application: start and stop, its environment, its supervised processes.
-module(application_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

all() ->
    [
        starts_and_stops_many_times,
        nothing_runs_after_stop,
        waiting_callers_are_answered_at_stop,
        restart_while_python_is_busy,
        remembered_contexts_survive_a_restart,
        threads_end_with_the_application,
        failed_start_leaves_no_loops,
        bad_configuration,
        unknown_key,
        good_configuration,
        defaults_are_what_the_readme_says,
        two_applications,
        every_supervised_process_may_be_killed,
        killed_loops_are_replaced,
        version,
        python_info,
        libraries_are_found_when_the_directory_changes
    ].

init_per_testcase(_Case, Config) ->
    ok = test_support:start(),
    Config.

end_per_testcase(_Case, _Config) ->
    ok = test_support:stop().

%%% Start and stop

starts_and_stops_many_times(_Config) ->
    [
        begin
            ok = test_support:start(),
            works(),
            ok = application:stop(erlang_python)
        end
     || _ <- lists:seq(1, 25)
    ].

nothing_runs_after_stop(_Config) ->
    works(),
    ok = application:stop(erlang_python),
    ?assertEqual({error, closed}, py:call(math, sqrt, [16.0])),
    ?assertEqual({error, closed}, py:exec(<<"pass">>)),
    ?assertEqual({error, closed}, py:cast(math, sqrt, [16.0])),
    ?assertError(closed, py:context()),
    ?assertError({not_started, erlang_python}, py_event_loop:run(math, sqrt, [16.0])),
    ?assertError({not_started, erlang_python}, py_event_loop_pool:run(math, sqrt, [16.0])),
    ?assertEqual({error, not_started}, py_event_loop:get_loop()),
    ?assertEqual({error, not_started}, py_event_loop_pool:get_loop()),
    ?assertEqual({error, not_started}, py:info()).

waiting_callers_are_answered_at_stop(_Config) ->
    Context = py:context(1),
    Self = self(),
    Call = fun() -> Self ! {answered, py:call(Context, time, sleep, [2.0])} end,
    Busy = spawn_link(Call),
    test_support:eventually(fun() -> is_busy(Context) end),
    [spawn_link(Call) || _ <- lists:seq(1, 10)],
    test_support:eventually(fun() -> queued(Context) =:= 10 end),
    ok = application:stop(erlang_python),
    Answers = [receive {answered, Answer} -> Answer after 10000 -> none end || _ <- lists:seq(1, 11)],
    ?assertEqual(10, length([closed || {error, closed} <- Answers])),
    %% The call that ran may have been interrupted.
    ?assertEqual(11, length([Answer || {_, _} = Answer <- Answers])),
    %% It ends after it told.
    test_support:eventually(fun() -> not is_process_alive(Busy) end).

restart_while_python_is_busy(_Config) ->
    Flag = test_support:unique("flag_"),
    test_support:python([Flag, " = True\n", "def wait_for_", Flag, "():\n    while ", Flag, ": pass\n"]),
    spawn(fun() -> py:call('__main__', <<"wait_for_", Flag/binary>>, []) end),
    test_support:eventually(fun() -> lists:any(fun is_busy/1, contexts()) end),
    ok = application:stop(erlang_python),
    ok = test_support:start(),
    works(),
    ok = py:exec(<<Flag/binary, " = False">>),
    works().

remembered_contexts_survive_a_restart(_Config) ->
    {ok, _} = py:call(math, sqrt, [16.0]),
    Named = py:context(1),
    ok = test_support:start(),
    ?assertEqual({ok, 4.0}, py:call(math, sqrt, [16.0])),
    ok = test_support:start(),
    ?assertEqual(ok, py:cast(math, sqrt, [16.0])),
    ?assertEqual({error, closed}, py:call(Named, math, sqrt, [16.0])).

threads_end_with_the_application(_Config) ->
    works(),
    ok = test_support:start(),
    works(),
    Before = threads(),
    [
        begin
            ok = test_support:start(),
            [py:context(N) || N <- lists:seq(1, 4)],
            works()
        end
     || _ <- lists:seq(1, 5)
    ],
    ok = test_support:start(),
    works(),
    test_support:eventually(fun() -> threads() =< Before + 2 end).

%%% Environment

%% There are too few loops for the pool.
failed_start_leaves_no_loops(_Config) ->
    Loops = fun() -> maps:get(loops, py:memory()) end,
    Before = Loops(),
    ok = test_support:stop(),
    [ok = application:set_env(erlang_python, Key, Value) || {Key, Value} <- [{event_loop_pool_size, 8}, {event_loop_limit, 6}]],
    [{error, _} = application:ensure_all_started(erlang_python) || _ <- [1, 2, 3]],
    ok = test_support:start(),
    test_support:eventually(fun() -> Loops() =< Before end).

bad_configuration(_Config) ->
    Bad = [
        {python_executable, ["/nowhere/python3", 42, "/tmp", {a, b}]},
        {venv, ["/nowhere/venv", 42, "/tmp"]},
        {python_path, [not_a_list, ["/nowhere"], "/tmp", [42]]},
        {python_stack_size, [0, 4096, big, -1, 1.0e7]},
        {contexts, [0, -1, many, 1025, 2.0]},
        {context_queue_limit, [0, -1, infinity]},
        {event_loop_pool_size, [0, -1, 1025, x]},
        {task_queue_limit, [0, -1, "1"]},
        {event_loop_linger_us, [-1, 1.0, soon]},
        {max_new_atoms, [-1, all, 1.5]},
        {python_memory_limit, [0, 16777215, unlimited]},
        {max_term_bytes, [0, infinity]},
        {event_loop_limit, [0, many]},
        {none_atom, [null, "nil", <<"nil">>, 0]},
        {sandbox, [[], #{fork => maybe_}, #{no_such_rule => deny}, deny]}
    ],
    %% A new key needs a line above.
    Tried = [Key || {Key, _} <- Bad],
    ?assertEqual([], maps:keys(maps:without(Tried, py_config:defaults()))),
    [refused(Key, Value) || {Key, Values} <- Bad, Value <- Values].

refused(Key, Value) ->
    ok = test_support:stop(),
    ok = application:set_env(erlang_python, Key, Value),
    Result = application:start(erlang_python),
    ?assertMatch({error, {{bad_config, Key, _, _}, {erlang_python_app, start, _}}}, Result),
    {error, {{bad_config, _, _, Expected}, _}} = Result,
    ?assert(io_lib:printable_unicode_list(Expected)),
    ok = test_support:stop().

unknown_key(_Config) ->
    refused(contextes, 3).

good_configuration(Config) ->
    Folder = ?config(priv_dir, Config),
    ok = test_support:start([
        {contexts, 2},
        {python_path, [Folder, unicode:characters_to_binary(Folder)]},
        {python_stack_size, 16 * 1024 * 1024},
        {context_queue_limit, 5},
        {event_loop_pool_size, 3},
        {task_queue_limit, 5},
        {event_loop_linger_us, 0},
        {max_new_atoms, 0},
        {sandbox, #{}},
        {python_memory_limit, 1 bsl 40},
        {max_term_bytes, 1 bsl 40},
        {event_loop_limit, 100},
        {none_atom, none},
        {venv, undefined},
        {python_executable, undefined}
    ]),
    works(),
    ?assertMatch(#{num_loops := 3}, py_event_loop_pool:get_stats()),
    ?assertError({bad_argument, context, 3}, py:context(3)),
    ?assertMatch({error, {'ValueError', _}}, py:eval(<<"__import__('erlang').Atom('never_seen_before_1')">>)).

defaults_are_what_the_readme_says(_Config) ->
    {ok, Readme} = file:read_file(filename:join(root(), "README.md")),
    [
        ?assertMatch(
            {match, _},
            re:run(Readme, ["^\\| `", atom_to_list(Key), "` \\|"], [multiline]),
            {not_in_readme, Key}
        )
     || Key <- maps:keys(py_config:defaults())
    ].

%%% Other applications

two_applications(_Config) ->
    Applications = [first_user_of_python, second_user_of_python],
    [
        ok = application:load(
            {application, Name, [
                {vsn, "1"},
                {modules, []},
                {registered, []},
                {applications, [kernel, stdlib, erlang_python]}
            ]}
        )
     || Name <- Applications
    ],
    ok = test_support:stop(),
    try
        [{ok, _} = application:ensure_all_started(Name) || Name <- Applications],
        works(),
        ok = application:stop(first_user_of_python),
        works(),
        ok = application:start(first_user_of_python),
        works()
    after
        [application:stop(Name) || Name <- Applications],
        [application:unload(Name) || Name <- Applications]
    end.

%%% Supervision

every_supervised_process_may_be_killed(_Config) ->
    works(),
    Paths = [Path || {Path, _} <- tree(erlang_python_sup), not is_worker_of_a_loop(Path)],
    ?assert(length(Paths) >= 6),
    lists:foreach(
        fun(Path) ->
            ok = test_support:start(),
            works(),
            {Path, Old} = lists:keyfind(Path, 1, tree(erlang_python_sup)),
            ok = test_support:kill(Old),
            test_support:eventually(fun() ->
                lists:all(fun({_, Pid}) -> is_pid(Pid) andalso Pid =/= Old end, tree(erlang_python_sup))
            end),
            test_support:eventually(fun() -> Paths -- [P || {P, _} <- tree(erlang_python_sup)] =:= [] end),
            works({killed, Path}),
            ?assert(lists:keymember(erlang_python, 1, application:which_applications()))
        end,
        Paths
    ),
    %% These have no names: one after the other, and after each of them the loops work.
    [
        begin
            ok = test_support:kill(Worker),
            works({killed, Path})
        end
     || {Path, Worker} <- tree(erlang_python_sup), is_worker_of_a_loop(Path)
    ].

is_worker_of_a_loop(Path) -> lists:last(Path) =:= undefined.

%% Every process below a supervisor with the way to it; those of a `simple_one_for_one' are called undefined.
tree(Supervisor) ->
    try supervisor:which_children(Supervisor) of
        Children -> lists:append([subtree(Child) || Child <- Children])
    catch
        exit:_ -> []
    end.

subtree({Id, Pid, supervisor, _}) when is_pid(Pid) -> [{[Id], Pid} | [{[Id | Path], P} || {Path, P} <- tree(Pid)]];
subtree({Id, Pid, _, _}) -> [{[Id], Pid}].

killed_loops_are_replaced(_Config) ->
    works(),
    Before = threads(),
    Waiting = py_event_loop:create_task(asyncio, sleep, [60]),
    [
        begin
            Old = child(Name),
            ok = test_support:kill(Old),
            test_support:eventually(fun() -> is_pid(child(py_event_loop)) andalso is_pid(child(py_event_loop_pool)) end),
            test_support:eventually(fun() -> child(Name) =/= Old end),
            works()
        end
     || Name <- [py_event_loop, py_event_loop_pool, py_event_loop]
    ],
    ?assertMatch({error, _}, py_event_loop:await(Waiting, 10000)),
    test_support:eventually(fun() -> threads() =< Before + 2 end).

%%% Facts

version(_Config) ->
    Version = py:version(),
    {ok, Vsn} = application:get_key(erlang_python, vsn),
    ?assertEqual(Vsn, binary_to_list(Version)),
    ok = application:stop(erlang_python),
    ?assertEqual(Version, py:version()).

python_info(_Config) ->
    Info = py:python_info(),
    {ok, Version} = py:eval(<<"'.'.join(map(str, __import__('sys').version_info[:3]))">>),
    ?assertMatch(#{version := Version, mode := shared_gil}, Info),
    [?assertMatch({ok, <<_, _/binary>>}, maps:find(Key, Info)) || Key <- [executable, prefix, base_prefix, build, compiler]],
    ?assert(lists:all(fun is_binary/1, maps:get(path, Info))),
    ?assert(filelib:is_regular(maps:get(executable, Info))).

libraries_are_found_when_the_directory_changes(_Config) ->
    %% A relative code path, as rebar3 shell has it, and a Python import after the directory has changed.
    Ebin = filename:dirname(code:which(py)),
    {Status, Output} = test_support:erl(
        [
            "code:add_patha(\"ebin\"),"
            "{ok, _} = application:ensure_all_started(erlang_python),"
            "ok = file:set_cwd(\"/\"),"
            "{ok, _} = py:call('erlang._run', '__name__.upper', []),"
            "io:format(\"~p~n\", [hd(maps:get(path, py:python_info()))]), halt()."
        ],
        #{directory => filename:dirname(Ebin), args => ["-pa", "ebin"]}
    ),
    ?assertEqual({0, Output}, {Status, Output}),
    ?assertMatch({match, _}, re:run(Output, "<<\"/.*/priv/python\">>")).

%%% Helpers

works() ->
    works(always).

works(When) ->
    ?assertEqual({ok, 4.0}, py:call(math, sqrt, [16.0]), When),
    ?assertEqual({ok, 4.0}, test_support:in_process(fun() -> py:call(math, sqrt, [16.0]) end)),
    ?assertEqual({ok, 4.0}, py_event_loop:run(math, sqrt, [16.0]), When),
    ?assertEqual({ok, <<"done">>}, py_event_loop:run(asyncio, sleep, [0.01, done]), When),
    ?assertEqual({ok, <<"done">>}, py_event_loop_pool:run(asyncio, sleep, [0.01, done]), When).

contexts() ->
    {ok, #{contexts := Infos}} = py:info(),
    [py:context(Number) || #{number := Number} <- Infos].

is_busy(Context) ->
    {ok, #{busy_ns := Nanoseconds}} = py_nif:context_info(Context),
    Nanoseconds > 0.

queued(Context) ->
    {ok, #{queued := Number}} = py_nif:context_info(Context),
    Number.

%% Without those of contexts, of which a call may find another one free and start one more. The two job threads of the
%% core are started when they are first needed: two more are no leak.
threads() ->
    {ok, #{threads := Number, contexts := Contexts}} = py:info(),
    Number - length(Contexts).

child(Name) ->
    {Name, Pid, _, _} = lists:keyfind(Name, 1, supervisor:which_children(erlang_python_sup)),
    Pid.

root() ->
    test_support:root().
