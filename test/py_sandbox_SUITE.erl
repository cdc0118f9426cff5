%% What Python must not do to the VM: docs/security.md.
-module(py_sandbox_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

all() ->
    [denied_by_default, allowed, subprocess_allowed, ctypes_denied, policy_is_checked, class_in_erlang, bits, ports].

suite() -> [{timetrap, {minutes, 4}}].

env() -> env([]).

env(More) -> [{python_path, [hostile_folder()]} | More].

%% rebar3 runs the suite from a copy of test/.
hostile_folder() ->
    filename:join(filename:dirname(code:which(?MODULE)), "hostile").

%% Every forbidden function raises SandboxError, which names an alternative, and the VM lives on.
denied_by_default(_) ->
    Tried = py_vm:run(?MODULE, try_all, [], #{env => env()}),
    ?assert(length(Tried) > 30),
    lists:foreach(
        fun({Name, {Class, Text, IsBoth}}) ->
            ?assertEqual({Name, <<"SandboxError">>}, {Name, Class}),
            ?assertEqual({Name, true}, {Name, IsBoth}),
            ?assertNotEqual({Name, nomatch}, {Name, string:find(Text, "is blocked inside the Erlang VM")}),
            ?assertNotEqual({Name, nomatch}, {Name, string:find(Text, "{sandbox, #{")})
        end,
        Tried
    ),
    {_, {_, Text, _}} = lists:keyfind(<<"subprocess_run">>, 1, Tried),
    ?assertNotEqual(nomatch, string:find(Text, "open_port/2")).

try_all() ->
    {ok, Names} = py:call(forbidden, names, []),
    [
        begin
            {ok, Result} = py:call(forbidden, attempt, [Name], #{}, #{timeout => 20000}),
            {Name, Result}
        end
     || Name <- Names
    ].

allowed(_) ->
    {[true, true], true, <<"SandboxError">>} = py_vm:run(?MODULE, try_allowed, [], #{env => env()}).

try_allowed() ->
    {ok, Harmless} = py:call(forbidden, harmless, []),
    {ok, Raised} = py:call(forbidden, raise_limit, []),
    {ok, Unhooked} = py:call(forbidden, unhook, []),
    {Harmless, Raised, Unhooked}.

%% Exit codes are right although ERTS ignores SIGCHLD; ports of Erlang work beside.
subprocess_allowed(_) ->
    ok = py_vm:run(?MODULE, try_programs, [], #{env => env([{sandbox, #{subprocess => allow}}])}).

try_programs() ->
    {ok, true} = py:call(programs, exit_codes, [30]),
    {ok, [3, 4, 5]} = py:call(programs, other_ways, []),
    {ok, -15} = py:call(programs, terminate, []),
    {ok, [<<"0000000000000000">>, _]} = py:call(programs, blocked_signals, []),
    {ok, <<"xxx">>} = py:call(programs, pipes, []),
    {ok, 6} = py:call(programs, spawn, []),
    {ok, <<"SandboxError">>} = py:call(programs, own_signal, []),
    "port\n" = os:cmd("echo port"),
    {error, {'RuntimeError', _}} = py:call(os, fork, []),
    ok.

ctypes_denied(_) ->
    {error, {'RuntimeError', Text}} =
        py_vm:run(py, call, [importlib, import_module, [<<"ctypes">>]], #{env => env([{sandbox, #{ctypes => deny}}])}),
    ?assertMatch(<<"ctypes.", _/binary>>, Text).

class_in_erlang(_) ->
    {error, {'RuntimeError', Text}} = py_vm:run(py, call, [os, '_exit', [3]]),
    ?assertMatch(<<"os._exit() is blocked inside the Erlang VM", _/binary>>, Text).

policy_is_checked(_) ->
    _ = application:load(erlang_python),
    Before = application:get_env(erlang_python, sandbox),
    try
        lists:foreach(
            fun(Wrong) ->
                application:set_env(erlang_python, sandbox, Wrong),
                ?assertMatch({error, {bad_config, sandbox, Wrong, "a map from subprocess, " ++ _}}, py_config:read())
            end,
            [off, #{subprocess => yes}, #{processes => allow}, [{subprocess, allow}]]
        ),
        application:set_env(erlang_python, sandbox, #{exec => allow, ctypes => deny}),
        {ok, #{sandbox := Denied}} = py_config:read(),
        ?assertEqual(2#1111111011, Denied)
    after
        case Before of
            undefined -> application:unset_env(erlang_python, sandbox);
            {ok, Value} -> application:set_env(erlang_python, sandbox, Value)
        end
    end.

bits(_) ->
    ?assertEqual(2#1011111111, py_sandbox:denied(#{})),
    ?assertEqual(0, py_sandbox:denied(maps:map(fun(_, _) -> allow end, py_sandbox:defaults()))).

%% examples/port_commands.erl, which docs/security.md shows.
ports(_) ->
    Root = filename:join(lists:takewhile(fun(Part) -> Part =/= "_build" end, filename:split(filename:dirname(code:which(?MODULE))))),
    ok = py_vm:run(?MODULE, run_ports, [filename:join([Root, "examples", "port_commands"])]).

run_ports(Source) ->
    {ok, Module, Code} = compile:file(Source, [binary, nowarn_export_all]),
    {module, Module} = code:load_binary(Module, Source, Code),
    ok = Module:register(),
    ok = py:exec(<<"import erlang">>),
    {ok, {3, <<"42\n">>}} = py:eval(<<"erlang.call('run_program', 'sh', ['-c', 'echo $((6 * 7)); exit 3'])">>),
    {ok, {0, <<"$HOME; `id`\n">>}} = py:eval(<<"erlang.call('run_program', 'echo', ['$HOME; `id`'])">>),
    {error, _} = py:eval(<<"erlang.call('run_program', 'no_such_program', [])">>),
    ok.
