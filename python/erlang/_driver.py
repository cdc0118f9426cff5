"""What a thread that Erlang started for an event loop runs."""

from __future__ import annotations

import asyncio
import threading

import _erlang

from ._loop import ErlangEventLoop

__all__ = ["drive", "loop_of"]

_GRACE_SECONDS = 5.0
_START_SECONDS = 5.0


_loops: dict[int, ErlangEventLoop] = {}
_changed = threading.Condition()


def loop_of(handle: int) -> ErlangEventLoop:
    """The loop that a thread of Erlang's drives on the core's loop ``handle``, whose thread was started."""
    with _changed:
        if not _changed.wait_for(lambda: handle in _loops, timeout=_START_SECONDS):
            raise RuntimeError("the event loop of py_event_loop does not run")
        return _loops[handle]


def drive(handle: int) -> None:
    """Run an :class:`ErlangEventLoop` on the core's loop ``handle`` until that is asked to stop.

    ``loop.stop()``, and a SystemExit or KeyboardInterrupt that a task raises, end ``run_forever`` but not the loop:
    the task's submitter has heard of it, nobody else shall.
    """
    selector = _erlang.Selector(handle)
    loop = ErlangEventLoop(selector)
    asyncio.set_event_loop(loop)
    with _changed:
        _loops[handle] = loop
        _changed.notify_all()
    try:
        while True:
            # Around the question as well: another thread may raise either of them at any bytecode.
            try:
                if selector.stopping:
                    break
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                continue
        _finish(loop)
    finally:
        with _changed:
            _loops.pop(handle, None)
        asyncio.set_event_loop(None)
        loop.close()


def _finish(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left and let it clean up, as :func:`asyncio.run` does."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        # A task may refuse to end; the thread must not wait for it for ever.
        loop.run_until_complete(asyncio.wait(tasks, timeout=_GRACE_SECONDS))
    loop.run_until_complete(loop.shutdown_asyncgens())
