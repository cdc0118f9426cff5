"""An aiohttp client for aiohttp_server.py: kept-alive connections, websockets, streams, TLS.

As a program: ``aiohttp_client.py http://127.0.0.1:8080 [certificate]``.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import aiohttp_server


def _session(certificate: str | None, trace: aiohttp.TraceConfig) -> aiohttp.ClientSession:
    """A session that trusts ``certificate`` only, where one is given."""
    verify: ssl.SSLContext | bool = True
    if certificate is not None:
        verify = ssl.create_default_context(cafile=certificate)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=verify),
        timeout=aiohttp.ClientTimeout(total=30),
        trace_configs=[trace],
    )


async def _blocks(count: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield aiohttp_server.block(number)
        await asyncio.sleep(0)


async def _talk(session: aiohttp.ClientSession, url: str) -> list[Any]:
    heard: list[Any] = []
    async with session.ws_connect(f"{url}/echo") as websocket:
        for number in range(100):
            await websocket.send_str(f"message {number}")
            heard.append(await websocket.receive_str(timeout=10))
        await websocket.send_bytes(bytes(range(256)) * 1024)
        heard.append(len(await websocket.receive_bytes(timeout=10)))
        await websocket.send_str("close")
        last = await websocket.receive(timeout=10)
        heard.append([last.type.name, last.data, last.extra])
    return heard


async def visit(url: str, certificate: str | None = None, blocks: int = 64) -> dict[str, Any]:
    """Do everything that the server offers, and say what came back and over how many connections."""
    connections = {"new": 0, "reused": 0}
    trace = aiohttp.TraceConfig()

    async def created(*_: Any) -> None:
        connections["new"] += 1

    async def reused(*_: Any) -> None:
        connections["reused"] += 1

    trace.on_connection_create_end.append(created)
    trace.on_connection_reuseconn.append(reused)

    expected = hashlib.sha256(b"".join(map(aiohttp_server.block, range(blocks)))).hexdigest()
    async with _session(certificate, trace) as session:
        for _ in range(10):
            async with session.get(f"{url}/") as response:
                page = await response.json()
        kept_alive = dict(connections)

        async with session.put(f"{url}/upload", data=_blocks(blocks)) as response:
            uploaded = await response.json()

        digest = hashlib.sha256()
        async with session.get(f"{url}/download/{blocks}") as response:
            async for chunk in response.content.iter_chunked(10_000):
                digest.update(chunk)

        async def get() -> int:
            async with session.get(f"{url}/") as response:
                return response.status

        statuses = await asyncio.gather(*(get() for _ in range(50)))
        websocket = await _talk(session, url)
    return {
        "loop": aiohttp_server.loop_name(),
        "page": page,
        "kept_alive": kept_alive,
        "upload_arrived": uploaded["sha256"] == expected,
        "download_arrived": digest.hexdigest() == expected,
        "all_ok": set(statuses) == {200},
        "websocket": websocket[-2:],
        "websocket_in_order": websocket[:-2] == [f"message {n}" for n in range(100)],
    }


if __name__ == "__main__":
    for name, value in asyncio.run(visit(*sys.argv[1:])).items():
        print(f"{name}: {value}")
