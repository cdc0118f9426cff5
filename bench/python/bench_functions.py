"""The functions that bench_tasks.py runs as tasks."""

from __future__ import annotations

import asyncio

_waiting = 0


async def noop() -> None:
    """A coroutine that never waits."""


async def sleep0() -> None:
    """A coroutine that gives way once."""
    await asyncio.sleep(0)


async def wait() -> None:
    """A coroutine that waits until it is cancelled, on a timer that never fires."""
    global _waiting
    _waiting += 1
    try:
        await asyncio.sleep(86400)
    finally:
        _waiting -= 1


def waiting() -> int:
    """How many :func:`wait` are under way."""
    return _waiting
