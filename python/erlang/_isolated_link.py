"""The pipe between an isolated Python and its ``py_isolated`` server: frames, and what waits for an answer.

A frame is its size (4 bytes, big endian, without itself), its kind (1 byte), a number (8 bytes) and a term in external
format or nothing. Requests of the server are numbered by the server, those of this side by this side
(``src/py_isolated_frame.erl`` has the same list of kinds).

One thread reads and one writes, both ours, since signal handlers and destructors, which may do anything, could leave half
a frame on the pipe. (Python runs signal handlers on the main thread; a destructor that asks Erlang on one of ours is
refused.)
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import fcntl
import itertools
import os
import queue
import struct
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from ._external import decode, encode

__all__ = ("Asked", "AsyncQuestion", "Link", "Question", "Request", "broken")

_HEAD = struct.Struct(">IBQ")
_READ_SIZE = 1 << 16
# Parts that are copied into one buffer; larger bodies are written as they are.
_JOIN_SIZE = 1 << 16
# Above the numbers that programs close, or open, by themselves.
_HIGH_DESCRIPTORS = (1000, 200, 50)


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


def broken() -> NoReturn:
    """End the process: nobody would hear of an answer any more."""
    os._exit(70)  # EX_SOFTWARE


class Question:
    """A question to the server for whose answer a thread waits, meanwhile running what the answer needs."""

    def __init__(self) -> None:
        self.inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def answer(self, body: bytes) -> None:
        self.inbox.put(("answer", body))

    def wake(self) -> None:
        self.inbox.put(("wake", None))

    def wait(
        self, deadline: float | None, run: Callable[[Any], None], woken: Callable[[], None]
    ) -> bytes:
        """The answer; TimeoutError when it does not come in time (``time.monotonic()``), or what ``woken`` raises."""
        while True:
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                what, value = self.inbox.get(timeout=remaining)
            except queue.Empty:
                raise TimeoutError("no answer came in time") from None
            if what == "answer":
                return value  # type: ignore[no-any-return]
            if what == "request":
                run(value)
            woken()


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
    """Both directions of the pipe. Any thread may send; one reads.

    ``leftover`` gets the requests that waited for a thread which does not wait any more.
    """

    def __init__(self, source: int, sink: int, leftover: Callable[[Any], None]) -> None:
        self._source = _lift(source)
        self._sink = _lift(sink)
        self._identity = _identity(self._sink)
        self._leftover = leftover
        self._outbox: queue.SimpleQueue[bytes | _Frame | threading.Event] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._questions: dict[int, Question | AsyncQuestion] = {}
        # Of the questions; a signal handler or destructor may ask while its thread holds it.
        self._lock = threading.RLock()
        self._own_threads: set[int] = set()
        self._owner = os.getpid()
        self.closed = False
        """Whether the server asked this process to end: nothing is answered any more."""
        self._thread(self._write_all, "erlang-writer")

    def _thread(self, function: Callable[[], None], name: str) -> None:
        def run() -> None:
            self._own_threads.add(threading.get_ident())
            try:
                function()
            except BaseException:
                traceback.print_exc()
            broken()

        threading.Thread(target=run, name=name, daemon=True).start()

    def number_from(self, first: int) -> None:
        """The number of the first question, which no process before this one had."""
        self._numbers = itertools.count(first)

    # ---- Sending

    def send(self, kind: Asked, number: int = 0, body: bytes = b"") -> None:
        """Send a frame; OverflowError when its body is too large for one."""
        if os.getpid() != self._owner:
            raise RuntimeError("a forked process cannot use the connection of its parent to Erlang")
        size = len(body) + _HEAD.size - 4
        if size >= 1 << 32:
            raise OverflowError("a message to Erlang has at most 4 GiB")
        head = _HEAD.pack(size, kind, number)
        self._outbox.put(head + body if len(body) < _JOIN_SIZE else _Frame((head, body)))

    def flush(self, timeout: float) -> None:
        """Return when what was sent before is written, or the time is over."""
        written = threading.Event()
        self._outbox.put(written)
        written.wait(timeout)

    def _write_all(self) -> None:
        while True:
            item = self._outbox.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            if _identity(self._sink) != self._identity:
                # Somebody closed it, and its number is another file's.
                broken()
            for part in item.parts if isinstance(item, _Frame) else (item,):
                view = memoryview(part)
                while view:
                    view = view[os.write(self._sink, view) :]
            del item

    def is_owner(self) -> bool:
        """False in a process that was forked."""
        return os.getpid() == self._owner

    def close_in_fork(self) -> None:
        """A forked process must neither hear nor be heard."""
        for fd in (self._source, self._sink):
            with contextlib.suppress(OSError):
                os.close(fd)

    # ---- Receiving

    def read(self, dispatch: Callable[[int, int, bytes], None]) -> None:
        """Have the frames that come dispatched by a thread; when the server closes its end, the process ends."""

        def run() -> None:
            for kind, number, body in self.frames():
                dispatch(kind, number, body)
            os._exit(0)

        self._thread(run, "erlang-reader")

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

    def first_frame(self) -> tuple[int, int, bytes] | None:
        """The frame that comes before :meth:`read`, of which nothing that follows it is read."""
        head = self._read_exactly(_HEAD.size)
        if head is None:
            return None
        size, kind, number = _HEAD.unpack(head)
        body = self._read_exactly(size + 4 - _HEAD.size)
        return None if body is None else (kind, number, body)

    def _read_exactly(self, size: int) -> bytes | None:
        data = b""
        while len(data) < size:
            more = os.read(self._source, size - len(data))
            if not more:
                return None
            data += more
        return data

    # ---- Questions

    def ask(self, kind: Asked, term: Any, question: Question | AsyncQuestion) -> int:
        """Send a question; its number, to be given to :meth:`forget`."""
        if threading.get_ident() in self._own_threads:
            raise RuntimeError(
                "a destructor on this thread cannot ask Erlang: it would wait for itself"
            )
        body = encode(term)
        number = next(self._numbers)
        self._questions[number] = question
        try:
            self.send(kind, number, body)
        except BaseException:
            self._questions.pop(number, None)
            raise
        return number

    def forget(self, number: int) -> None:
        """Nobody waits for the answer any more; requests that waited for this thread are left over."""
        with self._lock:
            question = self._questions.pop(number, None)
        if isinstance(question, Question):
            self.leave(question)

    def leave(self, question: Question) -> None:
        """Have what a thread did not get to done elsewhere. The question must not be found any more."""
        while True:
            try:
                what, value = question.inbox.get_nowait()
            except queue.Empty:
                return
            if what == "request":
                self._leftover(value)

    def answered(self, number: int, body: bytes) -> None:
        """The server answered a question, which may be forgotten by now."""
        question = self._questions.get(number)
        if question is not None:
            question.answer(body)

    def nested(self, number: int, request: Any) -> bool:
        """Have a request run by the thread that waits for a question's answer; False when none does."""
        with self._lock:
            question = self._questions.get(number)
            if not isinstance(question, Question):
                return False
            question.inbox.put(("request", request))
            return True

    @staticmethod
    def decode(body: bytes) -> Any:
        return decode(body)


class _Frame:
    """A frame whose parts are not worth copying together."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[bytes, ...]) -> None:
        self.parts = parts


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _lift(fd: int) -> int:
    """A descriptor of the same pipe where nobody looks for one, which no program inherits."""
    os.set_blocking(fd, True)
    for lowest in _HIGH_DESCRIPTORS:
        try:
            lifted = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)
        except OSError:
            continue
        os.close(fd)
        return lifted
    os.set_inheritable(fd, False)
    return fd
