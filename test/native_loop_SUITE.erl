%% The native parts of the event loop do what the Python code of asyncio does that they stand for.
-module(native_loop_SUITE).

-include_lib("common_test/include/ct.hrl").

-export([all/0, init_per_suite/1, end_per_suite/1]).
-export([
    timer_heap_is_heapq/1,
    timer_heap_refuses/1,
    timer_heap_survives_a_changing_list/1,
    handles_look_like_asyncios/1,
    arguments_are_checked_as_by_asyncio/1,
    contexts_are_kept/1,
    exceptions_reach_the_handler/1,
    system_exit_ends_the_run_only/1,
    callbacks_of_callbacks_wait_a_turn/1,
    subclasses_keep_their_methods/1,
    sockets_raise_as_pythons/1,
    sockets_never_block/1
]).

all() ->
    [
        timer_heap_is_heapq,
        timer_heap_refuses,
        timer_heap_survives_a_changing_list,
        handles_look_like_asyncios,
        arguments_are_checked_as_by_asyncio,
        contexts_are_kept,
        exceptions_reach_the_handler,
        system_exit_ends_the_run_only,
        callbacks_of_callbacks_wait_a_turn,
        subclasses_keep_their_methods,
        sockets_raise_as_pythons,
        sockets_never_block
    ].

init_per_suite(Config) ->
    {ok, _} = application:ensure_all_started(erlang_python),
    {ok, none} = py:call('sys.path', append, [list_to_binary(?config(data_dir, Config))]),
    Config.

end_per_suite(_Config) ->
    application:stop(erlang_python).

timer_heap_is_heapq(_) -> check(?FUNCTION_NAME).
timer_heap_refuses(_) -> check(?FUNCTION_NAME).
timer_heap_survives_a_changing_list(_) -> check(?FUNCTION_NAME).
handles_look_like_asyncios(_) -> check(?FUNCTION_NAME).
arguments_are_checked_as_by_asyncio(_) -> check(?FUNCTION_NAME).
contexts_are_kept(_) -> check(?FUNCTION_NAME).
exceptions_reach_the_handler(_) -> check(?FUNCTION_NAME).
system_exit_ends_the_run_only(_) -> check(?FUNCTION_NAME).
callbacks_of_callbacks_wait_a_turn(_) -> check(?FUNCTION_NAME).
subclasses_keep_their_methods(_) -> check(?FUNCTION_NAME).
sockets_raise_as_pythons(_) -> check(?FUNCTION_NAME).
sockets_never_block(_) -> check(?FUNCTION_NAME).

check(Name) ->
    case py:call(native_loop_checks, Name, [], #{}, #{traceback => true, timeout => 60000}) of
        {ok, none} -> ok;
        {error, {Class, Message, Traceback}} -> ct:fail("~ts: ~ts~n~ts", [Class, Message, Traceback])
    end.
