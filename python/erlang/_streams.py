"""Iterables whose values go to an Erlang process one by one, as messages.

``py_stream_server`` drives them. On a context it calls :func:`start_call` or :func:`start_expression` and then
:func:`resume` as often as the stream says ``"more"``, each of which runs the iterator for a short time; on an event loop
:func:`drive` is a task that lasts as long as the stream does.

A stream is known by the reference that its messages carry.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from time import monotonic
from typing import Any

import _erlang

from ._errors import ProcessError
from ._native import Atom, Pid, Ref

__all__ = (
    "add_credit",
    "close",
    "collect_async",
    "collect_call",
    "collect_expression",
    "discard",
    "drive",
    "resume",
    "start_call",
    "start_expression",
    "stop",
    "stop_all",
)

_TAG = Atom("py_stream")
_DATA = Atom("data")
# Seconds for which a stream may keep its thread from everything else that waits for it.
_SLICE = 0.01

_streams: dict[Ref, _Stream] = {}
# Of the server whose streams these are; a later server has a higher number.
_epoch = 0


class _Stopped(Exception):
    """Nobody wants the stream any more."""


class _Stream:
    """One stream; all but :meth:`stop` is called on the thread of its context or loop."""

    def __init__(self, reference: Ref, owner: Pid | None, credit: int | None) -> None:
        self.owner = owner  # None: stopped before it began
        self.credit = credit  # values that may be sent, None for any number
        self.iterator: Iterator[Any] | None = None
        self.more: asyncio.Future[None] | None = None  # waits for credit, on a loop
        self.stopped = False
        self._reference = reference
        # Held while a value is sent, so that none is once stop() has returned.
        self._lock = threading.Lock()

    def send(self, value: Any) -> None:
        """Send a value; _Stopped when nobody wants it."""
        with self._lock:
            if self.stopped:
                raise _Stopped
            try:
                _erlang.send_message(self.owner, (_TAG, self._reference, (_DATA, value)))
            except ProcessError:
                raise _Stopped from None
        if self.credit is not None:
            self.credit -= 1

    def stop(self) -> None:
        """Send nothing from now on; any thread may call it."""
        with self._lock:
            self.stopped = True

    def run(self) -> str:
        """Send values until the time slice is over (``"more"``), credit is (``"spent"``) or the stream ``"done"``."""
        assert self.iterator is not None
        until = monotonic() + _SLICE
        for value in self.iterator:
            self.send(value)
            if self.credit == 0:
                return "spent"
            if monotonic() >= until:
                return "more"
        return "done"


def _iterator(value: Any) -> Iterator[Any]:
    if isinstance(value, AsyncIterable | Awaitable):
        if asyncio.iscoroutine(value):
            value.close()
        raise TypeError(
            f"{type(value).__name__!r} object needs an event loop: use py_event_loop:stream or stream_start"
        )
    return iter(value)


def _call(module: str, function: str, arguments: list[Any], keywords: dict[str, Any]) -> Any:
    return _erlang.resolve(module, function)(*arguments, **keywords)


def _evaluate(expression: str, names: dict[str, Any]) -> Any:
    import __main__

    # As locals the names would not be seen inside generator expressions.
    namespace = {**vars(__main__), **names} if names else vars(__main__)
    return eval(compile(expression, "<erlang>", "eval"), namespace)


# ---- The whole of it at once


def collect_call(
    module: str, function: str, arguments: list[Any], keywords: dict[str, Any]
) -> list[Any]:
    """All values of the iterable that a function returns."""
    return list(_iterator(_call(module, function, arguments, keywords)))


def collect_expression(expression: str, names: dict[str, Any]) -> list[Any]:
    """All values of the iterable that an expression yields, in the namespace of ``__main__``."""
    return list(_iterator(_evaluate(expression, names)))


async def collect_async(
    module: str, function: str, arguments: list[Any], keywords: dict[str, Any]
) -> list[Any]:
    """All values of the iterable or asynchronous iterable that a function or coroutine function returns."""
    value = _call(module, function, arguments, keywords)
    if isinstance(value, Awaitable):
        value = await value
    if not hasattr(value, "__aiter__"):
        return list(value)
    # A comprehension would leave the generator to the garbage collector when an exception ends it.
    iterator = aiter(value)
    try:
        return [item async for item in iterator]
    finally:
        await _aclose(iterator)


# ---- On a context


def stop_all(epoch: int) -> None:
    """Keep the streams of earlier servers from sending; their servers or successors have them closed.

    Those that were stopped before are of threads that did not come to it, and are forgotten.
    """
    global _epoch
    if epoch > _epoch:
        _epoch = epoch
        for reference, orphan in list(_streams.items()):
            if orphan.stopped:
                _streams.pop(reference, None)
            orphan.stop()


def _open(epoch: int, reference: Ref, owner: Pid, credit: int | None) -> _Stream:
    """A new stream; one that was stopped already if its server is gone or :func:`stop` came first."""
    stop_all(epoch)
    stream = _Stream(reference, owner, credit)
    if epoch < _epoch:
        stream.stop()
        return stream
    return _streams.setdefault(reference, stream)


def _begin(
    epoch: int,
    reference: Ref,
    owner: Pid,
    credit: int | None,
    make: Callable[..., Any],
    *args: Any,
) -> str:
    stream = _open(epoch, reference, owner, credit)
    if stream.stopped:
        return "done"

    def begin() -> str:
        stream.iterator = _iterator(make(*args))
        return stream.run()

    return _step(reference, stream, begin)


def _step(reference: Ref, stream: _Stream, function: Callable[[], str]) -> str:
    """Run a part of the stream on behalf of its owner; forget the stream when it is over."""
    state = "done"
    try:
        state = _erlang.act_for(stream.owner, function)
    except _Stopped:
        pass
    finally:
        if state == "done":
            _streams.pop(reference, None)
            _erlang.act_for(stream.owner, _close, stream.iterator)
    return state


def _close(iterator: Any) -> None:
    if hasattr(iterator, "close"):
        iterator.close()


def start_call(
    epoch: int,
    reference: Ref,
    owner: Pid,
    credit: int | None,
    module: str,
    function: str,
    arguments: list[Any],
    keywords: dict[str, Any],
) -> str:
    """Call a function and send the first values of what it returns; the result is that of :meth:`_Stream.run`."""
    return _begin(epoch, reference, owner, credit, _call, module, function, arguments, keywords)


def start_expression(
    epoch: int,
    reference: Ref,
    owner: Pid,
    credit: int | None,
    expression: str,
    names: dict[str, Any],
) -> str:
    """Evaluate an expression and send the first values of it."""
    return _begin(epoch, reference, owner, credit, _evaluate, expression, names)


def resume(reference: Ref, credit: int | None) -> str:
    """Send more values, with ``credit`` more than were allowed so far."""
    stream = _streams.get(reference)
    if stream is None:
        return "done"
    if stream.credit is not None and credit is not None:
        stream.credit += credit
    return _step(reference, stream, stream.run)


def stop(epoch: int, reference: Ref) -> None:
    """Keep a stream, also one that has not begun, from sending, whatever its thread does.

    The thread closes the iterator when it notices; :func:`discard` must follow when it has ended.
    """
    stop_all(epoch)
    stream = _streams.get(reference)
    if stream is None:
        stream = _streams.setdefault(reference, _Stream(reference, None, None))
    stream.stop()


def close(reference: Ref) -> None:
    """End a stream that does not run now."""
    stream = _streams.get(reference)
    if stream is not None:
        discard(reference)
        if stream.iterator is not None:
            _erlang.act_for(stream.owner, _close, stream.iterator)


def discard(reference: Ref) -> None:
    """Forget a stream, and keep it from sending if its thread ever comes back to it."""
    stream = _streams.pop(reference, None)
    if stream is not None:
        stream.stop()


# ---- On an event loop


async def drive(
    epoch: int,
    reference: Ref,
    owner: Pid,
    credit: int | None,
    module: str,
    function: str,
    arguments: list[Any],
    keywords: dict[str, Any],
) -> None:
    """Send the values of an iterable or asynchronous iterable until it ends."""
    stream = _open(epoch, reference, owner, credit)
    if stream.stopped:
        return
    _erlang.process_variable.set(owner)
    iterator: Any = None
    try:
        # The first step of a task counts as its submitter's, which is the server.
        await asyncio.sleep(0)
        value = _erlang.act_for(owner, _call, module, function, arguments, keywords)
        if isinstance(value, Awaitable):
            value = await value
        if hasattr(value, "__aiter__"):
            iterator = aiter(value)
            await _drive_async(stream, iterator)
        else:
            iterator = stream.iterator = iter(value)
            await _drive_plain(stream)
    except _Stopped:
        pass
    finally:
        _streams.pop(reference, None)
        await _aclose(iterator)


async def _drive_async(stream: _Stream, iterator: AsyncIterator[Any]) -> None:
    until = monotonic() + _SLICE
    async for value in iterator:
        stream.send(value)
        if stream.credit == 0:
            await _wait_for_credit(stream)
        elif monotonic() >= until:
            # An iterator that never waits would keep the loop from everything else.
            await asyncio.sleep(0)
        else:
            continue
        until = monotonic() + _SLICE


async def _drive_plain(stream: _Stream) -> None:
    while stream.run() != "done":
        await _wait_for_credit(stream)
        await asyncio.sleep(0)


async def _wait_for_credit(stream: _Stream) -> None:
    while stream.credit == 0:
        stream.more = asyncio.get_running_loop().create_future()
        try:
            await stream.more
        finally:
            stream.more = None


async def _aclose(iterator: Any) -> None:
    if hasattr(iterator, "aclose"):
        await iterator.aclose()
    else:
        _close(iterator)


def add_credit(reference: Ref, credit: int) -> None:
    """Allow a stream of this thread's loop more values."""
    stream = _streams.get(reference)
    if stream is not None and stream.credit is not None:
        stream.credit += credit
        if stream.more is not None and not stream.more.done():
            stream.more.set_result(None)
