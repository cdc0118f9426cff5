"""Other threads: waking a sleeping loop, executors, name resolution, and many loops at once."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import socket
import threading
import time

import pytest
from loop_case import LoopCase


def test_wakes_a_sleeping_loop(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        latencies: list[float] = []
        for pause in (0.0, 0.0005, 0.003, 0.05, 0.2):
            future = loop.create_future()

            def call(pause: float = pause, future: asyncio.Future[float] = future) -> None:
                time.sleep(pause)
                loop.call_soon_threadsafe(future.set_result, time.monotonic())

            thread = threading.Thread(target=call)
            thread.start()
            called = await asyncio.wait_for(future, 30)
            latencies.append(time.monotonic() - called)
            thread.join()
        assert max(latencies) < 10

    case.run(main())


def test_no_call_is_lost(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        seen: list[tuple[int, int]] = []

        def call(name: int) -> None:
            for number in range(500):
                loop.call_soon_threadsafe(seen.append, (name, number))
                if number % 50 == 0:
                    time.sleep(0.001)

        threads = [threading.Thread(target=call, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        while len(seen) < 8 * 500:
            await asyncio.sleep(0.01)
        for thread in threads:
            thread.join()
        for name in range(8):
            assert [number for by, number in seen if by == name] == list(range(500))

    case.run(main())


def test_ping_pong_without_timers(case: LoopCase) -> None:
    """Each wake-up comes while the loop sleeps with nothing else to wake it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            for number in range(300):
                assert await loop.run_in_executor(executor, int, number) == number

    case.run(main())


def test_executors(case: LoopCase) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        name = threading.current_thread().name
        results = await asyncio.gather(
            *(loop.run_in_executor(None, lambda: threading.current_thread().name) for _ in range(5))
        )
        assert name not in results
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 / 0)
        variable.set("value")
        assert await asyncio.to_thread(variable.get) == "value"
        with pytest.raises(TypeError):
            loop.set_default_executor("no executor")  # type: ignore[arg-type]

    case.run(main())


def test_run_coroutine_threadsafe(case: LoopCase) -> None:
    loop = case.new_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def work(number: int) -> int:
        await asyncio.sleep(0.01)
        assert asyncio.get_running_loop() is loop
        return number * 2

    async def fail() -> None:
        raise LookupError("no")

    futures = [asyncio.run_coroutine_threadsafe(work(number), loop) for number in range(50)]
    assert [future.result(30) for future in futures] == [number * 2 for number in range(50)]
    with pytest.raises(LookupError):
        asyncio.run_coroutine_threadsafe(fail(), loop).result(30)
    sleeping = asyncio.run_coroutine_threadsafe(asyncio.sleep(60), loop)
    time.sleep(0.01)
    sleeping.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        sleeping.result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    # The cancelled task may need a turn yet.
    loop.run_until_complete(asyncio.sleep(0.001))
    loop.close()


def test_name_resolution(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
        assert any(address[4][0] in ("127.0.0.1", "::1") for address in addresses)
        assert await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST) is not None
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("name.invalid.", 80, flags=socket.AI_NUMERICHOST)

    case.run(main())


def test_call_after_close(case: LoopCase) -> None:
    loop = case.new_loop()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon_threadsafe(print)
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon(print)
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_later(1, print)
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_forever()


def test_calls_race_with_close(case: LoopCase) -> None:
    def call(loop: asyncio.AbstractEventLoop, ended: list[BaseException]) -> None:
        try:
            while True:
                loop.call_soon_threadsafe(int)
        except BaseException as error:  # noqa: BLE001 (whatever it is, it is looked at below)
            ended.append(error)

    for _ in range(20):
        loop = case.new_loop()
        ended: list[BaseException] = []
        threads = [threading.Thread(target=call, args=(loop, ended)) for _ in range(3)]
        for thread in threads:
            thread.start()
        loop.run_until_complete(asyncio.sleep(0.005))
        loop.close()
        for thread in threads:
            thread.join(30)
        assert [type(error) for error in ended] == [RuntimeError] * 3


def test_many_loops_sleep_at_once(case: LoopCase) -> None:
    names = range(64)
    results: dict[int, list[int]] = {}

    def run(name: int) -> None:
        async def sleeper(number: int) -> int:
            await asyncio.sleep(0.01 * (1 + number % 5))
            return number

        async def main() -> list[int]:
            left, right = socket.socketpair()
            reader, writer = await asyncio.open_connection(sock=left)
            _other, answering = await asyncio.open_connection(sock=right)
            answering.write(b"%d\n" % name)
            assert await reader.readline() == b"%d\n" % name
            writer.close()
            answering.close()
            return await asyncio.gather(*(sleeper(number) for number in range(100)))

        results[name] = case.run(main())

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == {name: list(range(100)) for name in names}


def test_each_callback_has_its_context(case: LoopCase) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        seen: list[int] = []

        def callback() -> None:
            seen.append(variable.get())
            variable.set(99)

        for number in (1, 2):
            variable.set(number)
            loop.call_soon(callback)
            loop.call_later(0.001, callback)
            loop.call_soon_threadsafe(callback)
        context = contextvars.copy_context()
        context.run(variable.set, 3)
        loop.call_soon(callback, context=context)
        loop.call_later(0, callback, context=context)
        await asyncio.sleep(0.02)
        assert sorted(seen) == [1, 1, 1, 2, 2, 2, 3, 99]
        assert variable.get() == 2

    case.run(main())
