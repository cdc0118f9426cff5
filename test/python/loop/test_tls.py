"""TLS connections: over sockets and streams, start_tls, and what must not be accepted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import sys
import threading
from pathlib import Path

import pytest
from certificates import Certificates
from loop_case import LoopCase
from test_tcp import Recorder


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(100_000):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


def test_streams(case: LoopCase, certificates: Certificates) -> None:
    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=certificates.server())
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=certificates.client(), server_hostname="localhost"
        )
        assert writer.get_extra_info("cipher")
        assert isinstance(writer.get_extra_info("ssl_object"), ssl.SSLObject)
        assert writer.get_extra_info("peercert")["subjectAltName"]
        assert not writer.can_write_eof()
        message = bytes(range(256)) * 8_000
        writer.write(message)
        assert await reader.readexactly(len(message)) == message
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    case.run(main())


def test_many_connections_at_once(case: LoopCase, certificates: Certificates) -> None:
    async def client(port: int, number: int) -> None:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=certificates.client(), server_hostname="localhost"
        )
        writer.write(f"{number}\n".encode())
        assert await reader.readline() == f"{number}\n".encode()
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=certificates.server())
        port = server.sockets[0].getsockname()[1]
        await asyncio.gather(*(client(port, number) for number in range(30)))
        server.close()
        await server.wait_closed()

    case.run(main())


def test_wrong_name_is_refused(case: LoopCase, certificates: Certificates) -> None:
    received = bytearray()

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.read())
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(collect, "127.0.0.1", 0, ssl=certificates.server())
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(
                "127.0.0.1", port, ssl=certificates.client(), server_hostname="example.org"
            )
        # Without the authority the certificate is not trusted either.
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(
                "127.0.0.1", port, ssl=ssl.create_default_context(), server_hostname="localhost"
            )
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.05)

    case.run(main())
    assert not received
    # In debug mode asyncio reports the handshakes that failed on the server's side.
    assert all(
        "handshake" in context["message"] or "transport" in context for context in case.handled
    )
    case.handled.clear()


def test_start_tls(case: LoopCase, certificates: Certificates) -> None:
    class Upgrading(asyncio.Protocol):
        """Answers STARTTLS, encrypts, and echoes one message in capitals."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.received: asyncio.Queue[bytes] = asyncio.Queue()
            self.session = asyncio.get_running_loop().create_task(self.serve(transport))

        def data_received(self, data: bytes) -> None:
            self.received.put_nowait(data)

        async def serve(self, transport: asyncio.Transport) -> None:
            assert await self.received.get() == b"STARTTLS"
            transport.pause_reading()
            transport.write(b"READY")
            transport = await asyncio.get_running_loop().start_tls(
                transport, self, certificates.server(), server_side=True
            )
            transport.write((await self.received.get()).upper())

    class Client(asyncio.Protocol):
        def __init__(self) -> None:
            self.received: asyncio.Queue[bytes] = asyncio.Queue()
            self.lost = asyncio.get_running_loop().create_future()

        def data_received(self, data: bytes) -> None:
            self.received.put_nowait(data)

        def connection_lost(self, exc: Exception | None) -> None:
            self.lost.set_result(exc)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Upgrading, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport, client = await loop.create_connection(Client, "127.0.0.1", port)
        transport.write(b"STARTTLS")
        assert await client.received.get() == b"READY"
        transport = await loop.start_tls(
            transport, client, certificates.client(), server_hostname="localhost"
        )
        assert transport.get_extra_info("sslcontext") is not None
        transport.write(b"secret")
        assert await client.received.get() == b"SECRET"
        transport.close()
        assert await client.lost is None
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.05)

    case.run(main())


def test_plain_peer_fails_the_handshake(case: LoopCase, certificates: Certificates) -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"this is no TLS\r\n" * 100)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(shout, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(
                "127.0.0.1", port, ssl=certificates.client(), server_hostname="localhost"
            )
        server.close()
        await server.wait_closed()

    case.run(main())


def test_handshake_timeout(case: LoopCase, certificates: Certificates) -> None:
    async def main() -> None:
        released = asyncio.Event()

        async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await released.wait()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionAbortedError, match="handshake"):
            await asyncio.open_connection(
                "127.0.0.1",
                port,
                ssl=certificates.client(),
                server_hostname="localhost",
                ssl_handshake_timeout=0.1,
            )
        released.set()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.02)

    case.run(main())


def test_start_tls_of_streams(case: LoopCase, certificates: Certificates) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"READY\n")
        await writer.drain()
        await writer.start_tls(certificates.server())
        writer.write((await reader.readline()).upper())
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"READY\n"
        await writer.start_tls(certificates.client(), server_hostname="localhost")
        writer.write(b"secret\n")
        assert await reader.readline() == b"SECRET\n"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.02)

    # StreamWriter.start_tls() of 3.11 leaves the transport of a server's side to its destructor.
    if sys.version_info < (3, 12):
        pytest.skip("a server's StreamWriter.start_tls() works since 3.12")
    case.run(main())


def test_start_tls_fails(case: LoopCase, certificates: Certificates) -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"this is no TLS\r\n" * 100)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(shout, "127.0.0.1", 0)
        transport, protocol = await loop.create_connection(
            Recorder, *server.sockets[0].getsockname()
        )
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await loop.start_tls(
                transport, protocol, certificates.client(), server_hostname="localhost"
            )
        assert transport.is_closing()
        with pytest.raises(TypeError, match="sslcontext"):
            await loop.start_tls(transport, protocol, True)
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.02)

    case.run(main())


def test_certificate_of_the_client(case: LoopCase, certificates: Certificates) -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        names = writer.get_extra_info("peercert")["subjectAltName"]
        writer.write(repr(names).encode())
        writer.close()

    async def main() -> None:
        asks = certificates.server()
        asks.load_verify_locations(certificates.certificate)
        asks.verify_mode = ssl.CERT_REQUIRED
        server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=asks)
        address = server.sockets[0].getsockname()
        shows = certificates.client()
        shows.load_cert_chain(certificates.certificate, certificates.key)
        reader, writer = await asyncio.open_connection(
            *address, ssl=shows, server_hostname="localhost"
        )
        assert b"localhost" in await reader.read()
        writer.close()
        await writer.wait_closed()
        # TLS 1.3: a client that shows none hears of the refusal when it reads.
        greeting = b""
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            reader, writer = await asyncio.open_connection(
                *address, ssl=certificates.client(), server_hostname="localhost"
            )
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                greeting = await reader.read()
            writer.close()
            await writer.wait_closed()
        assert not greeting
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.02)

    case.run(main())
    # In debug mode asyncio reports the handshake that failed on the server's side.
    assert all("handshake" in c["message"] or "transport" in c for c in case.handled)
    case.handled.clear()


def test_unix_socket(case: LoopCase, certificates: Certificates, tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "socket")
        server = await asyncio.start_unix_server(echo, path, ssl=certificates.server())
        reader, writer = await asyncio.open_unix_connection(
            path, ssl=certificates.client(), server_hostname="localhost"
        )
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    case.run(main())


def test_accepted_socket(case: LoopCase, certificates: Certificates) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            client = loop.create_task(
                asyncio.open_connection(
                    *listener.getsockname(), ssl=certificates.client(), server_hostname="localhost"
                )
            )
            accepted, _ = await loop.sock_accept(listener)
        transport, protocol = await loop.connect_accepted_socket(
            Recorder, accepted, ssl=certificates.server()
        )
        reader, writer = await client
        transport.write(b"to the client")
        assert await reader.readexactly(13) == b"to the client"
        writer.write(b"to the server")
        while protocol.received != b"to the server":
            await asyncio.sleep(0.001)
        writer.close()
        await writer.wait_closed()
        assert await protocol.lost is None

    case.run(main())


def test_slow_reader_pauses_the_writer(case: LoopCase, certificates: Certificates) -> None:
    size = 5_000_000
    highest = 0

    async def produce(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal highest
        for _ in range(size // 10_000):
            writer.write(b"." * 10_000)
            highest = max(highest, writer.transport.get_write_buffer_size())
            await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(produce, "127.0.0.1", 0, ssl=certificates.server())
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=certificates.client(), server_hostname="localhost"
        )
        await asyncio.sleep(0.1)
        received = 0
        while data := await reader.read(65536):
            received += len(data)
        assert received == size
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    case.run(main())
    assert highest < size // 4, "a slow reader grows the writer's memory"


def test_sendfile(case: LoopCase, certificates: Certificates, tmp_path: Path) -> None:
    content = os.urandom(500_000)
    path = tmp_path / "content"
    path.write_bytes(content)

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with path.open("rb") as file:
            with pytest.raises(RuntimeError, match="fallback is disabled"):
                await loop.sendfile(writer.transport, file, fallback=False)
            assert await loop.sendfile(writer.transport, file) == len(content)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=certificates.server())
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=certificates.client(), server_hostname="localhost"
        )
        assert await reader.read() == content
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    case.run(main())


def test_cancelled_handshake(case: LoopCase, certificates: Certificates) -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
            ended.set()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(
                asyncio.open_connection(
                    *server.sockets[0].getsockname(),
                    ssl=certificates.client(),
                    server_hostname="localhost",
                ),
                0.1,
            )
        await asyncio.wait_for(ended.wait(), 10)
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.02)

    case.run(main())


def test_shutdown_timeout(case: LoopCase, certificates: Certificates) -> None:
    """A peer that does not answer the end of the session does not keep the connection open."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def peer() -> None:
                accepted, _ = listener.accept()
                with certificates.server().wrap_socket(accepted, server_side=True) as wrapped:
                    assert wrapped.recv(10) == b"hello"
                    # Neither reads nor answers: the client gives up by itself.
                    closed.wait(30)

            closed = threading.Event()
            thread = loop.run_in_executor(None, peer)
            transport, protocol = await loop.create_connection(
                Recorder,
                *listener.getsockname(),
                ssl=certificates.client(),
                server_hostname="localhost",
                ssl_shutdown_timeout=0.1,
            )
            transport.write(b"hello")
            await asyncio.sleep(0.05)
            transport.close()
            await asyncio.wait_for(protocol.lost, 10)
            closed.set()
            await thread

    case.run(main())
    # In debug mode asyncio reports the shutdown that timed out.
    assert all("TLS" in c["message"] or "SSL" in c["message"] for c in case.handled), case.handled
    case.handled.clear()


def test_arguments_that_need_tls(case: LoopCase, certificates: Certificates) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for options in ({"ssl_handshake_timeout": 1}, {"ssl_shutdown_timeout": 1}):
            with pytest.raises(ValueError, match="only meaningful with ssl"):
                await loop.create_connection(Recorder, "127.0.0.1", 1, **options)
            with pytest.raises(ValueError, match="only meaningful with ssl"):
                await loop.create_server(Recorder, "127.0.0.1", 0, **options)
        with pytest.raises(TypeError):
            await loop.create_server(Recorder, "127.0.0.1", 0, ssl=True)
        left, right = socket.socketpair()
        with left, right, pytest.raises(ValueError, match="server_hostname"):
            await loop.create_connection(Recorder, sock=left, ssl=certificates.client())

    case.run(main())
