"""Receivers for py_channel_SUITE."""

from __future__ import annotations

import asyncio
import threading
import time

import erlang
from erlang.channel import ByteChannel, Channel, ChannelClosed, reply


def gather(ref):
    return list(Channel(ref))


async def gather_async(ref):
    return [message async for message in Channel(ref)]


def one(ref, timeout=None):
    return Channel(ref).receive(timeout)


def attempt(ref, default=None):
    return Channel(ref).try_receive(default)


def outcome(ref, timeout=None):
    try:
        return Channel(ref).receive(timeout)
    except (ChannelClosed, TimeoutError) as error:
        return type(error).__name__


async def outcome_async(ref):
    try:
        return await Channel(ref).async_receive()
    except ChannelClosed as error:
        return type(error).__name__


def serve(ref):
    for message in Channel(ref):
        _, sender, data = message
        reply(sender, ("response", data.upper()))


async def serve_async(ref):
    async for message in Channel(ref):
        _, sender, data = message
        reply(sender, ("response", data.upper()))


async def workers(ref, count):
    """What each of several coroutines got from the same channel."""

    async def work():
        got = []
        async for message in Channel(ref):
            got.append(message)
            await asyncio.sleep(0)
        return got

    return await asyncio.gather(*(work() for _ in range(count)))


async def give_up_often(ref, times):
    """Cancels receives that wait, then receives all there is."""
    channel = Channel(ref)
    got = []
    for n in range(times):
        try:
            got.append(await asyncio.wait_for(channel.async_receive(), 0.0001 * (n % 7)))
        except TimeoutError:
            pass
        except ChannelClosed:
            return got
    async for message in channel:
        got.append(message)
    return got


async def two_wait_one_is_cancelled(ref, tell):
    """The first waiter is cancelled in the very turn in which it is woken; the second must get the message."""
    channel = Channel(ref)
    first = asyncio.ensure_future(channel.async_receive())
    await asyncio.sleep(0)
    second = asyncio.ensure_future(channel.async_receive())
    await asyncio.sleep(0)
    erlang.send(tell, "waiting")
    # The loop does not run while this blocks, so the wake-up waits for it.
    time.sleep(0.05)
    first.cancel()
    await asyncio.wait([first])
    return await asyncio.wait_for(second, 5)


def stuck(tell, seconds):
    erlang.send(tell, "stuck")
    time.sleep(seconds)


_held = []


def wait_on_a_loop(ref, count, kind):
    """Leaves that many coroutines waiting on a loop that does not run any more."""
    loop = erlang.new_event_loop() if kind == "erlang" else asyncio.SelectorEventLoop()

    async def start():
        _held.extend(asyncio.ensure_future(Channel(ref).async_receive()) for _ in range(count))
        await asyncio.sleep(0)

    loop.run_until_complete(start())
    _held.append(loop)


def close_the_loop():
    loop = _held.pop()
    for task in _held:
        task._log_destroy_pending = False
    loop.close()
    _held.clear()


def sends(ref, messages):
    channel = Channel(ref)
    return [channel.send(message) for message in messages]


def send_and_close(ref, messages):
    with Channel(ref) as channel:
        for message in messages:
            channel.send(message)
    assert channel.closed
    try:
        channel.send(1)
    except ChannelClosed:
        return (len(channel), repr(channel))


def send_raises(ref):
    Channel(ref).send(object())


async def between_threads(ref, n):
    """A thread sends, a coroutine receives."""
    channel = Channel(ref)

    def produce():
        for x in range(n):
            while not channel.send(x):
                erlang.sleep(0.001)
        channel.close()

    thread = threading.Thread(target=produce)
    thread.start()
    got = [x async for x in channel]
    thread.join()
    return got


async def ticks_while_flooded(ref):
    """How often a timer got its turn while a channel that is never empty was read."""
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticker = asyncio.ensure_future(tick())
    count = 0
    async for _ in Channel(ref):
        count += 1
    ticker.cancel()
    return (count, ticks)


def many_receives(ref, n):
    channel = Channel(ref)
    return [channel.receive(10) for _ in range(n)]


def bytes_of(ref):
    return [
        erlang.Binary(data) if isinstance(data, bytes) else "no bytes" for data in ByteChannel(ref)
    ]


def types_of_bytes(ref):
    channel = ByteChannel(ref)
    return [type(channel.receive_bytes()).__name__, type(channel.try_receive_bytes()).__name__]


async def byte_total(ref):
    total = 0
    channel = ByteChannel(ref)
    try:
        while True:
            total += len(await channel.async_receive_bytes())
    except ChannelClosed:
        return total


def sends_bytes(ref):
    channel = ByteChannel(ref)
    assert channel.send_bytes(bytearray(b"abc"))
    assert channel.send_bytes(memoryview(b"def"))
    try:
        channel.send_bytes("text")
    except TypeError:
        return [channel.receive(), channel.receive()] == [b"abc", b"def"]


def same(ref):
    """A channel of a channel."""
    channel = Channel(Channel(ref))
    return (channel.ref == ref, bool(channel), len(channel))
