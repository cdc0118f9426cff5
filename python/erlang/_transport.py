"""The socket transports of ErlangEventLoop: asyncio's, with what is wrong there put right."""

from __future__ import annotations

import collections
import errno
import os
import socket
import sys
from asyncio import DatagramTransport, constants, selector_events, sslproto
from collections.abc import Iterable
from typing import Any, TypeAlias

try:
    from _erlang import socket_recv as _native_recv
    from _erlang import socket_send as _native_send
except ImportError:  # outside the VM, where only tests make transports
    _native_recv = _native_send = None

__all__ = ("_ErlangDatagramTransport", "_ErlangSSLProtocol", "_ErlangSocketTransport")

_Chunk: TypeAlias = bytes | bytearray | memoryview


def _as_bytes(data: _Chunk) -> _Chunk:
    """The same data with ``len`` counting bytes: send() returns bytes, whatever the item size."""
    if type(data) is memoryview and (data.itemsize != 1 or data.ndim != 1):
        return data.cast("B") if data.c_contiguous else data.tobytes()
    return data


def _rest(data: _Chunk, sent: int) -> _Chunk:
    """What is left after ``sent`` bytes, in a form that its owner can no longer change."""
    if type(data) is bytes:
        return memoryview(data)[sent:] if sent else data
    return bytes(memoryview(data)[sent:])


class _WriteBuffer(collections.deque):
    """Chunks waiting to be sent, with their size in bytes at hand.

    asyncio sums the lengths on every call, which makes a slow reader's connection quadratic.
    Every operation that asyncio's transports use on their buffer keeps ``size`` right.
    """

    __slots__ = ("size",)

    def __init__(self, chunks: Iterable[_Chunk] = ()) -> None:
        super().__init__()
        self.size = 0
        self.extend(chunks)

    def append(self, chunk: _Chunk) -> None:
        super().append(chunk)
        self.size += len(chunk)

    def appendleft(self, chunk: _Chunk) -> None:
        super().appendleft(chunk)
        self.size += len(chunk)

    def extend(self, chunks: Iterable[_Chunk] | _Chunk) -> None:
        # A bytes-like object is one chunk, not a sequence of integers.
        for chunk in (chunks,) if isinstance(chunks, (bytes, bytearray, memoryview)) else chunks:
            self.append(chunk)

    def popleft(self) -> _Chunk:
        chunk = super().popleft()
        self.size -= len(chunk)
        return chunk

    def clear(self) -> None:
        super().clear()
        self.size = 0


class _ErlangSocketTransport(selector_events._SelectorSocketTransport):
    """A stream socket's transport, on a loop whose waiting the BEAM does.

    Receives into a buffer that the thread keeps, where asyncio has 256 KiB mapped and unmapped for
    each call, and sends without giving up the GIL for it. Differs in behaviour in the write side
    only: buffers that the caller may change later are copied before write() and writelines()
    return, the size of the write buffer costs O(1), and writelines() observes the high-water mark
    and a lost connection as write() does.
    """

    def __init__(self, loop: Any, sock: Any, *args: Any, **kwargs: Any) -> None:
        # A socket class of somebody else's may have a recv() and send() that do more.
        self._native = _native_recv is not None and type(sock) is socket.socket
        super().__init__(loop, sock, *args, **kwargs)
        if type(self._buffer) is collections.deque:
            self._buffer = _WriteBuffer()

    def set_protocol(self, protocol: Any) -> None:
        """See asyncio.Transport."""
        _make_ours(protocol)
        super().set_protocol(protocol)

    def _check_writable(self, call: str) -> None:
        if self._eof:
            raise RuntimeError(f"Cannot call {call}() after write_eof()")
        if self._empty_waiter is not None:
            raise RuntimeError(f"unable to {call}; sendfile is in progress")

    def _count_lost_write(self) -> None:
        if self._conn_lost >= constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
            selector_events.logger.warning("socket.send() raised exception.")
        self._conn_lost += 1

    def write(self, data: _Chunk) -> None:
        """Sends data, buffering what the socket does not take at once.

        Raises TypeError unless data is bytes, a bytearray or a memoryview, and RuntimeError after
        write_eof() or while a file is being sent.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"data argument must be a bytes-like object, not {type(data).__name__!r}"
            )
        if self._eof or self._empty_waiter is not None:
            self._check_writable("write")
        if not data:
            return
        if self._conn_lost:
            self._count_lost_write()
            return

        if type(data) is memoryview:
            data = _as_bytes(data)
        sent = 0
        if not self._buffer:
            try:
                sent = self._send(data)
            except (BlockingIOError, InterruptedError):
                pass
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:  # noqa: BLE001 (as asyncio does)
                self._fatal_error(self._reason(exc), "Fatal write error on socket transport")
                return
            else:
                if sent == len(data):
                    return
            self._loop._add_writer(self._sock_fd, self._write_ready)
        self._append(_rest(data, sent))
        self._maybe_pause_protocol()

    # The native calls get the socket and not the number: somebody may have closed the socket, and
    # the number may be another connection's by now.

    def _send(self, data: _Chunk) -> int:
        if self._native:
            return _native_send(self._sock, data)
        return self._sock.send(data)

    def _reason(self, exc: BaseException) -> BaseException:
        """The error as a socket method reports it: a closed socket has no valid descriptor."""
        if isinstance(exc, ValueError) and self._sock.fileno() < 0:
            return OSError(errno.EBADF, os.strerror(errno.EBADF))
        return exc

    def _read_ready__data_received(self) -> None:
        if not self._native:
            super()._read_ready__data_received()
            return
        if self._conn_lost:
            return
        try:
            data = _native_recv(self._sock)
        except (BlockingIOError, InterruptedError):
            return
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(self._reason(exc), "Fatal read error on socket transport")
            return
        if not data:
            self._read_ready__on_eof()
            return
        try:
            self._protocol.data_received(data)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.data_received() call failed.")

    if sys.version_info >= (3, 12):

        def _append(self, chunk: _Chunk) -> None:
            self._buffer.append(chunk)

        def get_write_buffer_size(self) -> int:
            """Bytes that wait to be sent."""
            buffer = self._buffer
            return buffer.size if type(buffer) is _WriteBuffer else sum(map(len, buffer))

        def writelines(self, list_of_data: Iterable[_Chunk]) -> None:
            """Sends the items in order, with one system call where the socket takes them all."""
            self._check_writable("writelines")
            chunks = [_as_bytes(memoryview(data)) for data in list_of_data if len(data)]
            if not chunks:
                return
            if self._conn_lost:
                self._count_lost_write()
                return
            if self._buffer:
                self._buffer.extend(map(_own, chunks))
                self._maybe_pause_protocol()
                return
            self._buffer.extend(chunks)
            self._write_ready()
            if self._buffer:
                self._buffer = _WriteBuffer(map(_own, self._buffer))
                self._loop._add_writer(self._sock_fd, self._write_ready)
                self._maybe_pause_protocol()

    else:

        def _append(self, chunk: _Chunk) -> None:
            self._buffer.extend(chunk)


def _own(chunk: _Chunk) -> _Chunk:
    """The chunk, copied unless it is a view of an object that cannot change."""
    if type(chunk) is bytes or (type(chunk) is memoryview and type(chunk.obj) is bytes):
        return chunk
    return bytes(chunk)


# No datagram of these families is longer. asyncio's 256 KiB are more than malloc takes from its heap.
_LONGEST_DATAGRAM = 65536


class _ErlangDatagramTransport(selector_events._SelectorDatagramTransport, DatagramTransport):
    """A datagram socket's transport that asks for no more memory than a datagram can need.

    On 3.11 too it is an asyncio.DatagramTransport.
    """

    def __init__(self, loop: Any, sock: Any, *args: Any, **kwargs: Any) -> None:
        if getattr(sock, "family", None) in (socket.AF_INET, socket.AF_INET6):
            self.max_size = _LONGEST_DATAGRAM
        super().__init__(loop, sock, *args, **kwargs)

    def _sendto_ready(self) -> None:
        super()._sendto_ready()
        if not self._buffer and self._buffer_size:
            # 3.13 adds 8 bytes for each datagram that it buffers and forgets to subtract them, so
            # that a protocol once paused would not be resumed.
            self._buffer_size = 0
            if self._protocol is not None:
                self._maybe_resume_protocol()


class _ErlangSSLProtocol(sslproto.SSLProtocol):
    """asyncio's TLS, reading in pieces of two records, and into any kind of buffer.

    For asyncio's 256 KiB the system maps and unmaps memory at each read, which costs more than the
    decryption of small messages; a TLS record is at most 16 KiB.

    Of a BufferedProtocol's buffer asyncio fills a slice with what does not come at once, which is a
    copy where the buffer is a bytearray: what was decrypted is lost.
    """

    max_size = 32 * 1024

    def _set_app_protocol(self, app_protocol: Any) -> None:
        _make_ours(app_protocol)
        super()._set_app_protocol(app_protocol)

    def _do_read__buffered(self) -> None:
        received, count = 0, 1
        buffer = self._app_protocol_get_buffer(self._get_read_buffer_size())
        try:
            # Released before the protocol is called, which may resize its buffer then.
            with memoryview(buffer) as items, items.cast("B") as view:
                count = received = self._sslobj.read(len(view), view)
                while count > 0 and received < len(view):
                    with view[received:] as rest:
                        count = self._sslobj.read(len(rest), rest)
                    received += count
            if count > 0:
                self._loop.call_soon(self._do_read)
        except sslproto.SSLAgainErrors:
            pass
        if received > 0:
            self._app_protocol_buffer_updated(received)
        if not count:
            # The peer's close_notify.
            self._call_eof_received()
            self._start_shutdown()


def _make_ours(protocol: Any) -> None:
    """Has a TLS protocol that start_tls() made behave as those of the loop's own connections."""
    if type(protocol) is sslproto.SSLProtocol:
        protocol.__class__ = _ErlangSSLProtocol
