%% The documentation: blocks marked `<!-- run -->' run, links lead somewhere, functions that it names exist.
%%
%% The ```erlang blocks of a page are run top to bottom in one shell, so that a match is an assertion; its ```python blocks
%% run in `__main__' in between.
-module(docs_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

-define(MARK, <<"<!-- run -->">>).

all() ->
    [blocks_run, links_lead_somewhere, functions_exist, marks_are_used, the_runner_notices_failures].

init_per_testcase(_Case, Config) ->
    ok = test_support:start(),
    Config.

end_per_testcase(_Case, _Config) ->
    ok = test_support:stop().

blocks_run(_Config) ->
    [
        begin
            ok = test_support:start(),
            run_page(Page, blocks(read(Page)))
        end
     || Page <- pages()
    ].

marks_are_used(_Config) ->
    ?assert(length(blocks(read("README.md"))) >= 6),
    ?assert(length(blocks(read("docs/getting-started.md"))) >= 10).

links_lead_somewhere(_Config) ->
    Dead = [
        {Page, Target}
     || Page <- pages(),
        [Link] <- matches(read(Page), "\\]\\(([^)\\s]+)\\)"),
        not is_remote(Link),
        Target <- [hd(string:split(Link, "#"))],
        Target =/= "",
        not filelib:is_file(filename:join(filename:dirname(path(Page)), Target))
    ],
    ?assertEqual([], Dead -- pending()).

functions_exist(_Config) ->
    Missing = [
        {Page, Module ++ ":" ++ Function ++ "/" ++ Arity}
     || Page <- pages(),
        [Module, Function, Arity] <- matches(read(Page), "\\b(py[a-z_]*):([a-z_]+)/([0-9]+)"),
        not is_exported(list_to_atom(Module), list_to_atom(Function), list_to_integer(Arity))
    ],
    Unknown = [
        {Page, Module ++ ":" ++ Function}
     || Page <- pages(),
        [Module, Function] <- matches(read(Page), "\\b(py[a-z_]*):([a-z_]+)\\("),
        not is_exported(list_to_atom(Module), list_to_atom(Function))
    ],
    ?assertEqual([], lists:usort(Missing ++ Unknown) -- pending()).

%% What other pages announce that is still being built; the list is to become empty.
pending() ->
    [
        {"docs/security.md", "robustness.md"}
    ].

the_runner_notices_failures(_Config) ->
    Page = fun(Language, Code) -> [?MARK, "\n```", Language, "\n", Code, "\n```\n"] end,
    Run = fun(Text) -> run_page("made up", blocks(iolist_to_binary(Text))) end,
    ok = Run([Page("erlang", "X = 1."), "text", Page("erlang", "1 = X."), Page("python", "docs_y = 1")]),
    ?assertError({failed, "made up", _, _}, Run([Page("erlang", "X = 1."), Page("erlang", "2 = X.")])),
    ?assertError({failed, "made up", _, _}, Run(Page("erlang", "1 = 1"))),
    ?assertError({failed, "made up", _, _}, Run(Page("erlang", "no_such_module:f()."))),
    ?assertError({failed, "made up", _, _}, Run(Page("python", "assert docs_y == 2"))),
    ?assertError({failed, "made up", _, _}, Run(Page("python", "import"))),
    ?assertEqual(ok, Run(["```erlang\n1 = 2.\n```\n"])).

%%% Running

run_page(Page, Blocks) ->
    _ = lists:foldl(
        fun({Language, Code}, Bindings) ->
            try
                run_block(Language, Code, Bindings)
            catch
                _:Reason -> error({failed, Page, Code, Reason})
            end
        end,
        erl_eval:new_bindings(),
        Blocks
    ),
    ok.

%% scripts/as-mix-dependency.sh runs these, in a Mix project.
run_block(<<"elixir">>, _Code, Bindings) ->
    Bindings;
run_block(<<"python">>, Code, Bindings) ->
    ok = py:exec(Code),
    Bindings;
run_block(<<"erlang">>, Code, Bindings) ->
    run_expressions(unicode:characters_to_list(Code), 1, Bindings).

run_expressions(Text, Line, Bindings) ->
    case erl_scan:tokens([], Text ++ "\n", Line) of
        {done, {ok, Tokens, Next}, Rest} ->
            {ok, Expressions} = erl_parse:parse_exprs(Tokens),
            {value, _, More} = erl_eval:exprs(Expressions, Bindings),
            run_expressions(Rest, Next, More);
        {done, {eof, _}, _} ->
            Bindings;
        {more, _} ->
            %% Only white space may be left.
            "" = string:trim(Text),
            Bindings
    end.

%%% Reading

pages() ->
    ["README.md", "CHANGELOG.md" | lists:sort(["docs/" ++ Name || Name <- filelib:wildcard("*.md", path("docs"))])].

path(Page) ->
    filename:join(test_support:root(), Page).

read(Page) ->
    {ok, Text} = file:read_file(path(Page)),
    Text.

%% The marked blocks as {Language, Code}.
blocks(Text) ->
    blocks(binary:split(Text, <<"\n">>, [global]), []).

blocks([?MARK, <<"```", Language/binary>> | Lines], Blocks) ->
    {Code, [<<"```">> | Rest]} = lists:splitwith(fun(Line) -> Line =/= <<"```">> end, Lines),
    blocks(Rest, [{Language, iolist_to_binary(lists:join($\n, Code))} | Blocks]);
blocks([?MARK | _], _) ->
    error(mark_without_block);
blocks([_ | Lines], Blocks) ->
    blocks(Lines, Blocks);
blocks([], Blocks) ->
    lists:reverse(Blocks).

matches(Text, Pattern) ->
    case re:run(Text, Pattern, [global, unicode, {capture, all_but_first, list}]) of
        {match, Matches} -> Matches;
        nomatch -> []
    end.

is_remote(Link) ->
    lists:prefix("https://", Link) orelse lists:prefix("http://", Link).

is_exported(Module, Function, Arity) ->
    lists:member({Function, Arity}, exports(Module)).

is_exported(Module, Function) ->
    lists:keymember(Function, 1, exports(Module)).

exports(Module) ->
    case code:ensure_loaded(Module) of
        {module, Module} -> Module:module_info(exports);
        {error, _} -> []
    end.
