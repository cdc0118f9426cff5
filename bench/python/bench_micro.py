"""Single operations of an event loop, timed from inside.

Each function takes the kind of loop and a count, and returns the class of the loop and the figures.
"""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import bench_loops

_Case = Callable[[asyncio.AbstractEventLoop, int], Awaitable[dict[str, float]]]


def run(case: str, kind: str, count: int) -> dict[str, Any]:
    """Runs a case on a new loop of that kind."""

    async def main() -> dict[str, Any]:
        begin = time.thread_time_ns()
        figures = await _CASES[case](asyncio.get_running_loop(), count)
        used = time.thread_time_ns() - begin
        return {"class": bench_loops.class_of_running(), "cpu_us": used / count / 1000, **figures}

    return bench_loops.run(kind, main)


async def _call_soon_chain(loop: asyncio.AbstractEventLoop, count: int) -> dict[str, float]:
    """Callbacks each of which schedules the next: one turn of the loop for each."""
    done = loop.create_future()
    left = count

    def step() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(step)
        else:
            done.set_result(None)

    begin = time.perf_counter()
    loop.call_soon(step)
    await done
    return {"rate": count / (time.perf_counter() - begin)}


async def _call_soon_many(loop: asyncio.AbstractEventLoop, count: int) -> dict[str, float]:
    """Callbacks scheduled 100 at a time: one turn of the loop for a hundred."""
    done = loop.create_future()
    left = count - count % 100

    def step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.set_result(None)
        elif left % 100 == 0:
            for _ in range(100):
                loop.call_soon(step)

    begin = time.perf_counter()
    for _ in range(100):
        loop.call_soon(step)
    await done
    return {"rate": (count - count % 100) / (time.perf_counter() - begin)}


async def _call_later_cancel(loop: asyncio.AbstractEventLoop, count: int) -> dict[str, float]:
    """Timers that are set and cancelled, as a timeout around each request does."""

    def nothing() -> None:
        raise AssertionError("a cancelled timer fired")

    begin = time.perf_counter()
    for number in range(count):
        loop.call_later(10.0, nothing).cancel()
        if number % 100 == 99:
            await asyncio.sleep(0)
    return {"rate": count / (time.perf_counter() - begin)}


async def _call_soon_threadsafe(loop: asyncio.AbstractEventLoop, count: int) -> dict[str, float]:
    """Callbacks from another thread, until the last one has run."""
    done = loop.create_future()
    ran = 0

    def step() -> None:
        nonlocal ran
        ran += 1
        if ran == count:
            done.set_result(None)

    def post() -> None:
        for _ in range(count):
            loop.call_soon_threadsafe(step)

    thread = threading.Thread(target=post)
    begin = time.perf_counter()
    thread.start()
    await done
    took = time.perf_counter() - begin
    thread.join()
    return {"rate": count / took}


async def _thread_wake(loop: asyncio.AbstractEventLoop, count: int) -> dict[str, float]:
    """From call_soon_threadsafe in another thread to the callback in a loop that sleeps."""
    samples: list[float] = []

    def post() -> None:
        for _ in range(count):
            time.sleep(0.002)
            loop.call_soon_threadsafe(arrived, time.perf_counter())
        loop.call_soon_threadsafe(done.set_result, None)

    def arrived(sent: float) -> None:
        samples.append(time.perf_counter() - sent)

    done = loop.create_future()
    thread = threading.Thread(target=post)
    thread.start()
    await done
    thread.join()
    return _quantiles(samples)


async def _sleep_zero(_loop: asyncio.AbstractEventLoop, count: int) -> dict[str, float]:
    """A coroutine that gives way again and again."""
    begin = time.perf_counter()
    for _ in range(count):
        await asyncio.sleep(0)
    return {"rate": count / (time.perf_counter() - begin)}


async def _lateness(seconds: float, count: int) -> dict[str, float]:
    samples = []
    for _ in range(count):
        begin = time.perf_counter()
        await asyncio.sleep(seconds)
        samples.append(time.perf_counter() - begin - seconds)
    # A microsecond for the difference of the clocks.
    return {"early": sum(sample < -1e-6 for sample in samples), **_quantiles(samples)}


def _quantiles(samples: list[float]) -> dict[str, float]:
    samples.sort()
    return {
        "p50_us": statistics.median(samples) * 1e6,
        "p99_us": samples[min(len(samples) - 1, len(samples) * 99 // 100)] * 1e6,
    }


_CASES: dict[str, _Case] = {
    "call_soon chain": _call_soon_chain,
    "call_soon, 100 per turn": _call_soon_many,
    "sleep(0)": _sleep_zero,
    "call_later + cancel": _call_later_cancel,
    "call_soon_threadsafe": _call_soon_threadsafe,
    "thread to sleeping loop": _thread_wake,
    "sleep(0.001) lateness": lambda _loop, count: _lateness(0.001, count),
    "sleep(0.0002) lateness": lambda _loop, count: _lateness(0.0002, count),
}
