%% @doc The application environment: every key, its type and its default.
%%
%% All keys are checked when the application starts; a wrong one stops it with
%% `{error, {bad_config, Key, Value, Expected}}', `Expected' a text.
-module(py_config).

-export([read/0, defaults/0]).

-export_type([config/0]).

-type config() :: #{
    executable := binary(),
    package_path := binary(),
    paths := [binary()],
    venv := binary() | none,
    stack_size := pos_integer(),
    contexts := pos_integer(),
    queue_limit := pos_integer(),
    event_loop_pool_size := pos_integer(),
    max_new_atoms := non_neg_integer(),
    task_queue_limit := pos_integer(),
    linger_us := non_neg_integer(),
    sandbox := non_neg_integer(),
    memory_limit := non_neg_integer(),
    max_term_bytes := pos_integer(),
    loop_limit := pos_integer(),
    none_atom := none | nil | undefined
}.

%% Of address space; only what is used takes memory. CPython's limits on recursion are chosen for 8 MiB, but nested
%% sorting on 3.13 and dropping long chains of generators on 3.11 and 3.13 need more: docs/robustness.md.
-define(STACK_SIZE, 64 * 1024 * 1024).
-define(SMALLEST_STACK, 1024 * 1024).

%% @doc Every key with its default.
-spec defaults() -> #{atom() => term()}.
defaults() ->
    #{
        python_executable => undefined,
        venv => undefined,
        python_path => [],
        python_stack_size => ?STACK_SIZE,
        contexts => 64,
        context_queue_limit => 100000,
        event_loop_pool_size => erlang:system_info(schedulers),
        task_queue_limit => 2000000,
        event_loop_linger_us => 1000,
        max_new_atoms => 10000,
        sandbox => #{},
        python_memory_limit => infinity,
        max_term_bytes => 1024 * 1024 * 1024,
        event_loop_limit => 4096,
        none_atom => none
    }.

%% @doc The checked environment of the application.
-spec read() -> {ok, config()} | {error, {bad_config, atom(), term(), string()}}.
read() ->
    try
        Values = maps:map(fun check/2, maps:merge(defaults(), given())),
        {ok, #{
            executable => executable(Values),
            package_path => package_path(),
            paths => maps:get(python_path, Values),
            venv => maps:get(venv, Values),
            stack_size => maps:get(python_stack_size, Values),
            contexts => maps:get(contexts, Values),
            queue_limit => maps:get(context_queue_limit, Values),
            event_loop_pool_size => maps:get(event_loop_pool_size, Values),
            task_queue_limit => maps:get(task_queue_limit, Values),
            linger_us => maps:get(event_loop_linger_us, Values),
            max_new_atoms => maps:get(max_new_atoms, Values),
            sandbox => py_sandbox:denied(maps:get(sandbox, Values)),
            memory_limit => maps:get(python_memory_limit, Values),
            max_term_bytes => maps:get(max_term_bytes, Values),
            loop_limit => maps:get(event_loop_limit, Values),
            none_atom => maps:get(none_atom, Values)
        }}
    catch
        throw:{bad_config, _, _, _} = Reason -> {error, Reason}
    end.

given() ->
    Known = defaults(),
    maps:from_list([known(Pair, Known) || Pair <- application:get_all_env(erlang_python), visible(Pair)]).

%% application puts a key of its own there.
visible({included_applications, _}) -> false;
visible(_) -> true.

known({Key, _} = Pair, Known) when is_map_key(Key, Known) -> Pair;
known({Key, Value}, Known) ->
    Keys = lists:join(", ", [atom_to_list(K) || K <- lists:sort(maps:keys(Known))]),
    throw({bad_config, Key, Value, lists:flatten(["one of the keys ", Keys])}).

check(python_executable, undefined) -> none;
check(python_executable = Key, Value) -> file(Key, Value, "the path of a python3");
check(venv, undefined) -> none;
check(venv = Key, Value) -> directory(Key, Value, "the path of a virtual environment");
check(python_path = Key, Value) -> [directory(Key, Dir, "a list of folders") || Dir <- list(Key, Value)];
check(python_stack_size, Value) when is_integer(Value), Value >= ?SMALLEST_STACK -> Value;
check(python_stack_size = Key, Value) -> bad(Key, Value, "a number of bytes, at least 1048576");
check(contexts, Value) when is_integer(Value), Value > 0, Value =< 1024 -> Value;
check(contexts = Key, Value) -> bad(Key, Value, "an integer from 1 to 1024");
check(event_loop_pool_size, Value) when is_integer(Value), Value > 0, Value =< 1024 -> Value;
check(event_loop_pool_size = Key, Value) -> bad(Key, Value, "an integer from 1 to 1024");
check(event_loop_linger_us, Value) when is_integer(Value), Value >= 0, Value =< 1000000 -> Value;
check(event_loop_linger_us = Key, Value) -> bad(Key, Value, "microseconds from 0 to 1000000");
check(max_new_atoms, Value) when is_integer(Value), Value >= 0 -> Value;
check(max_new_atoms = Key, Value) -> bad(Key, Value, "a non-negative integer");
%% Less would not do for Python itself and the package.
check(python_memory_limit, infinity) -> 0;
check(python_memory_limit, Value) when is_integer(Value), Value >= 16 * 1024 * 1024 -> Value;
check(python_memory_limit = Key, Value) -> bad(Key, Value, "a number of bytes, at least 16777216, or infinity");
check(none_atom, Value) when Value =:= none; Value =:= nil; Value =:= undefined -> Value;
check(none_atom = Key, Value) -> bad(Key, Value, "none, nil or undefined");
check(sandbox = Key, Value) -> py_sandbox:valid(Value) orelse bad(Key, Value, py_sandbox:expected()), Value;
check(_, Value) when is_integer(Value), Value > 0 -> Value;
check(Key, Value) -> bad(Key, Value, "a positive integer").

list(_, Value) when is_list(Value) -> Value;
list(Key, Value) -> bad(Key, Value, "a list of folders").

file(Key, Value, Expected) ->
    Path = path(Key, Value, Expected),
    filelib:is_regular(Path) orelse bad(Key, Value, Expected),
    Path.

directory(Key, Value, Expected) ->
    Path = path(Key, Value, Expected),
    filelib:is_dir(Path) orelse bad(Key, Value, Expected),
    Path.

path(Key, Value, Expected) ->
    try unicode:characters_to_binary(filename:absname(Value)) of
        Path when is_binary(Path) -> Path;
        _ -> bad(Key, Value, Expected)
    catch
        error:_ -> bad(Key, Value, Expected)
    end.

-spec bad(atom(), term(), string()) -> no_return().
bad(Key, Value, Expected) ->
    throw({bad_config, Key, Value, Expected}).

%% The python3 of the virtual environment brings its prefix and packages; else the one that the core was built for.
executable(#{venv := none, python_executable := none}) -> <<>>;
executable(#{venv := none, python_executable := Path}) -> Path;
executable(#{venv := Venv}) ->
    Path = filename:join([Venv, "bin", "python3"]),
    filelib:is_regular(Path) orelse bad(venv, Venv, "a virtual environment with bin/python3"),
    Path.

%% Absolute: the code path may be relative, and Python imports from here after the working directory has changed.
package_path() ->
    unicode:characters_to_binary(filename:absname(filename:join(py_nif:priv_dir(), "python"))).
