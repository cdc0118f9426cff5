"""The loop's sock_* calls: first tried, then waited for; cancelled and used again."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from loop_case import LoopCase


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected non-blocking sockets."""
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        yield left, right


def test_accept_connect_send_receive(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
            listener.setblocking(False)
            client.setblocking(False)
            accepting = loop.create_task(loop.sock_accept(listener))
            await asyncio.sleep(0)
            await loop.sock_connect(client, listener.getsockname())
            server, address = await accepting
            assert address == client.getsockname()
            with server:
                message = bytes(range(256)) * 20_000
                sending = loop.create_task(loop.sock_sendall(client, message))
                received = bytearray()
                buffer = bytearray(100_000)
                while len(received) < len(message):
                    received += await loop.sock_recv(server, 50_000)
                    count = 0
                    if len(received) < len(message):
                        count = await loop.sock_recv_into(server, buffer)
                    received += buffer[:count]
                await sending
                assert received == message
                client.close()
                assert await loop.sock_recv(server, 10) == b""

    case.run(main())


def test_cancelled_receive_can_be_repeated(
    case: LoopCase, pair: tuple[socket.socket, socket.socket]
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = pair
        for number in range(5):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(loop.sock_recv(left, 100), 0.01)
            assert not loop.remove_reader(left), "the cancelled call left its watcher behind"
            receiving = loop.create_task(loop.sock_recv(left, 100))
            await asyncio.sleep(0)
            right.send(b"%d" % number)
            assert await receiving == b"%d" % number

    case.run(main())


def test_cancelled_accept_loses_no_connection(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(loop.sock_accept(listener), 0.01)
            with socket.create_connection(listener.getsockname()) as client:
                server, address = await loop.sock_accept(listener)
                server.close()
                assert address == client.getsockname()

    case.run(main())


def test_cancelled_sendall(case: LoopCase, pair: tuple[socket.socket, socket.socket]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = pair
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(loop.sock_sendall(left, b"x" * 10_000_000), 0.02)
        assert not loop.remove_writer(left), "the cancelled call left its watcher behind"
        while True:
            try:
                right.recv(1_000_000)
            except BlockingIOError:
                break
        await loop.sock_sendall(left, b"again")
        assert await loop.sock_recv(right, 100) == b"again"

    case.run(main())


def test_datagrams(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with (
            socket.socket(type=socket.SOCK_DGRAM) as left,
            socket.socket(type=socket.SOCK_DGRAM) as right,
        ):
            for sock in (left, right):
                sock.bind(("127.0.0.1", 0))
                sock.setblocking(False)
            receiving = loop.create_task(loop.sock_recvfrom(left, 100))
            await asyncio.sleep(0)
            assert await loop.sock_sendto(right, b"hello", left.getsockname()) == 5
            assert await receiving == (b"hello", right.getsockname())
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(loop.sock_recvfrom(left, 100), 0.01)
            buffer = bytearray(100)
            receiving_into = loop.create_task(loop.sock_recvfrom_into(left, buffer))
            await asyncio.sleep(0)
            await loop.sock_sendto(right, b"again", left.getsockname())
            assert await receiving_into == (5, right.getsockname())
            assert buffer[:5] == b"again"

    case.run(main())


def test_reading_and_writing_at_once(
    case: LoopCase, pair: tuple[socket.socket, socket.socket]
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = pair
        message = b"x" * 1_000_000

        async def receive(sock: socket.socket) -> int:
            total = 0
            while total < len(message):
                total += len(await loop.sock_recv(sock, 65536))
            return total

        results = await asyncio.gather(
            loop.sock_sendall(left, message),
            loop.sock_sendall(right, message),
            receive(left),
            receive(right),
        )
        assert results[2:] == [len(message), len(message)]

    case.run(main())


def test_closed_during_receive_in_another_task(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        left.setblocking(False)
        receiving = loop.create_task(loop.sock_recv(left, 100))
        await asyncio.sleep(0)
        right.close()
        assert await receiving == b""
        left.close()

    case.run(main())


def test_blocking_socket_in_debug_mode(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        with left, right:
            right.send(b"x")
            if case.debug:
                with pytest.raises(ValueError, match="non-blocking"):
                    await loop.sock_recv(left, 1)
            else:
                assert await loop.sock_recv(left, 1) == b"x"

    case.run(main())


def test_sendfile(
    case: LoopCase, pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = pair
        content = os.urandom(300_000)
        path = tmp_path / "content"
        path.write_bytes(content)

        async def receive(size: int) -> bytes:
            received = bytearray()
            while len(received) < size:
                received += await loop.sock_recv(right, 65536)
            return bytes(received)

        with path.open("rb") as file:
            receiving = loop.create_task(receive(len(content)))
            assert await loop.sock_sendfile(left, file) == len(content)
            assert await receiving == content
            receiving = loop.create_task(receive(1000))
            assert await loop.sock_sendfile(left, file, offset=5000, count=1000) == 1000
            assert await receiving == content[5000:6000]
            assert file.tell() == 6000

    case.run(main())


def test_sendfile_of_a_transport(
    case: LoopCase, pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = pair
        content = os.urandom(1_000_000)
        path = tmp_path / "content"
        path.write_bytes(content)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=left)
        transport.write(b"before")
        with path.open("rb") as file:
            sending = loop.create_task(loop.sendfile(transport, file))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="sendfile is in progress"):
                transport.write(b"x")
            with pytest.raises(RuntimeError, match="sendfile is in progress"):
                transport.writelines([b"x"])
            received = bytearray()
            while len(received) < len(content) + 6:
                received += await loop.sock_recv(right, 65536)
            assert await sending == len(content)
        assert received == b"before" + content
        transport.write(b"after")
        assert await loop.sock_recv(right, 100) == b"after"
        transport.close()
        await asyncio.sleep(0)

    case.run(main())
