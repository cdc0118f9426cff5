"""TLS connections: over sockets and streams, start_tls, and what must not be accepted."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from certificates import Certificates
from loop_case import LoopCase


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
