%% @doc What the suites share: the application with a given environment, fresh VMs, waiting, Python source.
-module(test_support).

-include_lib("stdlib/include/assert.hrl").

-export([start/0, start/1, stop/0]).
-export([erl/1, erl/2, erl_open/1, erl_open/2, erl_await/2, erl_exit/2]).
-export([use_library/1]).
-export([python/1, python_executable/0, new_venv/1, root/0]).
-export([logged/2, log/2]).
-export([eventually/1, eventually/2, milliseconds/1, mailbox/0, in_process/1, kill/1, unique/1]).

%%% The application

%% @equiv start([])
-spec start() -> ok.
start() ->
    start([]).

%% @doc Starts the application afresh with exactly this environment.
-spec start([{atom(), term()}]) -> ok.
start(Environment) ->
    ok = stop(),
    [ok = application:set_env(erlang_python, Key, Value) || {Key, Value} <- Environment],
    {ok, _} = application:ensure_all_started(erlang_python),
    ok.

%% @doc Stops the application, if it runs, and leaves an empty environment.
-spec stop() -> ok.
stop() ->
    case application:stop(erlang_python) of
        ok -> ok;
        {error, {not_started, erlang_python}} -> ok
    end,
    [application:unset_env(erlang_python, Key) || {Key, _} <- application:get_all_env(erlang_python)],
    ok.

%% @doc Puts an application on the code path that is installed beside OTP, where rebar3 does not look.
-spec use_library(atom()) -> ok.
use_library(Name) ->
    Pattern = filename:join([code:lib_dir(), atom_to_list(Name) ++ "{,-*}", "ebin"]),
    case {code:which(Name), filelib:wildcard(Pattern)} of
        {non_existing, [Ebin | _]} -> true = code:add_pathz(Ebin), ok;
        {non_existing, []} -> error({not_installed, Name});
        _ -> ok
    end.

%%% Fresh VMs

-type erl_options() :: #{
    args => [string()],
    env => [{string(), string() | false}],
    directory => file:filename(),
    timeout => timeout()
}.

%% @equiv erl(Expressions, #{})
-spec erl(iodata()) -> {integer(), binary()}.
erl(Expressions) ->
    erl(Expressions, #{}).

%% @doc Runs expressions in a fresh VM; what it printed and its exit status, 128 + N when signal N ended it.
-spec erl(iodata(), erl_options()) -> {integer(), binary()}.
erl(Expressions, Options) ->
    erl_exit(erl_open(Expressions, Options), maps:get(timeout, Options, 60000)).

%% @equiv erl_open(Expressions, #{})
-spec erl_open(iodata()) -> port().
erl_open(Expressions) ->
    erl_open(Expressions, #{}).

%% @doc A fresh VM that runs expressions; the application is on its code path, not started.
-spec erl_open(iodata(), erl_options()) -> port().
erl_open(Expressions, Options) ->
    Ebin = filename:absname(filename:dirname(code:which(py))),
    Args = ["-noinput", "-pa", Ebin, "-eval", unicode:characters_to_list(Expressions)],
    %% rebar3 and make hand flags down that are for their own VM.
    Clean = [{"ERL_FLAGS", false}, {"ERL_AFLAGS", false}, {"ERL_ZFLAGS", false}],
    Directory = [{cd, Dir} || {directory, Dir} <- maps:to_list(Options)],
    open_port(
        {spawn_executable, os:find_executable("erl")},
        Directory ++
            [
                {args, maps:get(args, Options, []) ++ Args},
                {env, Clean ++ maps:get(env, Options, [])},
                exit_status,
                stderr_to_stdout,
                binary
            ]
    ).

%% @doc Waits for a fresh VM to print a line; its output so far.
-spec erl_await(port(), binary()) -> binary().
erl_await(Port, Line) ->
    erl_await(Port, Line, <<>>).

erl_await(Port, Line, Output) ->
    case binary:match(Output, <<Line/binary, "\n">>) of
        nomatch ->
            receive
                {Port, {data, Data}} -> erl_await(Port, Line, <<Output/binary, Data/binary>>);
                {Port, {exit_status, Status}} -> error({ended, Status, Output})
            after 60000 -> error({timeout, Output})
            end;
        _ ->
            Output
    end.

%% @doc Waits for a fresh VM to end; kills it and fails when that takes longer than Timeout milliseconds.
-spec erl_exit(port(), timeout()) -> {integer(), binary()}.
erl_exit(Port, Timeout) ->
    Deadline = erlang:monotonic_time(millisecond) + Timeout,
    erl_exit(Port, Deadline, <<>>).

erl_exit(Port, Deadline, Output) ->
    receive
        {Port, {data, Data}} -> erl_exit(Port, Deadline, <<Output/binary, Data/binary>>);
        {Port, {exit_status, Status}} -> {Status, Output}
    after max(0, Deadline - erlang:monotonic_time(millisecond)) ->
        {os_pid, Pid} = erlang:port_info(Port, os_pid),
        os:cmd("kill -KILL " ++ integer_to_list(Pid)),
        error({timeout, Output})
    end.

%%% Python

%% @doc Runs statements in `__main__'; they may be indented as a whole.
-spec python(iodata()) -> ok.
python(Source) ->
    {ok, Dedented} = py:call(textwrap, dedent, [unicode:characters_to_binary(Source)]),
    ?assertEqual(ok, py:exec(Dedented)).

%% @doc The interpreter that the libraries were built for, which no environment key has changed.
-spec python_executable() -> string().
python_executable() ->
    {0, Path} = erl(
        "{ok, _} = application:ensure_all_started(erlang_python),"
        "io:put_chars(maps:get(executable, py:python_info())), halt()."
    ),
    unicode:characters_to_list(Path).

%% @doc An empty virtual environment of the built-for Python in a new folder, with a module `in_venv' to import.
-spec new_venv(file:filename()) -> file:filename().
new_venv(Folder) ->
    Venv = filename:absname(Folder),
    "" = os:cmd(lists:join($\s, [python_executable(), "-m venv --without-pip", Venv])),
    [Packages] = filelib:wildcard(filename:join([Venv, "lib", "python3*", "site-packages"])),
    ok = file:write_file(filename:join(Packages, "in_venv.py"), <<"answer = 42\ndef get(): return answer\n">>),
    Venv.

%%% The log

%% @doc Runs a function, waits for Count log events and gives their texts, as they would be printed.
-spec logged(fun(() -> term()), pos_integer()) -> {ok, [unicode:chardata()]}.
logged(Function, Count) ->
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{receiver => self()}}),
    try
        _ = Function(),
        {ok, [receive {logged, Text} -> Text after 20000 -> error(not_logged) end || _ <- lists:seq(1, Count)]}
    after
        logger:remove_handler(?MODULE)
    end.

%% @private The handler of logged/2.
-spec log(logger:log_event(), logger:handler_config()) -> term().
log(Event, #{config := #{receiver := Receiver}}) ->
    Receiver ! {logged, logger_formatter:format(Event, #{single_line => true})}.

%%% Time and processes

%% @equiv eventually(Check, 10000)
-spec eventually(fun(() -> boolean())) -> ok.
eventually(Check) ->
    eventually(Check, 10000).

%% @doc Waits until Check is true; fails after Timeout milliseconds.
-spec eventually(fun(() -> boolean()), timeout()) -> ok.
eventually(Check, Timeout) ->
    eventually_until(Check, erlang:monotonic_time(millisecond) + Timeout).

eventually_until(Check, Deadline) ->
    case Check() of
        true ->
            ok;
        false ->
            erlang:monotonic_time(millisecond) < Deadline orelse error({never, Check}),
            timer:sleep(10),
            eventually_until(Check, Deadline)
    end.

%% @doc What a function gave, and how many milliseconds it took.
-spec milliseconds(fun(() -> Result)) -> {non_neg_integer(), Result}.
milliseconds(Function) ->
    Start = erlang:monotonic_time(millisecond),
    Result = Function(),
    {erlang:monotonic_time(millisecond) - Start, Result}.

%% @doc The messages that this process has.
-spec mailbox() -> [term()].
mailbox() ->
    {messages, Messages} = process_info(self(), messages),
    Messages.

%% @doc What a function gives in a process of its own, which is then gone.
-spec in_process(fun(() -> Result)) -> Result.
in_process(Function) ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit({result, Function()}) end),
    receive
        {'DOWN', Monitor, process, Pid, {result, Result}} -> Result;
        {'DOWN', Monitor, process, Pid, Reason} -> error(Reason)
    end.

%% @doc Kills a process and waits until it is gone.
-spec kill(pid()) -> ok.
kill(Pid) ->
    Monitor = monitor(process, Pid),
    exit(Pid, kill),
    receive
        {'DOWN', Monitor, process, Pid, _} -> ok
    end.

%% @doc A name that no other test uses.
-spec unique(string()) -> binary().
unique(Prefix) ->
    iolist_to_binary([Prefix, integer_to_list(erlang:unique_integer([positive]))]).

%% @doc The folder of the project's sources.
-spec root() -> file:filename().
root() ->
    Source = proplists:get_value(source, ?MODULE:module_info(compile)),
    filename:dirname(filename:dirname(Source)).
