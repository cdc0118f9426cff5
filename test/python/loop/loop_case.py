"""The loops under test, and a fixture's object that runs a test on one of them."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import os
import sys
import time
import warnings
from asyncio import unix_events
from collections.abc import Coroutine, Iterator
from typing import Any, Self, TypeVar

import erlang
import pytest

_T = TypeVar("_T")
_STOCK_LOOP = unix_events._UnixSelectorEventLoop
INSIDE_VM = "_erlang" in sys.builtin_module_names


def new_loop(kind: str) -> asyncio.AbstractEventLoop:
    """A new loop of the kind "stock" or "erlang", which certainly is of that kind."""
    if kind == "stock":
        loop = _STOCK_LOOP()
        assert type(loop) is _STOCK_LOOP
        return loop
    if INSIDE_VM:
        loop = erlang.new_event_loop()
        assert type(loop._selector).__module__ == "_erlang"
    else:
        from fallback_selector import FallbackSelector

        loop = erlang.ErlangEventLoop(FallbackSelector())
    assert type(loop) is erlang.ErlangEventLoop
    return loop


def _open_descriptors() -> collections.Counter[str]:
    """How many descriptors are open on each object, as the system names it."""
    found: collections.Counter[str] = collections.Counter()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{fd}")
            # Regular files belong to the VM and to pytest; a loop opens none.
            if not target.startswith("/"):
                found[target] += 1
    return found


class LoopCase:
    """Runs coroutines on new loops of one kind.

    At the end it fails on calls of a loop's exception handler that the test did not take from
    ``handled``, on ResourceWarnings, and on file descriptors that are still open.
    """

    def __init__(self, kind: str, debug: bool) -> None:
        self.kind = kind
        self.debug = debug
        self.handled: list[dict[str, Any]] = []
        self._exit = contextlib.ExitStack()
        self._allowed: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        gc.collect()
        self._warnings = self._exit.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always", ResourceWarning)
        self._descriptors = _open_descriptors()
        return self

    def __exit__(self, *_error: object) -> None:
        gc.collect()
        leaked = self._leaked_descriptors()
        self._exit.close()
        resources = [
            str(warning.message)
            for warning in self._warnings
            if warning.category is ResourceWarning
            and not str(warning.message).startswith(self._allowed)
        ]
        assert not resources, resources
        assert not leaked, f"open file descriptors: {leaked}"
        assert not self.handled, f"unexpected calls of the exception handler: {self.handled}"

    def _leaked_descriptors(self) -> collections.Counter[str]:
        # A thread of the VM may hold a descriptor for the moment.
        deadline = time.monotonic() + 20
        while True:
            leaked = _open_descriptors() - self._descriptors
            if not leaked or time.monotonic() > deadline:
                return leaked
            time.sleep(0.02)

    def stock_fails(self, reason: str, condition: bool = True) -> None:
        """Ends the test as an expected failure on asyncio's own loop, which has the bug named."""
        if self.kind == "stock" and condition:
            pytest.xfail(reason)

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """A new loop, in the debug mode of the case, reporting to ``handled``."""
        loop = new_loop(self.kind)
        loop.set_debug(self.debug)
        loop.set_exception_handler(lambda _loop, context: self.handled.append(context))
        return loop

    def run(self, main: Coroutine[Any, Any, _T], timeout: float = 60) -> _T:
        """The coroutine's result, on a new loop that is closed afterwards."""
        with asyncio.Runner(loop_factory=self.new_loop, debug=self.debug) as runner:
            return runner.run(asyncio.wait_for(main, timeout))

    def allows_warning(self, start: str) -> None:
        """Accepts ResourceWarnings that begin with this text."""
        self._allowed += (start,)

    @contextlib.contextmanager
    def expects_handler_call(self, message: str) -> Iterator[None]:
        """Requires exactly one call of the exception handler whose message contains this text."""
        assert not self.handled
        yield
        assert len(self.handled) == 1, self.handled
        assert message in self.handled[0]["message"]
        self.handled.clear()
