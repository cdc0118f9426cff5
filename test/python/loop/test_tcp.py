"""TCP clients and servers, with protocols and with streams."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import Any

import pytest
from loop_case import LoopCase


class Recorder(asyncio.Protocol):
    """Records what happens to a connection, in order."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.received = bytearray()
        self.transport: asyncio.Transport
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.events[-1] != "data":
            self.events.append("data")

    def eof_received(self) -> bool | None:
        self.events.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")
        self.lost.set_result(exc)


class Echo(Recorder):
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(data)


def test_echo_through_protocols(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        servers: list[Echo] = []

        def make_server() -> Echo:
            servers.append(Echo())
            return servers[-1]

        server = await loop.create_server(make_server, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport, client = await loop.create_connection(Recorder, "127.0.0.1", port)
        assert isinstance(transport, asyncio.Transport)
        assert transport.get_extra_info("peername") == ("127.0.0.1", port)
        assert transport.get_extra_info("sockname")[0] == "127.0.0.1"
        wrapped = transport.get_extra_info("socket")
        assert wrapped.family == socket.AF_INET and not hasattr(wrapped, "recv")
        assert transport.get_extra_info("nonsense", 42) == 42

        message = bytes(range(256)) * 40_000
        transport.write(message)
        while len(client.received) < len(message):
            await asyncio.sleep(0.001)
        assert client.received == message
        transport.close()
        transport.close()
        assert client.events[-1] != "lost", "connection_lost() was called by close()"
        assert transport.is_closing()
        assert await client.lost is None
        assert await servers[0].lost is None
        assert client.events == ["made", "data", "lost"]
        assert servers[0].events == ["made", "data", "eof", "lost"]
        server.close()
        await server.wait_closed()

    case.run(main())


def test_transport_class(case: LoopCase) -> None:
    async def main() -> str:
        left, right = socket.socketpair()
        transport, _ = await asyncio.get_running_loop().create_connection(Recorder, sock=left)
        name = type(transport).__name__
        assert isinstance(transport, asyncio.Transport)
        transport.close()
        await asyncio.sleep(0)
        right.close()
        return name

    expected = {"stock": "_SelectorSocketTransport", "erlang": "_ErlangSocketTransport"}
    assert case.run(main()) == expected[case.kind]


def test_streams(case: LoopCase) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def client(port: int, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for count in range(20):
            writer.write(f"message {number} {count}\n".encode())
            assert await reader.readline() == f"MESSAGE {number} {count}\n".encode()
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await asyncio.gather(*(client(port, number) for number in range(50)))

    case.run(main())


def test_half_close(case: LoopCase) -> None:
    class Answering(Recorder):
        def eof_received(self) -> bool:
            super().eof_received()
            asyncio.get_running_loop().call_later(0.02, self.answer)
            return True

        def answer(self) -> None:
            self.transport.write(b"after your end")
            self.transport.close()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Answering, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport, client = await loop.create_connection(Recorder, "127.0.0.1", port)
        assert transport.can_write_eof()
        transport.write(b"x" * 1_000_000)
        transport.write_eof()
        transport.write_eof()
        with pytest.raises(RuntimeError, match="write_eof"):
            transport.write(b"more")
        assert await client.lost is None
        assert client.received == b"after your end"
        server.close()
        await server.wait_closed()

    case.run(main())


def test_reset_is_reported(case: LoopCase) -> None:
    async def main() -> None:
        left, right = socket.socketpair()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            right.close()
            left.close()
            left = socket.create_connection(listener.getsockname())
            right, _ = listener.accept()
        transport, protocol = await asyncio.get_running_loop().create_connection(
            Recorder, sock=left
        )
        right.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        right.close()
        assert isinstance(await protocol.lost, ConnectionResetError)
        assert transport.is_closing()

    case.run(main())


def test_socket_closed_under_its_transport(case: LoopCase) -> None:
    """The descriptor's number belongs to somebody else then: nothing may be sent to or read from it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        number = left.fileno()
        transport, protocol = await loop.create_connection(Recorder, sock=left)
        left.close()
        right.close()
        left, right = socket.socketpair()
        assert left.fileno() == number
        right.send(b"secret")
        transport.write(b"secret")
        assert isinstance(await protocol.lost, OSError)
        assert not protocol.received
        right.setblocking(False)
        with pytest.raises(BlockingIOError):
            right.recv(100)
        assert left.recv(100) == b"secret"
        left.close()
        right.close()

        # Closed and used again by a callback of the turn that has the event for the old socket.
        left, right = socket.socketpair()
        transport, protocol = await loop.create_connection(Recorder, sock=left)
        others: list[socket.socket] = []

        def replace() -> None:
            loop.remove_reader(first)
            left.close()
            others.extend(socket.socketpair())
            others[1].send(b"secret")

        first, trigger = socket.socketpair()
        loop.add_reader(first, replace)
        await asyncio.sleep(0.01)
        trigger.send(b"x")
        right.send(b"old")
        await asyncio.sleep(0.01)
        assert protocol.received in (b"", b"old")
        transport.abort()
        await protocol.lost
        for sock in (right, first, trigger, *others):
            sock.close()

    case.run(main())


def test_abort_discards_what_is_buffered(case: LoopCase) -> None:
    async def main() -> None:
        left, right = socket.socketpair()
        transport, protocol = await asyncio.get_running_loop().create_connection(
            Recorder, sock=left
        )
        transport.write(b"x" * 10_000_000)
        assert transport.get_write_buffer_size() > 0
        transport.abort()
        assert transport.get_write_buffer_size() == 0
        assert await protocol.lost is None
        right.close()

    case.run(main())


def test_close_sends_what_is_buffered(case: LoopCase) -> None:
    async def main() -> None:
        left, right = socket.socketpair()
        left.setblocking(False)
        right.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(Recorder, sock=left)
        message = bytes(range(256)) * 20_000
        transport.write(message)
        transport.close()
        received = bytearray()
        while data := await loop.sock_recv(right, 65536):
            received += data
        assert received == message
        assert await protocol.lost is None
        right.close()

    case.run(main())


def test_buffered_protocol(case: LoopCase) -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(1000)
            self.received = bytearray()
            self.lost = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.received += self.buffer[:nbytes]

        def connection_lost(self, exc: Exception | None) -> None:
            self.lost.set_result(exc)

    async def main() -> None:
        left, right = socket.socketpair()
        _, protocol = await asyncio.get_running_loop().create_connection(Buffered, sock=left)
        message = bytes(range(256)) * 100
        right.sendall(message)
        right.close()
        assert await protocol.lost is None
        assert protocol.received == message

    case.run(main())


def test_connect_refused(case: LoopCase) -> None:
    async def main() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)

    case.run(main())


def test_connect_cancelled(case: LoopCase) -> None:
    async def main() -> None:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        # Once the backlog is full, connecting waits.
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(address)
            fillers.append(filler)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.open_connection(*address), 0.1)
        for sock in (listener, *fillers):
            sock.close()

    case.run(main())


def test_connection_parameters(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport, _ = await loop.create_connection(
            Recorder, "127.0.0.1", port, local_addr=("127.0.0.2", 0)
        )
        assert transport.get_extra_info("sockname")[0] == "127.0.0.2"
        transport.close()
        # Names with several addresses: the first that answers is taken.
        for options in ({"happy_eyeballs_delay": 0.05}, {"interleave": 1}):
            transport, _ = await loop.create_connection(Recorder, "localhost", port, **options)
            transport.close()
        with pytest.raises(ValueError, match="server_hostname"):
            await loop.create_connection(Recorder, "127.0.0.1", port, server_hostname="localhost")
        with pytest.raises(ValueError):
            await loop.create_connection(Recorder)
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)

    case.run(main())


def test_pause_and_resume_reading(case: LoopCase) -> None:
    async def main() -> None:
        left, right = socket.socketpair()
        transport, protocol = await asyncio.get_running_loop().create_connection(
            Recorder, sock=left
        )
        transport.pause_reading()
        assert not transport.is_reading()
        right.sendall(b"hello")
        await asyncio.sleep(0.05)
        assert not protocol.received
        transport.resume_reading()
        assert transport.is_reading()
        await asyncio.sleep(0.05)
        assert protocol.received == b"hello"
        transport.close()
        await protocol.lost
        right.close()

    case.run(main())


def test_exception_in_protocol_closes_the_connection(case: LoopCase) -> None:
    class Failing(Recorder):
        def data_received(self, data: bytes) -> None:
            raise LookupError("no")

    async def main() -> None:
        left, right = socket.socketpair()
        _, protocol = await asyncio.get_running_loop().create_connection(Failing, sock=left)
        right.sendall(b"x")
        assert isinstance(await protocol.lost, LookupError)
        right.close()

    with case.expects_handler_call("data_received"):
        case.run(main())


def test_second_bind_fails(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.2", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(OSError) as raised:
                await loop.create_server(Echo, ["127.0.0.1", "127.0.0.2"], port)
            assert raised.value.errno == errno.EADDRINUSE

    case.run(main())
