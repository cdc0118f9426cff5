%% @private The functions that the Python package itself calls. Their names begin with an underscore and are not listed.
-module(py_callback_builtin).

-export([all/0]).

-spec all() -> [{binary(), py_callback:callback()}].
all() ->
    [
        {<<"_py_put_chars">>, fun put_chars/1}
    ].

%% The process of a callback has the group leader of the process on whose behalf Python runs.
put_chars([Text]) ->
    io:put_chars(Text).
