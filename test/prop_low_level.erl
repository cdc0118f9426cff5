%% The low-level calls of py_nif in random order, from several processes: the results are those of a model, and what is
%% left at the end is what was there at the start: descriptors, loops, workers, messages.
%%
%% Three kinds of processes work on the same loops: the one that PropEr drives, and two that it has call for it, one of
%% which it kills at times, with everything that only that process refers to. Meanwhile a fourth, which the model knows
%% nothing of, polls, wakes and takes events.
-module(prop_low_level).

-behaviour(proper_statem).

-import(proper_types, [oneof/1, frequency/1, range/2]).

-export([prop_low_level/0, run/1, main/1, give_up/0]).
-export([initial_state/0, command/1, precondition/2, postcondition/3, next_state/3]).
-export([
    new_loop/1, destroy/2, start_worker/2, kill_worker/1, set_worker/3, add/5, remove/4, call_later/4, cancel_timer/3,
    dispatch_timer/3, poll/3, get_pending/2, wakeup/2, pipe/1, close/2, fill/2, drain/2, submit/2, forget/1, kill_actor/1
]).

-record(state, {
    loops = [] :: [{term(), alive | destroyed}],
    %% {Loop, Reference, reader | writer, Pipe, alive | stale | removed, CallbackId}; stale: the pipe was closed before
    registrations = [] :: [tuple()],
    timers = [] :: [{term(), term()}],
    pipes = [] :: [term()],
    workers = [] :: [term()]
}).

%% Debian's package of PropEr has no proper.hrl; these are its macros.
-define(FORALL(Value, Type, Property), proper:forall(Type, fun(Value) -> Property end)).
-define(LET(Value, Type, Result), proper_types:bind(Type, fun(Value) -> Result end, false)).

-define(ACTORS, [main, one, two]).
-define(IDS, range(1, 8)).

%% @doc Runs at least Commands commands; false, after it printed a counterexample, if one went wrong.
-spec run(pos_integer()) -> boolean().
run(Commands) ->
    %% Go's runtime opens two descriptors of its own with its first timer, which stopping the application needs.
    ok = test_support:start(),
    ok = test_support:start(),
    Counter = counters:new(1, []),
    persistent_term:put(?MODULE, Counter),
    run_until(Commands, Counter).

%% @doc What `make property' runs: a line with the commands that were run, and with descriptors and memory before and
%% after; the VM then ends, with status 0 if all went well. It is ended at the latest after two minutes and a minute more
%% for every thousand commands.
-spec main([string()]) -> no_return().
main([Text]) ->
    Commands = list_to_integer(Text),
    {ok, _} = timer:apply_after(timer:minutes(2 + Commands div 1000), ?MODULE, give_up, []),
    %% So that what is only made once is there.
    Warm = run(500),
    Before = footprint(),
    Good = Warm andalso run(Commands),
    After = footprint(),
    io:format(user, "~n~b commands, ~ts; ~ts~n", [
        counters:get(persistent_term:get(?MODULE), 1),
        case Good of
            true -> "all as the model says";
            false -> "FAILED"
        end,
        lists:join(", ", [
            io_lib:format("~ts ~b at the start and ~b at the end", [Name, Value, maps:get(Name, After)])
         || {Name, Value} <- maps:to_list(Before)
        ])
    ]),
    halt(
        case Good of
            true -> 0;
            false -> 1
        end
    ).

%% @private
-spec give_up() -> no_return().
give_up() ->
    io:format(user, "~nFAILED: it takes too long~n", []),
    halt(1).

footprint() ->
    erlang:garbage_collect(),
    #{
        "descriptors" => map_size(settled_descriptors()),
        "MB of memory" => low_level_support:resident_megabytes(),
        "processes" => erlang:system_info(process_count)
    }.

run_until(Commands, Counter) ->
    Size = 60,
    Options = [{numtests, 50}, {start_size, Size}, {max_size, Size}, {to_file, user}],
    case counters:get(Counter, 1) of
        Enough when Enough >= Commands -> true;
        _ -> proper:quickcheck(prop_low_level(), Options) =:= true andalso run_until(Commands, Counter)
    end.

prop_low_level() ->
    ?FORALL(
        Commands,
        proper_statem:more_commands(2, proper_statem:commands(?MODULE)),
        begin
            Before = begin_case(),
            {History, _State, Result} = proper_statem:run_commands(?MODULE, Commands),
            Left = end_case(Before),
            counters:add(persistent_term:get(?MODULE), 1, length(History)),
            Good = Result =:= ok andalso Left =:= [],
            Good orelse io:format(user, "~nhistory ~p~nresult ~p~nleft ~p~n", [History, Result, Left]),
            Good
        end
    ).

%%% A case and what it leaves

begin_case() ->
    Actors = maps:from_list([{Name, start_actor()} || Name <- [one, two]]),
    put(actors, Actors),
    put(loops, []),
    put(pipes, []),
    put(workers, []),
    put(tasks, []),
    Noise = spawn(fun() -> noise([]) end),
    put(noise, Noise),
    {Noise, settled_descriptors()}.

end_case({Noise, Before}) ->
    test_support:kill(Noise),
    [py_nif:event_loop_destroy(Loop) || Loop <- get(loops)],
    [py_nif:close_test_fd(Fd) || {R, W} <- get(pipes), Fd <- [R, W]],
    Tasks = [Ref || Ref <- get(tasks), not answered(Ref)],
    [test_support:kill(Actor) || Actor <- maps:values(get(actors))],
    Workers = get(workers),
    Loops = get(loops),
    [erase(Key) || Key <- [actors, loops, pipes, workers, tasks, noise]],
    erlang:garbage_collect(),
    Checks = [
        {workers, fun() -> [Worker || Worker <- Workers, is_process_alive(Worker)] end},
        {loops, fun() -> [{L, py_event_loop:info(L)} || L <- Loops, py_event_loop:info(L) =/= {error, closed}] end},
        {descriptors, fun() -> maps:to_list(maps:without(maps:keys(Before), descriptors())) end},
        {messages, fun() -> [Message || Message <- test_support:mailbox(), not is_end_of_proper(Message)] end}
    ],
    [{tasks, Tasks} || Tasks =/= []] ++
        [{Name, Found} || {Name, Check} <- Checks, Found <- [settle(Check, 1500)], Found =/= []].

%% The type server of PropEr's last run, which is linked to us.
is_end_of_proper({'EXIT', Pid, normal}) -> is_pid(Pid);
is_end_of_proper(_) -> false.

%% Every task is answered, at the latest by the end of its loop.
answered(Ref) ->
    receive
        {async_result, Ref, {ok, 4.0}} -> true;
        {async_result, Ref, {error, closed}} -> true
    after 10000 -> false
    end.

settle(Check, Left) ->
    case Check() of
        [] -> [];
        Found when Left =:= 0 -> Found;
        _ ->
            timer:sleep(10),
            settle(Check, Left - 1)
    end.

%% What the numbers are open for.
descriptors() ->
    {ok, Numbers} = file:list_dir("/proc/self/fd"),
    maps:from_list([{Number, Target} || Number <- Numbers, {ok, Target} <- [file:read_link("/proc/self/fd/" ++ Number)]]).

%% What an earlier case has let go of may need a moment.
settled_descriptors() ->
    First = descriptors(),
    timer:sleep(1),
    case descriptors() of
        First -> First;
        _ -> settled_descriptors()
    end.

noise(Loops) ->
    receive
        {loop, Loop} -> noise([Loop | Loops])
    after 1 ->
        _ = [
            begin
                _ = py_nif:poll_events(Loop, rand:uniform(2) - 1),
                py_nif:event_loop_wakeup(Loop),
                %% Not get_pending: whether an event is there when it is asked for is the model's.
                py_event_loop:info(Loop)
            end
         || Loop <- Loops
        ],
        noise(Loops)
    end.

%%% Processes that call

start_actor() ->
    spawn(fun act/0).

act() ->
    receive
        {call, From, Ref, Function} -> From ! {Ref, Function()}
    end,
    act().

%% Runs in the process of that name.
as(main, Function) ->
    Function();
as(Name, Function) ->
    Actor = maps:get(Name, get(actors)),
    Ref = make_ref(),
    Monitor = monitor(process, Actor),
    Actor ! {call, self(), Ref, Function},
    receive
        {Ref, Result} ->
            demonitor(Monitor, [flush]),
            Result;
        {'DOWN', Monitor, process, Actor, Reason} ->
            {actor_died, Reason}
    end.

kill_actor(Name) ->
    Actors = get(actors),
    test_support:kill(maps:get(Name, Actors)),
    put(actors, Actors#{Name => start_actor()}),
    ok.

%%% Commands

new_loop(Actor) ->
    {ok, Loop} = as(Actor, fun py_nif:event_loop_new/0),
    put(loops, [Loop | get(loops)]),
    get(noise) ! {loop, Loop},
    Loop.

destroy(Actor, Loop) -> as(Actor, fun() -> py_nif:event_loop_destroy(Loop) end).

start_worker(Actor, Loop) ->
    case as(Actor, fun() -> py_event_worker:start(<<"property">>, Loop) end) of
        {ok, Worker} ->
            put(workers, [Worker | get(workers)]),
            Worker;
        Other ->
            Other
    end.

kill_worker(Worker) when is_pid(Worker) ->
    test_support:kill(Worker);
kill_worker(_) ->
    ok.

%% A process of ours as worker does nothing for the loop; it need not.
set_worker(Actor, Loop, Worker) when is_pid(Worker) ->
    as(Actor, fun() -> py_nif:event_loop_set_worker(Loop, Worker) end);
set_worker(_, _, _) ->
    ignored.

add(Actor, Loop, reader, {Fd, _}, Id) -> as(Actor, fun() -> py_nif:add_reader(Loop, Fd, Id) end);
add(Actor, Loop, writer, {_, Fd}, Id) -> as(Actor, fun() -> py_nif:add_writer(Loop, Fd, Id) end).

remove(Actor, Loop, reader, {ok, FdRef}) -> as(Actor, fun() -> py_nif:remove_reader(Loop, FdRef) end);
remove(Actor, Loop, writer, {ok, FdRef}) -> as(Actor, fun() -> py_nif:remove_writer(Loop, FdRef) end);
remove(_, _, _, {error, _}) -> never_added.

call_later(Actor, Loop, Delay, Id) -> as(Actor, fun() -> py_nif:call_later(Loop, Delay, Id) end).

cancel_timer(Actor, Loop, {ok, TimerRef}) -> as(Actor, fun() -> py_nif:cancel_timer(Loop, TimerRef) end);
cancel_timer(_, _, {error, _}) -> never_started.

dispatch_timer(Actor, Loop, {ok, TimerRef}) -> as(Actor, fun() -> py_nif:dispatch_timer(Loop, TimerRef) end);
dispatch_timer(_, _, {error, _}) -> never_started.

poll(Actor, Loop, Timeout) -> as(Actor, fun() -> py_nif:poll_events(Loop, Timeout) end).

get_pending(Actor, Loop) -> as(Actor, fun() -> py_nif:get_pending(Loop) end).

wakeup(Actor, Loop) -> as(Actor, fun() -> py_nif:event_loop_wakeup(Loop) end).

pipe(Actor) ->
    {ok, Pipe} = as(Actor, fun py_nif:create_test_pipe/0),
    put(pipes, [Pipe | get(pipes)]),
    Pipe.

close(Actor, {ReadFd, WriteFd} = Pipe) ->
    put(pipes, lists:delete(Pipe, get(pipes))),
    as(Actor, fun() -> {py_nif:close_test_fd(ReadFd), py_nif:close_test_fd(WriteFd)} end).

fill(Actor, {_, WriteFd}) -> as(Actor, fun() -> py_nif:write_test_fd(WriteFd, <<"x">>) end).

drain(Actor, {ReadFd, _}) -> as(Actor, fun() -> py_nif:read_test_fd(ReadFd, 65536) end).

%% The answer comes to the driving process.
submit(Actor, Loop) ->
    Me = self(),
    Ref = make_ref(),
    case as(Actor, fun() -> py_nif:submit_task(Loop, Me, Ref, math, sqrt, [16.0], #{}) end) of
        ok ->
            put(tasks, [Ref | get(tasks)]),
            as(Actor, fun() -> rand:uniform(2) =:= 1 andalso py_nif:process_ready_tasks(Loop) end),
            ok;
        Error ->
            Error
    end.

%% Registers and forgets: the reference is garbage.
forget({Loop, {Fd, _}}) ->
    test_support:in_process(fun() ->
        case py_nif:add_reader(Loop, Fd, 99) of
            {ok, FdRef} -> is_reference(FdRef);
            {error, ebadf} -> error
        end
    end).

%%% Model

initial_state() -> #state{}.

command(#state{loops = [], pipes = Pipes}) when length(Pipes) < 2 ->
    oneof([{call, ?MODULE, new_loop, [actor()]}, {call, ?MODULE, pipe, [actor()]}]);
command(State) ->
    #state{loops = Loops, registrations = Registrations, timers = Timers, pipes = Pipes, workers = Workers} = State,
    frequency(
        [{2, {call, ?MODULE, pipe, [actor()]}} || length(Pipes) < 6] ++
            [{2, {call, ?MODULE, new_loop, [actor()]}} || length(Loops) < 6] ++
            [{1, {call, ?MODULE, kill_actor, [oneof([one, two])]}}] ++
            lists:append([
                [
                    {1, {call, ?MODULE, destroy, [actor(), loop(State)]}},
                    {2, {call, ?MODULE, start_worker, [actor(), loop(State)]}},
                    {6, {call, ?MODULE, call_later, [actor(), loop(State), oneof([0, 1, 2, 5, 3600000]), ?IDS]}},
                    {6, {call, ?MODULE, poll, [actor(), loop(State), oneof([0, 0, 1, 3])]}},
                    {6, {call, ?MODULE, get_pending, [actor(), loop(State)]}},
                    {2, {call, ?MODULE, wakeup, [actor(), loop(State)]}},
                    {2, {call, ?MODULE, submit, [actor(), loop(State)]}}
                ]
             || Loops =/= []
            ]) ++
            lists:append([
                [
                    {8, {call, ?MODULE, add, [actor(), loop(State), oneof([reader, writer]), oneof(Pipes), ?IDS]}},
                    {2, {call, ?MODULE, forget, [{loop(State), oneof(Pipes)}]}}
                ]
             || Loops =/= [], Pipes =/= []
            ]) ++
            lists:append([
                [
                    {6, {call, ?MODULE, fill, [actor(), oneof(Pipes)]}},
                    {4, {call, ?MODULE, drain, [actor(), oneof(Pipes)]}},
                    {1, {call, ?MODULE, close, [actor(), oneof(Pipes)]}}
                ]
             || Pipes =/= []
            ]) ++
            [
                {8, ?LET({Loop, Way, Reference}, registration(State), {call, ?MODULE, remove, [actor(), Loop, Way, Reference]})}
             || Registrations =/= []
            ] ++
            lists:append([
                [
                    {3, ?LET({Loop, Timer}, timer(State), {call, ?MODULE, cancel_timer, [actor(), Loop, Timer]})},
                    {3, ?LET({Loop, Timer}, timer(State), {call, ?MODULE, dispatch_timer, [actor(), Loop, Timer]})}
                ]
             || Timers =/= []
            ]) ++
            lists:append([
                [
                    {1, {call, ?MODULE, kill_worker, [oneof(Workers)]}},
                    {2, {call, ?MODULE, set_worker, [actor(), loop(State), oneof(Workers)]}}
                ]
             || Workers =/= []
            ])
    ).

actor() -> oneof(?ACTORS).

loop(#state{loops = Loops}) -> oneof([Loop || {Loop, _} <- Loops]).

%% Mostly with its own loop.
registration(#state{registrations = Registrations} = State) ->
    ?LET(
        {Own, Other, {Loop, Reference, Way, _, _, _}},
        {frequency([{9, own}, {1, other}]), loop(State), oneof(Registrations)},
        {
            case Own of
                own -> Loop;
                other -> Other
            end,
            Way,
            Reference
        }
    ).

timer(#state{timers = Timers} = State) ->
    ?LET(
        {Own, Other, {Loop, Timer}},
        {frequency([{9, own}, {1, other}]), loop(State), oneof(Timers)},
        {
            case Own of
                own -> Loop;
                other -> Other
            end,
            Timer
        }
    ).

%% Shrinking may remove the command that made what another one uses, or keep one that works on a closed pipe.
precondition(State, {call, _, Function, Arguments}) ->
    lists:all(fun(Pipe) -> lists:member(Pipe, State#state.pipes) end, pipes(Function, Arguments)).

pipes(add, [_, _, _, Pipe, _]) -> [Pipe];
pipes(forget, [{_, Pipe}]) -> [Pipe];
pipes(Function, [_, Pipe]) when Function =:= fill; Function =:= drain; Function =:= close -> [Pipe];
pipes(_, _) -> [].

next_state(State, Result, {call, _, new_loop, _}) ->
    State#state{loops = [{Result, alive} | State#state.loops]};
next_state(State, _Result, {call, _, destroy, [_, Loop]}) ->
    State#state{
        loops = lists:keystore(Loop, 1, State#state.loops, {Loop, destroyed}),
        registrations = [
            case Registration of
                {Loop, Reference, Way, Pipe, _, Id} -> {Loop, Reference, Way, Pipe, removed, Id};
                _ -> Registration
            end
         || Registration <- State#state.registrations
        ]
    };
next_state(State, Result, {call, _, start_worker, _}) ->
    State#state{workers = [Result | State#state.workers]};
next_state(State, Result, {call, _, add, [_, Loop, Way, Pipe, Id]}) ->
    case alive(Loop, State) of
        true ->
            %% An earlier one for the same descriptor and direction is replaced.
            Replaced = [
                case Registration of
                    {Loop, Reference, Way, Pipe, _, Old} -> {Loop, Reference, Way, Pipe, removed, Old};
                    _ -> Registration
                end
             || Registration <- State#state.registrations
            ],
            State#state{registrations = [{Loop, Result, Way, Pipe, alive, Id} | Replaced]};
        false ->
            State
    end;
next_state(State, _Result, {call, _, forget, [{Loop, Pipe}]}) ->
    %% It replaced a reader and ended.
    State#state{
        registrations = [
            case Registration of
                {Loop, Reference, reader, Pipe, _, Id} -> {Loop, Reference, reader, Pipe, removed, Id};
                _ -> Registration
            end
         || Registration <- State#state.registrations
        ]
    };
next_state(State, _Result, {call, _, remove, [_, Loop, Way, Reference]}) ->
    State#state{
        registrations = [
            case Registration of
                {Loop, Reference, Way, Pipe, _, Id} -> {Loop, Reference, Way, Pipe, removed, Id};
                _ -> Registration
            end
         || Registration <- State#state.registrations
        ]
    };
next_state(State, Result, {call, _, call_later, [_, Loop, _, _]}) ->
    State#state{timers = [{Loop, Result} | State#state.timers]};
next_state(State, Result, {call, _, pipe, _}) ->
    State#state{pipes = [Result | State#state.pipes]};
next_state(State, _Result, {call, _, close, [_, Pipe]}) ->
    State#state{
        pipes = lists:delete(Pipe, State#state.pipes),
        registrations = [
            case Registration of
                {Loop, Reference, Way, Pipe, alive, Id} -> {Loop, Reference, Way, Pipe, stale, Id};
                _ -> Registration
            end
         || Registration <- State#state.registrations
        ]
    };
next_state(State, _Result, _Call) ->
    State.

alive(Loop, State) ->
    lists:keyfind(Loop, 1, State#state.loops) =:= {Loop, alive}.

postcondition(State, {call, _, Function, Arguments}, Result) ->
    expected(Function, Arguments, State, Result).

expected(new_loop, _, _, Loop) ->
    is_reference(Loop);
expected(pipe, _, _, {ReadFd, WriteFd}) ->
    is_integer(ReadFd) andalso is_integer(WriteFd);
expected(destroy, _, _, Result) ->
    Result =:= ok;
expected(start_worker, [_, Loop], State, Result) ->
    case alive(Loop, State) of
        true -> is_pid(Result);
        false -> Result =:= ignore
    end;
expected(set_worker, [_, Loop, Worker], State, Result) ->
    case {is_pid(Worker), alive(Loop, State)} of
        {false, _} -> Result =:= ignored;
        {true, true} -> lists:member(Result, [ok, {error, esrch}, {error, ebusy}]);
        {true, false} -> Result =:= {error, ebadf}
    end;
expected(add, [_, Loop, _, _, _], State, Result) ->
    case {alive(Loop, State), Result} of
        {true, {ok, Reference}} -> is_reference(Reference);
        {false, {error, ebadf}} -> true;
        _ -> false
    end;
expected(remove, [_, Loop, Way, Reference], State, Result) ->
    Found = lists:keyfind(Reference, 2, State#state.registrations),
    case {Result, Found} of
        {never_added, _} -> is_tuple(Reference) andalso element(1, Reference) =:= error;
        {{error, ebadf}, _} -> not alive(Loop, State);
        {ok, {Loop, _, Way, _, Registered, _}} -> Registered =/= removed andalso alive(Loop, State);
        {{error, enoent}, {_, _, _, _, removed, _}} -> true;
        {{error, einval}, {Own, _, _, _, _, _}} -> Own =/= Loop;
        _ -> false
    end;
expected(call_later, [_, Loop, _, _], State, Result) ->
    case {alive(Loop, State), Result} of
        {true, {ok, Reference}} -> is_reference(Reference);
        {false, {error, ebadf}} -> true;
        _ -> false
    end;
expected(Timer, [_, Loop, Reference], State, Result) when Timer =:= cancel_timer; Timer =:= dispatch_timer ->
    case Result of
        never_started -> is_tuple(Reference) andalso element(1, Reference) =:= error;
        ok -> alive(Loop, State) andalso lists:member({Loop, Reference}, State#state.timers);
        {error, einval} -> not lists:member({Loop, Reference}, State#state.timers);
        {error, ebadf} -> not alive(Loop, State);
        _ -> false
    end;
expected(poll, [_, Loop, _], State, Result) ->
    case alive(Loop, State) of
        true -> is_integer(Result) andalso Result >= 0;
        false -> Result =:= {error, ebadf}
    end;
expected(get_pending, [_, Loop], State, Result) ->
    case alive(Loop, State) of
        true -> is_list(Result) andalso pending_is_right(Result, Loop, State);
        false -> Result =:= {error, ebadf}
    end;
expected(wakeup, [_, Loop], State, Result) ->
    case alive(Loop, State) of
        true -> Result =:= ok;
        false -> Result =:= {error, ebadf}
    end;
expected(submit, [_, Loop], State, Result) ->
    case alive(Loop, State) of
        true -> Result =:= ok;
        false -> Result =:= {error, ebadf}
    end;
expected(fill, _, _, Result) ->
    Result =:= {ok, 1};
expected(drain, _, _, Result) ->
    case Result of
        {ok, Data} -> Data =/= <<>>;
        Error -> Error =:= {error, eagain}
    end;
expected(close, _, _, Result) ->
    Result =:= {ok, ok};
expected(forget, [{Loop, _}], State, Result) ->
    case alive(Loop, State) of
        true -> Result =:= true;
        false -> Result =:= error
    end;
expected(kill_worker, _, _, Result) ->
    Result =:= ok;
expected(kill_actor, _, _, Result) ->
    Result =:= ok.

%% Nothing twice; readiness only of callbacks that are registered; every writer can write, so each is there.
pending_is_right(Events, Loop, State) ->
    Live = [
        {Id, Way, Pipe}
     || {Own, _, Way, Pipe, alive, Id} <- State#state.registrations, Own =:= Loop
    ],
    %% An event may have been found before the pipe was closed.
    Known = [{Id, Way} || {Own, _, Way, _, Registered, Id} <- State#state.registrations, Own =:= Loop, Registered =/= removed],
    length(lists:usort(Events)) =:= length(Events) andalso
        lists:all(
            fun
                %% Of forget/1, as long as the process that it ran in is not collected.
                ({99, read}) -> true;
                ({Id, read}) -> lists:member({Id, reader}, Known);
                ({Id, write}) -> lists:member({Id, writer}, Known);
                ({Id, timer}) -> is_integer(Id)
            end,
            Events
        ) andalso
        [] =:= [Id || {Id, writer, _} <- Live] -- [Id || {Id, write} <- Events, {Event, writer, _} <- Live, Event =:= Id].
