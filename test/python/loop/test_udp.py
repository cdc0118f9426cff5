"""Datagram endpoints: connected, unconnected, broadcast, and their errors."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from loop_case import LoopCase


class Datagrams(asyncio.DatagramProtocol):
    """Queues what arrives."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()
        self.errors: asyncio.Queue[Exception] = asyncio.Queue()
        self.transport: asyncio.DatagramTransport
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.put_nowait((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.put_nowait(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


class Echo(Datagrams):
    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


async def close(*protocols: Datagrams) -> None:
    for protocol in protocols:
        protocol.transport.close()
    for protocol in protocols:
        assert await protocol.lost is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_echo(case: LoopCase, host: str) -> None:
    async def main() -> None:
        endpoint = asyncio.get_running_loop().create_datagram_endpoint
        transport, server = await endpoint(Echo, local_addr=(host, 0))
        address = transport.get_extra_info("sockname")
        if case.kind == "erlang" or sys.version_info >= (3, 12):
            assert isinstance(transport, asyncio.DatagramTransport)

        connected, client = await endpoint(Datagrams, remote_addr=address[:2])
        assert connected.get_extra_info("peername")[:2] == address[:2]
        connected.sendto(b"to the connected address")
        assert (await client.received.get())[0] == b"to the connected address"
        with pytest.raises(ValueError, match="Invalid address"):
            connected.sendto(b"elsewhere", (host, 1))

        unconnected, other = await endpoint(Datagrams, local_addr=(host, 0))
        unconnected.sendto(b"to any address", address)
        data, source = await other.received.get()
        assert (data, source[:2]) == (b"to any address", address[:2])
        with pytest.raises(TypeError):
            unconnected.sendto("text", address)
        await close(server, client, other)

    case.run(main())


def test_local_and_remote_address(case: LoopCase) -> None:
    async def main() -> None:
        endpoint = asyncio.get_running_loop().create_datagram_endpoint
        transport, server = await endpoint(Echo, local_addr=("127.0.0.1", 0))
        address = transport.get_extra_info("sockname")
        transport, client = await endpoint(
            Datagrams, local_addr=("127.0.0.2", 0), remote_addr=address
        )
        assert transport.get_extra_info("sockname")[0] == "127.0.0.2"
        transport.sendto(b"x")
        assert await client.received.get() == (b"x", address)
        await close(server, client)

    case.run(main())


def test_every_datagram_of_a_burst(case: LoopCase) -> None:
    async def main() -> None:
        endpoint = asyncio.get_running_loop().create_datagram_endpoint
        transport, receiver = await endpoint(Datagrams, local_addr=("127.0.0.1", 0))
        address = transport.get_extra_info("sockname")
        transport, sender = await endpoint(Datagrams, remote_addr=address)
        for number in range(100):
            transport.sendto(str(number).encode())
        received = [int((await receiver.received.get())[0]) for _ in range(100)]
        assert received == list(range(100))
        await close(receiver, sender)

    case.run(main())


def test_unreachable_port_is_an_error_of_the_protocol(case: LoopCase) -> None:
    async def main() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as unused:
            unused.bind(("127.0.0.1", 0))
            address = unused.getsockname()
        endpoint = asyncio.get_running_loop().create_datagram_endpoint
        transport, protocol = await endpoint(Datagrams, remote_addr=address)
        transport.sendto(b"x")
        assert isinstance(await protocol.errors.get(), ConnectionRefusedError)
        assert not transport.is_closing()
        await close(protocol)

    case.run(main())


def test_broadcast(case: LoopCase) -> None:
    async def main() -> None:
        endpoint = asyncio.get_running_loop().create_datagram_endpoint
        transport, receiver = await endpoint(Datagrams, local_addr=("0.0.0.0", 0))
        port = transport.get_extra_info("sockname")[1]
        transport, sender = await endpoint(
            Datagrams, local_addr=("0.0.0.0", 0), allow_broadcast=True
        )
        wrapped = transport.get_extra_info("socket")
        assert wrapped.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
        transport.sendto(b"to all", ("127.255.255.255", port))
        assert (await receiver.received.get())[0] == b"to all"

        transport, forbidden = await endpoint(Datagrams, local_addr=("0.0.0.0", 0))
        transport.sendto(b"to all", ("127.255.255.255", port))
        assert isinstance(await forbidden.errors.get(), PermissionError)
        await close(receiver, sender, forbidden)

    case.run(main())


def test_empty_datagrams_arrive(case: LoopCase) -> None:
    async def main() -> None:
        endpoint = asyncio.get_running_loop().create_datagram_endpoint
        transport, receiver = await endpoint(Datagrams, local_addr=("127.0.0.1", 0))
        address = transport.get_extra_info("sockname")
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", address)
            assert (await receiver.received.get())[0] == b""
        if sys.version_info >= (3, 13):
            transport, sender = await endpoint(Datagrams, remote_addr=address)
            transport.sendto(b"")
            assert (await receiver.received.get())[0] == b""
            await close(sender)
        await close(receiver)

    case.run(main())


def test_full_socket_buffer_pauses_the_protocol(case: LoopCase, tmp_path: Path) -> None:
    case.stock_fails("3.13 never resumes the protocol", sys.version_info >= (3, 13))

    class Pausing(Datagrams):
        paused = 0

        def pause_writing(self) -> None:
            self.paused += 1

        def resume_writing(self) -> None:
            self.paused -= 1

    async def main() -> None:
        loop = asyncio.get_running_loop()
        left = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        right = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        right.bind(str(tmp_path / "socket"))
        right.setblocking(False)
        left.connect(str(tmp_path / "socket"))
        left.setblocking(False)
        transport, sender = await loop.create_datagram_endpoint(Pausing, sock=left)
        data = bytearray(4096)
        count = 0
        while not sender.paused:
            transport.sendto(data)
            count += 1
            assert count < 10_000
        data[:] = b"y" * len(data)
        assert transport.get_write_buffer_size() > 0
        for _ in range(count):
            assert await loop.sock_recv(right, 5000) == bytes(4096)
        assert sender.paused == 0
        assert transport.get_write_buffer_size() == 0
        await close(sender)
        right.close()

    case.run(main())


def test_options_of_the_endpoint(case: LoopCase) -> None:
    async def main() -> None:
        endpoint = asyncio.get_running_loop().create_datagram_endpoint
        transport, first = await endpoint(Datagrams, local_addr=("127.0.0.1", 0), reuse_port=True)
        address = transport.get_extra_info("sockname")
        _, second = await endpoint(Datagrams, local_addr=address, reuse_port=True)
        with pytest.raises(OSError):
            await endpoint(Datagrams, local_addr=address)

        transport, named = await endpoint(
            Datagrams, local_addr=("localhost", 0), family=socket.AF_INET
        )
        assert transport.get_extra_info("socket").family == socket.AF_INET

        sock = socket.socket(type=socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        transport, given = await endpoint(Datagrams, sock=sock)
        assert transport.get_extra_info("sockname") == sock.getsockname()
        with pytest.raises(ValueError):
            await endpoint(Datagrams, local_addr=address, sock=sock)
        with pytest.raises(ValueError):
            await endpoint(Datagrams)
        await close(first, second, named, given)

    case.run(main())


def test_exception_in_the_protocol(case: LoopCase) -> None:
    class Failing(Datagrams):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            raise LookupError("no")

    async def main() -> None:
        endpoint = asyncio.get_running_loop().create_datagram_endpoint
        transport, protocol = await endpoint(Failing, local_addr=("127.0.0.1", 0))
        transport.sendto(b"x", transport.get_extra_info("sockname"))
        while not case.handled:
            await asyncio.sleep(0.001)
        assert not transport.is_closing()
        await close(protocol)

    with case.expects_handler_call("Exception in callback"):
        case.run(main())


def test_connected_endpoint_names_its_peer(case: LoopCase) -> None:
    async def main() -> None:
        endpoint = asyncio.get_running_loop().create_datagram_endpoint
        transport, server = await endpoint(Echo, local_addr=("127.0.0.1", 0))
        address = transport.get_extra_info("sockname")
        transport, client = await endpoint(Datagrams, remote_addr=address)
        for destination in (None, address):
            transport.sendto(b"x", destination)
            assert await client.received.get() == (b"x", address)
        # Somebody else's datagrams do not arrive.
        with socket.socket(type=socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"from a stranger", transport.get_extra_info("sockname"))
        transport.sendto(b"y")
        assert await client.received.get() == (b"y", address)
        await close(server, client)

    case.run(main())


def test_scope_of_an_address(case: LoopCase) -> None:
    async def main() -> None:
        endpoint = asyncio.get_running_loop().create_datagram_endpoint
        index = socket.if_nametoindex("lo")
        transport, server = await endpoint(Echo, local_addr=("::1", 0))
        address = transport.get_extra_info("sockname")
        assert len(address) == 4
        transport, client = await endpoint(Datagrams, local_addr=("::1", 0))
        for destination in (address[:2], (*address[:2], 0, index)):
            transport.sendto(b"x", destination)
            assert await client.received.get() == (b"x", address)
        await close(server, client)

    case.run(main())


def test_unix_datagrams(case: LoopCase, tmp_path: Path) -> None:
    async def main() -> None:
        endpoint = asyncio.get_running_loop().create_datagram_endpoint
        paths = [str(tmp_path / name) for name in ("server", "client")]
        # A socket file that a dead process left behind is replaced.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
            stale.bind(paths[0])
        _, server = await endpoint(Echo, local_addr=paths[0], family=socket.AF_UNIX)
        transport, client = await endpoint(
            Datagrams, local_addr=paths[1], remote_addr=paths[0], family=socket.AF_UNIX
        )
        message = bytes(100_000)
        for data in (b"x", message):
            transport.sendto(data)
            assert await client.received.get() == (data, paths[0])
        await close(server, client)

    case.run(main())


def test_largest_datagram(case: LoopCase) -> None:
    async def main() -> None:
        endpoint = asyncio.get_running_loop().create_datagram_endpoint
        for host, size in (("127.0.0.1", 65507), ("::1", 65527)):
            transport, server = await endpoint(Echo, local_addr=(host, 0))
            address = transport.get_extra_info("sockname")
            transport, client = await endpoint(Datagrams, remote_addr=address[:2])
            transport.sendto(b"x" * size)
            assert (await client.received.get())[0] == b"x" * size
            # One that is too long is an error of the protocol, and the endpoint goes on.
            transport.sendto(b"x" * 70_000)
            assert (await client.errors.get()).errno == errno.EMSGSIZE
            transport.sendto(b"still here")
            assert (await client.received.get())[0] == b"still here"
            await close(server, client)

    case.run(main())


def test_mutable_datagrams_are_copied(case: LoopCase) -> None:
    async def main() -> None:
        endpoint = asyncio.get_running_loop().create_datagram_endpoint
        transport, receiver = await endpoint(Datagrams, local_addr=("127.0.0.1", 0))
        address = transport.get_extra_info("sockname")
        transport, sender = await endpoint(Datagrams, remote_addr=address)
        data = bytearray(b"before")
        transport.sendto(data)
        data[:] = b"after."
        transport.sendto(memoryview(data))
        assert [(await receiver.received.get())[0] for _ in range(2)] == [b"before", b"after."]
        await close(receiver, sender)

    case.run(main())


def test_closing_sends_what_is_buffered(case: LoopCase, tmp_path: Path) -> None:
    async def fill() -> tuple[asyncio.DatagramTransport, Datagrams, socket.socket, int]:
        path = str(tmp_path / "socket")
        Path(path).unlink(missing_ok=True)
        right = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        right.bind(path)
        right.setblocking(False)
        left = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        left.connect(path)
        left.setblocking(False)
        transport, sender = await asyncio.get_running_loop().create_datagram_endpoint(
            Datagrams, sock=left
        )
        count = 0
        while not transport.get_write_buffer_size():
            transport.sendto(b"%d" % count)
            count += 1
        return transport, sender, right, count

    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, sender, right, count = await fill()
        transport.close()
        assert transport.is_closing() and not sender.lost.done()
        received = [int(await loop.sock_recv(right, 100)) for _ in range(count)]
        assert received == list(range(count))
        assert await sender.lost is None
        right.close()
        # abort() waits for nobody.
        transport, sender, right, count = await fill()
        transport.abort()
        assert await sender.lost is None
        right.close()

    case.run(main())


def test_close_from_a_callback(case: LoopCase) -> None:
    class Closing(Datagrams):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            self.transport.close()

    async def main() -> None:
        endpoint = asyncio.get_running_loop().create_datagram_endpoint
        transport, protocol = await endpoint(Closing, local_addr=("127.0.0.1", 0))
        address = transport.get_extra_info("sockname")
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            for _ in range(5):
                sender.sendto(b"x", address)
            assert await protocol.lost is None
        assert protocol.received.qsize() == 1

    case.run(main())
