"""A selector in pure Python with the interface of the VM's own, for running the loop without a VM.

Only tests use it. It waits in epoll_wait and is woken by an eventfd, so the Python parts of the
event loop can be developed, and CPython's conformance tests run, in a plain interpreter.
"""

from __future__ import annotations

import math
import os
import select
import selectors
import threading
from typing import Any


class FallbackSelector(selectors.EpollSelector):
    """selectors.EpollSelector with ``wake()`` and ``attach()``."""

    def __init__(self) -> None:
        super().__init__()
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._eventfd, select.EPOLLIN)
        self._open = threading.Lock()
        self._closed = False

    def attach(self, loop: Any) -> None:
        """Nothing to do: without a VM there are no Erlang tasks to run for the loop."""

    def wake(self) -> None:
        """Ends the current or the next ``select()``. Any thread may call it, also after close."""
        with self._open:
            if not self._closed:
                os.eventfd_write(self._eventfd, 1)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """The ready keys. Waits at most ``timeout`` seconds, rounded up to whole milliseconds."""
        if timeout is None:
            timeout = -1
        elif timeout <= 0:
            timeout = 0
        else:
            timeout = math.ceil(timeout * 1e3) * 1e-3
        ready = []
        try:
            events = self._selector.poll(timeout, len(self._fd_to_key) + 1)
        except InterruptedError:
            return ready
        for fd, event in events:
            if fd == self._eventfd:
                os.eventfd_read(fd)
                continue
            key = self._fd_to_key.get(fd)
            if key is None:
                continue
            mask = 0
            if event & ~select.EPOLLIN:
                mask |= selectors.EVENT_WRITE
            if event & ~select.EPOLLOUT:
                mask |= selectors.EVENT_READ
            if mask & key.events:
                ready.append((key, mask & key.events))
        return ready

    def close(self) -> None:
        """Closes the file descriptors. A second call does nothing."""
        with self._open:
            if self._closed:
                return
            self._closed = True
            os.close(self._eventfd)
        super().close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self.close()
