%% The far end of harness/vm.py: reads commands, Erlang terms, from standard input and prints the answer to each as
%% one line of JSON behind a mark. The end of the input ends the VM, so that none outlives its benchmark.
-module(bench_vm).

-export([main/0]).

-define(MARK, "@@ ").

%% Context 1 runs what answers at once, context 2 what serves until it is told to stop.
-define(COMMANDS, 1).
-define(SERVERS, 2).

-spec main() -> pid().
main() ->
    spawn(fun() ->
        answer(<<"ready">>),
        loop()
    end).

loop() ->
    case io:read("") of
        eof ->
            halt(0);
        {ok, Command} ->
            try
                answer(#{value => run(Command)})
            catch
                Class:Reason:Stack ->
                    answer(#{error => iolist_to_binary(io_lib:format("~p:~p ~p", [Class, Reason, Stack]))})
            end,
            loop()
    end.

answer(Value) ->
    io:put_chars([?MARK, bench_json:encode(Value), $\n]).

%% Starts the application.
run(start) ->
    {ok, _} = application:ensure_all_started(erlang_python),
    true;
%% Proof that a VM that serves as control has nothing of the application in it.
run(is_bare) ->
    not lists:keymember(erlang_python, 1, application:which_applications()) andalso
        code:is_loaded(py_nif) =:= false;
%% Applies an Erlang function, in a process of its own: its garbage is gone with it, and nobody else's is there.
run({apply, Module, Function, Arguments}) ->
    in_own_process(fun() -> apply(Module, Function, Arguments) end);
%% Calls a Python function in the thread of a context.
run({python, Module, Function, Arguments}) ->
    value(py:call(py:context(?COMMANDS), Module, Function, Arguments));
%% The same in the thread for servers, without waiting.
run({serve, Module, Function, Arguments}) ->
    _ = spawn(fun() -> report(py:call(py:context(?SERVERS), Module, Function, Arguments)) end),
    true;
%% The same as a task of the event loop that Erlang drives.
run({serve_task, Module, Function, Arguments}) ->
    _ = spawn(fun() ->
        report(py_event_loop:await(py_event_loop:create_task(Module, Function, Arguments), infinity))
    end),
    true.

value({ok, Value}) -> Value;
value({error, Reason}) -> error(Reason).

report({ok, _}) -> ok;
report({error, Reason}) -> io:format(standard_error, "server: ~p~n", [Reason]).

in_own_process(Work) ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit({result, Work()}) end),
    receive
        {'DOWN', Monitor, process, Pid, {result, Result}} -> Result;
        {'DOWN', Monitor, process, Pid, Reason} -> error(Reason)
    end.
