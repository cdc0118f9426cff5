"""The servers that bench_loop.py puts load on, all in one thread on a loop of the kind asked for.

:func:`serve` runs until :func:`stop`; :func:`started` waits for its port. Both are called from another thread.
"""

from __future__ import annotations

import asyncio
import queue
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import bench_loops

_HOST = "127.0.0.1"
_events: queue.Queue[dict[str, Any]] = queue.Queue()
_running: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None


def serve(kind: str, scenario: str, certificate: str) -> None:
    """Serves on a loop of that kind until :func:`stop`, then closes the loop."""
    try:
        bench_loops.run(kind, lambda: _serve(scenario, certificate))
        _events.put({"stopped": True})
    except BaseException as exception:
        _events.put({"error": repr(exception)})
        raise


async def serve_task(scenario: str, certificate: str) -> None:
    """The same as a task of Erlang's, on the loop that it runs on."""
    try:
        await _serve(scenario, certificate)
        _events.put({"stopped": True})
    except BaseException as exception:
        _events.put({"error": repr(exception)})
        raise


async def _serve(scenario: str, certificate: str) -> None:
    global _running
    stop_event = asyncio.Event()
    _running = asyncio.get_running_loop(), stop_event
    async with _SCENARIOS[scenario](certificate) as port:
        _events.put({"port": port, "class": bench_loops.class_of_running()})
        await stop_event.wait()


def started() -> dict[str, Any]:
    """The port and the class of the loop, as soon as the server listens."""
    return _next("port")


def stop() -> bool:
    """Ends the server and waits until it is gone."""
    assert _running is not None
    loop, stop_event = _running
    loop.call_soon_threadsafe(stop_event.set)
    return _next("stopped")["stopped"]


def _next(key: str) -> dict[str, Any]:
    event = _events.get(timeout=20)
    if key not in event:
        raise RuntimeError(f"the server: {event}")
    return event


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = transport.write  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._write(data)


class _DatagramEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._send = transport.sendto  # type: ignore[attr-defined]

    def datagram_received(self, data: bytes, address: Any) -> None:
        self._send(data, address)


async def _echo_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


def _port(server: asyncio.Server) -> int:
    return server.sockets[0].getsockname()[1]


@asynccontextmanager
async def _tcp_protocol(_certificate: str) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    async with await loop.create_server(_Echo, _HOST, 0, backlog=2048) as server:
        yield _port(server)


@asynccontextmanager
async def _tcp_streams(_certificate: str) -> AsyncIterator[int]:
    async with await asyncio.start_server(_echo_stream, _HOST, 0, backlog=2048) as server:
        yield _port(server)


@asynccontextmanager
async def _tls_protocol(certificate: str) -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{certificate}/cert.pem", f"{certificate}/key.pem")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Echo, _HOST, 0, backlog=2048, ssl=context)
    async with server:
        yield _port(server)


@asynccontextmanager
async def _udp(_certificate: str) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(_DatagramEcho, local_addr=(_HOST, 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


@asynccontextmanager
async def _aiohttp(_certificate: str) -> AsyncIterator[int]:
    from aiohttp import web

    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    application = web.Application()
    application.router.add_get("/", hello)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, _HOST, 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _uvicorn(_certificate: str) -> AsyncIterator[int]:
    import uvicorn

    async def application(scope: Any, _receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})

    config = uvicorn.Config(
        application, host=_HOST, port=0, log_level="warning", access_log=False, lifespan="off"
    )
    server = uvicorn.Server(config)
    # Server.serve() would install signal handlers, which belong to the VM.
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    ticker = asyncio.ensure_future(server.main_loop())
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await ticker
        await server.shutdown()


_SCENARIOS: dict[str, Callable[[str], AbstractAsyncContextManager[int]]] = {
    "tcp protocol": _tcp_protocol,
    "tcp streams": _tcp_streams,
    "tls protocol": _tls_protocol,
    "udp": _udp,
    "aiohttp": _aiohttp,
    "uvicorn": _uvicorn,
}
