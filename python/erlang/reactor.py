"""Protocols on file descriptors: Erlang hands a descriptor over, Python says what happens on it.

A protocol is a class with a method for each thing that may happen to its descriptor. What a method returns tells what to
wait for next, so there are no transports, tasks or buffers in between::

    import erlang.reactor as reactor

    class Echo(reactor.Protocol):
        def data_received(self, data):
            self.write_buffer.extend(data)
            return "write_pending"

    reactor.set_protocol_factory(Echo)

``py_reactor_context`` (docs/reactor.md) hands descriptors over from Erlang; :func:`init_connection` does in Python. The
descriptors are watched by the event loop of the thread, which may be any asyncio loop with ``add_reader()``.
"""

from __future__ import annotations

import asyncio
import os
import socket
import weakref
from collections.abc import Callable
from typing import Any

try:
    from _erlang import socket_recv as _receive
    from _erlang import socket_send as _send
except ImportError:  # outside the VM
    _receive = _send = None

__all__ = (
    "ACTIONS",
    "Protocol",
    "close_connection",
    "close_connections_of",
    "connections_of",
    "get_protocol",
    "init_connection",
    "set_protocol_factory",
    "signal_write_ready",
)

ACTIONS = ("continue", "read_pending", "write_pending", "async_pending", "close")
"""What the methods of a protocol may return.

``"read_pending"``
    wait until there is something to read
``"write_pending"``
    call ``write_ready()`` now, and again whenever the descriptor takes more
``"continue"``
    go on waiting for the same as before
``"async_pending"``
    wait for nothing until :func:`signal_write_ready`
``"close"``
    close the descriptor
"""

_READ_SIZE = 65536

_connections: dict[int, _Connection] = {}
_connections_of: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, set[_Connection]] = (
    weakref.WeakKeyDictionary()
)
_factories: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Callable[[], Protocol]] = (
    weakref.WeakKeyDictionary()
)
_default_factory: Callable[[], Protocol] | None = None


class Protocol:
    """What happens on one descriptor; derive from it and override what is of interest.

    All methods but :meth:`signal_write_ready` are called, and may be called, on the thread of the loop only. A method
    that raises closes its descriptor; the exception goes to the loop's exception handler.
    """

    fd: int = -1
    """The descriptor, -1 before :meth:`connection_made`."""
    closed: bool = False
    """Whether the descriptor is closed."""
    # Of a name that no protocol has for anything else.
    __send: Callable[..., int] = staticmethod(os.write)

    def __init__(self) -> None:
        self.client_info: dict[str, Any] = {}
        self.write_buffer = bytearray()

    def connection_made(self, fd: int, client_info: dict[str, Any]) -> None:
        """Called first, with what Erlang says of the descriptor; it has been set to non-blocking."""

    def data_received(self, data: bytes) -> str:
        """Called with what was read, of a datagram socket one datagram; the result is one of :data:`ACTIONS`."""
        return "continue"

    def eof_received(self) -> str:
        """Called when the other side sends no more; the result is one of :data:`ACTIONS`."""
        return "close"

    def write_ready(self) -> str:
        """Called when the descriptor may take more; the result is one of :data:`ACTIONS`.

        Writes what is in ``write_buffer``, then waits for something to read.
        """
        if self.write_buffer:
            del self.write_buffer[: self.write(self.write_buffer)]
        return "continue" if self.write_buffer else "read_pending"

    def connection_lost(self) -> None:
        """Called last, whichever side closed."""

    def read(self, size: int = _READ_SIZE) -> bytes:
        """Up to ``size`` bytes; none when nothing is there, at the end, after an error and when closed."""
        if self.closed:
            # The number may be another connection's by now.
            return b""
        try:
            return os.read(self.fd, size)
        except OSError as error:
            self._failed(error)
            return b""

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write as much as the descriptor takes now; the number of bytes, 0 when closed and after an error, which closes."""
        if self.closed:
            return 0
        try:
            return self.__send(self.fd, data)
        except OSError as error:
            self._failed(error)
            return 0

    def signal_write_ready(self) -> bool:
        """Have :meth:`write_ready` called, say after ``"async_pending"``. Any thread may call this; False when closed."""
        connection = _connections.get(self.fd)
        return (
            connection is not None
            and connection.protocol is self
            and connection.signal_write_ready()
        )

    def _failed(self, error: OSError) -> None:
        connection = _connections.get(self.fd)
        if connection is not None and connection.protocol is self and connection.is_fatal(error):
            connection.broken = True


class _Connection:
    """A descriptor, its protocol and what is waited for: ``"read"``, ``"write"`` or nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, protocol: Protocol) -> None:
        self.loop = loop
        self.fd = fd
        self.protocol = protocol
        self.broken = False
        self._watched: str | None = None
        kind = _socket_kind(fd)
        self._datagrams = kind == socket.SOCK_DGRAM
        # Native calls, which do not give up the GIL for nothing, know stream sockets only.
        self._native = kind == socket.SOCK_STREAM and _receive is not None

    def open(self, client_info: dict[str, Any]) -> None:
        self.protocol.fd = self.fd
        if self._native:
            self.protocol._Protocol__send = _send  # type: ignore[attr-defined]
        self.protocol.client_info = client_info
        _connections[self.fd] = self
        _connections_of.setdefault(self.loop, set()).add(self)
        try:
            self.protocol.connection_made(self.fd, client_info)
            if not self.protocol.closed:
                self._watch("read")
        except BaseException as error:
            if not self._forget():
                # It closed the descriptor first.
                self._report("connection_made()", error)
                return
            raise
        if self.broken:
            self.close()

    def _forget(self) -> bool:
        """Say that the protocol has no descriptor any more; False when that was so already."""
        if self.protocol.closed:
            return False
        self._watch(None)
        self.protocol.closed = True
        _connections.pop(self.fd, None)
        _connections_of[self.loop].discard(self)
        return True

    def _report(self, what: str, error: BaseException) -> None:
        self.loop.call_exception_handler({"message": f"{what} failed", "exception": error})

    def _watch(self, what: str | None) -> None:
        if what == self._watched:
            return
        if self.loop.is_closed():
            pass
        elif self._watched == "read":
            self.loop.remove_reader(self.fd)
        elif self._watched == "write":
            self.loop.remove_writer(self.fd)
        self._watched = what
        if what == "read":
            self.loop.add_reader(self.fd, self._readable)
        elif what == "write":
            self.loop.add_writer(self.fd, self._writable)

    def is_fatal(self, error: OSError) -> bool:
        """Whether an error is the end of the connection."""
        if isinstance(error, BlockingIOError | InterruptedError):
            return False
        # Of one datagram that nobody wanted.
        return not (self._datagrams and isinstance(error, ConnectionRefusedError))

    def _readable(self) -> None:
        try:
            data = _receive(self.fd) if self._native else os.read(self.fd, _READ_SIZE)
        except OSError as error:
            if self.is_fatal(error):
                self.close()
            return
        if data or self._datagrams:
            self._call("read", self.protocol.data_received, data)
        else:
            self._call("read", self.protocol.eof_received)

    def _writable(self) -> None:
        self._call("write", self.protocol.write_ready)

    def _call(self, waiting: str, method: Callable[..., str], *args: Any) -> None:
        """Call a method of the protocol while it waits for ``waiting``, and do what it says."""
        try:
            action = method(*args)
            if action == "write_pending" and method != self.protocol.write_ready:
                # Most of the time the descriptor takes it at once.
                waiting = "write"
                if not self.protocol.closed and not self.broken:
                    method = self.protocol.write_ready
                    action = method()
            watch = _next(action, waiting, method)
            if self.broken or watch == "close":
                self.close()
            elif not self.protocol.closed:
                self._watch(watch)
        except BaseException as error:
            self.close()
            if isinstance(error, SystemExit | KeyboardInterrupt):
                raise
            self._report(f"{method.__qualname__}()", error)

    def signal_write_ready(self) -> bool:
        try:
            self.loop.call_soon_threadsafe(self._signalled)
        except RuntimeError:
            return False
        return True

    def _signalled(self) -> None:
        if self._watched != "write" and not self.protocol.closed:
            self._call("write", self.protocol.write_ready)

    def close(self) -> None:
        if not self._forget():
            return
        try:
            self.protocol.connection_lost()
        except BaseException as error:
            # Also SystemExit: others that are to be closed must be.
            self._report("connection_lost()", error)
        finally:
            _close_descriptor(self.fd)


def _next(action: str, waiting: str, method: Callable[..., str]) -> str | None:
    """What to wait for: ``"read"``, ``"write"``, nothing, or ``"close"``."""
    if action == "continue":
        return waiting
    if action == "read_pending":
        return "read"
    if action == "write_pending":
        return "write"
    if action == "async_pending":
        return None
    if action == "close":
        return "close"
    raise ValueError(
        f"{method.__qualname__}() returned {action!r}, which is none of {', '.join(ACTIONS)}"
    )


def _socket_kind(fd: int) -> int | None:
    """socket.SOCK_STREAM, SOCK_DGRAM, …; None for a descriptor that is no socket."""
    try:
        end = socket.socket(fileno=fd)
    except OSError:
        return None
    try:
        return end.type
    finally:
        end.detach()


def _close_descriptor(fd: int) -> None:
    # Another descriptor of the same connection, say of an Erlang socket, would keep it open for the other side.
    try:
        end = socket.socket(fileno=fd)
    except OSError:
        os.close(fd)
        return
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()


def set_protocol_factory(factory: Callable[[], Protocol]) -> None:
    """Set what makes the protocol of each new descriptor: a class, or any callable without arguments.

    In code that runs on an event loop, such as the ``setup_code`` of a ``py_reactor_context``, it counts for that loop;
    elsewhere for all loops that have none of their own. TypeError when it cannot be called.
    """
    global _default_factory
    if not callable(factory):
        raise TypeError(f"a protocol factory is callable, not of type {type(factory).__name__!r}")
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        _default_factory = factory
    else:
        _factories[loop] = factory


def get_protocol(fd: int) -> Protocol | None:
    """The protocol of a descriptor, None when it has none."""
    connection = _connections.get(fd)
    return connection.protocol if connection is not None else None


def init_connection(fd: int, client_info: dict[str, Any] | None = None) -> Protocol:
    """Take a descriptor over, on the running loop, and return its new protocol.

    It is set to non-blocking, and closed when the protocol says so. RuntimeError without a protocol factory or a running
    loop, ValueError for a descriptor that is taken already, OSError for one that cannot be watched; what the factory and
    ``connection_made()`` raise. The descriptor is then the caller's still.
    """
    loop = asyncio.get_running_loop()
    if fd in _connections:
        raise ValueError(f"descriptor {fd} has a protocol already")
    factory = _factories.get(loop, _default_factory)
    if factory is None:
        raise RuntimeError("no protocol factory: call erlang.reactor.set_protocol_factory() first")
    protocol = factory()
    if not isinstance(protocol, Protocol):
        raise TypeError(
            f"the protocol factory returned an object of type {type(protocol).__name__!r}, "
            "not an erlang.reactor.Protocol"
        )
    os.set_blocking(fd, False)
    _Connection(loop, fd, protocol).open(client_info if client_info is not None else {})
    return protocol


def connections_of(loop: asyncio.AbstractEventLoop) -> int:
    """The number of descriptors with a protocol that a loop watches."""
    return len(_connections_of.get(loop, ()))


def close_connections_of(loop: asyncio.AbstractEventLoop) -> None:
    """Close all descriptors with a protocol that a loop watches, on the loop's thread."""
    for connection in list(_connections_of.get(loop, ())):
        connection.close()


def close_connection(fd: int) -> bool:
    """Close a descriptor that has a protocol, on the thread of its loop; False when it has none."""
    connection = _connections.get(fd)
    if connection is None:
        return False
    connection.close()
    return True


def signal_write_ready(fd: int) -> bool:
    """Have the protocol's ``write_ready()`` called, say after ``"async_pending"``. Any thread may call this.

    False when the descriptor has no protocol. :meth:`Protocol.signal_write_ready` cannot mean another connection that
    has got the same number since.
    """
    connection = _connections.get(fd)
    return connection is not None and connection.signal_write_ready()
