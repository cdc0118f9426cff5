%% @private The functions that the Python package itself calls. Their names begin with an underscore and are not listed.
-module(py_callback_builtin).

-export([all/0]).

-spec all() -> [{binary(), py_callback:callback()}].
all() ->
    [
        {<<"_py_put_chars">>, fun put_chars/1},
        {<<"_py_log_flush">>, fun log_flush/1}
    ].

put_chars([Process, Text]) ->
    py_log:put_chars(Process, Text).

log_flush([]) ->
    py_log:flush().
