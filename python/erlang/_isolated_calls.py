"""Erlang from isolated Python (``py_isolated``): what the package ``erlang`` offers there."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from . import _isolated
from ._errors import ErlangError, NotRegisteredError, ProcessError
from ._isolated_link import Asked, AsyncQuestion, Question

__all__ = (
    "async_call",
    "call",
    "registered_function",
    "self",
    "send",
    "sleep",
    "spawn_task",
    "whereis",
)

_T = TypeVar("_T")
_spawned: set[asyncio.Task[Any]] = set()


def _caller() -> Any:
    return _isolated.caller.get(None)


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of an Erlang function must be a str, not {type(name).__name__}")
    return name


def _value(body: bytes) -> Any:
    """What an answer of the server means."""
    what, *rest = _isolated.link.decode(body)
    if what == "ok":
        return rest[0]
    if what == "not_registered":
        raise NotRegisteredError(rest[0])
    if what == "no_process":
        raise ProcessError(rest[0])
    if what == "bad_term":
        raise ValueError(rest[0])
    error_class, reason, stack, message = rest
    raise ErlangError(message, error_class, reason, stack)


def _ask(kind: Asked, term: Any, timeout: float | None = None) -> Any:
    deadline = None if timeout is None else time.monotonic() + timeout
    _check_open()
    question = Question()
    number = _isolated.link.ask(kind, term, question)
    try:
        body = _isolated.wait(question, deadline)
    finally:
        try:
            _isolated.link.forget(number)
        finally:
            # Again, should an interrupt have come in between: requests that nobody gets to would be lost.
            _isolated.link.forget(number)
            _isolated.link.leave(question)
    return _value(body)


def _check_open() -> None:
    if _isolated.link.closed:
        raise ErlangError("the server ends", "exit", "closed")


def call(name: str, *args: Any, timeout: float | None = None) -> Any:
    """Call a registered Erlang function and wait for its value.

    NotRegisteredError, ErlangError when it raises, TimeoutError after ``timeout`` seconds.
    """
    return _ask(Asked.CALL, (_name(name), list(args), _caller()), timeout)


def async_call(name: str, *args: Any) -> asyncio.Future[Any]:
    """A future of the running loop for the value of a registered Erlang function."""

    def finish(future: asyncio.Future[Any], body: bytes) -> None:
        try:
            value = _value(body)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(value)

    _check_open()
    question = AsyncQuestion(finish)
    number = _isolated.link.ask(Asked.CALL, (_name(name), list(args), _caller()), question)
    question.future.add_done_callback(lambda _: _isolated.link.forget(number))
    return question.future


def self() -> Any:
    """The process on whose behalf this code runs; ProcessError when there is none."""
    process = _caller()
    if process is None:
        raise ProcessError("this code runs on behalf of no Erlang process")
    return process


def send(to: Any, message: Any) -> None:
    """Send a message to a process, a registered name or ``(name, node)``; ProcessError when it does not exist."""
    _ask(Asked.SEND, (to, message))


def whereis(name: str) -> Any:
    """The process that is registered under a name, or None."""
    return _ask(Asked.WHEREIS, _name(name))


def registered_function(name: str) -> functools.partial[Any]:
    """The function that calls the Erlang function registered under ``name``; AttributeError for other names."""
    if name.startswith("__") or not _ask(Asked.REGISTERED, name):
        raise AttributeError(f"module 'erlang' has no attribute {name!r}")
    function = functools.partial(call, name)
    function.__name__ = function.__qualname__ = name  # type: ignore[attr-defined]
    return function


def sleep(seconds: float) -> Any:
    """Sleep for ``seconds``; to be awaited inside a coroutine, where other coroutines run meanwhile."""
    try:
        inside = asyncio.current_task() is not None
    except RuntimeError:
        inside = False
    if inside:
        return asyncio.sleep(seconds)
    time.sleep(seconds)
    return None


def spawn_task(coro: Coroutine[Any, Any, _T], *, name: str | None = None) -> asyncio.Task[_T]:
    """Run a coroutine as a task of the running loop and return it at once; RuntimeError without a loop."""
    try:
        task = asyncio.get_running_loop().create_task(coro, name=name)
    except RuntimeError:
        coro.close()
        raise
    _spawned.add(task)
    task.add_done_callback(_spawned.discard)
    return task
