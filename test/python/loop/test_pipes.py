"""Unix sockets and pipes."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from loop_case import LoopCase
from test_tcp import Echo, Recorder


def test_unix_protocols(case: LoopCase, tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        path = str(tmp_path / "socket")
        # A socket file that a dead process left behind is replaced.
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(path)
        server = await loop.create_unix_server(Echo, path)
        transport, client = await loop.create_unix_connection(Recorder, path)
        assert transport.get_extra_info("peername") == path
        transport.write(b"hello")
        while not client.received:
            await asyncio.sleep(0.001)
        assert client.received == b"hello"
        transport.close()
        assert await client.lost is None
        with pytest.raises(OSError):
            await loop.create_unix_server(Echo, str(tmp_path / "missing" / "socket"))
        with pytest.raises(FileNotFoundError):
            await loop.create_unix_connection(Recorder, str(tmp_path / "nobody"))
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)

    case.run(main())


def test_unix_streams(case: LoopCase, tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        writer.write(data[::-1])
        writer.close()

    async def main() -> None:
        path = "\0erlang_python test " + str(os.getpid())
        async with await asyncio.start_unix_server(serve, path):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"abc" * 100_000)
            writer.write_eof()
            assert await reader.read() == b"cba" * 100_000
            writer.close()
            await writer.wait_closed()

    case.run(main())


def test_read_pipe(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        read_end, write_end = os.pipe()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", 0)
        )
        os.write(write_end, b"one\ntwo\n")
        assert await reader.readline() == b"one\n"
        assert await reader.readline() == b"two\n"
        transport.pause_reading()
        os.write(write_end, b"three\n")
        await asyncio.sleep(0.01)
        transport.resume_reading()
        assert await reader.readline() == b"three\n"
        os.close(write_end)
        assert await reader.read() == b""
        await asyncio.sleep(0)

    case.run(main())


def test_write_pipe(case: LoopCase) -> None:
    class Pausing(asyncio.BaseProtocol):
        def __init__(self) -> None:
            self.paused = False
            self.lost = asyncio.get_running_loop().create_future()

        def pause_writing(self) -> None:
            self.paused = True

        def resume_writing(self) -> None:
            self.paused = False

        def connection_lost(self, exc: Exception | None) -> None:
            self.lost.set_result(exc)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        transport, protocol = await loop.connect_write_pipe(Pausing, os.fdopen(write_end, "wb", 0))
        message = bytes(range(256)) * 4000
        transport.write(message)
        assert protocol.paused
        received = bytearray()
        while len(received) < len(message):
            try:
                received += os.read(read_end, 65536)
            except BlockingIOError:
                await asyncio.sleep(0)
        assert received == message
        await asyncio.sleep(0)
        assert not protocol.paused
        # The reader goes away.
        os.close(read_end)
        transport.write(b"x")
        transport.write(b"x")
        await protocol.lost

    case.run(main())


def test_pipes_of_other_kinds(case: LoopCase, tmp_path: Path) -> None:
    """A FIFO, a terminal and a socket; a regular file is refused."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        fifo_in = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        ends = [
            (fifo_in, os.open(fifo, os.O_WRONLY)),
            tuple(sock.detach() for sock in socket.socketpair()),
            os.openpty(),
        ]
        for read_end, write_end in ends:
            reader = asyncio.StreamReader()
            incoming, _ = await loop.connect_read_pipe(
                lambda reader=reader: asyncio.StreamReaderProtocol(reader),
                os.fdopen(read_end, "rb", 0),
            )
            outgoing, _ = await loop.connect_write_pipe(
                asyncio.BaseProtocol, os.fdopen(write_end, "wb", 0)
            )
            assert outgoing.can_write_eof()
            outgoing.write(b"hello\n")
            assert (await reader.readline()).strip() == b"hello"
            outgoing.close()
            incoming.close()
            await asyncio.sleep(0.01)
        for mode, connect in (("rb", loop.connect_read_pipe), ("wb", loop.connect_write_pipe)):
            path = tmp_path / "file"
            path.write_bytes(b"x")
            with path.open(mode) as file, pytest.raises(ValueError, match=r"[Pp]ipe"):
                await connect(asyncio.Protocol, file)

    case.run(main())


def test_write_pipe_ends(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        transport, _ = await loop.connect_write_pipe(
            asyncio.BaseProtocol, os.fdopen(write_end, "wb", 0)
        )
        data = bytearray(b"m" * 300_000)
        transport.write(data)
        assert transport.get_write_buffer_size() > 0
        data[:] = bytes(len(data))
        transport.write_eof()
        received = bytearray()
        while True:
            try:
                part = os.read(read_end, 65536)
            except BlockingIOError:
                await asyncio.sleep(0)
                continue
            if not part:
                break
            received += part
        assert received == b"m" * 300_000
        os.close(read_end)

        # abort() forgets what is buffered.
        read_end, write_end = os.pipe()
        transport, _ = await loop.connect_write_pipe(
            asyncio.BaseProtocol, os.fdopen(write_end, "wb", 0)
        )
        transport.write(b"x" * 300_000)
        transport.abort()
        await asyncio.sleep(0.01)
        assert transport.is_closing()
        os.close(read_end)

    case.run(main())
