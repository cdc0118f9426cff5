%% @doc What Python code may do to the VM: the environment key `sandbox'.
%%
%% `#{Rule => allow | deny}'; a rule that is not named keeps its default. docs/security.md tells what each rule covers.
%% A denied function raises `erlang.SandboxError' in Python, a RuntimeError that names the Erlang alternative; callers in
%% Erlang get `{error, {'RuntimeError', Message}}'.
-module(py_sandbox).

-export([defaults/0, valid/1, expected/0, denied/1]).

-export_type([rule/0, policy/0]).

-type rule() ::
    subprocess | fork | exec | exit | signals | faulthandler | limits | descriptors | ctypes | identity.
-type policy() :: #{rule() => allow | deny}.

%% In the order of sandbox.h.
-define(RULES, [subprocess, fork, exec, exit, signals, faulthandler, limits, descriptors, ctypes, identity]).

%% @doc Every rule with its default: all deny but `ctypes', without which numpy and many others cannot be imported.
-spec defaults() -> #{rule() := allow | deny}.
defaults() ->
    maps:from_list([{Rule, default(Rule)} || Rule <- ?RULES]).

default(ctypes) -> allow;
default(_) -> deny.

%% @doc Whether a term is a policy.
-spec valid(term()) -> boolean().
valid(Policy) when is_map(Policy) ->
    maps:fold(fun(Rule, Choice, Good) -> Good andalso valid(Rule, Choice) end, true, Policy);
valid(_) ->
    false.

valid(Rule, Choice) ->
    lists:member(Rule, ?RULES) andalso (Choice =:= allow orelse Choice =:= deny).

%% @doc What a policy looks like, for error messages.
-spec expected() -> string().
expected() ->
    lists:flatten([
        "a map from ", lists:join(", ", [atom_to_list(Rule) || Rule <- ?RULES]), " to allow or deny"
    ]).

%% @doc The denied rules as the core takes them: bit N for the Nth rule.
-spec denied(policy()) -> non_neg_integer().
denied(Policy) ->
    All = maps:merge(defaults(), Policy),
    lists:sum([1 bsl Index || {Index, Rule} <- indexed(?RULES), maps:get(Rule, All) =:= deny]).

indexed(List) ->
    lists:zip(lists:seq(0, length(List) - 1), List).
