"""What the soak's processes run."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from typing import Any


async def echo(rounds: int, size: int) -> int:
    """A server and a client on one loop; the number of bytes that came back."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    total = 0
    try:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(rounds):
            writer.write(b"x" * size)
            total += len(await reader.readexactly(size))
        writer.close()
        await writer.wait_closed()
    finally:
        server.close()
        await server.wait_closed()
    return total


async def timers(count: int) -> int:
    """Many timers, half of them cancelled."""
    loop = asyncio.get_running_loop()
    fired = 0

    def fire() -> None:
        nonlocal fired
        fired += 1

    handles = [loop.call_later(0.001 * (i % 10), fire) for i in range(count)]
    for handle in handles[::2]:
        handle.cancel()
    await asyncio.sleep(0.02)
    return fired


async def gather(count: int) -> int:
    """Tasks of a task."""
    return sum(await asyncio.gather(*(asyncio.sleep(0.001, i) for i in range(count))))


async def in_executor() -> int:
    """A thread of the loop's executor."""
    return await asyncio.get_running_loop().run_in_executor(None, sum, range(100))


def nested(value: Any) -> Any:
    """Through Erlang and back."""
    import erlang

    return erlang.call("soak_echo", value)


async def nested_async(value: Any) -> Any:
    import erlang

    return await erlang.async_call("soak_echo", value)


def fail(text: str) -> None:
    raise ValueError(text)


def sample() -> dict[str, int]:
    """Counts that must not grow."""
    for _ in range(3):
        gc.collect()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return {
        "rss_kb": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        "fds": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "python_threads": threading.active_count(),
        "objects": len(gc.get_objects()),
        "blocks": sys.getallocatedblocks(),
    }
