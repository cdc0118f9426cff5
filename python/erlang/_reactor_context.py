"""What ``py_reactor_context`` runs on its event loop."""

from __future__ import annotations

import asyncio
from typing import Any

import _erlang

from . import _driver, reactor

__all__ = ("close_orphans", "count", "hand_over", "start")


def start(setup_code: str | None, module: str | None, factory: str | None) -> None:
    """Run the setup code in ``__main__`` and set the protocol factory, for this thread's loop."""
    import __main__

    if setup_code is not None:
        exec(compile(setup_code, "<erlang>", "exec"), vars(__main__))
    if module is not None and factory is not None:
        reactor.set_protocol_factory(_erlang.resolve(module, factory))
    loop = asyncio.get_running_loop()
    _driver.at_finish(loop, lambda: reactor.close_connections_of(loop))


def hand_over(fd: int, client_info: dict[str, Any], limit: int | None) -> int | bool:
    """Take over a descriptor; its number, False when there are ``limit`` connections already.

    It is the caller's still after False or an exception.
    """
    if limit is not None and count() >= limit:
        return False
    reactor.init_connection(fd, client_info)
    return fd


def count() -> int:
    """The number of connections of this thread's loop."""
    return reactor.connections_of(asyncio.get_running_loop())


def close_orphans() -> None:
    """Close the connections of loops that were closed without their tasks being cancelled."""
    for loop in list(reactor._connections_of):
        if loop.is_closed():
            reactor.close_connections_of(loop)
