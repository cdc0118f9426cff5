"""Large Python values, the same as bench_call_cases makes in Erlang."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_value: Any = None


def _document(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"user {number}",
        "active": number % 2 == 0,
        "score": number / 4,
        "tags": ["alpha", "beta", "gamma"],
        "address": {"city": "Berlin", "zip": "10115", "lines": [1, 2, 3]},
    }


_SHAPES: dict[str, Callable[[int], Any]] = {
    "integers": lambda size: list(range(size)),
    "text": lambda size: "x" * size,
    "bytes": lambda size: b"\xff" * size,
    "string_keys": lambda size: {f"key_{number}": number for number in range(size)},
    "documents": lambda size: [_document(number) for number in range(size)],
}


def make(shape: str, size: int) -> int:
    """Makes the value that :func:`get` returns from now on; returns its length."""
    global _value
    _value = _SHAPES[shape](size)
    return len(_value)


def get() -> Any:
    """The value that :func:`make` made: the call takes no longer than its conversion."""
    return _value
