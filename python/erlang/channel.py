"""Channels: Erlang sends, Python receives, in order and each message once.

::

    from erlang.channel import Channel, reply

    def serve(channel_ref):
        for _, sender, data in Channel(channel_ref):
            reply(sender, ("response", work(data)))

``py_channel:new()`` makes a channel; its reference is an argument for Python like any other. Any number of receivers, in
threads and coroutines of any loop, may share one. See docs/channel.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self

from ._errors import ChannelClosed
from ._native import INSIDE_VM, Pid, Ref, require_vm

if INSIDE_VM:
    import _erlang

__all__ = ("ByteChannel", "Channel", "ChannelClosed", "reply")

_NOTHING = object()
# So many messages may a coroutine receive in a row before others of its loop have their turn.
_STREAK = 64


class Channel:
    """One end of a channel of ``py_channel:new``: what the other side sends is received here.

    Raises TypeError for a reference that is no channel's, RuntimeError outside the Erlang VM.
    """

    _raw = False

    # The reference keeps the channel that the handle names.
    __slots__ = ("_handle", "_ref", "_streak")

    def __init__(self, ref: Ref | Channel) -> None:
        require_vm("erlang.channel.Channel")
        own: Ref = ref.ref if isinstance(ref, Channel) else ref
        self._handle: int = _erlang.channel_handle(own)
        self._ref = own
        self._streak = 0

    @property
    def ref(self) -> Ref:
        """The reference, for Erlang."""
        return self._ref

    def receive(self, timeout: float | None = None) -> Any:
        """The next message. Blocks the thread, without the GIL, until there is one.

        TimeoutError after ``timeout`` seconds; ChannelClosed when nothing will come any more. In coroutines use
        :meth:`async_receive`: this blocks their loop.
        """
        return _erlang.channel_receive(self._handle, self._raw, timeout)

    def try_receive(self, default: Any = None) -> Any:
        """The next message if there is one, else ``default``; ChannelClosed when nothing will come any more."""
        return _erlang.channel_take(self._handle, self._raw, default)

    async def async_receive(self) -> Any:
        """The next message; other coroutines run meanwhile. ChannelClosed when nothing will come any more.

        Cancelling it loses no message.
        """
        self._streak += 1
        if self._streak >= _STREAK:
            self._streak = 0
            await asyncio.sleep(0)
        call = 0
        try:
            while True:
                message = _erlang.channel_take(self._handle, self._raw, _NOTHING)
                if message is not _NOTHING:
                    return message
                self._streak = 0
                waiting = _erlang.channel_wait_async(self._handle)
                if waiting is not None:
                    future, call = waiting
                    await future
        except BaseException:
            # It may have been woken, and another one must look then.
            if call:
                _erlang.channel_forget(self._handle, call)
            raise

    def send(self, message: Any) -> bool:
        """Queue a message for whoever receives from this channel; False when it is full, ChannelClosed when closed."""
        return _erlang.channel_send(self._handle, message)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Refuse messages from now on; what was sent before is received all the same."""
        _erlang.channel_close(self._handle)

    @property
    def closed(self) -> bool:
        """Whether messages are refused; some may be left to receive."""
        return _erlang.channel_state(self._handle)[2]  # type: ignore[no-any-return]

    def __len__(self) -> int:
        """How many messages wait."""
        return _erlang.channel_state(self._handle)[0]  # type: ignore[no-any-return]

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        messages, size, closed = _erlang.channel_state(self._handle)
        state = "closed, " if closed else ""
        return f"<{type(self).__name__} {state}{messages} messages of {size} bytes>"

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self.receive()
        except ChannelClosed:
            raise StopIteration from None

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.async_receive()
        except ChannelClosed:
            raise StopAsyncIteration from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class ByteChannel(Channel):
    """A channel of ``py_byte_channel:new``: messages are ``bytes``, also those that happen to be text."""

    _raw = True

    __slots__ = ()

    def receive_bytes(self, timeout: float | None = None) -> bytes:
        """See :meth:`Channel.receive`."""
        return self.receive(timeout)  # type: ignore[no-any-return]

    def try_receive_bytes(self) -> bytes | None:
        """See :meth:`Channel.try_receive`."""
        return self.try_receive()  # type: ignore[no-any-return]

    async def async_receive_bytes(self) -> bytes:
        """See :meth:`Channel.async_receive`."""
        return await self.async_receive()  # type: ignore[no-any-return]

    def send_bytes(self, data: bytes | bytearray | memoryview) -> bool:
        """See :meth:`Channel.send`; TypeError for what is no bytes."""
        return self.send(bytes(memoryview(data)))


def reply(pid: Pid | str | tuple[str, str], message: Any) -> None:
    """Send a message to an Erlang process: :func:`erlang.send`."""
    require_vm("erlang.channel.reply")
    _erlang.send_message(pid, message)
