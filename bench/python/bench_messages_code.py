"""The Python side of bench_messages.py."""

from __future__ import annotations

import asyncio

import erlang
from erlang import reactor
from erlang.channel import ByteChannel, Channel, reply


def identity(value):
    return value


def sends(pid, count):
    for number in range(count):
        erlang.send(pid, number)


async def numbers(count):
    for number in range(count):
        yield number


def count_blocking(ref):
    return sum(1 for _ in Channel(ref))


def count_bytes_blocking(ref):
    return sum(1 for _ in ByteChannel(ref))


async def count_coroutine(ref, receivers):
    async def receive():
        count = 0
        async for _ in Channel(ref):
            count += 1
        return count

    return sum(await asyncio.gather(*(receive() for _ in range(receivers))))


async def count_bytes_coroutine(ref):
    count = 0
    async for _ in ByteChannel(ref):
        count += 1
    return count


def echo_blocking(ref):
    for pid, value in Channel(ref):
        reply(pid, value)


async def echo_coroutine(ref):
    async for pid, value in Channel(ref):
        reply(pid, value)


class ReactorEcho(reactor.Protocol):
    def data_received(self, data):
        self.write_buffer.extend(data)
        return "write_pending"


class AsyncioEcho(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def serve_asyncio():
    """The port of a server whose connections are protocols of asyncio."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(AsyncioEcho, "127.0.0.1", 0)
    loop.bench_server = server
    return server.sockets[0].getsockname()[1]
