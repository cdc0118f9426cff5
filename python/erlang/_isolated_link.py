"""The pipe between an isolated Python and its ``py_isolated`` server: frames, and what waits for an answer.

A frame is its size (4 bytes, big endian, without itself), its kind (1 byte), a number (8 bytes) and a term in external
format or nothing. Requests of the server are numbered by the server, those of this side by this side
(``src/py_isolated_frame.erl`` has the same list of kinds).
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import itertools
import os
import queue
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from ._external import decode, encode

__all__ = ("Asked", "Link", "Question", "Request")

_HEAD = struct.Struct(">IBQ")
_READ_SIZE = 1 << 16
# Parts that are copied into one buffer; larger bodies are written as they are.
_JOIN_SIZE = 1 << 16


class Request(enum.IntEnum):
    """What the server asks for."""

    CALL = 1
    EVAL = 2
    EXEC = 3
    RUN = 4
    CANCEL = 5
    INTERRUPT = 6
    ANSWER = 7
    STOP = 8
    CONFIGURE = 9


class Asked(enum.IntEnum):
    """What this side sends."""

    HELLO = 1
    READY = 2
    REFUSED = 3
    VALUE = 4
    EXCEPTION = 5
    CALL = 6
    SEND = 7
    WHEREIS = 8
    REGISTERED = 9


class Question:
    """A question to the server for whose answer a thread waits, meanwhile running what the answer needs."""

    def __init__(self) -> None:
        self.inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def answer(self, body: bytes) -> None:
        self.inbox.put(("answer", body))

    def wait(self, deadline: float | None, run: Callable[[Any], None]) -> bytes:
        """The answer; TimeoutError when it does not come in time (``time.monotonic()``)."""
        while True:
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                what, value = self.inbox.get(timeout=remaining)
            except queue.Empty:
                raise TimeoutError("no answer came in time") from None
            if what == "answer":
                return value  # type: ignore[no-any-return]
            run(value)


class AsyncQuestion:
    """A question for whose answer a future waits."""

    def __init__(self, finish: Callable[[asyncio.Future[Any], bytes], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self._finish = finish

    def answer(self, body: bytes) -> None:
        # A loop that is closed has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._done, body)

    def _done(self, body: bytes) -> None:
        if not self.future.done():
            self._finish(self.future, body)


class Link:
    """Both directions of the pipe. Any thread may send; one reads."""

    def __init__(self, source: int, sink: int) -> None:
        self._source = source
        self._sink = sink
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._questions: dict[int, Question | AsyncQuestion] = {}
        self._owner = os.getpid()
        self.sending = False
        """Whether the main thread is at it."""

    def send(self, kind: Asked, number: int = 0, body: bytes = b"") -> None:
        """Send a frame; OverflowError when its body is too large for one."""
        if os.getpid() != self._owner:
            raise RuntimeError("a forked process cannot use the connection of its parent to Erlang")
        size = len(body) + _HEAD.size - 4
        if size >= 1 << 32:
            raise OverflowError("a message to Erlang has at most 4 GiB")
        head = _HEAD.pack(size, kind, number)
        parts = (head + body,) if len(body) < _JOIN_SIZE else (head, body)
        if threading.current_thread() is not threading.main_thread():
            self._write(parts)
            return
        try:
            self.sending = True
            self._write(parts)
        finally:
            self.sending = False

    def _write(self, parts: tuple[bytes, ...]) -> None:
        with self._lock:
            for part in parts:
                view = memoryview(part)
                while view:
                    view = view[os.write(self._sink, view) :]

    def frames(self) -> Iterator[tuple[int, int, bytes]]:
        """The frames that come, until the server closes its end."""
        buffer = bytearray()
        while True:
            while len(buffer) >= _HEAD.size:
                size, kind, number = _HEAD.unpack_from(buffer)
                end = size + 4
                if len(buffer) < end:
                    break
                body = bytes(memoryview(buffer)[_HEAD.size : end])
                del buffer[:end]
                yield kind, number, body
            data = os.read(self._source, _READ_SIZE)
            if not data:
                return
            buffer += data

    def ask(self, kind: Asked, term: Any, question: Question | AsyncQuestion) -> int:
        """Send a question; its number, to be given to :meth:`forget`."""
        body = encode(term)
        number = next(self._numbers)
        self._questions[number] = question
        try:
            self.send(kind, number, body)
        except BaseException:
            self.forget(number)
            raise
        return number

    def forget(self, number: int) -> None:
        self._questions.pop(number, None)

    def answered(self, number: int, body: bytes) -> None:
        """The server answered a question, which may be forgotten by now."""
        question = self._questions.pop(number, None)
        if question is not None:
            question.answer(body)

    def nested(self, number: int, request: Any) -> bool:
        """Have a request run by the thread that waits for a question's answer; False when none does."""
        question = self._questions.get(number)
        if not isinstance(question, Question):
            return False
        question.inbox.put(("request", request))
        return True

    @staticmethod
    def decode(body: bytes) -> Any:
        return decode(body)
