"""The event loops that bench_loop.py compares, each proved to be what its name says."""

from __future__ import annotations

import asyncio
import selectors
import sys
from collections.abc import Callable, Coroutine
from typing import Any


def _qualified(instance: object) -> str:
    kind = type(instance)
    return f"{kind.__module__}.{kind.__qualname__}"


def _new_erlang() -> asyncio.AbstractEventLoop:
    import erlang

    return erlang.new_event_loop()


def _new_asyncio() -> asyncio.AbstractEventLoop:
    """Stock asyncio's loop, made by the policy that a plain Python has."""
    policy = asyncio.get_event_loop_policy()
    assert type(policy) is asyncio.DefaultEventLoopPolicy, _qualified(policy)
    loop = policy.new_event_loop()
    if sys.platform == "linux":
        assert type(loop._selector) is selectors.EpollSelector, _qualified(loop._selector)
    return loop


def _new_uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


_FACTORIES: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "erlang": _new_erlang,
    "asyncio": _new_asyncio,
    "uvloop": _new_uvloop,
}
_CLASSES = {
    "erlang": "erlang._loop.ErlangEventLoop",
    "asyncio": "asyncio.unix_events._UnixSelectorEventLoop",
    "uvloop": "uvloop.Loop",
}


def new_event_loop(kind: str) -> asyncio.AbstractEventLoop:
    """A loop of that kind.

    AssertionError unless it is an instance of exactly the class that the kind stands for, and, for
    stock asyncio, waits with CPython's own selector.
    """
    loop = _FACTORIES[kind]()
    assert _qualified(loop) == _CLASSES[kind], _qualified(loop)
    return loop


def run(kind: str, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Runs a coroutine function on a loop of that kind, and checks which one it runs on."""

    async def checked() -> Any:
        assert class_of_running() == _CLASSES[kind], class_of_running()
        return await main()

    with asyncio.Runner(loop_factory=lambda: new_event_loop(kind)) as runner:
        return runner.run(checked())


def class_of_running() -> str:
    """The class of the loop that runs."""
    return _qualified(asyncio.get_running_loop())
