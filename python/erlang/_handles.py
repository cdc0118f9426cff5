"""What happens when a callback raises, for callbacks that the native side runs."""

from __future__ import annotations

import asyncio
from asyncio import format_helpers
from typing import Any

__all__ = ["report"]


def report(handle: asyncio.Handle, exc: BaseException) -> None:
    """Give the exception of a handle's callback to its loop, as ``Handle._run()`` does."""
    loop: Any = handle._loop
    callback = format_helpers._format_callback_source(handle._callback, handle._args)
    context = {
        "message": f"Exception in callback {callback}",
        "exception": exc,
        "handle": handle,
    }
    if handle._source_traceback:
        context["source_traceback"] = handle._source_traceback
    loop.call_exception_handler(context)
