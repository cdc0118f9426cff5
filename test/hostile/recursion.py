"""Recursion without end, in Python and through C, and structures too deep for it."""

from __future__ import annotations

import ast
import copy
import functools
import json
import operator
import pickle
import re
import sys
from collections.abc import Callable
from typing import Any

DEEP = 100_000


class Getattr:
    def __getattr__(self, name: str) -> Any:
        return getattr(self, name + "x")


class Repr:
    def __repr__(self) -> str:
        return f"{self!r}"


class Compare:
    def __eq__(self, other: object) -> bool:
        return [self] == [other] if self is other else Compare() == Compare()

    __hash__ = None  # type: ignore[assignment]


class Call:
    pass


Call.__call__ = Call()  # type: ignore[method-assign,assignment]


class Iter:
    def __iter__(self) -> Any:
        return iter(self)


class Hash:
    def __hash__(self) -> int:
        return hash(self)


class Index:
    def __index__(self) -> int:
        return operator.index(self)


class Bool:
    def __bool__(self) -> bool:
        return not self


class Instance(type):
    def __instancecheck__(cls, other: object) -> bool:
        return isinstance(other, cls)


class Checked(metaclass=Instance):
    pass


def nested_list(depth: int = DEEP) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def nested_dict(depth: int = DEEP) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def nested_tuple(depth: int = DEEP) -> tuple[Any, ...]:
    value: tuple[Any, ...] = ()
    for _ in range(depth):
        value = (value,)
    return value


def forever() -> Any:
    return forever()


def through_map() -> Any:
    return list(map(lambda _: through_map(), [1]))


def through_sort() -> Any:
    return sorted([1, 2], key=lambda _: through_sort())


def through_partial() -> Any:
    return functools.partial(through_partial)()


def through_eval() -> Any:
    return eval("through_eval()", globals())


def through_sub() -> Any:
    return re.sub("a", lambda _: through_sub(), "a")


def through_property() -> Any:
    class Loop:
        @property
        def value(self) -> Any:
            return self.value

    return Loop().value


def through_class() -> Any:
    class Loop:
        def __init__(self) -> None:
            type("Inner", (Loop,), {})()

    return Loop()


def generator_chain() -> Any:
    chain: Any = iter([1])
    for _ in range(DEEP):
        chain = (x for x in chain)
    return next(chain)


def yield_from_chain() -> Any:
    def link(inner: Any) -> Any:
        yield from inner

    chain: Any = iter([1])
    for _ in range(DEEP):
        chain = link(chain)
    return next(chain)


def chained_exceptions() -> Any:
    error: BaseException | None = None
    for i in range(DEEP):
        new = ValueError(i)
        new.__context__ = error
        error = new
    assert error is not None
    raise error


def groups() -> Any:
    error: Exception = ValueError("inner")
    for _ in range(5000):
        error = ExceptionGroup("group", [error])
    raise error


def deep_closure() -> Any:
    function: Callable[[], Any] = lambda: 1  # noqa: E731
    for _ in range(DEEP):
        function = functools.partial(function)
    return function()


CASES: dict[str, Callable[[], Any]] = {
    "python": forever,
    "getattr": lambda: Getattr().x,
    "repr": lambda: repr(Repr()),
    "str_percent": lambda: f"{Repr()}",
    "eq": lambda: Compare() == Compare(),
    "call": lambda: Call()(),
    "iter": lambda: list(Iter()),
    "hash": lambda: hash(Hash()),
    "index": lambda: operator.index(Index()),
    "bool": lambda: bool(Bool()),
    "isinstance": lambda: isinstance(1, Checked),
    "map": through_map,
    "sort": through_sort,
    "partial": through_partial,
    "eval": through_eval,
    "re_sub": through_sub,
    "property": through_property,
    "class": through_class,
    "repr_deep_list": lambda: repr(nested_list()),
    "repr_deep_dict": lambda: repr(nested_dict()),
    "repr_deep_tuple": lambda: repr(nested_tuple()),
    "eq_deep_list": lambda: nested_list() == nested_list(),
    "hash_deep_tuple": lambda: hash(nested_tuple()),
    "json_dumps": lambda: json.dumps(nested_list()),
    "json_dumps_dict": lambda: json.dumps(nested_dict()),
    "json_dumps_indent": lambda: json.dumps(nested_list(), indent=1),
    "json_loads": lambda: json.loads("[" * DEEP + "]" * DEEP),
    "json_loads_dict": lambda: json.loads('{"a":' * DEEP + "1" + "}" * DEEP),
    "pickle": lambda: pickle.dumps(nested_list()),
    "pickle_python": lambda: pickle._dumps(nested_list()),  # type: ignore[attr-defined]
    "pickle_loads": lambda: pickle.loads(b"]" * DEEP + b"a" * (DEEP - 1) + b"."),
    "copy_deepcopy": lambda: copy.deepcopy(nested_list()),
    "compile_parentheses": lambda: compile("(" * DEEP + ")" * DEEP, "x", "eval"),
    "compile_lists": lambda: compile("[" * 90 + "]" * 90, "x", "eval"),
    "compile_minus": lambda: compile("-" * DEEP + "1", "x", "eval"),
    "compile_plus": lambda: eval("1" + "+1" * DEEP),
    "compile_attributes": lambda: compile("a" + ".b" * DEEP, "x", "eval"),
    "compile_calls": lambda: compile("a" + "()" * DEEP, "x", "eval"),
    "compile_lambda": lambda: compile("lambda:" * 5000 + "1", "x", "eval"),
    "compile_not": lambda: compile("not " * DEEP + "1", "x", "eval"),
    "compile_if_else": lambda: compile("1 if 1 else " * 5000 + "1", "x", "eval"),
    "compile_elif": lambda: compile("if a: pass\n" + "elif a: pass\n" * 5000, "x", "exec"),
    "compile_fstring": lambda: compile("f'{" * 200 + "1" + "}'" * 200, "x", "eval"),
    "literal_eval_lists": lambda: ast.literal_eval("[" * DEEP + "]" * DEEP),
    "literal_eval_minus": lambda: ast.literal_eval("-" * DEEP + "1"),
    "literal_eval_plus": lambda: ast.literal_eval("1" + "+1" * DEEP),
    "ast_dump": lambda: ast.dump(ast.parse("-" * 5000 + "1")),
    "ast_unparse": lambda: ast.unparse(ast.parse("a" + ".b" * 5000)),
    "isinstance_tuple": lambda: isinstance(1, nested_tuple()),  # type: ignore[arg-type]
    "re_compile": lambda: re.compile("(" * 20000 + ")" * 20000),
    "re_match": lambda: re.match("(?:a|b)*c", "ab" * 1_000_000),
    "generators": generator_chain,
    "yield_from": yield_from_chain,
    "exceptions": chained_exceptions,
    "groups": groups,
    "partials": deep_closure,
    "lists_out": nested_list,
    "dicts_out": nested_dict,
    "tuples_out": nested_tuple,
}


def names() -> list[str]:
    """All cases."""
    return list(CASES)


def attempt(name: str) -> Any:
    """What a case gives, or raises."""
    result = CASES[name]()
    return result if name.endswith("_out") else True


def high_limit(limit: int) -> Any:
    """Recursion in Python with a limit that a user raised."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(limit)
    try:
        return forever()
    finally:
        sys.setrecursionlimit(before)
