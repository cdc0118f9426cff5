"""erlang.reactor: protocols on descriptors, on any loop."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from erlang import reactor
from loop_case import LoopCase


class Recorder(reactor.Protocol):
    """Echoes, and remembers what happened."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def connection_made(self, fd: int, client_info: dict[str, Any]) -> None:
        assert self.fd == fd
        self.events.append(("made", client_info))

    def data_received(self, data: bytes) -> str:
        self.events.append(data)
        self.write_buffer.extend(data)
        return "write_pending"

    def connection_lost(self) -> None:
        assert self.closed
        self.events.append("lost")


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    """The other side of the next connection; its descriptor is ``peer.mine``."""
    mine, other = socket.socketpair()
    other.setblocking(False)
    yield Side(mine.detach(), other)  # type: ignore[misc]
    other.close()


class Side:
    """A socket, and the descriptor of the side that a protocol is to have."""

    def __init__(self, mine: int, other: socket.socket) -> None:
        self.mine = mine
        self.other = other

    async def receive(self, size: int = 65536) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.other, size)


def connect(side: Side, factory: Any) -> Any:
    """A protocol of the factory on the side's descriptor."""
    reactor.set_protocol_factory(factory)
    return reactor.init_connection(side.mine, {"type": "unix"})


async def until(check: Any) -> None:
    """Wait until it is so."""
    for _ in range(2000):
        if check():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("never")


def test_echo(case: LoopCase, peer: Side) -> None:
    async def main() -> None:
        protocol = connect(peer, Recorder)
        assert reactor.get_protocol(peer.mine) is protocol
        assert reactor.connections_of(asyncio.get_running_loop()) == 1
        for message in (b"one", b"two"):
            peer.other.send(message)
            assert await peer.receive() == message
        peer.other.close()
        await until(lambda: protocol.closed)
        assert protocol.events == [("made", {"type": "unix"}), b"one", b"two", "lost"]
        assert reactor.get_protocol(peer.mine) is None
        assert reactor.connections_of(asyncio.get_running_loop()) == 0

    case.run(main())


def test_closed_protocol_does_not_mean_the_next_descriptor(case: LoopCase, peer: Side) -> None:
    async def main() -> None:
        protocol = connect(peer, Recorder)
        assert reactor.close_connection(peer.mine)
        one, two = socket.socketpair()
        # The number is taken by somebody else.
        if two.fileno() == peer.mine:
            one, two = two, one
        if one.fileno() != peer.mine:
            os.dup2(one.fileno(), peer.mine)
            one.detach()
            one = socket.socket(fileno=peer.mine)
        two.setblocking(False)
        assert protocol.write(b"stray") == 0
        two.send(b"not yours")
        assert protocol.read() == b""
        with pytest.raises(BlockingIOError):
            two.recv(10)
        assert one.recv(20) == b"not yours"
        one.close()
        two.close()

    case.run(main())


def test_names_of_a_protocol_are_its_own(case: LoopCase, peer: Side) -> None:
    class Named(Recorder):
        def _write(self) -> str:
            return "mine"

        _send = _failed_to = _write

    async def main() -> None:
        protocol = connect(peer, Named)
        peer.other.send(b"one")
        assert await peer.receive() == b"one"
        assert protocol._write() == protocol._send() == "mine"
        peer.other.close()
        await until(lambda: protocol.closed)

    case.run(main())


def test_more_than_the_socket_takes(case: LoopCase, peer: Side) -> None:
    payload = os.urandom(1_000_000)

    class Source(reactor.Protocol):
        def data_received(self, data: bytes) -> str:
            self.write_buffer.extend(payload)
            return "write_pending"

    async def main() -> None:
        protocol = connect(peer, Source)
        peer.other.send(b"x")
        got = b""
        while len(got) < len(payload):
            got += await peer.receive()
        assert got == payload
        assert not protocol.closed
        assert reactor.close_connection(peer.mine)
        assert not reactor.close_connection(peer.mine)
        assert await peer.receive() == b""

    case.run(main())


def test_half_closed_side_gets_its_answer(case: LoopCase, peer: Side) -> None:
    class AtTheEnd(Recorder):
        def data_received(self, data: bytes) -> str:
            self.write_buffer.extend(data)
            return "continue"

        def eof_received(self) -> str:
            return "write_pending"

        def write_ready(self) -> str:
            return "close" if super().write_ready() == "read_pending" else "continue"

    async def main() -> None:
        connect(peer, AtTheEnd)
        peer.other.send(b"abc")
        await asyncio.sleep(0.01)
        peer.other.send(b"def")
        peer.other.shutdown(socket.SHUT_WR)
        got = b""
        while data := await peer.receive():
            got += data
        assert got == b"abcdef"

    case.run(main())


def test_close_reaches_the_other_side_past_duplicates(case: LoopCase, peer: Side) -> None:
    class Goodbye(reactor.Protocol):
        def data_received(self, data: bytes) -> str:
            return "close"

    async def main() -> None:
        duplicate = os.dup(peer.mine)
        try:
            connect(peer, Goodbye)
            peer.other.send(b"x")
            assert await peer.receive() == b""
        finally:
            os.close(duplicate)

    case.run(main())


def test_async_pending(case: LoopCase, peer: Side) -> None:
    class Later(Recorder):
        def data_received(self, data: bytes) -> str:
            self.events.append(data)
            return "async_pending"

    async def main() -> None:
        protocol = connect(peer, Later)
        peer.other.send(b"ask")
        await until(lambda: b"ask" in protocol.events)
        peer.other.send(b"more")
        await asyncio.sleep(0.02)
        assert protocol.events[-1] == b"ask"  # not read meanwhile

        def answer() -> None:
            protocol.write_buffer.extend(b"answer")
            assert protocol.signal_write_ready()

        thread = threading.Thread(target=answer)
        thread.start()
        assert await peer.receive() == b"answer"
        thread.join()
        await until(lambda: protocol.events[-1] == b"more")
        protocol.write_buffer.extend(b"again")
        assert reactor.signal_write_ready(peer.mine)
        assert await peer.receive() == b"again"
        # Also when it waits for something to read: an answer in two parts.
        await until(lambda: protocol.write_buffer == b"")
        protocol.write_buffer.extend(b"second part")
        assert protocol.signal_write_ready()
        assert await peer.receive() == b"second part"
        reactor.close_connection(peer.mine)
        assert not protocol.signal_write_ready()
        assert not reactor.signal_write_ready(peer.mine)

    case.run(main())


@pytest.mark.parametrize("action", [None, "read", 1, ""])
def test_wrong_action(case: LoopCase, peer: Side, action: Any) -> None:
    class Wrong(Recorder):
        def data_received(self, data: bytes) -> str:
            return action  # type: ignore[no-any-return]

    async def main() -> None:
        protocol = connect(peer, Wrong)
        peer.other.send(b"x")
        assert await peer.receive() == b""
        assert protocol.events[-1] == "lost"

    case.run(main())
    (context,) = case.handled
    case.handled.clear()
    assert isinstance(context["exception"], ValueError)
    assert "data_received() returned" in str(context["exception"])
    assert "write_pending" in str(context["exception"])


@pytest.mark.parametrize(
    "where", ["data_received", "write_ready", "eof_received", "connection_lost"]
)
def test_exceptions_close_only_their_connection(case: LoopCase, peer: Side, where: str) -> None:
    def fail(self: Any) -> str:
        raise ZeroDivisionError(where)

    def fail_with_data(self: Any, data: bytes) -> str:
        raise ZeroDivisionError(where)

    method = fail_with_data if where == "data_received" else fail
    method.__qualname__ = where
    failing = type("Failing", (Recorder,), {where: method})

    async def main() -> None:
        left, right = socket.socketpair()
        right.setblocking(False)
        well = Side(left.detach(), right)
        with right:
            good = connect(well, Recorder)
            bad = connect(peer, failing)
            if where != "eof_received":
                peer.other.send(b"x")
            if where in ("eof_received", "connection_lost"):
                peer.other.shutdown(socket.SHUT_WR)
            await until(lambda: bad.closed)
            well.other.send(b"ok")
            assert await well.receive() == b"ok"
            assert not good.closed
            reactor.close_connections_of(asyncio.get_running_loop())
            assert good.closed

    case.run(main())
    (context,) = case.handled
    case.handled.clear()
    assert isinstance(context["exception"], ZeroDivisionError)
    assert where in context["message"]


def test_connection_made_that_raises(case: LoopCase, peer: Side) -> None:
    class Refusing(Recorder):
        def connection_made(self, fd: int, client_info: dict[str, Any]) -> None:
            raise PermissionError("no")

    async def main() -> None:
        with pytest.raises(PermissionError):
            connect(peer, Refusing)
        assert reactor.get_protocol(peer.mine) is None
        # It is the caller's still.
        protocol = connect(peer, Recorder)
        peer.other.send(b"x")
        assert await peer.receive() == b"x"
        assert reactor.close_connection(protocol.fd)

    case.run(main())


def test_connection_made_that_closes(case: LoopCase, peer: Side) -> None:
    class Closing(Recorder):
        def connection_made(self, fd: int, client_info: dict[str, Any]) -> None:
            reactor.close_connection(fd)

    async def main() -> None:
        protocol = connect(peer, Closing)
        assert protocol.closed
        assert await peer.receive() == b""

    case.run(main())


def test_protocol_that_closes_itself(case: LoopCase, peer: Side) -> None:
    class Closing(Recorder):
        def data_received(self, data: bytes) -> str:
            reactor.close_connection(self.fd)
            return "write_pending"

    async def main() -> None:
        protocol = connect(peer, Closing)
        peer.other.send(b"x")
        assert await peer.receive() == b""
        assert protocol.events[-1] == "lost"

    case.run(main())


def test_bad_arguments(case: LoopCase, peer: Side) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="callable"):
            reactor.set_protocol_factory(1)  # type: ignore[arg-type]
        reactor.set_protocol_factory(lambda: 1)  # type: ignore[arg-type, return-value]
        with pytest.raises(TypeError, match="factory returned"):
            reactor.init_connection(peer.mine)
        reactor.set_protocol_factory(Recorder)
        with pytest.raises(OSError):
            reactor.init_connection(99999)
        protocol = reactor.init_connection(peer.mine)
        assert protocol.client_info == {}
        with pytest.raises(ValueError, match="already"):
            reactor.init_connection(peer.mine)
        reactor.close_connection(peer.mine)
        assert reactor.get_protocol(-1) is None

    case.run(main())
    with pytest.raises(RuntimeError):
        reactor.init_connection(peer.mine)


def test_no_factory(case: LoopCase, peer: Side) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="set_protocol_factory"):
            reactor.init_connection(peer.mine)
        os.close(peer.mine)

    case.run(main())


def test_default_factory(case: LoopCase, peer: Side) -> None:
    class Other(Recorder):
        pass

    async def main() -> None:
        reactor.init_connection(peer.mine)
        protocol = reactor.get_protocol(peer.mine)
        assert type(protocol) is Other
        reactor.set_protocol_factory(Recorder)  # for this loop
        reactor.close_connection(peer.mine)

    reactor.set_protocol_factory(Other)
    try:
        case.run(main())
        assert reactor._default_factory is Other
    finally:
        reactor._default_factory = None


def test_pipes(case: LoopCase) -> None:
    class Collect(Recorder):
        def data_received(self, data: bytes) -> str:
            self.events.append(data)
            return "continue"

    async def main() -> None:
        reading, writing = os.pipe()
        reactor.set_protocol_factory(Collect)
        protocol: Any = reactor.init_connection(reading)
        os.write(writing, b"abc")
        await until(lambda: b"abc" in protocol.events)
        os.close(writing)
        await until(lambda: protocol.closed)
        assert protocol.events[1:] == [b"abc", "lost"]

    case.run(main())


def test_writing_after_the_other_side_is_gone(case: LoopCase, peer: Side) -> None:
    async def main() -> None:
        protocol = connect(
            peer, type("Later", (Recorder,), {"data_received": lambda s, d: "async_pending"})
        )
        peer.other.send(b"x")
        await asyncio.sleep(0.01)
        peer.other.close()
        protocol.write_buffer.extend(b"x" * 100_000)
        protocol.signal_write_ready()
        await until(lambda: protocol.closed)
        assert protocol.write(b"x") == 0
        assert protocol.read() == b""

    case.run(main())


def test_many(case: LoopCase) -> None:
    async def main() -> None:
        reactor.set_protocol_factory(Recorder)
        sides = []
        for _ in range(100):
            left, right = socket.socketpair()
            right.setblocking(False)
            side = Side(left.detach(), right)
            reactor.init_connection(side.mine)
            sides.append(side)
        for round_number in range(5):
            for n, side in enumerate(sides):
                side.other.send(b"%d-%d" % (n, round_number))
            for n, side in enumerate(sides):
                assert await side.receive() == b"%d-%d" % (n, round_number)
        reactor.close_connections_of(asyncio.get_running_loop())
        for side in sides:
            assert await side.receive() == b""
            side.other.close()

    case.run(main())
