"""Python in a process of its own, for ``py_isolated``: what runs there, and how it ends.

The server starts ``python -c`` with a line that calls :func:`main`. Descriptors 3 and 4 are the pipe to the server. Calls
run one after the other on the main thread, so that they can be interrupted as Python is by Ctrl-C, also inside system
calls; coroutines run on an event loop in another thread; a third thread reads what comes.

When the server's end of the pipe is closed, the process ends at once.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import contextvars
import functools
import importlib
import inspect
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from . import _external
from ._isolated_link import Asked, Link, Question, Request

__all__ = ("caller", "link", "main", "wait")

_SOURCE, _SINK = 3, 4
_CPU_GRACE = 5  # seconds
_TRACEBACK, _ARRAYS_AS_BINARY = 1, 2
_BUILTIN_EXCEPTIONS = {
    value
    for value in vars(builtins).values()
    if isinstance(value, type) and issubclass(value, BaseException)
}

caller: contextvars.ContextVar[Any] = contextvars.ContextVar("erlang_caller")
"""The process on whose behalf code runs."""

link: Link = None  # type: ignore[assignment]
"""The pipe to the server, from :func:`main` on."""


class _Work(NamedTuple):
    """A request of the server: its kind, number, and the term with the rest."""

    kind: int
    number: int
    term: Any


class _Interrupts:
    """Which of the requests that run on the main thread is to be interrupted."""

    def __init__(self) -> None:
        self.running: list[int] = []
        self._wanted: set[int] = set()

    def want(self, number: int) -> None:
        """On the reading thread."""
        if number in self.running:
            self._wanted.add(number)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def check(self) -> None:
        """Raise KeyboardInterrupt if the innermost request is meant; others have their turn when it is done."""
        if self.running and self.running[-1] in self._wanted:
            self._wanted.discard(self.running[-1])
            raise KeyboardInterrupt

    def handle(self, _signal: int, _frame: object) -> None:
        # Half a frame on the pipe would be the end of the connection.
        if not link.sending:
            self.check()

    def evaluate(self, number: int, function: Callable[[], Any]) -> Any:
        """Call a function that may be interrupted; afterwards its request cannot be."""
        depth = len(self.running)
        self.running.append(number)
        try:
            return function()
        finally:
            del self.running[depth:]
            self._wanted.discard(number)


_interrupts = _Interrupts()
_inbox: queue.SimpleQueue[_Work] = queue.SimpleQueue()


# ---- Calls


def _resolve(module: str, function: str) -> Any:
    """The function of a module; the name of the module may go on into classes, as for ``py:call``."""
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


def _evaluate(work: _Work) -> Any:
    if work.kind == Request.EVAL:
        code, names = work.term
        namespace = {**_namespace(), **names} if names else _namespace()
        return eval(compile(code, "<erlang>", "eval"), namespace)
    if work.kind == Request.EXEC:
        exec(compile(work.term[0], "<erlang>", "exec"), _namespace())
        return _external.Atom("ok")
    module, function, args, kwargs = work.term
    return _resolve(module, function)(*args, **kwargs)


def _exception_body(error: BaseException, flags: int) -> bytes:
    kind = type(error)
    try:
        message = str(error)
    except BaseException:
        message = f"<unprintable {_external._full_name(kind)} object>"
    lines = []
    if flags & _TRACEBACK:
        try:
            lines = traceback.format_exception(error)
        except BaseException:
            lines = []
    return _external.encode(
        (
            _text(_external._full_name(kind)),
            kind in _BUILTIN_EXCEPTIONS,
            _text(message),
            [_text(line) for line in lines],
        )
    )


def _text(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


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


def _answer(number: int, flags: int, evaluate: Callable[[], Any]) -> None:
    """Send what a function returns or raises."""
    try:
        kind, body = _outcome(flags, evaluate)
    except KeyboardInterrupt as error:
        # It came when the function had just ended.
        kind, body = Asked.EXCEPTION, _exception_body(error, flags)
    try:
        link.send(kind, number, body)
    except OverflowError as error:
        link.send(Asked.EXCEPTION, number, _exception_body(error, flags))


def _execute(work: _Work) -> None:
    """Run a request that has its term still in external format, on this thread."""

    def evaluate() -> Any:
        _, process, _, *term = _external.decode(work.term)
        token = caller.set(process)
        try:
            return _evaluate(_Work(work.kind, work.number, term))
        finally:
            caller.reset(token)

    flags = _flags(work.term)
    if threading.current_thread() is threading.main_thread():
        _answer(work.number, flags, lambda: _interrupts.evaluate(work.number, evaluate))
    else:
        _answer(work.number, flags, evaluate)


def _flags(term: bytes) -> int:
    # The third element, behind a small integer; a term that cannot be converted still says how to answer.
    try:
        return int(_external.decode(b"\x83" + term[_flags_offset(term) :]))
    except Exception:
        return 0


def _flags_offset(term: bytes) -> int:
    reader = _external._Reader(term, 3)
    reader.term()
    reader.term()
    return reader.at


def wait(question: Question, deadline: float | None) -> bytes:
    """Wait for the answer to a question; what the answer needs from this thread runs meanwhile."""

    def run(work: _Work) -> None:
        _execute(work)
        if threading.current_thread() is threading.main_thread():
            _interrupts.check()

    return question.wait(deadline, run)


# ---- Coroutines


class _Tasks:
    """The event loop, started with the first coroutine, and its tasks by their numbers."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._cancelled: set[int] = set()

    def start(self, work: _Work) -> None:
        """On the reading thread, as the rest."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._drive, name="erlang-loop", daemon=True).start()
        self._loop.call_soon_threadsafe(self._begin, work)

    def cancel(self, number: int) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, number)

    def _drive(self) -> None:
        loop = self._loop
        assert loop is not None
        asyncio.set_event_loop(loop)
        while True:
            # Somebody may stop it, which is not for him to decide.
            loop.run_forever()

    def _begin(self, work: _Work) -> None:
        assert self._loop is not None
        task = self._loop.create_task(self._run(work))
        self._tasks[work.number] = task
        task.add_done_callback(lambda _: self._tasks.pop(work.number, None))

    def _cancel(self, number: int) -> None:
        task = self._tasks.get(number)
        if task is not None:
            self._cancelled.add(number)
            task.cancel()

    async def _run(self, work: _Work) -> None:
        flags = _flags(work.term)
        try:
            _, process, _, *term = _external.decode(work.term)
            caller.set(process)
            value = _evaluate(_Work(Request.CALL, work.number, term))
            if inspect.isawaitable(value):
                value = await value
        except BaseException as error:
            _answer(work.number, flags, functools.partial(_raise, error))
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            _answer(work.number, flags, lambda: value)
        finally:
            self._cancelled.discard(work.number)


def _raise(error: BaseException) -> None:
    raise error


_tasks = _Tasks()


# ---- Frames


def _read() -> None:
    """The life of the reading thread."""
    try:
        for kind, number, body in _frames:
            _dispatch(kind, number, body)
    except BaseException:
        traceback.print_exc()
        os._exit(70)  # EX_SOFTWARE
    # The server is gone.
    os._exit(0)


def _dispatch(kind: int, number: int, body: bytes) -> None:
    if kind in (Request.CALL, Request.EVAL, Request.EXEC):
        work = _Work(kind, number, body)
        via = _via(body)
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
        _inbox.put(_Work(Request.STOP, 0, b""))


def _via(term: bytes) -> int:
    """The question of ours, during whose answer the server asks; 0 for none."""
    return int(_external._Reader(term, 3).term())


def _after_fork() -> None:
    """A forked process must neither hear nor be heard."""
    for fd in (_SOURCE, _SINK):
        with contextlib.suppress(OSError):
            os.close(fd)


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


def _set_up(config: dict[str, Any]) -> None:
    _external.options.none = config["none_atom"]
    _external.options.max_bytes = config["max_bytes"]
    sys.path[:0] = config["paths"]
    _limit(config["limits"])
    if config["setup"]:
        exec(compile(config["setup"], "<erlang>", "exec"), _namespace())


def main() -> None:
    """Serve a ``py_isolated`` server until it is gone."""
    global link, _frames
    _die_with_the_vm()
    for fd in (_SOURCE, _SINK):
        os.set_inheritable(fd, False)
        os.set_blocking(fd, True)
    os.register_at_fork(after_in_child=_after_fork)
    # The terminal's input is the Erlang shell's.
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    signal.signal(signal.SIGINT, _interrupts.handle)
    link = Link(_SOURCE, _SINK)
    _frames = link.frames()
    link.send(Asked.HELLO)
    first = next(_frames, None)
    if first is None or first[0] != Request.CONFIGURE:
        return
    threading.Thread(target=_read, name="erlang-link", daemon=True).start()
    try:
        _set_up(_external.decode(first[2]))
    except BaseException as error:
        link.send(Asked.REFUSED, 0, _exception_body(error, _TRACEBACK))
        return
    link.send(Asked.READY)
    _serve()


def _serve() -> None:
    """The life of the main thread; it returns when the server asks for it."""
    while True:
        try:
            work = _inbox.get()
            if work.kind == Request.STOP:
                return
            _execute(work)
        except KeyboardInterrupt:
            # It came when the request that it was for had just ended.
            continue


_frames: Any = None
