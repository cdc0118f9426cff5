%% @private What the calls into Python share: their options, and what a wrong argument is answered with.
-module(py_task).

-export([flags/1, keywords/1, timeout/2, interrupt/2, reject/5, check_call/4, check_options/2]).

-define(TRACEBACK, 1).
-define(ARRAYS_AS_BINARY, 2).
-define(OUTLIVES_CALLER, 4).
%% For Erlang only.
-define(INTERRUPT, 1024).
%% What `receive' takes: a longer one would be refused when the task is on its way already.
-define(LONGEST_TIMEOUT, 16#ffffffff).

%% @doc The options as the core's flags.
-spec flags(map()) -> py_nif:flags().
flags(Options) when map_size(Options) =:= 0 -> 0;
flags(Options) -> maps:fold(fun flag/3, 0, Options).

flag(traceback, true, Flags) -> Flags bor ?TRACEBACK;
flag(traceback, false, Flags) -> Flags;
flag(arrays, binary, Flags) -> Flags bor ?ARRAYS_AS_BINARY;
flag(arrays, list, Flags) -> Flags;
flag(on_caller_death, finish, Flags) -> Flags bor ?OUTLIVES_CALLER;
flag(on_caller_death, cancel, Flags) -> Flags;
flag(interrupt, true, Flags) -> Flags bor ?INTERRUPT;
flag(interrupt, false, Flags) -> Flags;
flag(Key, Value, _) when Key =:= traceback; Key =:= arrays; Key =:= on_caller_death; Key =:= interrupt ->
    error({bad_option, Key, Value});
flag(_, _, Flags) -> Flags.

%% @doc The keyword arguments in the options.
-spec keywords(map()) -> map().
keywords(#{kwargs := Keywords}) when is_map(Keywords) -> Keywords;
keywords(#{kwargs := Other}) -> error({bad_option, kwargs, Other});
keywords(_) -> #{}.

%% @doc The timeout in the options.
-spec timeout(map(), timeout()) -> timeout().
timeout(#{timeout := infinity}, _) -> infinity;
timeout(#{timeout := Timeout}, _) when is_integer(Timeout), Timeout >= 0, Timeout =< ?LONGEST_TIMEOUT -> Timeout;
timeout(#{timeout := Timeout}, _) -> error({bad_option, timeout, Timeout});
timeout(_, Default) -> Default.

%% @doc Ends the Python code of a task whose timeout passed, when its flags ask for it.
-spec interrupt(py_nif:task_id(), py_nif:flags()) -> ok.
interrupt(Id, Flags) when Flags band ?INTERRUPT =/= 0 -> py_nif:task_interrupt(Id);
interrupt(_, _) -> ok.

%% @doc Raises `{bad_option, Key, Value}' for an option that is not one of Known.
-spec check_options(map(), [atom()]) -> ok.
check_options(Options, _) when map_size(Options) =:= 0 -> ok;
check_options(Options, Known) when is_map(Options) ->
    case maps:to_list(maps:without(Known, Options)) of
        [] -> ok;
        [{Key, Value} | _] -> error({bad_option, Key, Value})
    end;
check_options(Options, _) ->
    error({bad_argument, options, Options}).

%% @doc Says which argument it was that the core refused; the last that it may be is the context or loop.
-spec reject({context | loop, term()}, term(), term(), term(), term()) -> no_return().
reject({Kind, Target}, Module, Function, Arguments, Keywords) ->
    ok = check_call(Module, Function, Arguments, Keywords),
    error({bad_argument, Kind, Target}).

%% @doc Raises `{bad_argument, Name, Value}' for the first that is wrong.
-spec check_call(term(), term(), term(), term()) -> ok.
check_call(Module, Function, Arguments, Keywords) ->
    is_name(Module) orelse error({bad_argument, module, Module}),
    is_name(Function) orelse error({bad_argument, function, Function}),
    is_proper_list(Arguments) orelse error({bad_argument, args, Arguments}),
    is_map(Keywords) orelse error({bad_argument, kwargs, Keywords}),
    ok.

is_name(Name) -> is_atom(Name) orelse is_binary(Name).

is_proper_list(List) ->
    try length(List) of
        _ -> true
    catch
        error:badarg -> false
    end.
