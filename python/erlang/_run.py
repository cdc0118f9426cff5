"""Running a coroutine to completion on an Erlang event loop."""

from __future__ import annotations

import asyncio
from asyncio import events
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ._loop import ErlangEventLoop

__all__ = ("new_event_loop", "run")

_T = TypeVar("_T")


def new_event_loop() -> ErlangEventLoop:
    """A new event loop. Raises RuntimeError outside the Erlang VM."""
    return ErlangEventLoop()


def run(
    main: Coroutine[Any, Any, _T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> _T:
    """Runs the coroutine on a new ErlangEventLoop and returns its result, as asyncio.run() does.

    The loop is closed at the end, after what is left has been cancelled, asynchronous generators
    finalised and the default executor shut down. ``debug`` switches the loop's debug mode,
    ``loop_factory`` makes another kind of loop.

    Raises RuntimeError in a thread that runs a loop already, and outside the Erlang VM.
    """
    if events._get_running_loop() is not None:
        raise RuntimeError("erlang.run() cannot be called from a running event loop")
    with asyncio.Runner(debug=debug, loop_factory=loop_factory or new_event_loop) as runner:
        return runner.run(main)
