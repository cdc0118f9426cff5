"""Coroutines for the Erlang examples: an HTTP request, an event to report, an item to process."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit


async def request(url: str, method: str = "GET", body: bytes = b"") -> str:
    """The body of the answer to an HTTP request. With aiohttp this is a line; here it shows what that does."""
    target = urlsplit(url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    try:
        writer.write(
            f"{method} {target.path} HTTP/1.1\r\nHost: {target.netloc}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        )
        writer.write(body)
        head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    status = head.split(b" ", 2)[1]
    if status != b"200":
        raise RuntimeError(f"{url} answered {status.decode()}")
    return answer.decode()


async def get(url: str) -> str:
    """What the URL answers."""
    return await request(url)


async def track_event(url: str, name: str, properties: dict[str, object]) -> None:
    """Reports an event to a collector."""
    await request(f"{url}/{name}", "POST", json.dumps(properties).encode())


async def handle(url: str, item: int) -> int:
    """Processes an item: asks the server about it, and counts the letters of the answer."""
    return len(await get(f"{url}/items/{item}"))
