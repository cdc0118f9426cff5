"""What ``py_reactor_context`` runs on its event loop."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import _erlang

from . import reactor

__all__ = ("close_orphans", "count", "hand_over", "start")

_serving: set[asyncio.Task[None]] = set()


def start(setup_code: str | None, module: str | None, factory: str | None) -> None:
    """Run the setup code in ``__main__`` and set the protocol factory, for this thread's loop."""
    import __main__

    if setup_code is not None:
        exec(compile(setup_code, "<erlang>", "exec"), vars(__main__))
    if module is not None and factory is not None:
        reactor.set_protocol_factory(_erlang.resolve(module, factory))
    task = asyncio.get_running_loop().create_task(_serve(), name="py_reactor_context")
    _serving.add(task)
    task.add_done_callback(_serving.discard)


async def _serve() -> None:
    """Wait for the end of the loop, which cancels its tasks, and close what is open then."""
    loop = asyncio.get_running_loop()
    try:
        await loop.create_future()
    finally:
        reactor.close_connections_of(loop)


def hand_over(fd: int, client_info: dict[str, Any], limit: int | None) -> int | None:
    """Take over a duplicate of a descriptor; its number, None when there are ``limit`` connections already."""
    if limit is not None and count() >= limit:
        return None
    duplicate = os.dup(fd)
    try:
        reactor.init_connection(duplicate, client_info)
    except BaseException:
        os.close(duplicate)
        raise
    return duplicate


def count() -> int:
    """The number of connections of this thread's loop."""
    return reactor.connections_of(asyncio.get_running_loop())


def close_orphans() -> None:
    """Close the connections of loops that were closed without their tasks being cancelled."""
    for loop in list(reactor._connections_of):
        if loop.is_closed():
            reactor.close_connections_of(loop)
