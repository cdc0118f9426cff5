"""Write buffers: limits, pausing, what is copied, and what a slow reader costs."""

from __future__ import annotations

import array
import asyncio
import socket
import sys
from typing import Any

import pytest
from loop_case import LoopCase

MUTABLE = sys.version_info >= (3, 12)
"""Versions whose own transports keep references to mutable buffers."""


class Pausing(asyncio.Protocol):
    """Counts pauses and keeps the transport."""

    def __init__(self) -> None:
        self.pauses = 0
        self.paused = False
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def pause_writing(self) -> None:
        assert not self.paused
        self.paused = True
        self.pauses += 1

    def resume_writing(self) -> None:
        assert self.paused
        self.paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


async def connect() -> tuple[asyncio.Transport, Pausing, socket.socket]:
    """A transport whose peer is a bare socket that reads nothing by itself."""
    left, right = socket.socketpair()
    left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    right.setblocking(False)
    transport, protocol = await asyncio.get_running_loop().create_connection(Pausing, sock=left)
    return transport, protocol, right


async def receive(sock: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        data = await asyncio.get_running_loop().sock_recv(sock, 65536)
        assert data, f"end of file after {len(received)} of {size} bytes"
        received += data
    return bytes(received)


async def finish(transport: asyncio.Transport, protocol: Pausing, peer: socket.socket) -> None:
    transport.close()
    assert await protocol.lost is None
    peer.close()


async def fill(transport: asyncio.Transport) -> int:
    """Writes until something has to wait, and returns how much was written."""
    written = 0
    while not transport.get_write_buffer_size():
        transport.write(b"." * 1000)
        written += 1000
    return written


def test_limits(case: LoopCase) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        low, high = transport.get_write_buffer_limits()
        assert (low, high) == (16 * 1024, 64 * 1024)
        transport.set_write_buffer_limits(high=10_000, low=5_000)
        written = await fill(transport)
        assert not protocol.paused
        while not protocol.paused:
            transport.write(b"." * 1000)
            written += 1000
        assert 10_000 < transport.get_write_buffer_size() <= 11_000
        got = 0
        while protocol.paused:
            got += len(await receive(peer, 1))
            await asyncio.sleep(0.001)
        assert 0 <= transport.get_write_buffer_size() <= 5_000
        await receive(peer, written - got)
        assert protocol.pauses == 1
        transport.set_write_buffer_limits(0)
        assert transport.get_write_buffer_limits() == (0, 0)
        with pytest.raises(ValueError):
            transport.set_write_buffer_limits(high=1, low=2)
        await finish(transport, protocol, peer)

    case.run(main())


def test_size_counts_bytes(case: LoopCase) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        written = await fill(transport)
        before = transport.get_write_buffer_size()
        for data in (b"ab", bytearray(b"cd"), memoryview(b"ef")):
            transport.write(data)
        assert transport.get_write_buffer_size() == before + 6
        transport.write(b"")
        assert transport.get_write_buffer_size() == before + 6
        assert (await receive(peer, written + 6))[-6:] == b"abcdef"
        assert transport.get_write_buffer_size() == 0
        await finish(transport, protocol, peer)

    case.run(main())


@pytest.mark.parametrize("call", ["write", "writelines"])
def test_mutable_buffers_are_copied(case: LoopCase, call: str) -> None:
    case.stock_fails("keeps a reference to the caller's buffer", MUTABLE)

    async def main() -> None:
        transport, protocol, peer = await connect()
        # Large enough that a part is sent and a part has to wait, and then wholly waiting.
        message = bytes(range(256)) * 1000
        for _ in range(2):
            buffer = bytearray(message)
            view = memoryview(bytearray(message))
            if call == "write":
                transport.write(buffer)
                transport.write(view)
            else:
                transport.writelines([buffer, view])
            buffer[:] = bytes(len(buffer))
            view[:] = bytes(len(view))
            # Nothing of the transport's may pin the caller's buffer.
            buffer.clear()
        assert await receive(peer, 4 * len(message)) == message * 4
        await finish(transport, protocol, peer)

    case.run(main())


def test_items_larger_than_a_byte(case: LoopCase) -> None:
    case.stock_fails("slices the view by items, having sent bytes")

    async def main() -> None:
        transport, protocol, peer = await connect()
        numbers = array.array("I", range(50_000))
        matrix = memoryview(numbers.tobytes()).cast("B", (400, 500))
        transport.write(memoryview(numbers))
        transport.write(memoryview(numbers)[::2])
        transport.write(matrix)
        expected = numbers.tobytes() + numbers[::2].tobytes() + matrix.tobytes()
        assert transport.get_write_buffer_size() > 0
        assert await receive(peer, len(expected)) == expected
        await finish(transport, protocol, peer)

    case.run(main())


def test_writelines(case: LoopCase) -> None:
    case.stock_fails("does not pause the protocol", MUTABLE)

    async def main() -> None:
        transport, protocol, peer = await connect()
        transport.writelines([])
        transport.writelines(iter([b"one ", bytearray(b"two "), memoryview(b"three ")]))
        assert await receive(peer, 14) == b"one two three "
        parts = [b"%07d\n" % number for number in range(20_000)]
        transport.writelines(parts)
        assert protocol.paused
        transport.writelines([b"the ", b"end"])
        expected = b"".join(parts) + b"the end"
        assert await receive(peer, len(expected)) == expected
        assert not protocol.paused
        assert transport.get_write_buffer_size() == 0
        await finish(transport, protocol, peer)

    case.run(main())


def test_empty_items_leave_nothing_behind(case: LoopCase) -> None:
    case.stock_fails("an empty item stays in the buffer and keeps the loop busy", MUTABLE)

    async def main() -> None:
        transport, protocol, peer = await connect()
        transport.writelines([b""])
        transport.writelines([b"", b"x", b""])
        assert await receive(peer, 1) == b"x"
        written = await fill(transport)
        transport.writelines([b"", b"y", b""])
        await receive(peer, written + 1)
        await asyncio.sleep(0)
        # A watcher for an empty buffer would keep the loop from ever waiting.
        key = asyncio.get_running_loop()._selector.get_key(transport.get_extra_info("socket"))
        assert key.data[1] is None
        await finish(transport, protocol, peer)

    case.run(main())


def test_writing_after_the_connection_was_lost(case: LoopCase) -> None:
    case.stock_fails("writelines() does not know of the loss", MUTABLE)

    async def main() -> None:
        transport, protocol, peer = await connect()
        transport.abort()
        for _ in range(10):
            transport.write(b"x")
            transport.writelines([b"x", b"y"])
        assert transport.get_write_buffer_size() == 0
        assert await protocol.lost is None
        peer.close()

    case.run(main())


def test_wrong_types_are_refused(case: LoopCase) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        for data in ("text", 5, None, [b"x"]):
            with pytest.raises(TypeError):
                transport.write(data)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            transport.writelines([b"x", "text"])  # type: ignore[list-item]
        await asyncio.sleep(0)
        await finish(transport, protocol, peer)

    case.run(main())


def test_drain_waits_for_a_slow_reader(case: LoopCase) -> None:
    async def main() -> None:
        left, right = socket.socketpair()
        right.setblocking(False)
        _reader, writer = await asyncio.open_connection(sock=left)
        highest = written = 0

        async def produce() -> None:
            nonlocal highest, written
            for _ in range(500):
                writer.write(b"." * 10_000)
                written += 10_000
                highest = max(highest, writer.transport.get_write_buffer_size())
                await writer.drain()

        producing = asyncio.get_running_loop().create_task(produce())
        await asyncio.sleep(0.02)
        assert not producing.done()
        stalled = written
        await asyncio.sleep(0.02)
        assert written == stalled, "the producer goes on though nobody reads"
        await receive(right, 5_000_000)
        await producing
        assert highest <= 64 * 1024 + 10_000
        writer.close()
        await writer.wait_closed()
        right.close()

    case.run(main())


def test_size_of_a_long_buffer_is_cheap(case: LoopCase) -> None:
    case.stock_fails("adds up all chunks on every call", MUTABLE)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, protocol, peer = await connect()
        await fill(transport)

        def cost(calls: int = 2000) -> float:
            started = loop.time()
            for _ in range(calls):
                transport.get_write_buffer_size()
            return loop.time() - started

        short = min(cost() for _ in range(5))
        for _ in range(20_000):
            transport.write(b"x")
        long = min(cost() for _ in range(5))
        # With a sum it would be some thousand times as long.
        assert long < 20 * short
        transport.abort()
        await protocol.lost
        peer.close()

    case.run(main())


def test_close_during_pause(case: LoopCase) -> None:
    events: list[Any] = []

    class Recording(Pausing):
        def resume_writing(self) -> None:
            super().resume_writing()
            events.append("resumed")

        def connection_lost(self, exc: Exception | None) -> None:
            events.append("lost")
            super().connection_lost(exc)

    async def main() -> None:
        left, right = socket.socketpair()
        right.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(Recording, sock=left)
        transport.write(b"x" * 1_000_000)
        assert protocol.paused
        transport.close()
        await receive(right, 1_000_000)
        assert await protocol.lost is None
        right.close()

    case.run(main())
    assert events == ["resumed", "lost"]
