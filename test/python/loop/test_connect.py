"""create_connection: several addresses, happy eyeballs, errors and cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from loop_case import LoopCase
from test_tcp import Echo, Recorder

Address = tuple[str, int]


def resolve_to(loop: asyncio.AbstractEventLoop, addresses: list[tuple[int, Address]]) -> None:
    """Has the loop resolve every name to these addresses, numbers as ever."""
    original = loop.getaddrinfo

    async def getaddrinfo(host: Any, port: Any, **options: Any) -> list[Any]:
        if host != "several":
            return await original(host, port, **options)
        return [
            (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)
            for family, address in addresses
        ]

    loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign]


@contextlib.contextmanager
def refusing() -> Iterator[Address]:
    """An address where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()


@contextlib.contextmanager
def silent() -> Iterator[Address]:
    """An address that answers nothing: the queue of its listener is full."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield listener.getsockname()


async def finish(
    server: asyncio.Server, transport: asyncio.BaseTransport, client: Recorder
) -> None:
    transport.close()
    await client.lost
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.01)


def test_next_address_when_one_refuses(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        good = server.sockets[0].getsockname()
        with refusing() as bad:
            resolve_to(loop, [(socket.AF_INET, bad), (socket.AF_INET, good)])
            transport, client = await loop.create_connection(Recorder, "several", 1)
        assert transport.get_extra_info("peername") == good
        await finish(server, transport, client)

    case.run(main())


def test_happy_eyeballs(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        good = server.sockets[0].getsockname()
        with silent() as bad:
            resolve_to(loop, [(socket.AF_INET, bad), (socket.AF_INET, good)])
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(loop.create_connection(Recorder, "several", 1), 0.1)
            transport, client = await loop.create_connection(
                Recorder, "several", 1, happy_eyeballs_delay=0.02
            )
            # The attempt that lost is over: its descriptor is closed, which the case looks at.
            assert transport.get_extra_info("peername") == good
            await finish(server, transport, client)

    case.run(main())


def test_happy_eyeballs_cancelled(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with silent() as first, silent() as second:
            resolve_to(loop, [(socket.AF_INET, first), (socket.AF_INET, second)])
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(
                    loop.create_connection(Recorder, "several", 1, happy_eyeballs_delay=0.01), 0.2
                )

    case.run(main())


def test_interleaved_families(case: LoopCase) -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        tried: list[str] = []
        original = loop.sock_connect

        async def sock_connect(sock: socket.socket, address: Any) -> None:
            tried.append(address[0])
            await original(sock, address)

        loop.sock_connect = sock_connect  # type: ignore[method-assign]
        with refusing() as bad:
            port = bad[1]
            six: list[Any] = [(socket.AF_INET6, ("::1", port, 0, 0))] * 3
            four: list[Any] = [(socket.AF_INET, ("127.0.0.1", port))] * 2
            resolve_to(loop, six + four)
            with pytest.raises(OSError):
                await loop.create_connection(Recorder, "several", 1, interleave=1)
        return tried

    assert case.run(main()) == ["::1", "127.0.0.1", "::1", "127.0.0.1", "::1"]


def test_every_address_fails(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with refusing() as bad, refusing() as worse:
            resolve_to(loop, [(socket.AF_INET, bad), (socket.AF_INET, worse)])
            with pytest.raises(OSError, match="Multiple exceptions"):
                await loop.create_connection(Recorder, "several", 1)
            with pytest.raises(OSError):
                await loop.create_connection(Recorder, "several", 1, happy_eyeballs_delay=0.01)
            if sys.version_info >= (3, 12):
                with pytest.raises(ExceptionGroup) as raised:
                    await loop.create_connection(Recorder, "several", 1, all_errors=True)
                kinds = [type(error) for error in raised.value.exceptions]
                assert kinds == [ConnectionRefusedError] * 2
        resolve_to(loop, [])
        with pytest.raises(OSError, match="empty list"):
            await loop.create_connection(Recorder, "several", 1)

    case.run(main())


def test_local_address_that_cannot_be_had(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        with pytest.raises(OSError) as raised:
            await loop.create_connection(Recorder, *address, local_addr=address)
        assert raised.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError):
            await loop.create_connection(Recorder, *address, local_addr=("::1", 0))
        server.close()
        await server.wait_closed()

    case.run(main())


def test_cancelled_during_name_resolution(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def getaddrinfo(*_args: Any, **_options: Any) -> list[Any]:
            return await loop.create_future()

        loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(loop.create_connection(Recorder, "several", 1), 0.01)

    case.run(main())


def test_name_that_does_not_resolve(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        # AI_NUMERICHOST: no name server is asked.
        for call in (
            loop.create_connection(Recorder, "name.invalid.", 1, flags=socket.AI_NUMERICHOST),
            loop.create_server(Recorder, "name.invalid.", 0, flags=socket.AI_NUMERICHOST),
            loop.create_datagram_endpoint(
                asyncio.DatagramProtocol,
                remote_addr=("name.invalid.", 1),
                flags=socket.AI_NUMERICHOST,
            ),
        ):
            with pytest.raises(socket.gaierror):
                await call

    case.run(main())


def test_protocol_factory_fails(case: LoopCase) -> None:
    # asyncio leaves the socket to its destructor.
    case.allows_warning("unclosed <socket.socket")

    def factory() -> asyncio.Protocol:
        raise LookupError("no")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        with pytest.raises(LookupError):
            await loop.create_connection(factory, *server.sockets[0].getsockname())
        await asyncio.sleep(0.01)
        server.close()
        await server.wait_closed()

    case.run(main())


def test_wrong_kinds_of_sockets(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            datagrams.setblocking(False)
            with pytest.raises(ValueError, match="Stream Socket was expected"):
                await loop.create_connection(Recorder, sock=datagrams)
            with pytest.raises(ValueError, match="Stream Socket was expected"):
                await loop.create_server(Recorder, sock=datagrams)
            with pytest.raises(ValueError, match="Stream Socket was expected"):
                await loop.connect_accepted_socket(Recorder, datagrams)
        with socket.socket() as stream:
            with pytest.raises(ValueError):
                await loop.create_connection(Recorder, "127.0.0.1", 1, sock=stream)
            with pytest.raises(ValueError, match="UNIX"):
                await loop.create_unix_connection(Recorder, sock=stream)
            with pytest.raises(ValueError, match="(?i)udp socket|datagram socket"):
                await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=stream)

    case.run(main())


def test_accepted_socket(case: LoopCase) -> None:
    """What another library accepted becomes a connection of the loop."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            outside = socket.create_connection(listener.getsockname())
            accepted, _address = await loop.sock_accept(listener)
            transport, protocol = await loop.connect_accepted_socket(Echo, accepted)
            assert transport.get_extra_info("peername") == outside.getsockname()
            outside.setblocking(False)
            await loop.sock_sendall(outside, b"hello")
            assert await loop.sock_recv(outside, 100) == b"hello"
            outside.close()
            assert await protocol.lost is None

    case.run(main())
