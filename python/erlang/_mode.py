"""Which way the Python interpreters of this process share the GIL."""

from __future__ import annotations

import enum
import sys
from typing import Any

__all__ = ("ExecutionMode", "detect_mode")


class ExecutionMode(enum.Enum):
    """How Python code that runs in several threads at once is executed."""

    FREE_THREADED = "free_threaded"
    """A free-threaded build (3.13 and later) whose GIL is off: threads run in parallel."""

    SUBINTERP = "subinterp"
    """A sub-interpreter with a GIL of its own (3.12 and later): interpreters run in parallel."""

    SHARED_GIL = "shared_gil"
    """One GIL for all threads of all interpreters that share it."""


def _interpreters_module() -> Any:
    try:
        import _interpreters
    except ImportError:
        import _xxsubinterpreters as _interpreters
    return _interpreters


def _owns_gil_of_subinterpreter() -> bool:
    try:
        interpreters = _interpreters_module()
    except ImportError:
        return False
    current = interpreters.get_current()
    main = interpreters.get_main()
    if current == main:
        return False
    if not hasattr(interpreters, "get_config"):
        # 3.12 cannot be asked. Its sub-interpreters own a GIL unless they were made the old way.
        return sys.version_info >= (3, 12)
    interpreter_id = current[0] if isinstance(current, tuple) else current
    return interpreters.get_config(interpreter_id).gil == "own"


def detect_mode() -> ExecutionMode:
    """The execution mode of the calling interpreter, as it is now.

    A free-threaded build that switched its GIL back on (for an extension module that needs it, or
    by PYTHON_GIL=1) is not FREE_THREADED; a sub-interpreter that shares the GIL is not SUBINTERP.
    """
    is_gil_enabled = getattr(sys, "_is_gil_enabled", None)
    if is_gil_enabled is not None and not is_gil_enabled():
        return ExecutionMode.FREE_THREADED
    if _owns_gil_of_subinterpreter():
        return ExecutionMode.SUBINTERP
    return ExecutionMode.SHARED_GIL
