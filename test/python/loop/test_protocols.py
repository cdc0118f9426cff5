"""What protocols may do: buffers of their own, taking turns on a transport, and raising."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from certificates import Certificates
from loop_case import LoopCase
from test_tcp import Recorder

MESSAGE = bytes(range(256)) * 2000


class Buffered(asyncio.BufferedProtocol):
    """Receives into a buffer of its own, of ``size`` bytes."""

    size = 1000

    def __init__(self) -> None:
        self.buffer = bytearray(self.size)
        self.received = bytearray()
        self.ended = False
        self.lost: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self.buffer[:nbytes]

    def eof_received(self) -> None:
        self.ended = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


async def pair(factory: Any) -> tuple[asyncio.Transport, Any, socket.socket]:
    left, right = socket.socketpair()
    right.setblocking(False)
    transport, protocol = await asyncio.get_running_loop().create_connection(factory, sock=left)
    return transport, protocol, right


def test_buffered_protocol(case: LoopCase) -> None:
    async def main() -> None:
        transport, protocol, peer = await pair(Buffered)
        await asyncio.get_running_loop().sock_sendall(peer, MESSAGE)
        transport.pause_reading()
        peer.send(b"late")
        await asyncio.sleep(0.02)
        assert not protocol.received.endswith(b"late")
        transport.resume_reading()
        peer.close()
        assert await protocol.lost is None
        assert protocol.received == MESSAGE + b"late"
        assert protocol.ended

    case.run(main())


@pytest.mark.parametrize("way", ["ssl", "start_tls", "start_tls twice"])
@pytest.mark.parametrize("view", [False, True], ids=["bytearray", "memoryview"])
def test_buffered_protocol_over_tls(
    case: LoopCase, certificates: Certificates, view: bool, way: str
) -> None:
    case.stock_fails("decrypts into a copy of a part of the buffer", not view)
    layers = {"ssl": 0, "start_tls": 1, "start_tls twice": 2}[way]

    class Resizing(Buffered):
        def get_buffer(self, sizehint: int) -> Any:
            return memoryview(self.buffer) if view else self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            if not view:
                # The buffer is the protocol's own again.
                self.buffer.extend(b"x")
                del self.buffer[-1:]

    class Sender(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            if transport.get_extra_info("sslcontext") is None or not layers:
                self.sending = asyncio.get_running_loop().create_task(self.send(transport))

        async def send(self, transport: Any) -> None:
            for _ in range(layers):
                transport = await asyncio.get_running_loop().start_tls(
                    transport, self, certificates.server(), server_side=True
                )
            transport.write(MESSAGE)
            transport.close()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        context = certificates.client()
        server = await loop.create_server(
            Sender, "127.0.0.1", 0, ssl=None if layers else certificates.server()
        )
        transport, protocol = await loop.create_connection(
            Resizing,
            *server.sockets[0].getsockname(),
            ssl=None if layers else context,
            server_hostname=None if layers else "localhost",
        )
        for _ in range(layers):
            transport = await loop.start_tls(
                transport, protocol, context, server_hostname="localhost"
            )
        assert await protocol.lost is None
        assert protocol.received == MESSAGE
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.02)

    case.run(main())


def test_empty_buffer_closes_the_connection(case: LoopCase) -> None:
    class Empty(Buffered):
        size = 0

    async def main() -> None:
        _transport, protocol, peer = await pair(Empty)
        peer.send(b"x")
        assert isinstance(await protocol.lost, RuntimeError)
        peer.close()

    with case.expects_handler_call("get_buffer"):
        case.run(main())


@pytest.mark.parametrize("method", ["get_buffer", "buffer_updated"])
def test_buffered_protocol_raises(case: LoopCase, method: str) -> None:
    async def main() -> None:
        def fail(_number: int) -> bytearray:
            raise LookupError("no")

        _transport, protocol, peer = await pair(Buffered)
        setattr(protocol, method, fail)
        peer.send(b"x")
        assert isinstance(await protocol.lost, LookupError)
        peer.close()

    with case.expects_handler_call(method):
        case.run(main())


def test_protocols_take_turns(case: LoopCase) -> None:
    """set_protocol() changes between the two kinds, also from within a callback."""

    async def main() -> None:
        class Greeting(Recorder):
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                self.transport.set_protocol(following)

        transport, first, peer = await pair(Greeting)
        following = Buffered()
        last = Recorder()
        peer.send(b"first")
        while not first.received:
            await asyncio.sleep(0.001)
        assert transport.get_protocol() is following
        peer.send(b"second")
        while not following.received:
            await asyncio.sleep(0.001)
        transport.set_protocol(last)
        last.events.append("made")
        peer.send(b"third")
        while not last.received:
            await asyncio.sleep(0.001)
        assert (first.received, following.received, last.received) == (
            b"first",
            b"second",
            b"third",
        )
        peer.close()
        assert await last.lost is None
        assert not first.lost.done() and not following.lost.done()

    case.run(main())


@pytest.mark.parametrize("method", ["eof_received", "connection_lost"])
def test_protocol_raises_at_the_end(case: LoopCase, method: str) -> None:
    async def main() -> None:
        transport, protocol, peer = await pair(Recorder)

        def fail(*_args: object) -> None:
            raise LookupError("no")

        setattr(protocol, method, fail)
        peer.close()
        while not case.handled:
            await asyncio.sleep(0.001)
        assert transport.is_closing()
        await asyncio.sleep(0.001)
        # Whatever the protocol does: the socket is closed, which the case looks at.

    with case.expects_handler_call(method):
        case.run(main())


def test_connection_made_raises(case: LoopCase) -> None:
    class Failing(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            raise LookupError("no")

    async def main() -> None:
        transport, protocol, peer = await pair(Failing)
        # The connection goes on without a reader that was told of it, as it does in asyncio.
        peer.send(b"x")
        await asyncio.sleep(0.02)
        transport.abort()
        await protocol.lost
        peer.close()

    with case.expects_handler_call("connection_made"):
        case.run(main())


def test_keeps_half_open(case: LoopCase) -> None:
    """eof_received() that returns true leaves the way out open."""

    class Half(Recorder):
        def eof_received(self) -> bool:
            super().eof_received()
            return True

    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, protocol, peer = await pair(Half)
        peer.shutdown(socket.SHUT_WR)
        while "eof" not in protocol.events:
            await asyncio.sleep(0.001)
        assert not transport.is_closing()
        transport.write(MESSAGE)
        received = bytearray()
        while len(received) < len(MESSAGE):
            received += await loop.sock_recv(peer, 65536)
        assert received == MESSAGE
        transport.write_eof()
        assert await loop.sock_recv(peer, 1) == b""
        transport.close()
        assert await protocol.lost is None
        peer.close()

    case.run(main())


def test_write_eof_follows_what_is_buffered(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, protocol, peer = await pair(Recorder)
        transport.write(MESSAGE * 4)
        assert transport.get_write_buffer_size() > 0
        transport.write_eof()
        received = bytearray()
        while data := await loop.sock_recv(peer, 65536):
            received += data
        assert received == MESSAGE * 4
        # The other direction is open yet.
        peer.send(b"answer")
        while not protocol.received:
            await asyncio.sleep(0.001)
        transport.close()
        assert await protocol.lost is None
        peer.close()

    case.run(main())


def test_write_after_close(case: LoopCase) -> None:
    async def main() -> None:
        transport, protocol, peer = await pair(Recorder)
        transport.close()
        for _ in range(10):
            transport.write(b"x")
        assert transport.get_write_buffer_size() == 0
        transport.abort()
        transport.close()
        assert await protocol.lost is None
        assert protocol.events == ["made", "lost"]
        transport.write(b"x")
        assert await asyncio.get_running_loop().sock_recv(peer, 10) == b""
        peer.close()

    case.run(main())


def test_peer_that_is_gone_while_writing(case: LoopCase) -> None:
    async def main() -> None:
        transport, protocol, peer = await pair(Recorder)
        transport.pause_reading()
        transport.write(MESSAGE * 4)
        assert transport.get_write_buffer_size() > 0
        peer.close()
        assert isinstance(await protocol.lost, ConnectionError)
        assert transport.get_write_buffer_size() == 0

    case.run(main())
