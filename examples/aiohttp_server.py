"""An aiohttp server: pages, websockets, streaming upload and download, with or without TLS.

As a program: ``aiohttp_server.py [port [certificate key]]``. From Erlang, ``start`` and ``stop`` are
coroutines for ``py_event_loop:run/3``; the server runs on that loop until it is stopped.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import sys

from aiohttp import WSMsgType, web

CHUNK_BYTES = 64 * 1024

_runners: dict[int, web.AppRunner] = {}
_highest_write_buffer = web.AppKey("highest_write_buffer", list)


def loop_name() -> str:
    """The class of the running loop."""
    cls = type(asyncio.get_running_loop())
    return f"{cls.__module__}.{cls.__qualname__}"


async def index(request: web.Request) -> web.Response:
    """Say which loop serves the request."""
    return web.json_response({"loop": loop_name(), "tls": request.secure})


async def echo_websocket(request: web.Request) -> web.WebSocketResponse:
    """Send each message back; the text "close" ends the conversation."""
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    async for message in websocket:
        if message.type is WSMsgType.BINARY:
            await websocket.send_bytes(message.data)
        elif message.type is WSMsgType.TEXT and message.data == "close":
            await websocket.close(code=1000, message=b"as you wish")
        elif message.type is WSMsgType.TEXT:
            await websocket.send_str(message.data)
    return websocket


async def upload(request: web.Request) -> web.Response:
    """Read a body of any size, a chunk at a time, and answer with its digest."""
    digest, size, chunks = hashlib.sha256(), 0, 0
    async for chunk in request.content.iter_any():
        digest.update(chunk)
        size += len(chunk)
        chunks += 1
    return web.json_response({"sha256": digest.hexdigest(), "bytes": size, "chunks": chunks})


def block(number: int) -> bytes:
    """The block of that number of the body that a download gets."""
    return hashlib.sha256(number.to_bytes(8, "big")).digest() * (CHUNK_BYTES // 32)


async def download(request: web.Request) -> web.StreamResponse:
    """Send ``blocks`` blocks, no faster than the client takes them."""
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    await response.prepare(request)
    highest = request.app[_highest_write_buffer]
    for number in range(int(request.match_info["blocks"])):
        await response.write(block(number))
        highest[0] = max(highest[0], request.transport.get_write_buffer_size())
    await response.write_eof()
    return response


async def buffered(request: web.Request) -> web.Response:
    """The most bytes that a download had waiting in the server so far."""
    return web.json_response({"bytes": request.app[_highest_write_buffer][0]})


def create_application() -> web.Application:
    """The application, not yet served."""
    application = web.Application(client_max_size=0)
    application[_highest_write_buffer] = [0]
    application.add_routes(
        [
            web.get("/", index),
            web.get("/echo", echo_websocket),
            web.put("/upload", upload),
            web.post("/upload", upload),
            web.get(r"/download/{blocks:\d+}", download),
            web.get("/buffered", buffered),
        ]
    )
    return application


async def start(
    host: str, port: int, certificate: str | None = None, key: str | None = None
) -> int:
    """Start serving; returns the port, which is a free one when ``port`` is 0.

    With the PEM files of a certificate and its key, over TLS. Raises OSError when the port is taken.
    """
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
    runner = web.AppRunner(create_application(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=context).start()
    except BaseException:
        await runner.cleanup()
        raise
    port = runner.addresses[0][1]
    _runners[port] = runner
    return port


async def stop(port: int) -> None:
    """Close the port and the connections of the server that ``start`` started."""
    await _runners.pop(port).cleanup()


async def main(port: int, *tls: str) -> None:
    """Serve until cancelled."""
    port = await start("127.0.0.1", port, *tls)
    print(f"{loop_name()} serves http{'s' if tls else ''}://127.0.0.1:{port}/")
    try:
        await asyncio.Event().wait()
    finally:
        await stop(port)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8080, *sys.argv[2:]))
