"""uvicorn serving fastapi_application.py as one task of an event loop; see uvicorn_worker.erl.

uvicorn works unchanged: outside Python's main thread, which the VM keeps to itself, it installs no
signal handlers.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator
from typing import Any

import fastapi_application
import uvicorn

GRACE_SECONDS = 5

_servers: dict[int, uvicorn.Server] = {}
_turns: dict[tuple[str, int], asyncio.Lock] = {}


@contextlib.asynccontextmanager
async def _turn(host: str, port: int) -> AsyncIterator[None]:
    """One server at a time on an address; raises OSError when the one before does not end."""
    if port == 0:
        yield
        return
    turn = _turns.setdefault((host, port), asyncio.Lock())
    try:
        await asyncio.wait_for(turn.acquire(), GRACE_SECONDS + 1)
    except TimeoutError:
        raise OSError(errno.EADDRINUSE, f"another server of this VM has {host}:{port}") from None
    try:
        yield
    finally:
        turn.release()


async def serve(identifier: int, host: str, port: int) -> None:
    """Serve until cancelled, then close the port; or until something goes wrong, which is raised.

    What goes wrong may be the server's start (uvicorn then raises SystemExit) or the application's
    work in the background. A predecessor on the same address that is still ending is waited for.
    """
    async with _turn(host, port):
        application = fastapi_application.create_application()
        server = uvicorn.Server(
            uvicorn.Config(
                application,
                host=host,
                port=port,
                log_config=None,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        _servers[identifier] = server
        serving = asyncio.create_task(server.serve())
        working = asyncio.create_task(fastapi_application.work(application))
        try:
            await asyncio.wait({serving, working}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # uvicorn closes its port when it is asked to exit, not when it is cancelled.
            server.should_exit = True
            working.cancel()
            await asyncio.wait({serving, working})
            del _servers[identifier]
        await serving
        if not working.cancelled():
            await working


async def port_of(identifier: int) -> int:
    """The port of that server, once it listens."""
    while identifier not in _servers or not _servers[identifier].started:
        await asyncio.sleep(0.01)
    return _listening(_servers[identifier])


def _listening(server: Any) -> int:
    return server.servers[0].sockets[0].getsockname()[1]
