"""anyio on the loop: task groups, streams between tasks, sockets, threads, cancel scopes, files."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import erlang


async def _tcp(clients: int) -> int:
    """An echo server and its clients; returns how many heard themselves."""
    heard: list[bytes] = []

    async def echo(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            async for data in stream:
                await stream.send(data)

    async def client(port: int, number: int) -> None:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(f"client {number}".encode())
            heard.append(await stream.receive())

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as servers:
            servers.start_soon(listener.serve, echo)
            async with anyio.create_task_group() as clients_group:
                for number in range(clients):
                    clients_group.start_soon(client, port, number)
            servers.cancel_scope.cancel()
    return len(set(heard) & {f"client {number}".encode() for number in range(clients)})


async def _udp() -> bytes:
    async with await anyio.create_udp_socket(local_host="127.0.0.1") as server:
        port = server.extra(anyio.abc.SocketAttribute.local_port)
        async with await anyio.create_connected_udp_socket("127.0.0.1", port) as client:
            await client.send(b"ping")
            data, address = await server.receive()
            await server.sendto(data + b" pong", *address)
            return await client.receive()


async def _pipeline() -> int:
    """Numbers through a bounded stream, to three consumers."""
    total = 0
    send, receive = anyio.create_memory_object_stream[int](5)

    async def produce() -> None:
        async with send:
            for number in range(1000):
                await send.send(number)

    async def consume() -> None:
        nonlocal total
        async with receive.clone() as stream:
            async for number in stream:
                total += number

    async with anyio.create_task_group() as group, receive:
        group.start_soon(produce)
        for _ in range(3):
            group.start_soon(consume)
        await anyio.lowlevel.checkpoint()
    return total


async def _threads() -> list[bool]:
    """Work in threads that come back to the loop from there."""
    here = threading.get_ident()

    async def on_loop() -> bool:
        await anyio.sleep(0)
        return threading.get_ident() == here

    def in_thread() -> bool:
        return threading.get_ident() != here and anyio.from_thread.run(on_loop)

    results: list[bool] = []

    async def one() -> None:
        results.append(await anyio.to_thread.run_sync(in_thread))

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(one)
    return results


async def tour() -> dict[str, Any]:
    """Use all of it, and say what came of it."""
    with anyio.move_on_after(0.1) as scope:
        await anyio.sleep(10)
    timed_out = False
    try:
        with anyio.fail_after(0.05):
            await anyio.sleep(10)
    except TimeoutError:
        timed_out = True
    async with await anyio.open_file(tempfile.mkstemp()[1], "w+") as file:
        await file.write("text")
        await file.seek(0)
        text = await file.read()
    await anyio.Path(file.name).unlink()
    cls = type(asyncio.get_running_loop())
    return {
        "loop": f"{cls.__module__}.{cls.__qualname__}",
        "tcp": await _tcp(50),
        "udp": (await _udp()).decode(),
        "pipeline": await _pipeline(),
        "threads": all(await _threads()),
        "moved_on": scope.cancelled_caught,
        "timed_out": timed_out,
        "file": text,
    }


def run() -> dict[str, Any]:
    """The same through anyio.run(), which makes the loop itself."""
    return anyio.run(tour, backend_options={"loop_factory": erlang.new_event_loop})


if __name__ == "__main__":
    for name, value in run().items():
        print(f"{name}: {value}")
