"""Python in a process of its own, for ``py_isolated``: what runs there, and how it ends.

The server starts ``python -c`` with a line that calls :func:`main`. Descriptors 3 and 4 are the pipe to the server. Calls
run one after the other on the main thread, so that they can be interrupted as Python is by Ctrl-C, also inside system
calls; coroutines run on an event loop in another thread; two threads read and write frames (``_isolated_link.py``).

When the server's end of the pipe is closed, the process ends at once. It also ends when an answer cannot be sent: the
server then says so to whoever waits.
"""

from __future__ import annotations

import asyncio
import builtins
import contextvars
import importlib
import inspect
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from . import _external
from ._isolated_link import Asked, Link, Question, Request, broken

__all__ = ("caller", "link", "main", "wait")

_SOURCE, _SINK = 3, 4
_CPU_GRACE = 5  # seconds
_FLUSH_SECONDS = 10.0
_MOST_TEXT = 100_000  # characters of a message or a line of a traceback
_TRACEBACK, _ARRAYS_AS_BINARY = 1, 2
_BUILTIN_EXCEPTIONS = tuple(
    value
    for value in vars(builtins).values()
    if isinstance(value, type) and issubclass(value, BaseException)
)

caller: contextvars.ContextVar[Any] = contextvars.ContextVar("erlang_caller")
"""The process on whose behalf code runs."""

link: Link = None  # type: ignore[assignment]
"""The pipe to the server, from :func:`main` on."""


class _Work(NamedTuple):
    """A request of the server: its kind, number, and the term with the rest, in external format."""

    kind: int
    number: int
    term: bytes


_inbox: queue.SimpleQueue[_Work] = queue.SimpleQueue()


# ---- Interrupts


class _Interrupts:
    """Which of the requests of the main thread is to be interrupted.

    ``KeyboardInterrupt`` is raised by the signal's handler only while code of a request runs (``_open``); while the
    thread waits for an answer, the waiting itself looks.
    """

    def __init__(self) -> None:
        self._dispatched: set[int] = set()  # not answered yet
        self._wanted: set[int] = set()
        self._running: list[int] = []  # the innermost last
        self._open = False
        self._waiting: Question | None = None

    def dispatched(self, number: int) -> None:
        """On the reading thread, as :meth:`want`."""
        self._dispatched.add(number)

    def want(self, number: int) -> None:
        if number not in self._dispatched:
            return
        self._wanted.add(number)
        question = self._waiting
        if question is not None:
            question.wake()
        self._nudge()
        threading.Thread(target=self._insist, args=(number,), daemon=True).start()

    @staticmethod
    def _nudge() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def _insist(self, number: int) -> None:
        """Signal again until it is heard: one that comes just before a system call begins does not end it."""
        pause = 0.01
        while number in self._wanted and number in self._dispatched:
            self._nudge()
            time.sleep(pause)
            pause = min(2 * pause, 0.5)

    def answered(self, number: int) -> None:
        self._dispatched.discard(number)
        self._wanted.discard(number)

    def handle(self, _signal: int, _frame: object) -> None:
        if self._open:
            self._check()

    def _check(self) -> None:
        if self._running and self._running[-1] in self._wanted:
            self._wanted.discard(self._running[-1])
            raise KeyboardInterrupt

    def run(self, number: int, function: Callable[[], Any]) -> Any:
        """What a function returns that may be interrupted in the name of a request, and in no other's."""
        depth = len(self._running)
        try:
            self._running.append(number)
            self._open = True
            self._check()
            return function()
        finally:
            self._open = False
            del self._running[depth:]

    def settle(self, depth: int) -> None:
        """Whatever an interrupt at an odd moment left."""
        self._open = False
        del self._running[depth:]

    @property
    def depth(self) -> int:
        return len(self._running)

    def wait(
        self, question: Question, deadline: float | None, run: Callable[[_Work], None]
    ) -> bytes:
        """Wait for an answer as part of what runs: an interrupt of the innermost request ends it."""
        outer, self._waiting = self._waiting, question
        self._open = False
        try:
            self._check()
            return question.wait(deadline, run, self._check)
        finally:
            self._waiting = outer
            self._open = True


_interrupts = _Interrupts()


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


# ---- Calls


def _resolve(module: Any, function: Any) -> Any:
    """The function of a module; the name of the module may go on into classes, as for ``py:call``."""
    for kind, name in (("module", module), ("function", function)):
        if type(name) is not str:
            raise TypeError(f"the name of a {kind} must be an atom or a binary of UTF-8")
    found = sys.modules.get(module)
    rest: list[str] = []
    name = module
    while found is None:
        try:
            found = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name or "." not in name:
                raise
            name, _, part = name.rpartition(".")
            rest.insert(0, part)
    for part in rest:
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module) from None
    for part in function.split("."):
        found = getattr(found, part)
    return found


def _namespace() -> dict[str, Any]:
    return vars(sys.modules["__main__"])


def _evaluate(kind: int, term: list[Any]) -> Any:
    if kind == Request.EVAL:
        code, names = term
        namespace = {**_namespace(), **names} if names else _namespace()
        return eval(compile(code, "<erlang>", "eval"), namespace)
    if kind == Request.EXEC:
        exec(compile(term[0], "<erlang>", "exec"), _namespace())
        return _external.Atom("ok")
    module, function, args, kwargs = term
    return _resolve(module, function)(*args, **kwargs)


def _text(text: str) -> bytes:
    # str's own methods, whatever a subclass has.
    return str.encode(str.__getitem__(text, slice(_MOST_TEXT)), "utf-8", "backslashreplace")


def _exception_body(error: BaseException, flags: int) -> bytes:
    """An exception for Erlang: the name of its class, whether that is Python's own, its message, its traceback."""
    kind = type(error)
    name = _external._full_name(kind)
    try:
        message = str(error)
    except BaseException:
        message = f"<unprintable {name} object>"
    lines: list[bytes] = []
    if flags & _TRACEBACK:
        try:
            lines = [_text(line) for line in traceback.format_exception(error)]
        except BaseException:
            lines = []
    builtin = any(kind is other for other in _BUILTIN_EXCEPTIONS)
    try:
        return _external.encode((_text(name), builtin, _text(message), lines))
    except MemoryError:
        return _external.encode((_text(name), builtin, b"<a message that is too large>", []))


def _outcome(flags: int, evaluate: Callable[[], Any]) -> tuple[Asked, bytes]:
    """What to answer for what a function returns or raises."""
    try:
        value = evaluate()
        if inspect.iscoroutine(value):
            value.close()
            raise TypeError("the function returned a coroutine: use py_isolated:run to run it")
        return Asked.VALUE, _external.encode(
            value, arrays_as_binary=bool(flags & _ARRAYS_AS_BINARY)
        )
    except BaseException as error:
        return Asked.EXCEPTION, _exception_body(error, flags)


def _send(number: int, flags: int, kind: Asked, body: bytes) -> None:
    if not link.is_owner():
        # A forked process came back here; its parent answers.
        os._exit(0)
    try:
        link.send(kind, number, body)
    except OverflowError as error:
        link.send(Asked.EXCEPTION, number, _exception_body(error, flags))


def _execute(work: _Work) -> None:
    """Run a request on this thread, and answer it."""
    via, process, flags, term = _opened(work.term)

    def evaluate() -> Any:
        if isinstance(term, BaseException):
            raise term
        token = caller.set(process)
        try:
            return _evaluate(work.kind, term)
        finally:
            caller.reset(token)

    def outcome() -> tuple[Asked, bytes]:
        return _outcome(flags, evaluate)

    if not _is_main():
        result = outcome()
        _interrupts.answered(work.number)
        _send(work.number, flags, *result)
        return
    depth = _interrupts.depth
    try:
        result = _interrupts.run(work.number, outcome)
    except BaseException as error:
        # An interrupt that came when the function had just ended, or raised.
        _interrupts.settle(depth)
        result = Asked.EXCEPTION, _exception_body(error, flags)
    _interrupts.settle(depth)
    _interrupts.answered(work.number)
    _send(work.number, flags, *result)


def _opened(data: bytes) -> tuple[int, Any, int, Any]:
    """The elements of a request: the question that it belongs to, the caller, flags, and the rest or its exception."""
    reader = _external._Reader(data, 3)
    via, process, flags = reader.term(), reader.term(), reader.term()
    try:
        rest = _external.decode(data)[3:]
    except BaseException as error:
        rest = error
    return via, process, flags, rest


def wait(question: Question, deadline: float | None) -> bytes:
    """Wait for the answer to a question; what the answer needs from this thread runs meanwhile."""
    if _is_main() and _interrupts.depth:
        return _interrupts.wait(question, deadline, _execute)
    return question.wait(deadline, _execute, lambda: None)


# ---- Coroutines


class _Tasks:
    """The event loop, started with the first coroutine, and its tasks by their numbers."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._unanswered: dict[int, int] = {}  # number: flags

    def start(self, work: _Work) -> None:
        """On the reading thread, as :meth:`cancel`."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._drive, name="erlang-loop", daemon=True).start()
        self._call(self._begin, work)

    def cancel(self, number: int) -> None:
        if self._loop is not None:
            self._call(self._cancel, number)

    def _call(self, function: Callable[[Any], None], argument: Any) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(function, argument)
        except RuntimeError:
            # Somebody closed the loop, and with it everything that waited there.
            broken()

    def _drive(self) -> None:
        loop = self._loop
        assert loop is not None
        asyncio.set_event_loop(loop)
        while not loop.is_closed():
            try:
                # Somebody may stop it, which is not for him to decide.
                loop.run_forever()
            except BaseException:
                # SystemExit and KeyboardInterrupt of a callback.
                traceback.print_exc()
        if not link.is_owner():
            os._exit(0)
        broken()

    def _begin(self, work: _Work) -> None:
        _, process, flags, term = _opened(work.term)
        number = work.number
        self._unanswered[number] = flags
        coroutine = self._run(number, process, term)
        try:
            assert self._loop is not None
            task = self._loop.create_task(coroutine)
        except BaseException as error:
            coroutine.close()
            self._answer(number, *_outcome(flags, _raising(error)))
            return
        self._tasks[number] = task
        task.add_done_callback(lambda task: self._ended(number, task))

    def _ended(self, number: int, task: asyncio.Task[None]) -> None:
        self._tasks.pop(number, None)
        if number in self._unanswered:
            # It was cancelled before its first step.
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            self._answer(number, *_outcome(0, _raising(error or asyncio.CancelledError())))

    def _cancel(self, number: int) -> None:
        task = self._tasks.get(number)
        if task is not None:
            task.cancel()

    async def _run(self, number: int, process: Any, term: Any) -> None:
        flags = self._unanswered[number]
        try:
            if isinstance(term, BaseException):
                raise term
            caller.set(process)
            value = _evaluate(Request.CALL, term)
            if inspect.isawaitable(value):
                value = await value
        except BaseException as error:
            self._answer(number, *_outcome(flags, _raising(error)))
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            self._answer(number, *_outcome(flags, lambda: value))

    def _answer(self, number: int, kind: Asked, body: bytes) -> None:
        flags = self._unanswered.pop(number, None)
        if flags is not None:
            try:
                _send(number, flags, kind, body)
            except BaseException:
                traceback.print_exc()
                broken()


def _raising(error: BaseException) -> Callable[[], Any]:
    def function() -> Any:
        raise error

    return function


_tasks = _Tasks()


# ---- Frames


def _dispatch(kind: int, number: int, body: bytes) -> None:
    """What the reading thread does with a frame."""
    if kind in (Request.CALL, Request.EVAL, Request.EXEC):
        _interrupts.dispatched(number)
        work = _Work(kind, number, body)
        via = _external._Reader(body, 3).term()
        if not via or not link.nested(via, work):
            _inbox.put(work)
    elif kind == Request.RUN:
        _tasks.start(_Work(kind, number, body))
    elif kind == Request.CANCEL:
        _tasks.cancel(number)
    elif kind == Request.INTERRUPT:
        _interrupts.want(number)
    elif kind == Request.ANSWER:
        link.answered(number, body)
    elif kind == Request.STOP:
        link.closed = True
        _inbox.put(_Work(Request.STOP, 0, b""))


# ---- The process


def _limit(limits: dict[str, int]) -> None:
    import resource

    kinds = {
        "memory": resource.RLIMIT_AS,
        "cpu": resource.RLIMIT_CPU,
        "files": resource.RLIMIT_NOFILE,
        "file_size": resource.RLIMIT_FSIZE,
        "core": resource.RLIMIT_CORE,
    }
    for name, value in limits.items():
        # At the soft limit SIGXCPU says what it is; at the hard one SIGKILL would come in its place.
        hard = value + _CPU_GRACE if name == "cpu" else value
        resource.setrlimit(kinds[name], (value, hard))


def _die_with_the_vm() -> None:
    """Linux: also when C code keeps the GIL, so that the reading thread cannot see the end of the pipe."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    except (ImportError, OSError, AttributeError):
        pass


def _configure(config: dict[str, Any]) -> None:
    _external.options.none = config["none_atom"]
    _external.options.max_bytes = config["max_bytes"]
    link.number_from(config["first_number"])
    sys.path[:0] = config["paths"]


def _set_up(config: dict[str, Any]) -> None:
    _limit(config["limits"])
    if config["setup"]:
        exec(compile(config["setup"], "<erlang>", "exec"), _namespace())


def main() -> None:
    """Serve a ``py_isolated`` server until it is gone."""
    global link
    for name in ("sys", "erlang"):
        _namespace().pop(name, None)
    _die_with_the_vm()
    signal.signal(signal.SIGINT, _interrupts.handle)
    link = Link(_SOURCE, _SINK, _inbox.put)
    os.register_at_fork(after_in_child=link.close_in_fork)
    # The terminal's input is the Erlang shell's.
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    link.send(Asked.HELLO)
    first = link.first_frame()
    if first is None or first[0] != Request.CONFIGURE:
        return
    config = _external.decode(first[2])
    _configure(config)
    link.read(_dispatch)
    try:
        _set_up(config)
    except BaseException as error:
        link.send(Asked.REFUSED, 0, _exception_body(error, _TRACEBACK))
        link.flush(_FLUSH_SECONDS)
        return
    link.send(Asked.READY)
    _serve()


def _serve() -> None:
    """The life of the main thread; it returns when the server asks for it."""
    while True:
        work = _inbox.get()
        if work.kind == Request.STOP:
            return
        _execute(work)
