"""ErlangEventLoop: asyncio's selector loop, with the Erlang VM doing the waiting."""

from __future__ import annotations

import asyncio
import heapq
import selectors
import sys
import time
from asyncio import base_events, constants
from typing import Any, NoReturn

from ._native import ISOLATED, require_vm
from ._transport import _ErlangDatagramTransport, _ErlangSocketTransport, _ErlangSSLProtocol

try:
    from _erlang import timer_heap_pop as _heappop
except ImportError:  # outside the VM
    from heapq import heappop as _heappop

__all__ = ("ErlangEventLoop",)

_NO_SUBPROCESS = (
    "ErlangEventLoop does not support subprocesses: fork() would corrupt the Erlang VM. "
    "Use an Erlang port (open_port/2) instead: register an Erlang function that runs the command "
    "and call it from Python with erlang.call()"
)
_NO_SIGNALS = (
    "ErlangEventLoop does not support signal handlers: signals belong to the Erlang VM. "
    "Handle them in Erlang (the kernel application's erl_signal_server, os:set_signal/2), "
    "or in a port program that forwards them to an Erlang process"
)

# 3.11 lets two transports share a file descriptor; later versions raise RuntimeError.
_REFUSES_FD_IN_USE = sys.version_info >= (3, 12)

# Methods of the loop that the native selector has too.
_NATIVE_METHODS = ("call_soon", "call_at", "call_later")


def _native_types() -> tuple[type, ...]:
    try:
        import _erlang
    except ImportError:
        return ()
    return (_erlang.Selector,)


def _native_selector() -> Any:
    if ISOLATED:
        # Nobody but this process waits there.
        return selectors.DefaultSelector()
    require_vm("erlang.ErlangEventLoop")
    import _erlang

    return _erlang.Selector()


class ErlangEventLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop that waits for I/O and timers by means of the Erlang VM.

    Everything but the waiting is asyncio's own selector loop, so protocols, streams, TLS, servers,
    executors and debug mode behave as they do there. Subprocesses and signal handlers raise
    NotImplementedError, because the process belongs to the VM.

    ``selector`` replaces the VM's selector, for tests: an object with the methods of
    ``selectors.BaseSelector``, ``wake()``, which ends ``select()`` from any thread, and
    ``attach(loop)``, which is called once with the new loop.

    Raises RuntimeError outside the VM when no selector is given.
    """

    # A constructor that raised leaves an object without instance attributes to the destructor,
    # which must find nothing to close.
    _closed = True

    # The selector when it runs the handles as well.
    _native: Any = None

    # Without a wrapper method: the loop asks for the time at least once per iteration.
    time = time.monotonic

    def __init__(self, selector: Any = None) -> None:
        if selector is None:
            selector = _native_selector()
        super().__init__(selector)
        selector.attach(self)
        self._use_native_handles(selector)

    def _use_native_handles(self, selector: Any) -> None:
        """Have the selector make and run handles, unless a subclass has methods of its own."""
        if not isinstance(selector, _native_types()):
            return
        for name in _NATIVE_METHODS:
            if getattr(type(self), name) is getattr(asyncio.BaseEventLoop, name):
                setattr(self, name, getattr(selector, name))
        if type(self)._process_events is asyncio.SelectorEventLoop._process_events:
            self._native = selector

    def _run_once(self) -> None:
        native = self._native
        if native is None or native is not self._selector or self._debug:
            super()._run_once()
            return
        # BaseEventLoop._run_once, with the native side waiting and running the handles.
        timeout: float | None = None
        if self._scheduled:
            self._drop_cancelled_timers()
        if self._ready or self._stopping:
            timeout = 0
        elif self._scheduled:
            timeout = min(
                max(0, self._scheduled[0]._when - self.time()),
                base_events.MAXIMUM_SELECT_TIMEOUT,
            )
        native.poll(timeout)
        if self._scheduled:
            self._release_due_timers()
        native.run_ready()

    def _drop_cancelled_timers(self) -> None:
        count = len(self._scheduled)
        if (
            count > base_events._MIN_SCHEDULED_TIMER_HANDLES
            and self._timer_cancelled_count / count
            > base_events._MIN_CANCELLED_TIMER_HANDLES_FRACTION
        ):
            kept = []
            for handle in self._scheduled:
                if handle._cancelled:
                    handle._scheduled = False
                else:
                    kept.append(handle)
            heapq.heapify(kept)
            self._scheduled = kept
            self._timer_cancelled_count = 0
            return
        while self._scheduled and self._scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            _heappop(self._scheduled)._scheduled = False

    def _release_due_timers(self) -> None:
        end = self.time() + self._clock_resolution
        while self._scheduled and self._scheduled[0]._when < end:
            handle = _heappop(self._scheduled)
            handle._scheduled = False
            self._ready.append(handle)

    def run_forever(self) -> None:
        """Runs until stop() is called. Raises RuntimeError where a loop runs already."""
        # 3.13.0 would make the running loop unknown to its own thread before it raises.
        self._check_closed()
        self._check_running()
        super().run_forever()

    def close(self) -> None:
        """Closes the loop: see asyncio."""
        super().close()
        if self._closed:
            self._forget_native_handles()

    def _forget_native_handles(self) -> None:
        """Go back to asyncio's methods; the selector calls this when it is closed."""
        self._native = None
        for name in _NATIVE_METHODS:
            self.__dict__.pop(name, None)

    # The selector wakes up by itself, so there is no socket pair that would have to be watched,
    # unless a subclass makes one.

    def _make_self_pipe(self) -> None:
        self._ssock = self._csock = None
        # The selector's own descriptor for wake-ups.
        self._internal_fds += 1

    def _close_self_pipe(self) -> None:
        if self._ssock is not None:
            super()._close_self_pipe()
        else:
            self._internal_fds -= 1

    def _write_to_self(self) -> None:
        if self._csock is not None:
            super()._write_to_self()
            return
        # Another thread may close the loop meanwhile; wake() on a closed selector does nothing.
        selector = self._selector
        if selector is not None:
            selector.wake()

    def _make_socket_transport(
        self,
        sock: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        *,
        extra: dict[str, Any] | None = None,
        server: Any = None,
    ) -> _ErlangSocketTransport:
        if _REFUSES_FD_IN_USE:
            self._ensure_fd_no_transport(sock)
        return _ErlangSocketTransport(self, sock, protocol, waiter, extra, server)

    def _make_ssl_transport(
        self,
        rawsock: Any,
        protocol: asyncio.BaseProtocol,
        sslcontext: Any,
        waiter: asyncio.Future[None] | None = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: dict[str, Any] | None = None,
        server: Any = None,
        ssl_handshake_timeout: float | None = constants.SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout: float | None = constants.SSL_SHUTDOWN_TIMEOUT,
    ) -> asyncio.Transport:
        if _REFUSES_FD_IN_USE:
            self._ensure_fd_no_transport(rawsock)
        ssl_protocol = _ErlangSSLProtocol(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        _ErlangSocketTransport(self, rawsock, ssl_protocol, extra=extra, server=server)
        return ssl_protocol._app_transport

    def _make_datagram_transport(
        self,
        sock: Any,
        protocol: asyncio.DatagramProtocol,
        address: Any = None,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> _ErlangDatagramTransport:
        if _REFUSES_FD_IN_USE:
            self._ensure_fd_no_transport(sock)
        return _ErlangDatagramTransport(self, sock, protocol, address, waiter, extra)

    # Plain functions: the error comes from the call itself, with or without an await.

    def subprocess_shell(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises NotImplementedError: use Erlang ports."""
        raise NotImplementedError(_NO_SUBPROCESS)

    def subprocess_exec(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises NotImplementedError: use Erlang ports."""
        raise NotImplementedError(_NO_SUBPROCESS)

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> NoReturn:
        """Raises NotImplementedError: handle signals in Erlang."""
        raise NotImplementedError(_NO_SIGNALS)

    def remove_signal_handler(self, sig: int) -> NoReturn:
        """Raises NotImplementedError: handle signals in Erlang."""
        raise NotImplementedError(_NO_SIGNALS)
