%% Python runs programs through Erlang ports: the VM starts them with its helper process, so nothing forks the VM.
%%
%%   erl -pa _build/default/lib/erlang_python/ebin -noshell -eval '{ok, _} = c:c("examples/port_commands"), port_commands:main(), halt().'
-module(port_commands).

-export([main/0, register/0, run/1]).

main() ->
    {ok, _} = application:ensure_all_started(erlang_python),
    ok = register(),
    ok = py:exec(<<
        "import erlang\n"
        "def run(program, *args):\n"
        "    status, output = erlang.call('run_program', program, list(args))\n"
        "    return status, output.decode() if isinstance(output, bytes) else output\n"
    >>),
    io:format("~p~n", [py:eval(<<"run('sh', '-c', 'echo $((6 * 7)); exit 3')">>)]).

%% Lets Python call run_program(Program, Arguments).
register() ->
    py_callback:register(run_program, fun ?MODULE:run/1).

%% {ExitStatus, Output}. The arguments are passed as they are, without a shell that would interpret them.
run([Program, Arguments]) ->
    case os:find_executable(unicode:characters_to_list(Program)) of
        false ->
            error({no_such_program, Program});
        Path ->
            Port = open_port({spawn_executable, Path}, [
                {args, Arguments}, exit_status, stderr_to_stdout, binary, in
            ]),
            collect(Port, [])
    end.

collect(Port, Output) ->
    receive
        {Port, {data, Data}} -> collect(Port, [Output, Data]);
        {Port, {exit_status, Status}} -> {Status, iolist_to_binary(Output)}
    end.
