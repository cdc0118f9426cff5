%% Programs outside the VM that the suites drive or are driven by. Every wait is bounded.
-module(outside_program).

-export([start/2, start/3, wait_for/3, output/1, stop/1, wait_exit/2]).
-export([run/2, run/3, free_port/0, free_port/1, wait_port/2, is_listening/1, root/0, file/1]).

-export_type([program/0]).

-record(program, {name :: string(), server :: pid()}).
-opaque program() :: #program{}.

-type options() :: #{env => [{string(), string()}], cd => file:filename(), timeout => timeout()}.

-define(TIMEOUT, 60000).

%% Starts a program that runs until stop/1, or until the process that started it ends.
-spec start(string(), [string()]) -> program().
start(Name, Arguments) ->
    start(Name, Arguments, #{}).

-spec start(string(), [string()], options()) -> program().
start(Name, Arguments, Options) ->
    Owner = self(),
    Port = fun() -> open("/bin/sh", [file("test/real/end-with-stdin.sh"), executable(Name) | Arguments], Options) end,
    #program{name = Name, server = spawn(fun() -> serve(Port(), monitor(process, Owner), <<>>, running, []) end)}.

%% Waits until the output matches the regular expression; returns what its groups matched.
-spec wait_for(program(), iodata(), pos_integer()) -> [binary()].
wait_for(Program, Expression, Timeout) ->
    Deadline = erlang:monotonic_time(millisecond) + Timeout,
    wait_for_match(Program, Expression, Deadline).

wait_for_match(#program{name = Name} = Program, Expression, Deadline) ->
    {Status, Output} = call(Program, look),
    Late = erlang:monotonic_time(millisecond) > Deadline,
    case re:run(Output, Expression, [{capture, all_but_first, binary}, multiline]) of
        {match, Groups} ->
            Groups;
        nomatch when Late; Status =/= running ->
            error({no_such_output, Name, Status, unicode:characters_to_list(Expression), Output});
        nomatch ->
            timer:sleep(20),
            wait_for_match(Program, Expression, Deadline)
    end.

%% Everything that it printed so far, standard error included.
-spec output(program()) -> binary().
output(Program) ->
    {_, Output} = call(Program, look),
    Output.

%% Waits until it has ended by itself.
-spec wait_exit(program(), pos_integer()) -> {integer(), binary()}.
wait_exit(#program{name = Name} = Program, Timeout) ->
    case call(Program, wait_exit, Timeout) of
        {Status, Output} when is_integer(Status) -> {Status, Output};
        timeout -> error({still_running, Name, output(Program)})
    end.

%% Ends it and waits until it is gone; returns what it printed.
-spec stop(program()) -> binary().
stop(#program{name = Name} = Program) ->
    case call(Program, stop, 30000) of
        {_, Output} -> Output;
        timeout -> error({does_not_stop, Name, output(Program)})
    end.

%% Runs a program to its end.
-spec run(string(), [string()]) -> {integer(), binary()}.
run(Name, Arguments) ->
    run(Name, Arguments, #{}).

-spec run(string(), [string()], options()) -> {integer(), binary()}.
run(Name, Arguments, Options) ->
    Program = start(Name, Arguments, Options),
    try
        wait_exit(Program, maps:get(timeout, Options, ?TIMEOUT))
    after
        stop(Program)
    end.

%% A port of the loopback address that nobody listens on.
-spec free_port() -> inet:port_number().
free_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.

%% Waits until a port that a document fixes is free: another run of the tests may be using it.
-spec free_port(inet:port_number()) -> inet:port_number().
free_port(Port) ->
    free_port(Port, 300).

free_port(Port, 0) ->
    error({port_in_use_by_another_program, Port});
free_port(Port, Tries) ->
    case {gen_tcp:listen(Port, [{reuseaddr, true}]), gen_udp:open(Port)} of
        {{ok, Tcp}, {ok, Udp}} ->
            ok = gen_tcp:close(Tcp),
            ok = gen_udp:close(Udp),
            Port;
        {TcpResult, UdpResult} ->
            [gen_tcp:close(Tcp) || {ok, Tcp} <- [TcpResult]],
            [gen_udp:close(Udp) || {ok, Udp} <- [UdpResult]],
            timer:sleep(200),
            free_port(Port, Tries - 1)
    end.

%% Waits until somebody listens.
-spec wait_port(inet:port_number(), pos_integer()) -> ok.
wait_port(Port, Timeout) when Timeout > 0 ->
    case is_listening(Port) of
        true ->
            ok;
        false ->
            timer:sleep(20),
            wait_port(Port, Timeout - 20)
    end;
wait_port(Port, _) ->
    error({nobody_listens, Port}).

-spec is_listening(inet:port_number()) -> boolean().
is_listening(Port) ->
    case gen_tcp:connect({127, 0, 0, 1}, Port, [], 10000) of
        {ok, Socket} ->
            ok = gen_tcp:close(Socket),
            true;
        {error, econnrefused} ->
            false
    end.

%% The folder of the project.
-spec root() -> file:filename().
root() ->
    root(filename:dirname(code:which(?MODULE))).

root(Folder) ->
    case filelib:is_regular(filename:join(Folder, "rebar.config")) of
        true -> Folder;
        false -> root(filename:dirname(Folder))
    end.

%% A file of the project.
-spec file(string()) -> file:filename().
file(Name) ->
    filename:join(root(), Name).

%%% The process that owns the port

open(Path, Arguments, Options) ->
    open_port({spawn_executable, Path}, [
        {args, Arguments},
        {cd, maps:get(cd, Options, root())},
        {env, maps:get(env, Options, [])},
        binary,
        exit_status,
        stderr_to_stdout,
        hide
    ]).

executable(Name) ->
    case filename:pathtype(Name) of
        absolute ->
            Name;
        _ ->
            case os:find_executable(Name) of
                false -> error({not_installed, Name});
                Path -> Path
            end
    end.

serve(Port, OwnerMonitor, Output, Status, Waiting) ->
    receive
        {Port, {data, Data}} ->
            serve(Port, OwnerMonitor, <<Output/binary, Data/binary>>, Status, Waiting);
        {Port, {exit_status, Exit}} ->
            [From ! {Reference, {Exit, Output}} || {From, Reference} <- Waiting],
            serve(Port, OwnerMonitor, Output, Exit, []);
        {look, From, Reference} ->
            From ! {Reference, {Status, Output}},
            serve(Port, OwnerMonitor, Output, Status, Waiting);
        {wait_exit, From, Reference} when Status =:= running ->
            serve(Port, OwnerMonitor, Output, Status, [{From, Reference} | Waiting]);
        {wait_exit, From, Reference} ->
            From ! {Reference, {Status, Output}},
            serve(Port, OwnerMonitor, Output, Status, Waiting);
        {stop, From, Reference} when Status =:= running ->
            true = port_command(Port, <<"x">>),
            serve(Port, OwnerMonitor, Output, Status, [{From, Reference} | Waiting]);
        {stop, From, Reference} ->
            From ! {Reference, {Status, Output}};
        {'DOWN', OwnerMonitor, process, _, _} ->
            catch port_close(Port)
    end.

call(Program, Request) ->
    call(Program, Request, 20000).

call(#program{server = Server}, Request, Timeout) ->
    Reference = monitor(process, Server),
    Server ! {Request, self(), Reference},
    receive
        {Reference, Answer} ->
            demonitor(Reference, [flush]),
            Answer;
        {'DOWN', Reference, process, _, Reason} ->
            {Reason, <<>>}
    after Timeout ->
        demonitor(Reference, [flush]),
        timeout
    end.
