%% The macros of PropEr's own header, which Debian's erlang-proper comes without.
-define(FORALL(Variable, Type, Property), proper:forall(Type, fun(Variable) -> Property end)).
-define(LET(Variable, Type, Generator), proper_types:bind(Type, fun(Variable) -> Generator end, false)).
-define(SIZED(Size, Generator), proper_types:sized(fun(Size) -> Generator end)).
-define(LAZY(Generator), proper_types:lazy(fun() -> Generator end)).

-import(proper_types, [
    binary/0, binary/1, boolean/0, exactly/1, float/0, frequency/1, integer/0, integer/2, list/1, oneof/1,
    resize/2
]).
