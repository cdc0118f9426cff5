"""Protocols for py_reactor_SUITE."""

from __future__ import annotations

import erlang
from erlang import reactor

lost: list[dict] = []


class Echo(reactor.Protocol):
    def data_received(self, data):
        self.write_buffer.extend(data)
        return "write_pending"

    def connection_lost(self):
        lost.append(self.client_info)


class Upper(Echo):
    def data_received(self, data):
        return super().data_received(data.upper())


class Tells(reactor.Protocol):
    """Says what it was told."""

    def data_received(self, data):
        info = self.client_info
        self.write_buffer.extend(
            f"{info.get('type')} {info.get('addr')} {info.get('port')} {info.get('x')}".encode()
        )
        return "write_pending"


class Refuses(reactor.Protocol):
    def connection_made(self, fd, client_info):
        raise PermissionError("not you")


class Fails(reactor.Protocol):
    def data_received(self, data):
        raise ValueError("bad data")


class SimpleHTTP(reactor.Protocol):
    """HTTP/1.0, one request."""

    def __init__(self):
        super().__init__()
        self.request = bytearray()

    def data_received(self, data):
        self.request.extend(data)
        if b"\r\n\r\n" not in self.request:
            return "continue"
        path = self.request.split(b" ", 2)[1].decode()
        body = f"Hello! You requested {path}".encode()
        head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        self.write_buffer.extend(head.encode() + body)
        return "write_pending"

    def write_ready(self):
        return "close" if super().write_ready() == "read_pending" else "continue"


class AsksErlang(reactor.Protocol):
    """Answers when an Erlang function has."""

    def data_received(self, data):
        import asyncio

        async def ask():
            answer = await erlang.async_call("reactor_answer", data)
            self.write_buffer.extend(answer.encode())
            self.signal_write_ready()

        self.task = asyncio.get_running_loop().create_task(ask())
        return "async_pending"


def taken():
    seen = lost[:]
    lost.clear()
    return seen
