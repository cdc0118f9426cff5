"""Python calling Erlang: what the package ``erlang`` offers on top of the native functions."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
from collections.abc import Coroutine
from typing import Any, TypeVar

import _erlang

from ._driver import loop_of
from ._errors import ProcessError

__all__ = (
    "async_call",
    "call",
    "consume_time_slice",
    "registered_function",
    "schedule",
    "schedule_inline",
    "schedule_py",
    "self",
    "send",
    "sleep",
    "spawn_task",
    "whereis",
)

_T = TypeVar("_T")

# Loops have only weak references to their tasks: who spawns and forgets one wants it done all the same.
_spawned: set[asyncio.Task[Any]] = set()

async_call = _erlang.async_call
call = _erlang.call
consume_time_slice = _erlang.consume_time_slice
schedule = _erlang.schedule
schedule_inline = _erlang.schedule_inline
schedule_py = _erlang.schedule_py
self = _erlang.self
send = _erlang.send_message
whereis = _erlang.whereis


def registered_function(name: str) -> functools.partial[Any]:
    """The function that calls the Erlang function registered under ``name``.

    AttributeError for all other names, so that code which looks around in modules is not misled.
    """
    if name.startswith("__") or not _erlang.is_registered(name):
        raise AttributeError(f"module 'erlang' has no attribute {name!r}")
    function = functools.partial(_erlang.call, name)
    function.__name__ = function.__qualname__ = name  # type: ignore[attr-defined]
    function.__doc__ = f"The Erlang function that is registered as {name!r}."
    return function


def sleep(seconds: float) -> Any:
    """Sleep for ``seconds``.

    Inside a coroutine the result is to be awaited; everything else blocks its own thread, without the GIL and without
    any thread of the Erlang VM.
    """
    try:
        inside = asyncio.current_task() is not None
    except RuntimeError:
        inside = False
    if inside:
        return asyncio.sleep(seconds)
    _erlang.sleep(seconds)
    return None


def _context() -> contextvars.Context:
    """The context for a task that runs on behalf of the Erlang process which this code runs for."""
    context = contextvars.copy_context()
    try:
        process = _erlang.self()
    except ProcessError:
        return context
    context.run(_erlang.process_variable.set, process)
    return context


def _start(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, _T],
    name: str | None,
    context: contextvars.Context,
) -> asyncio.Task[_T]:
    task = loop.create_task(coro, name=name, context=context)
    _spawned.add(task)
    task.add_done_callback(_spawned.discard)
    return task


def _start_elsewhere(
    loop: Any, coro: Coroutine[Any, Any, _T], name: str | None, context: contextvars.Context
) -> asyncio.Task[_T]:
    """Create a task on a loop that another thread drives.

    Creating a task appends its first step to the loop's queue, which is all that ``call_soon_threadsafe()`` does but
    for waking the loop. So nothing waits for the loop's thread, which may be blocked, even by whoever waits for this
    code. A loop in debug mode refuses calls of other threads, and a task factory may do anything, such as run the first
    step at once: there the loop's own thread does it.
    """
    if not loop.get_debug() and loop.get_task_factory() is None:
        task = _start(loop, coro, name, context)
        loop._write_to_self()
        return task
    made: concurrent.futures.Future[asyncio.Task[_T]] = concurrent.futures.Future()

    def start() -> None:
        try:
            made.set_result(_start(loop, coro, name, context))
        except BaseException as error:
            made.set_exception(error)

    loop.call_soon_threadsafe(start)
    return made.result()


def spawn_task(coro: Coroutine[Any, Any, _T], *, name: str | None = None) -> asyncio.Task[_T]:
    """Run a coroutine as a task and return it at once.

    It runs on the loop that runs in this thread, whichever kind of loop that is; in code without one, say a function
    that Erlang called, on the loop of ``py_event_loop``, which is woken. There, await it from coroutines of that loop
    only, and cancel it with ``task.get_loop().call_soon_threadsafe(task.cancel)``.
    """
    context = _context()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _start_elsewhere(loop_of(_erlang.default_loop()), coro, name, context)
    return _start(loop, coro, name, context)
