%% @private What an isolated Python answers, as Erlang terms. It may be anything: nothing in it can make an atom.
-module(py_isolated_term).

-export([value/1, exception/2, decode/1]).

%% So that binary_to_existing_atom/1 finds them.
-define(BUILTIN_EXCEPTIONS, [
    'ArithmeticError', 'AssertionError', 'AttributeError', 'BaseException', 'BaseExceptionGroup', 'BlockingIOError',
    'BrokenPipeError', 'BufferError', 'BytesWarning', 'ChildProcessError', 'ConnectionAbortedError', 'ConnectionError',
    'ConnectionRefusedError', 'ConnectionResetError', 'DeprecationWarning', 'EOFError', 'EncodingWarning',
    'EnvironmentError', 'Exception', 'ExceptionGroup', 'FileExistsError', 'FileNotFoundError', 'FloatingPointError',
    'FutureWarning', 'GeneratorExit', 'IOError', 'ImportError', 'ImportWarning', 'IndentationError', 'IndexError',
    'InterruptedError', 'IsADirectoryError', 'KeyError', 'KeyboardInterrupt', 'LookupError', 'MemoryError',
    'ModuleNotFoundError', 'NameError', 'NotADirectoryError', 'NotImplementedError', 'OSError', 'OverflowError',
    'PendingDeprecationWarning', 'PermissionError', 'ProcessLookupError', 'PythonFinalizationError', 'RecursionError',
    'ReferenceError', 'ResourceWarning', 'RuntimeError', 'RuntimeWarning', 'StopAsyncIteration', 'StopIteration',
    'SyntaxError', 'SyntaxWarning', 'SystemError', 'SystemExit', 'TabError', 'TimeoutError', 'TypeError',
    'UnboundLocalError', 'UnicodeDecodeError', 'UnicodeEncodeError', 'UnicodeError', 'UnicodeTranslateError',
    'UnicodeWarning', 'UserWarning', 'ValueError', 'Warning', 'ZeroDivisionError'
]).

%% @doc `{ok, Term}', or an error as Python's when it is none that this VM may have.
-spec value(binary()) -> {ok, term()} | {error, py:error_reason()}.
value(Data) ->
    case decode(Data) of
        {ok, Term} -> {ok, Term};
        error -> {error, {'ValueError', <<"the result has an atom that does not exist, or is too large for Erlang">>}}
    end.

%% @doc The reason of an error, as py:call/5 gives it.
-spec exception(binary(), boolean()) -> py:error_reason().
exception(Data, Traceback) ->
    case decode(Data) of
        {ok, {Class, Builtin, Message, Lines}} when is_binary(Class), is_binary(Message), is_list(Lines) ->
            Name = class(Class, Builtin),
            case Traceback of
                true -> {Name, Message, Lines};
                false -> {Name, Message}
            end;
        _ ->
            {'SystemError', <<"an exception that cannot be read">>}
    end.

class(Class, true) ->
    case lists:keyfind(Class, 1, [{atom_to_binary(Name), Name} || Name <- ?BUILTIN_EXCEPTIONS]) of
        {_, Name} -> Name;
        false -> Class
    end;
class(Class, _) ->
    Class.

%% @doc A term in external format, unless it would make an atom or is none. Python does not send compressed ones, which
%% could be of any size.
-spec decode(binary()) -> {ok, term()} | error.
decode(<<131, 80, _/binary>>) ->
    error;
decode(Data) ->
    try
        {ok, binary_to_term(Data, [safe])}
    catch
        error:_ -> error
    end.
