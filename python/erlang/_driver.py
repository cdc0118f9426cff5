"""What a thread that Erlang started for an event loop does before and after it runs the loop.

The thread calls ``open_loop()``, runs the loop until it is asked to end, then calls ``finish()`` and
``close_loop()`` (``nif/loop_thread.c``). Of these only ``finish()`` may be interrupted, so that no
lock of this module can stay locked.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable

import _erlang

from ._loop import ErlangEventLoop

__all__ = ["at_finish", "close_loop", "finish", "loop_of", "open_loop"]

_GRACE_SECONDS = 5.0
_START_SECONDS = 5.0


_loops: dict[int, ErlangEventLoop] = {}
_changed = threading.Condition()
_endings: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, list[Callable[[], object]]] = (
    weakref.WeakKeyDictionary()
)


def loop_of(handle: int) -> ErlangEventLoop:
    """The loop that a thread of Erlang's drives on the core's loop ``handle``, whose thread was started."""
    with _changed:
        if not _changed.wait_for(lambda: handle in _loops, timeout=_START_SECONDS):
            raise RuntimeError("the event loop of py_event_loop does not run")
        return _loops[handle]


def open_loop(handle: int) -> tuple[_erlang.Selector, ErlangEventLoop]:
    """A new :class:`ErlangEventLoop` on the core's loop ``handle``, which is the thread's loop from now on."""
    selector = _erlang.Selector(handle)
    loop = ErlangEventLoop(selector)
    asyncio.set_event_loop(loop)
    with _changed:
        _loops[handle] = loop
        _changed.notify_all()
    return selector, loop


def at_finish(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    """Have a function called, inside the loop, before what is left of a loop of ours is cancelled."""
    _endings.setdefault(loop, []).append(function)


def finish(loop: ErlangEventLoop) -> None:
    """Cancel what is left and let it clean up, as :func:`asyncio.run` does."""
    _left(loop)
    if loop in _endings:
        loop.run_until_complete(_call_all(_endings.pop(loop)))
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        # A task may refuse to end; the thread must not wait for it for ever.
        loop.run_until_complete(asyncio.wait(tasks, timeout=_GRACE_SECONDS))
    loop.run_until_complete(loop.shutdown_asyncgens())


async def _call_all(functions: list[Callable[[], object]]) -> None:
    for function in functions:
        function()


def close_loop(handle: int, loop: ErlangEventLoop) -> None:
    """Close the loop, which runs no more."""
    with _changed:
        _loops.pop(handle, None)
    asyncio.set_event_loop(None)
    _left(loop)
    loop.close()


def _left(loop: ErlangEventLoop) -> None:
    """``run_forever()`` has returned, though an interrupt may have kept it from saying so."""
    if loop.is_running():
        loop._thread_id = None
        asyncio._set_running_loop(None)
