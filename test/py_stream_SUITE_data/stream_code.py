"""Generators for py_stream_SUITE."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time

import erlang

events: list[object] = []


def taken() -> list[object]:
    """What happened since the last call."""
    seen = events[:]
    events.clear()
    return seen


def fibonacci(n, first=0):
    a, b = first, 1
    for _ in range(n):
        yield a
        a, b = b, a + b


def forever(pause=0):
    n = 0
    try:
        while True:
            yield n
            n += 1
            if pause:
                time.sleep(pause)
    finally:
        events.append("closed")


def fails(n):
    yield from range(n)
    raise ValueError("no more")


def fails_when_closed():
    try:
        while True:
            yield 1
    finally:
        raise RuntimeError("not closed well")


def unconvertible():
    yield 1
    yield object()


def number():
    return 7


def sleeps(seconds):
    events.append("began")
    try:
        yield 1
        time.sleep(seconds)
        yield 2
    finally:
        events.append("closed")


def computes():
    events.append("began")
    try:
        yield 1
        while True:
            pass
    finally:
        events.append("closed")


def who():
    for _ in range(3):
        yield (erlang.self(), threading.get_ident())
        time.sleep(0.011)  # longer than a slice


def rows(n):
    connection = sqlite3.connect(":memory:")  # refuses to be used by another thread
    connection.execute("create table t (x integer)")
    connection.executemany("insert into t values (?)", ((x,) for x in range(n)))
    for row in connection.execute("select x from t order by x"):
        yield row
        time.sleep(0.002)


def calls_erlang(n):
    for x in range(n):
        yield erlang.call("stream_double", x)


def streams_within(n):
    return erlang.call("stream_of", n)


async def ticks(n, pause=0.0):
    try:
        for x in range(n):
            await asyncio.sleep(pause)
            yield x
    finally:
        await asyncio.sleep(0)
        events.append("closed")


async def never_waits():
    n = 0
    try:
        while True:
            yield n
            n += 1
    finally:
        events.append("closed")


async def slow_to_close():
    try:
        while True:
            yield 1
            await asyncio.sleep(0.01)
    finally:
        await asyncio.sleep(0.1)
        events.append("cleaned up")


async def streams_within_async(n):
    return await erlang.async_call("stream_of", n)


async def ticks_fail(n):
    for x in range(n):
        yield x
    raise ValueError("no more")


async def later(n):
    await asyncio.sleep(0.01)
    return fibonacci(n)


async def who_async():
    for _ in range(3):
        yield erlang.self()
        await asyncio.sleep(0)


class Countdown:
    """An iterator that is no generator."""

    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return self

    def __next__(self):
        if self.n == 0:
            raise StopIteration
        self.n -= 1
        return self.n


def open_streams():
    from erlang import _streams

    return len(_streams._streams)
