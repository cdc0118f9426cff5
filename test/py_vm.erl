%% @doc Runs a test case in an Erlang VM of its own, which has to answer afterwards and then stop with status 0.
-module(py_vm).

-export([run/3, run/4, run_case/3, hostile_env/0, main/1, answers/0]).

-define(TIMEOUT, 120000).

%% @equiv run(Module, Function, Arguments, #{})
run(Module, Function, Arguments) ->
    run(Module, Function, Arguments, #{}).

%% @doc The result of the function in a fresh VM where the application runs.
%%
%% Options: `env' (the application environment, a list of pairs), `os_env' (list of {Name, Value}), `erl' (more arguments
%% of erl), `timeout' in milliseconds, `status' (the expected one, default 0), `answers' (default true: the VM must answer
%% calls and tasks afterwards), `output' (true: `{Result, Output}' instead of the result), `within' (a program and its
%% arguments that run erl), `descriptors' (the soft limit with which the VM starts).
run(Module, Function, Arguments, Options) ->
    Folder = filename:join(["/tmp", "py_vm." ++ os:getpid() ++ "." ++ integer_to_list(erlang:unique_integer([positive]))]),
    ok = file:make_dir(Folder),
    File = filename:join(Folder, "case"),
    Spec = {
        maps:get(env, Options, []),
        {Module, Function, Arguments},
        maps:get(answers, Options, true)
    },
    ok = file:write_file(File, term_to_binary(Spec)),
    {Status, Output} = execute(File, Options),
    Result = file:read_file(File ++ ".result"),
    _ = file:del_dir_r(Folder),
    Expected = maps:get(status, Options, 0),
    Status =:= Expected orelse
        error({vm, Module, Function, [{status, Status}, {expected, Expected}, {output, tail(Output)}]}),
    case Result of
        {ok, Binary} -> result(binary_to_term(Binary), Output, maps:get(output, Options, false));
        {error, enoent} when Expected =/= 0 -> Output;
        {error, enoent} -> error({vm, Module, Function, [no_result, {output, tail(Output)}]})
    end.

%% @doc Runs run_<Case>/0 of a suite, in a VM whose Python finds the modules of the folder hostile.
run_case(Suite, Case, Options) ->
    Function = list_to_atom("run_" ++ atom_to_list(Case)),
    run(Suite, Function, [], maps:merge(#{env => hostile_env()}, Options)).

%% @doc The application environment of such a VM.
hostile_env() ->
    [
        {python_path, [filename:join(filename:dirname(code:which(?MODULE)), "hostile")]},
        {event_loop_pool_size, 2}
    ].

result({ok, Value}, Output, true) -> {Value, Output};
result({ok, Value}, _, false) -> Value;
result({raised, Class, Reason, Stack}, Output, _) -> error({vm, Class, Reason, Stack, tail(Output)}).

tail(Output) ->
    binary:part(Output, byte_size(Output), -min(byte_size(Output), 3000)).

within(#{descriptors := Limit}) -> ["sh", "-c", "ulimit -S -n " ++ integer_to_list(Limit) ++ " && exec \"$0\" \"$@\""];
within(Options) -> maps:get(within, Options, []).

execute(File, Options) ->
    Erl = filename:join([code:root_dir(), "bin", "erl"]),
    Paths = lists:append([["-pa", Path] || Path <- lists:reverse(code:get_path()), is_ours(Path)]),
    Arguments =
        ["-noshell", "+B", "-kernel", "logger_level", "error"] ++ maps:get(erl, Options, []) ++
            Paths ++ ["-run", "py_vm", "main", File],
    Environment = [{"ERL_CRASH_DUMP_SECONDS", "0"}, {"ERL_AFLAGS", false} | maps:get(os_env, Options, [])],
    [Program | Before] = within(Options) ++ [Erl],
    Port = open_port({spawn_executable, os:find_executable(Program)}, [
        {args, Before ++ Arguments}, {env, Environment}, exit_status, stderr_to_stdout, binary, use_stdio
    ]),
    {os_pid, Process} = erlang:port_info(Port, os_pid),
    Timer = erlang:start_timer(maps:get(timeout, Options, ?TIMEOUT), self(), Port),
    Collected = collect(Port, Process, Timer, []),
    _ = erlang:cancel_timer(Timer),
    Collected.

collect(Port, Process, Timer, Output) ->
    receive
        {Port, {data, Data}} ->
            collect(Port, Process, Timer, [Output, Data]);
        {Port, {exit_status, Status}} ->
            {Status, iolist_to_binary(Output)};
        {timeout, Timer, Port} ->
            Stacks = os:cmd(io_lib:format("cat /proc/~b/task/*/wchan 2>/dev/null | head -c 400", [Process])),
            _ = os:cmd(io_lib:format("kill -9 ~b", [Process])),
            catch port_close(Port),
            {timeout, iolist_to_binary([Output, Stacks])}
    end.

is_ours(Path) ->
    not lists:prefix(code:lib_dir(), Path) orelse string:find(Path, "erlang_python") =/= nomatch orelse
        string:find(Path, "meck") =/= nomatch.

%% @private What the fresh VM runs.
main([File]) ->
    {ok, Binary} = file:read_file(File),
    {Environment, {Module, Function, Arguments}, Answers} = binary_to_term(Binary),
    ok = application:load(erlang_python),
    lists:foreach(fun({Key, Value}) -> application:set_env(erlang_python, Key, Value) end, Environment),
    Result =
        try
            {ok, _} = application:ensure_all_started(erlang_python),
            Value = apply(Module, Function, Arguments),
            Answers andalso answers(),
            {ok, Value}
        catch
            Class:Reason:Stack -> {raised, Class, Reason, Stack}
        end,
    ok = file:write_file(File ++ ".result", term_to_binary(Result)),
    init:stop().

%% @doc Fails unless contexts, loops and timers work.
answers() ->
    {ok, 3} = py:call(operator, add, [1, 2], #{}, #{context => any, timeout => 20000}),
    {Process, Monitor} = spawn_monitor(fun() -> {ok, 7} = py:call(operator, add, [3, 4]) end),
    receive
        {'DOWN', Monitor, process, Process, Why} -> normal = Why
    after 20000 -> error(no_answer_from_context)
    end,
    {ok, 5} = py_event_loop:run(operator, add, [2, 3], #{timeout => 20000}),
    {ok, <<"slept">>} = py_event_loop:run(asyncio, sleep, [0.02, <<"slept">>], #{timeout => 20000}),
    true.
