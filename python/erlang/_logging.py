"""Python's logging, print() and stderr to Erlang's logger and group leaders."""

from __future__ import annotations

import io
import logging
import sys
import threading
from typing import Any

import _erlang

from ._errors import ErlangError, ProcessError

__all__ = ("ErlangHandler", "GroupLeaderStream", "configure", "setup_logging", "setup_output")

_LEVELS = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO, "info"),
)

# So many records may be on their way to Erlang from one handler before it waits for them to be written.
_BACKLOG = 200

_OUTPUT_SECONDS = 5


def _erlang_level(level: int) -> str:
    for bound, name in _LEVELS:
        if level >= bound:
            return name
    return "debug"


def _caller() -> Any:
    try:
        return _erlang.self()
    except ProcessError:
        return None


class ErlangHandler(logging.Handler):
    """Hands records to Erlang's ``logger``, with level, time, place, thread and the Erlang process they are logged for.

    In Erlang their metadata has ``python_logger``, ``python_module``,
    ``python_function`` and ``python_thread``.
    """

    def __init__(self, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self._sent = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record to Erlang; waits now and then, so that Erlang is never flooded."""
        try:
            metadata = {
                "time": int(record.created * 1_000_000),
                "file": record.pathname,
                "line": record.lineno,
                "python_logger": record.name,
                "python_module": record.module,
                "python_function": record.funcName or "",
                "python_thread": record.threadName or "",
            }
            level = _erlang.Atom(_erlang_level(record.levelno))
            message = (
                _erlang.Atom("python_log_record"),
                level,
                self.format(record),
                _caller(),
                metadata,
            )
            _erlang.send_message("py_log", message)
            self._sent += 1
            if self._sent % _BACKLOG == 0:
                self.flush()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Wait until Erlang has written what was sent."""
        try:
            _erlang.call("_py_log_flush", timeout=5)
        except (ErlangError, TimeoutError):
            pass  # the application stops, or its logger hangs: logging must not


def setup_logging(
    level: int | str = logging.INFO, logger: str | logging.Logger | None = None
) -> ErlangHandler:
    """Send what is logged at ``level`` and above to Erlang's logger; ``logger`` (default: the root) says what of it.

    A second call replaces the first one's handler. Returns the handler, for a formatter or filters of one's own.
    """
    target = logger if isinstance(logger, logging.Logger) else logging.getLogger(logger)
    for handler in list(target.handlers):
        if isinstance(handler, ErlangHandler):
            target.removeHandler(handler)
    handler = ErlangHandler()
    target.addHandler(handler)
    target.setLevel(level.upper() if isinstance(level, str) else level)
    return handler


def configure(level: str, logger: str | None) -> None:
    """What py:configure_logging/1 calls."""
    setup_logging(level, logger)


class GroupLeaderStream(io.TextIOBase):
    """A text stream whose lines go to the group leader of the Erlang process on whose behalf the code runs.

    A line is written when ``write()`` returns. What cannot be written within a few seconds, because the group leader
    hangs, goes to the stderr of the VM.
    """

    encoding = "utf-8"

    def __init__(self) -> None:
        super().__init__()
        self._local = threading.local()

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, text: str) -> int:
        """Write whole lines at once and keep the rest for the next call or ``flush()``."""
        caller = _caller()
        kept, owner = getattr(self._local, "rest", ("", None))
        if kept and owner != caller:
            self._put(owner, kept)
            kept = ""
        text_now = kept + text
        end = text_now.rfind("\n") + 1
        if end:
            self._put(caller, text_now[:end])
        self._local.rest = (text_now[end:], caller)
        return len(text)

    def flush(self) -> None:
        """Write the line that is not complete yet."""
        kept, owner = getattr(self._local, "rest", ("", None))
        if kept:
            self._local.rest = ("", None)
            self._put(owner, kept)

    @staticmethod
    def _put(caller: Any, text: str) -> None:
        data = text.encode("utf-8", "replace").decode("utf-8")
        try:
            _erlang.call("_py_put_chars", caller, data, timeout=_OUTPUT_SECONDS)
        except (ErlangError, TimeoutError):
            if sys.__stderr__ is not None:
                sys.__stderr__.write(data)


_original: list[Any] = []


def setup_output(to: str = "group_leader") -> None:
    """Send print() and stderr to the ``"group_leader"`` of the calling Erlang process, or to the ``"vm"`` as before."""
    if to == "group_leader":
        if not _original:
            _original.extend((sys.stdout, sys.stderr))
            sys.stdout = GroupLeaderStream()
            sys.stderr = GroupLeaderStream()
    elif to == "vm":
        if _original:
            sys.stdout, sys.stderr = _original
            _original.clear()
    else:
        raise ValueError(f"output goes to 'group_leader' or 'vm', not to {to!r}")
