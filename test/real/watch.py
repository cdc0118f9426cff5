"""Collects what goes wrong without any test asking: asyncio's error log, unraisable exceptions."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import warnings

_problems: list[str] = []


class _Collector(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        _problems.append(f"{record.name}: {text}")


def _unraisable(event: object) -> None:
    _problems.append(f"unraisable in {event.object!r}: {event.exc_value!r}")


def install() -> None:
    """Collect from now on; ResourceWarning included, which destructors raise as unraisable."""
    # Errors of asyncio (the default exception handler), warnings of slow callbacks left out.
    for name in ("asyncio", "aiohttp", "uvicorn", "websockets"):
        handler = _Collector(level=logging.ERROR)
        logging.getLogger(name).addHandler(handler)
    sys.unraisablehook = _unraisable
    warnings.simplefilter("error", ResourceWarning)


async def problems() -> list[str]:
    """What was collected since the last time."""
    # Lost sockets and never-retrieved exceptions show when they are collected.
    await asyncio.sleep(0)
    gc.collect()
    found = list(_problems)
    _problems.clear()
    return found


def make_problem() -> None:
    """Something that must be found, to test this module with."""
    import socket

    socket.socket()
    asyncio.get_running_loop().call_exception_handler({"message": "a problem made for the test"})
