"""Faults under a loop: descriptors that go away, peers that misbehave."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import struct
import threading
import time
from typing import Any

import erlang


async def _within(awaitable: Any, seconds: float = 20.0) -> str:
    """The name of what an awaitable ends with."""
    try:
        await asyncio.wait_for(awaitable, seconds)
    except (Exception, asyncio.CancelledError) as error:
        return type(error).__name__
    return "done"


async def closed_behind() -> list[str]:
    """A watched descriptor is closed, and its number used again, without the loop being told."""
    loop = asyncio.get_running_loop()
    ends = []
    for _ in range(20):
        left, right = socket.socketpair()
        left.setblocking(False)
        right.setblocking(False)
        waiting = loop.create_task(loop.sock_recv(left, 10))
        await asyncio.sleep(0)
        os.close(left.detach())
        other, peer = socket.socketpair()
        other.setblocking(False)
        peer.setblocking(False)
        await loop.sock_sendall(peer, b"other")
        waiting.cancel()
        ends.append(await _within(waiting, 1.0))
        loop.remove_reader(other.fileno())
        ends.append((await asyncio.wait_for(loop.sock_recv(other, 10), 10)).decode())
        for sock in (right, other, peer):
            sock.close()
    return sorted(set(ends))


async def closed_transport() -> str:
    """The descriptor of a transport is closed under it."""
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    os.close(writer.get_extra_info("socket").fileno())
    writer.write(b"x" * 100)
    result = await _within(reader.read(1), 1.0)
    writer.transport.abort()
    await asyncio.sleep(0.01)
    server.close()
    # The socket object must not close somebody else's descriptor later.
    return result


_taken: list[int] = []
_limits: list[tuple[int, int]] = []


def take_descriptors() -> int:
    """Leaves the VM without a descriptor until :func:`give_descriptors`."""
    _limits.append(resource.getrlimit(resource.RLIMIT_NOFILE))
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 8, _limits[-1][1]))
    try:
        while True:
            _taken.append(os.dup(0))
    except OSError:
        return len(_taken)


def give_descriptors() -> None:
    while _taken:
        os.close(_taken.pop())
    resource.setrlimit(resource.RLIMIT_NOFILE, _limits.pop())


def _poll_sets() -> int:
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return sum(os.path.exists(link) and "eventpoll" in os.readlink(link) for link in links)


def _stale() -> tuple[int, socket.socket]:
    """A reader is removed after its descriptor was closed, while a duplicate keeps the socket open: the system goes on
    reporting it. The duplicate and the peer."""
    left, right = socket.socketpair()
    loop = asyncio.get_running_loop()
    loop.add_reader(left.fileno(), lambda: None)
    number = left.detach()
    duplicate = os.dup(number)
    os.close(number)
    loop.remove_reader(number)
    return duplicate, right


async def stale(count: int) -> int:
    """By how many poll sets a loop has grown that had to replace its own as often."""
    before = _poll_sets()
    for _ in range(count):
        # Long enough to park.
        await asyncio.sleep(0.02)
        duplicate, right = _stale()
        right.send(b"x")
        await asyncio.sleep(0.02)
        os.close(duplicate)
        right.close()
    # The VM closes the last one when it has let go of it.
    for _ in range(1000):
        if _poll_sets() <= before:
            break
        await asyncio.sleep(0.01)
    return _poll_sets() - before


async def stale_without_descriptors() -> bool:
    """The poll set is to be replaced, and there is no descriptor for another one."""
    loop = asyncio.get_running_loop()
    duplicate, right = _stale()
    other, peer = socket.socketpair()
    other.setblocking(False)
    take_descriptors()
    try:
        right.send(b"x")
        await asyncio.sleep(0.1)
        peer.send(b"y")
        seen = await asyncio.wait_for(loop.sock_recv(other, 10), 10)
    finally:
        give_descriptors()
    await asyncio.sleep(0.1)
    os.close(duplicate)
    for sock in (right, other, peer):
        sock.close()
    return seen == b"y"


def take_descriptors_below(number: int) -> None:
    """What is opened next has a higher number, which the VM may not have expected."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    while not _taken or _taken[-1] < number:
        _taken.append(os.dup(0))


def lateness() -> float:
    """How late a new loop hears, while it is parked, that a socket can be read from."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        left.setblocking(False)
        sent = []

        def send() -> None:
            sent.append(time.monotonic())
            right.send(b"x")

        threading.Timer(0.2, send).start()
        await asyncio.wait_for(loop.sock_recv(left, 1), 10)
        left.close()
        right.close()
        return time.monotonic() - sent[0]

    return erlang.run(main())


async def out_of_descriptors() -> list[Any]:
    """A server that gets EMFILE on accept serves again when there are descriptors."""
    served = 0
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: None)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        writer.write(await reader.read(10))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = [socket.socket() for _ in range(5)]
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 8, before[1]))
    kept = []
    try:
        while True:
            kept.append(os.dup(0))
    except OSError:
        pass
    try:
        for client in clients:
            client.setblocking(False)
            await loop.sock_connect(client, address)
            await loop.sock_sendall(client, b"hello")
        await asyncio.sleep(0.3)
        during = served
        refused = await _within(asyncio.open_connection(*address), 2.0)
    finally:
        for fd in kept:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    answers = [await asyncio.wait_for(loop.sock_recv(client, 10), 10) for client in clients]
    for client in clients:
        client.close()
    server.close()
    loop.set_exception_handler(None)
    return [during, refused, answers == [b"hello"] * 5]


async def reset() -> list[str]:
    """Peers that reset the connection while the loop reads, writes, or has just accepted it."""
    loop = asyncio.get_running_loop()
    seen = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data * 100)
                await writer.drain()
            seen.append("end")
        except OSError as error:
            seen.append(type(error).__name__)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    for i in range(60):
        client = socket.socket()
        client.setblocking(False)
        await loop.sock_connect(client, address)
        if i % 3:
            await loop.sock_sendall(client, b"x" * (1 if i % 3 == 1 else 50_000))
            await asyncio.sleep(0.001 * (i % 4))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    for _ in range(2000):
        if len(seen) >= 60:
            break
        await asyncio.sleep(0.01)
    server.close()
    return sorted(set(seen)) + [str(len(seen))]


async def half_close() -> list[Any]:
    """A peer that has no more to say still gets everything."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        for _ in range(100):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"y" * 10_000)
    writer.write_eof()
    data = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    server.close()
    return [len(data), writer.can_write_eof()]


async def byte_by_byte() -> int:
    """A message that comes in single bytes."""
    loop = asyncio.get_running_loop()
    lines = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal lines
        while await reader.readline():
            lines += 1
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = socket.socket()
    client.setblocking(False)
    await loop.sock_connect(client, server.sockets[0].getsockname())
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in b"one line\n" * 50:
        await loop.sock_sendall(client, bytes([byte]))
    client.close()
    for _ in range(2000):
        if lines == 50:
            break
        await asyncio.sleep(0.01)
    server.close()
    return lines


async def never_reads() -> list[Any]:
    """A peer that never reads: the writer stops, and what it keeps is bounded."""
    most = 0
    writes = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most, writes
        try:
            while True:
                writer.write(b"z" * 65536)
                writes += 1
                most = max(most, writer.transport.get_write_buffer_size())
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setblocking(False)
    await loop.sock_connect(client, server.sockets[0].getsockname())
    # On a busy machine the system's buffers take a while to be full.
    for _ in range(20):
        stopped = writes
        await asyncio.sleep(0.5)
        steady = writes == stopped and writes > 0
        if steady:
            break
    client.close()
    await asyncio.sleep(0.1)
    server.close()
    return [most <= 65536 * 2 + 65536, steady]


async def many_connections(total: int, at_once: int) -> list[int]:
    """Connections that are opened and dropped; descriptors before and after."""
    loop = asyncio.get_running_loop()
    served = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    address = server.sockets[0].getsockname()
    before = len(os.listdir("/proc/self/fd"))

    async def one(number: int) -> None:
        client = socket.socket()
        client.setblocking(False)
        try:
            await loop.sock_connect(client, address)
            if number % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        finally:
            client.close()

    for begin in range(0, total, at_once):
        await asyncio.gather(*(one(i) for i in range(begin, begin + at_once)))
    for _ in range(2000):
        after = len(os.listdir("/proc/self/fd"))
        if after <= before and served >= total // 2:
            break
        await asyncio.sleep(0.01)
    server.close()
    return [served, after - before]


async def no_buffers() -> list[str]:
    """Datagrams that the system refuses go to error_received or are dropped, and the transport lives."""
    errors: list[str] = []

    class Protocol(asyncio.DatagramProtocol):
        def error_received(self, exc: Exception) -> None:
            errors.append(type(exc).__name__)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Protocol, local_addr=("127.0.0.1", 0))
    transport.sendto(b"x" * 70_000, ("127.0.0.1", 9))
    transport.sendto(b"x", ("127.0.0.1", 1))
    await asyncio.sleep(0.05)
    closing = transport.is_closing()
    transport.close()
    return [*sorted(set(errors)), str(closing)]


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: list[bytes] = []

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.append(data)


async def _echo_through(address: str, port: int, size: int) -> bool:
    """Whether what comes back from an echo is what was sent."""
    sent = os.urandom(size)
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(sent)
    writer.write_eof()
    data = await reader.read()
    writer.close()
    return data == sent


async def lossy_link(address: str) -> dict[str, Any]:
    """TCP, UDP and cancelled connects over a network that loses, delays, doubles and reorders packets."""
    loop = asyncio.get_running_loop()
    before = len(os.listdir("/proc/self/fd"))
    streams = await asyncio.gather(*(_echo_through(address, 7, 100_000) for _ in range(5)))

    transport, protocol = await loop.create_datagram_endpoint(_Datagrams, remote_addr=(address, 7))
    sent = [i.to_bytes(4, "big") * 50 for i in range(400)]
    for datagram in sent:
        transport.sendto(datagram)
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.5)
    transport.close()
    received = protocol.received

    # Nobody answers there: the connect has to be cancelled.
    nobody = [
        await _within(asyncio.open_connection(address.rsplit(".", 1)[0] + ".99", 7), 0.3)
        for _ in range(5)
    ]

    # Flow control over a slow network.
    _, writer = await asyncio.open_connection(address, 9)
    most = 0
    try:
        async with asyncio.timeout(1.0):
            while True:
                writer.write(b"z" * 65536)
                most = max(most, writer.transport.get_write_buffer_size())
                await writer.drain()
    except TimeoutError:
        pass
    writer.transport.abort()
    await asyncio.sleep(0.1)
    return {
        "streams": streams,
        "strange": len([data for data in received if data not in sent]),
        "lost": len(set(sent) - set(received)),
        "doubled": len(received) - len(set(received)),
        "ordered": received == sorted(received),
        "nobody": sorted(set(nobody)),
        "bounded": most <= 65536 * 3,
        "descriptors": len(os.listdir("/proc/self/fd")) - before,
    }
