%% Starts the application as examples/run.sh wants it, runs one program and ends the VM.
-module(run_example).

-export([main/0]).

-define(OPTIONS, ["--show-loops", "--keep-policy"]).

%% Takes the project's folder, options, the program and its arguments from the command line (after -extra).
-spec main() -> no_return().
main() ->
    [Root | Arguments] = init:get_plain_arguments(),
    {Options, [Program | Rest]} = lists:splitwith(fun(A) -> lists:member(A, ?OPTIONS) end, Arguments),
    ok = application:load(erlang_python),
    Venv = filename:join([Root, "_build", "venv"]),
    [ok = application:set_env(erlang_python, venv, Venv) || filelib:is_dir(Venv)],
    ok = application:set_env(erlang_python, python_path, [filename:join(Root, "examples")]),
    {ok, _} = application:ensure_all_started(erlang_python),
    halt(run(filename:extension(Program), Program, Rest, Options)).

run(".erl", Program, _Arguments, _Options) ->
    Folder = filename:dirname(Program),
    lists:foreach(fun load/1, filelib:wildcard(filename:join(Folder, "*.erl"))),
    Module = list_to_atom(filename:basename(Program, ".erl")),
    Module:main(),
    0;
run(_, Program, Arguments, Options) ->
    Binaries = [unicode:characters_to_binary(A) || A <- [Program | Arguments]],
    Keywords = #{
        show_loops => lists:member("--show-loops", Options),
        keep_policy => lists:member("--keep-policy", Options)
    },
    case py:call(run_program, run, [Binaries], Keywords) of
        {ok, Status} ->
            Status;
        {error, {Class, Message}} ->
            io:format(standard_error, "~ts: ~ts~n", [Class, Message]),
            1
    end.

%% In memory: several VMs may do this at once.
load(File) ->
    {ok, Module, Code} = compile:file(File, [binary, report]),
    Module =:= ?MODULE orelse code:load_binary(Module, File, Code).
