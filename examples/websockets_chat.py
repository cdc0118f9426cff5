"""A chat room: what one client says, all clients hear. Server and client by the package websockets.

As a program: ``websockets_chat.py [port]``; then ``python3 -m websockets ws://127.0.0.1:8765/``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, broadcast, serve

_servers: dict[int, Server] = {}


async def start(host: str, port: int) -> int:
    """Open the room; returns the port, a free one when ``port`` is 0."""
    members: set[ServerConnection] = set()

    async def member(connection: ServerConnection) -> None:
        members.add(connection)
        try:
            await connection.send(f"{len(members)} here")
            async for message in connection:
                broadcast(members, message)
        finally:
            members.discard(connection)

    server = await serve(member, host, port)
    port = server.sockets[0].getsockname()[1]
    _servers[port] = server
    return port


async def stop(port: int) -> None:
    """Close the room: the members' connections end with code 1001."""
    server = _servers.pop(port)
    server.close()
    await server.wait_closed()


async def chat(uri: str, members: int = 20) -> dict[str, Any]:
    """Several members join; each says one thing and waits until it heard all."""
    all_here = asyncio.Event()
    joined: list[str] = []

    async def member(number: int) -> list[str]:
        async with connect(uri) as connection:
            joined.append(await connection.recv())
            if len(joined) == members:
                all_here.set()
            await all_here.wait()
            await connection.send(f"member {number}")
            heard = sorted([await connection.recv() for _ in range(members)])
            pong = await connection.ping()
            await pong
            return heard

    async with asyncio.timeout(30):
        heard = await asyncio.gather(*map(member, range(members)))
        async with connect(uri) as connection:
            await connection.recv()
            big = "ü" * 200_000
            await connection.send(big)
            echoed = await connection.recv()
    cls = type(asyncio.get_running_loop())
    return {
        "loop": f"{cls.__module__}.{cls.__qualname__}",
        "joined": len(joined),
        "everybody_heard_all": all(
            list_of_one == sorted(f"member {n}" for n in range(members)) for list_of_one in heard
        ),
        "big_message_arrived": echoed == big,
    }


async def main(port: int) -> None:
    """Keep the room open until cancelled."""
    port = await start("127.0.0.1", port)
    print(f"ws://127.0.0.1:{port}/")
    try:
        await asyncio.Event().wait()
    finally:
        await stop(port)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8765))
