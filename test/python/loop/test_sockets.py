"""The loop's sock_* calls: first tried, then waited for; cancelled and used again."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Certificates
from loop_case import LoopCase
from test_connect import refusing, silent


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


def test_connect_cancelled_and_repeated(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with silent() as address, socket.socket() as sock:
            sock.setblocking(False)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(loop.sock_connect(sock, address), 0.02)
            assert not loop.remove_writer(sock), "the cancelled call left its watcher behind"
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as sock:
            sock.setblocking(False)
            connecting = loop.create_task(loop.sock_connect(sock, listener.getsockname()))
            await asyncio.sleep(0)
            connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await connecting
            with contextlib.suppress(OSError):  # EISCONN: the first call had succeeded
                await loop.sock_connect(sock, listener.getsockname())
            accepted, _ = listener.accept()
            accepted.close()
            assert await loop.sock_recv(sock, 1) == b""

    case.run(main())


def test_connect_refused(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with refusing() as address, socket.socket() as sock:
            sock.setblocking(False)
            with pytest.raises(ConnectionRefusedError):
                await loop.sock_connect(sock, address)
            assert not loop.remove_writer(sock)

    case.run(main())


def test_sendto_waits_and_is_cancelled(case: LoopCase, tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        path = str(tmp_path / "socket")
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as right,
        ):
            right.bind(path)
            for sock in (left, right):
                sock.setblocking(False)
            sent = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    left.sendto(b"x", path)
                    sent += 1
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(loop.sock_sendto(left, b"cancelled", path), 0.02)
            assert not loop.remove_writer(left)
            sending = loop.create_task(loop.sock_sendto(left, b"last", path))
            await asyncio.sleep(0.01)
            assert not sending.done()
            received = [await loop.sock_recv(right, 100) for _ in range(sent + 1)]
            assert await sending == 4
            assert received == [b"x"] * sent + [b"last"]

    case.run(main())


def test_cancelled_receive_into(case: LoopCase, pair: tuple[socket.socket, socket.socket]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = pair
        buffer = bytearray(10)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(loop.sock_recv_into(left, buffer), 0.01)
        assert not loop.remove_reader(left)
        # The cancelled call holds the buffer no longer.
        buffer.extend(b"x")
        receiving = loop.create_task(loop.sock_recv_into(left, buffer))
        await asyncio.sleep(0)
        right.send(b"hello")
        assert await receiving == 5
        assert buffer[:5] == b"hello"

    case.run(main())


def test_errors_while_waiting(case: LoopCase, pair: tuple[socket.socket, socket.socket]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = pair
        sending = loop.create_task(loop.sock_sendall(left, b"x" * 10_000_000))
        await asyncio.sleep(0.01)
        assert not sending.done()
        right.close()
        with pytest.raises(ConnectionError):
            await sending
        assert not loop.remove_writer(left)

    case.run(main())


def test_tls_sockets_are_refused(
    case: LoopCase, pair: tuple[socket.socket, socket.socket], certificates: Certificates
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        wrapped = certificates.client().wrap_socket(
            pair[0], do_handshake_on_connect=False, server_hostname="localhost"
        )
        with wrapped:
            for call in (
                loop.sock_recv(wrapped, 1),
                loop.sock_sendall(wrapped, b"x"),
                loop.sock_connect(wrapped, ("127.0.0.1", 1)),
                loop.sock_accept(wrapped),
            ):
                with pytest.raises(TypeError, match="Socket cannot be of type SSLSocket"):
                    await call

    case.run(main())


def test_sendfile_of_what_is_no_regular_file(
    case: LoopCase, pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = pair
        content = os.urandom(100_000)
        receiving = loop.create_task(receive(loop, right, len(content)))
        assert await loop.sock_sendfile(left, io.BytesIO(content)) == len(content)
        assert await receiving == content
        with pytest.raises(asyncio.SendfileNotAvailableError):
            await loop.sock_sendfile(left, io.BytesIO(content), fallback=False)
        path = tmp_path / "content"
        path.write_bytes(content)
        with path.open("r") as text, pytest.raises(ValueError, match="binary mode"):
            await loop.sock_sendfile(left, text)
        path.write_bytes(b"")
        with path.open("rb") as empty:
            assert await loop.sock_sendfile(left, empty) == 0

    case.run(main())


def test_cancelled_sendfile(
    case: LoopCase, pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = pair
        content = os.urandom(3_000_000)
        path = tmp_path / "content"
        path.write_bytes(content)
        with path.open("rb") as file:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(loop.sock_sendfile(left, file), 0.05)
            assert not loop.remove_writer(left)
            with contextlib.suppress(BlockingIOError):
                while right.recv(1_000_000):
                    pass
            receiving = loop.create_task(receive(loop, right, len(content)))
            assert await loop.sock_sendfile(left, file) == len(content)
            assert await receiving == content

    case.run(main())


def test_sendfile_to_a_peer_that_is_gone(
    case: LoopCase, pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = pair
        path = tmp_path / "content"
        path.write_bytes(bytes(3_000_000))
        lost = loop.create_future()

        class Losing(asyncio.Protocol):
            def connection_lost(self, exc: Exception | None) -> None:
                lost.set_result(exc)

        transport, _ = await loop.create_connection(Losing, sock=left)
        with path.open("rb") as file:
            sending = loop.create_task(loop.sendfile(transport, file))
            await asyncio.sleep(0.02)
            right.close()
            with pytest.raises(ConnectionError):
                await sending
        transport.close()
        await lost
        with path.open("rb") as file, pytest.raises(RuntimeError, match="closing"):
            await loop.sendfile(transport, file)

    case.run(main())


async def receive(loop: asyncio.AbstractEventLoop, sock: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        received += await loop.sock_recv(sock, 65536)
    return bytes(received)
