%% What the suites of real programs need from the machine: packages of PyPI and Debian, a VM to run Python in.
-module(real_programs).

-export([set_up/1, environment/0, python/0, start_vm/0, stop_vm/1, run/4, run/5]).

-export_type([vm/0]).

-opaque vm() :: pid().

-define(SET_UP_TIMEOUT, 15 * 60 * 1000).
%% scripts/real-programs-setup.sh: something is missing and there is no apt.
-define(NO_APT, 3).
-define(TIMEOUT, 60000).

%% For init_per_suite: installs what is missing. Skips the suite only where that cannot be done.
-spec set_up(Config) -> Config | {skip, term()}.
set_up(Config) ->
    ct:timetrap(?SET_UP_TIMEOUT),
    Script = outside_program:file("scripts/real-programs-setup.sh"),
    case outside_program:run("sh", [Script], #{timeout => ?SET_UP_TIMEOUT}) of
        {0, _} -> Config;
        {?NO_APT, Reason} -> {skip, unicode:characters_to_list(string:trim(Reason))};
        {Status, Output} -> ct:fail({Script, Status, Output})
    end.

%% Options for outside_program: examples/run.sh takes the application that is under test.
-spec environment() -> #{env := [{string(), string()}]}.
environment() ->
    #{env => [{"ERLANG_PYTHON_EBIN", ebin()}, {"PYTHONWARNINGS", "default"}]}.

%% The interpreter of the virtual environment, as a program outside the VM.
-spec python() -> file:filename().
python() ->
    outside_program:file("_build/venv/bin/python").

%% A VM of its own with the application started, the virtual environment in use, and the modules of examples/ and
%% test/real/ importable.
-spec start_vm() -> vm().
start_vm() ->
    {ok, Vm, _} = peer:start(#{connection => 0, args => ["-pa", ebin(), code_of_tests()]}),
    ok = peer:call(Vm, application, load, [erlang_python]),
    [
        ok = peer:call(Vm, application, set_env, [erlang_python, Key, Value])
     || {Key, Value} <- [
            {venv, outside_program:file("_build/venv")},
            {python_path, [outside_program:file("examples"), outside_program:file("test/real")]}
        ]
    ],
    {ok, _} = peer:call(Vm, application, ensure_all_started, [erlang_python], ?TIMEOUT),
    [load_example(Vm, File) || File <- filelib:wildcard(outside_program:file("examples/uvicorn_*.erl"))],
    Vm.

load_example(Vm, File) ->
    {ok, Module, Code} = compile:file(File, [binary, report, debug_info]),
    {module, Module} = peer:call(Vm, code, load_binary, [Module, File, Code]).

-spec stop_vm(vm()) -> ok.
stop_vm(Vm) ->
    peer:stop(Vm).

%% Runs a coroutine on the event loop of the VM; an exception fails the test.
-spec run(vm(), atom(), atom(), [term()]) -> term().
run(Vm, Module, Function, Arguments) ->
    run(Vm, py_event_loop, Module, Function, Arguments).

%% The same on the loop of `py_event_loop_pool', say.
-spec run(vm(), module(), atom(), atom(), [term()]) -> term().
run(Vm, Through, Module, Function, Arguments) ->
    Options = #{timeout => ?TIMEOUT, traceback => true},
    case peer:call(Vm, Through, run, [Module, Function, Arguments, Options], 2 * ?TIMEOUT) of
        {ok, Value} ->
            Value;
        {error, {Class, Message, Traceback}} ->
            ct:fail("~ts.~ts: ~ts: ~ts~n~ts", [Module, Function, Class, Message, Traceback]);
        {error, Reason} ->
            ct:fail({Module, Function, Reason})
    end.

ebin() ->
    filename:dirname(code:which(py_nif)).

code_of_tests() ->
    filename:dirname(code:which(?MODULE)).
