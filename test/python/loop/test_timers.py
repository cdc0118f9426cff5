"""Timers: never early, in order, cancelled in time, and cheap when there are many."""

from __future__ import annotations

import asyncio
import gc
import random
import sys

import pytest
from loop_case import LoopCase


def test_never_early(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        late: list[float] = []
        delays = [random.uniform(0, 0.1) for _ in range(500)]
        for delay in [*delays, 0, 1e-9, 1e-7, 0.000_5, 0.000_999, 0.001, 0.001_001]:
            when = loop.time() + delay
            loop.call_at(when, lambda when=when: late.append(loop.time() - when))
        while len(late) < 507:
            await asyncio.sleep(0.01)
        # asyncio calls what is due within the clock's resolution.
        assert min(late) >= -loop._clock_resolution

    case.run(main())


def test_order(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time() + 0.02
        fired: list[int] = []
        numbers = list(range(300))
        random.shuffle(numbers)
        for number in numbers:
            loop.call_at(start + number * 1e-4, fired.append, number)
        await asyncio.sleep(0.2)
        assert fired == sorted(numbers)

    case.run(main())


def test_zero_and_negative_delays(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        fired: list[str] = []
        handle = loop.call_later(0, fired.append, "zero")
        assert isinstance(handle, asyncio.TimerHandle)
        assert handle.when() <= loop.time()
        loop.call_later(-5, fired.append, "negative")
        loop.call_at(0, fired.append, "past")
        assert not fired
        await asyncio.sleep(0.01)
        assert sorted(fired) == ["negative", "past", "zero"]
        for _ in range(1000):
            await asyncio.sleep(0)

    case.run(main())


def test_cancel(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        fired: list[int] = []
        handles = [loop.call_later(0.01, fired.append, number) for number in range(100)]
        for handle in handles[::2]:
            when = handle.when()
            handle.cancel()
            assert handle.cancelled()
            assert handle.when() == when
        await asyncio.sleep(0.03)
        assert fired == list(range(1, 100, 2))
        for handle in handles:
            handle.cancel()
        await asyncio.sleep(0.02)
        assert len(fired) == 50

        # A timer that another timer of the same turn cancels does not fire.
        later = loop.call_later(0.01, fired.append, -1)
        loop.call_later(0.005, later.cancel)
        when = loop.time() + 0.01
        victims = [loop.call_at(when, fired.append, -2)]
        loop.call_at(when - 0.001, victims[0].cancel)
        await asyncio.sleep(0.05)
        assert len(fired) == 50

    case.run(main())


def test_huge_delays(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        delays = (2**31 / 1000, 2**31 / 1000 + 1, 2**32, 2**53, 1e18, float("inf"))
        handles = [loop.call_later(delay, pytest.fail, "fired") for delay in delays]
        for _ in range(3):
            await asyncio.sleep(0.01)
        for handle in handles:
            handle.cancel()

    case.run(main())


def test_only_a_huge_delay(case: LoopCase) -> None:
    """The wait for it ends when another thread has something to do."""
    loop = case.new_loop()
    handle = loop.call_later(1e12, pytest.fail, "fired")
    waker = loop.run_in_executor(None, lambda: loop.call_soon_threadsafe(loop.stop))
    loop.run_forever()
    handle.cancel()
    loop.run_until_complete(waker)
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_timeouts(case: LoopCase) -> None:
    async def main() -> None:
        for _ in range(50):
            with pytest.raises(asyncio.TimeoutError):
                async with asyncio.timeout(0.001):
                    await asyncio.sleep(60)
        async with asyncio.timeout(60):
            await asyncio.sleep(0.001)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.005)

    case.run(main())


def test_concurrent_sleepers(case: LoopCase) -> None:
    count = 5_000 if case.debug else 100_000

    async def main() -> int:
        woken = 0

        async def sleeper() -> None:
            nonlocal woken
            await asyncio.sleep(0.05)
            woken += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(sleeper())
        return woken

    assert case.run(main(), timeout=120) == count


def test_cancelled_timers_hold_no_memory(case: LoopCase) -> None:
    rounds = 2 if case.debug else 100

    async def main() -> int:
        loop = asyncio.get_running_loop()
        # A few that stay, as in a real program.
        kept = [loop.call_later(1000, print) for _ in range(200)]
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(rounds):
            for handle in [loop.call_later(500, print, number) for number in range(10_000)]:
                handle.cancel()
            del handle
            await asyncio.sleep(0)
        gc.collect()
        grown = sys.getallocatedblocks() - before
        for handle in kept:
            handle.cancel()
        return grown

    # A timer is several blocks, and there were 10,000 in a round.
    assert case.run(main()) < 20_000


def test_cancelling_costs_the_same_however_many_there_are(case: LoopCase) -> None:
    if case.debug:
        pytest.skip("debug mode takes a traceback for each timer")

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def cost() -> float:
            handles = [loop.call_later(500, print) for _ in range(1000)]
            started = loop.time()
            for handle in handles:
                handle.cancel()
            return loop.time() - started

        few = min(cost() for _ in range(5))
        kept = [loop.call_later(1000 + number, print) for number in range(100_000)]
        many = min(cost() for _ in range(5))
        for handle in kept:
            handle.cancel()
        assert many < 20 * few

    case.run(main())
