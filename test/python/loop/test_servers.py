"""Servers: opening, closing, serving for ever, and running out of descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import sys
from pathlib import Path

import pytest
from loop_case import LoopCase
from test_tcp import Echo, Recorder


def test_start_and_close(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0, start_serving=False)
        assert not server.is_serving()
        address = server.sockets[0].getsockname()
        assert server.get_loop() is loop
        await server.start_serving()
        assert server.is_serving()
        transport, client = await loop.create_connection(Recorder, *address)
        transport.write(b"x")
        while not client.received:
            await asyncio.sleep(0.001)
        server.close()
        server.close()
        assert not server.is_serving() and server.sockets == ()
        with pytest.raises(OSError):
            await loop.create_connection(Recorder, *address)
        # Open connections go on.
        transport.write(b"y")
        while client.received != b"xy":
            await asyncio.sleep(0.001)
        transport.close()
        await client.lost
        await server.wait_closed()

    case.run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="servers wait since 3.12")
def test_wait_closed_waits_for_connections(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        transport, client = await loop.create_connection(Recorder, *address)
        await asyncio.sleep(0.01)
        server.close()
        waiting = loop.create_task(server.wait_closed())
        await asyncio.sleep(0.02)
        assert not waiting.done()
        transport.close()
        await client.lost
        await asyncio.wait_for(waiting, 5)

    case.run(main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Server.close_clients() is new in 3.13")
@pytest.mark.parametrize("call", ["close_clients", "abort_clients"])
def test_closing_all_clients(case: LoopCase, call: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        clients = [(await loop.create_connection(Recorder, *address))[1] for _ in range(10)]
        await asyncio.sleep(0.01)
        server.close()
        getattr(server, call)()
        for client in clients:
            await asyncio.wait_for(client.lost, 5)
        await asyncio.wait_for(server.wait_closed(), 5)

    case.run(main())


def test_serve_forever_cancelled(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        serving = loop.create_task(server.serve_forever())
        await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="already being awaited"):
            await server.serve_forever()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert not server.is_serving()

    case.run(main())


def test_both_address_families_on_one_port(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        first = await loop.create_server(Echo, "::1", 0)
        port = first.sockets[0].getsockname()[1]
        # IPV6_V6ONLY: the other family's port is free.
        second = await loop.create_server(Echo, "127.0.0.1", port)
        for host in ("::1", "127.0.0.1"):
            transport, client = await loop.create_connection(Recorder, host, port)
            transport.write(b"x")
            while not client.received:
                await asyncio.sleep(0.001)
            transport.close()
            await client.lost
        for server in (first, second):
            server.close()
            await server.wait_closed()
        await asyncio.sleep(0.01)

    case.run(main())


def test_out_of_descriptors(case: LoopCase) -> None:
    class Exhausted(socket.socket):
        failures = 1

        def accept(self) -> tuple[socket.socket, object]:
            if self.failures:
                self.failures -= 1
                raise OSError(errno.EMFILE, "too many open files")
            return super().accept()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        listener = Exhausted()
        listener.bind(("127.0.0.1", 0))
        server = await loop.create_server(Echo, sock=listener, backlog=1)
        started = loop.time()
        transport, client = await loop.create_connection(Recorder, *listener.getsockname())
        transport.write(b"x")
        while not client.received:
            await asyncio.sleep(0.01)
        assert 0.9 < loop.time() - started < 20, "the loop did not back off"
        transport.close()
        await client.lost
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)

    with case.expects_handler_call("out of system resource"):
        case.run(main())


def test_protocol_factory_fails(case: LoopCase) -> None:
    def factory() -> asyncio.Protocol:
        raise LookupError("no")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(factory, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        _reader, writer = await asyncio.open_connection(*address)
        await asyncio.sleep(0.02)
        # The server goes on.
        assert server.is_serving()
        writer.close()
        server.close()
        await server.wait_closed()

    # asyncio reports this in debug mode only, and older versions leave the socket to its destructor.
    case.allows_warning("unclosed <socket.socket")
    if case.debug:
        with case.expects_handler_call("transport creation"):
            case.run(main())
    else:
        case.run(main())


def test_many_connections(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=1000)
        address = server.sockets[0].getsockname()

        async def client(number: int) -> None:
            transport, protocol = await loop.create_connection(Recorder, *address)
            message = b"%d" % number
            transport.write(message)
            while protocol.received != message:
                await asyncio.sleep(0.005)
            transport.close()
            await protocol.lost

        await asyncio.gather(*(client(number) for number in range(300)))
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.02)

    case.run(main())


def test_all_addresses(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        # Without a host, one socket for each family, and the same port where one is asked for.
        with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as probe:
            port = probe.getsockname()[1]
        server = await loop.create_server(Echo, None, port)
        families = {sock.family for sock in server.sockets}
        assert families == {socket.AF_INET, socket.AF_INET6}
        for sock in server.sockets:
            if sock.family == socket.AF_INET6:
                assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        for host in ("127.0.0.1", "::1"):
            await visit(host, port)
        server.close()
        await server.wait_closed()
        server = await loop.create_server(Echo, ["127.0.0.1", "127.0.0.2", "::1"], 0)
        assert len(server.sockets) == 3
        for sock in server.sockets:
            await visit(*sock.getsockname()[:2])
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)

    case.run(main())


async def visit(host: str, port: int) -> None:
    transport, client = await asyncio.get_running_loop().create_connection(Recorder, host, port)
    transport.write(b"x")
    while not client.received:
        await asyncio.sleep(0.001)
    transport.close()
    await client.lost


def test_reuse_port(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        first = await loop.create_server(Echo, "127.0.0.1", 0, reuse_port=True)
        address = first.sockets[0].getsockname()
        second = await loop.create_server(Echo, *address, reuse_port=True)
        with pytest.raises(OSError):
            await loop.create_server(Echo, *address)
        for server in (first, second):
            await visit(*address)
            server.close()
            await server.wait_closed()
        # The address is free at once, connections that linger notwithstanding.
        again = await loop.create_server(Echo, *address)
        await visit(*address)
        again.close()
        await again.wait_closed()
        await asyncio.sleep(0.01)

    case.run(main())


def test_server_is_a_context(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with await loop.create_server(Echo, "127.0.0.1", 0) as server:
            await visit(*server.sockets[0].getsockname())
            serving = loop.create_task(server.serve_forever())
            await asyncio.sleep(0.01)
            server.close()
            with pytest.raises(asyncio.CancelledError):
                await serving
        with pytest.raises(RuntimeError, match="is closed"):
            await server.serve_forever()
        await asyncio.sleep(0.01)

    case.run(main())


def test_close_while_clients_wait_to_be_accepted(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=50)
        address = server.sockets[0].getsockname()
        clients = [socket.create_connection(address) for _ in range(30)]
        server.close()
        await asyncio.wait_for(server.wait_closed(), 10)
        await asyncio.sleep(0.02)
        for client in clients:
            client.settimeout(10)
            with contextlib.suppress(ConnectionError):
                assert client.recv(1) == b""
            client.close()

    case.run(main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="new in 3.13")
def test_unix_server_removes_its_socket(case: LoopCase, tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        path = tmp_path / "socket"
        server = await loop.create_unix_server(Echo, path)
        assert path.exists()
        server.close()
        await server.wait_closed()
        assert not path.exists()
        server = await loop.create_unix_server(Echo, path, cleanup_socket=False)
        server.close()
        await server.wait_closed()
        assert path.exists()

    case.run(main())
