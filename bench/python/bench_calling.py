"""What bench_callbacks.py runs in Python: calls to Erlang and chains of steps."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from typing import Any

import erlang


def latency(count: int) -> dict[str, float]:
    """Microseconds of single calls of an identity function, one after the other."""
    call = erlang.call
    for number in range(count // 10):
        call("bench_identity", number)
    samples = []
    for number in range(count):
        begin = time.perf_counter()
        answer = call("bench_identity", number)
        samples.append(time.perf_counter() - begin)
        assert answer == number
    samples.sort()
    return {
        "calls": count,
        "p50_us": statistics.median(samples) * 1e6,
        "p99_us": samples[count * 99 // 100] * 1e6,
    }


def throughput(count: int) -> float:
    """Calls per second of one thread."""
    call = erlang.call
    begin = time.perf_counter()
    for number in range(count):
        call("bench_identity", number)
    return count / (time.perf_counter() - begin)


def threads(number: int, each: int) -> float:
    """Calls per second of so many threads together; they exist before the clock starts."""
    ready = threading.Barrier(number + 1)

    def work() -> None:
        call = erlang.call
        call("bench_identity", 0)
        ready.wait()
        for i in range(each):
            call("bench_identity", i)

    workers = [threading.Thread(target=work) for _ in range(number)]
    for worker in workers:
        worker.start()
    ready.wait()
    begin = time.perf_counter()
    for worker in workers:
        worker.join()
    return number * each / (time.perf_counter() - begin)


async def async_calls(count: int) -> float:
    """Calls per second that are all in flight together."""
    begin = time.perf_counter()
    answers = await asyncio.gather(*(erlang.async_call("bench_identity", i) for i in range(count)))
    took = time.perf_counter() - begin
    assert answers == list(range(count))
    return count / took


async def async_one_by_one(count: int) -> float:
    """Calls per second, each awaited before the next is made."""
    begin = time.perf_counter()
    for number in range(count):
        assert await erlang.async_call("bench_identity", number) == number
    return count / (time.perf_counter() - begin)


def send(receiver: Any, count: int) -> float:
    """Messages per second to a process that throws them away."""
    function = erlang.send
    begin = time.perf_counter()
    for number in range(count):
        function(receiver, number)
    return count / (time.perf_counter() - begin)


def inline(count: int, done: int = 0) -> Any:
    """A chain of schedule_inline."""
    if done == count:
        return done
    return erlang.schedule_inline("bench_calling", "inline", [count, done + 1])


def queued(count: int, done: int = 0) -> Any:
    """A chain of schedule_py."""
    if done == count:
        return done
    return erlang.schedule_py("bench_calling", "queued", [count, done + 1])


def nested(depth: int) -> int:
    """Python, Erlang, Python and so on, so many times."""
    return 0 if depth == 0 else erlang.call("bench_nested", depth - 1) + 1
