"""Converts all kinds of values there and back, under valgrind: scripts/valgrind.sh."""

from __future__ import annotations

import array
import dataclasses
import enum
import gc
import random
import sys
from collections import Counter, OrderedDict, namedtuple
from typing import Any

import conversion
import odd

Pair = namedtuple("Pair", "left right")


class Colour(enum.IntEnum):
    RED = 1


@dataclasses.dataclass
class Point:
    x: Any
    y: Any


def scalar(source: random.Random) -> Any:
    """A value whose conversion there and back is itself."""
    return source.choice(
        [
            None,
            True,
            source.randrange(-(2**70), 2**70),
            source.randrange(-300, 300),
            1 << source.randrange(3000),
            -(1 << source.randrange(3000)) + 1,
            source.random() * 10 ** source.randrange(-300, 300),
            "".join(
                chr(source.choice([65, 233, 8364, 128512])) for _ in range(source.randrange(40))
            ),
            bytes([255]) + source.randbytes(source.randrange(300)),
        ]
    )


def value(source: random.Random, depth: int) -> Any:
    kind = source.randrange(5) if depth else 0
    size = source.choice([0, 1, 3, 20, 70, 150])
    size = size if depth == 1 else min(size, 3)
    if kind == 1:
        return [value(source, depth - 1) for _ in range(size)]
    if kind == 2:
        return tuple(value(source, depth - 1) for _ in range(size if size != 2 else 3))
    if kind == 3:
        return {f"key {i}": value(source, depth - 1) for i in range(size)}
    if kind == 4:
        return {i: value(source, depth - 1) for i in range(size)}
    return scalar(source)


def same(left: Any, right: Any) -> bool:
    """Equal, and of the same types."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


def check_random(count: int) -> None:
    source = random.Random(1)
    for _ in range(count):
        before = value(source, 3)
        after = conversion.there_and_back(before)
        assert same(before, after), (before, after)


def check_others() -> None:
    data = bytearray(range(256)) * 4
    others = [
        {1, 2, 3},
        frozenset("abc"),
        Pair(1, "x"),
        Colour.RED,
        Point(1, [Point(2, None), {}]),
        Counter("hello"),
        OrderedDict(a=1),
        data,
        memoryview(data)[::3],
        memoryview(data).cast("B", (16, 64)),
        memoryview(data).cast("d"),
        array.array("i", range(100)),
        array.array("d", [1.5] * 100),
        conversion.Atom("atom"),
        conversion.Atom("\u00e9t\u00e9"),
        conversion.Atom("\u20ac" * 255),
        conversion.Binary(data),
        [conversion.reference()] * 3,
        {conversion.reference(): conversion.reference()},
        range(5),
        {i: i for i in range(5000)},
        [[[]] * 1000] * 50,
    ]
    for before in others:
        for flags in (0, 1):
            try:
                repr(conversion.there_and_back(before, flags))
            except (TypeError, ValueError):
                pass


def check_hostile() -> None:
    """What the tests in the VM convert as well; endless or very large ones would take valgrind too long."""
    for name, make in odd.VALUES.items():
        if name in ("very_huge_integer", "changed_by_thread"):
            continue
        made = make()
        try:
            conversion.there_and_back(made)
        except BaseException as error:
            conversion.describe(error)
        if hasattr(type(made), "close"):
            made.close() if not hasattr(type(made), "aclose") else None
    for name, make_error in odd.EXCEPTIONS.items():
        if name == "huge_text":
            continue
        try:
            error = make_error()
        except UnicodeEncodeError as refused:
            error = refused
        conversion.describe(error)


def check_limits() -> None:
    deep: Any = []
    for _ in range(20_000):
        deep = [deep]
    for too_much in (deep, [[0] * 1000] * 1000, "x" * 10**7, {i: "y" * 1000 for i in range(5000)}):
        conversion.limit(10**6)
        try:
            conversion.there_and_back(too_much)
            raise AssertionError("not refused")
        except (RecursionError, MemoryError):
            pass
        finally:
            conversion.limit(2**40)
    while deep:
        deep = deep.pop()


def main() -> None:
    check_random(int(sys.argv[1]))
    check_others()
    check_hostile()
    check_limits()
    gc.collect()
    assert conversion.environments() == 0, conversion.environments()
    print("converted")


main()
