"""The loop itself: running, stopping, closing, errors, debug mode, asynchronous generators."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator

import pytest
from loop_case import LoopCase


def test_stop_and_run_again(case: LoopCase) -> None:
    loop = case.new_loop()
    seen: list[int] = []
    loop.call_soon(seen.append, 1)
    loop.stop()
    loop.run_forever()
    loop.call_soon(seen.append, 2)
    loop.call_soon(loop.stop)
    loop.call_soon(seen.append, 3)
    loop.run_forever()
    assert seen == [1, 2, 3]
    assert loop.run_until_complete(asyncio.sleep(0, "value")) == "value"
    assert not loop.is_running()
    loop.close()
    loop.close()
    assert loop.is_closed()


def test_running_twice_is_refused(case: LoopCase) -> None:
    case.stock_fails("3.13.0 forgets the running loop", sys.version_info >= (3, 13))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert loop.is_running()
        with pytest.raises(RuntimeError, match="running"):
            loop.run_forever()
        with pytest.raises(RuntimeError, match="running"):
            loop.close()
        other = case.new_loop()
        with pytest.raises(RuntimeError, match="running"):
            other.run_forever()
        other.close()
        coroutine = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="running event loop"):
            asyncio.run(coroutine)
        coroutine.close()

    case.run(main())


def test_get_running_loop(case: LoopCase) -> None:
    loop = case.new_loop()

    def check() -> None:
        assert asyncio.get_running_loop() is loop

    loop.call_soon(check)
    loop.call_soon(loop.stop)
    loop.run_forever()
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    loop.close()


def test_driven_step_by_step(case: LoopCase) -> None:
    loop = case.new_loop()
    seen: list[str] = []
    loop.call_soon(seen.append, "soon")
    loop.call_later(0.01, seen.append, "later")
    deadline = time.monotonic() + 5
    while len(seen) < 2 and time.monotonic() < deadline:
        loop._run_once()
    assert seen == ["soon", "later"]
    loop.close()


def test_exception_in_a_callback(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(lambda: 1 / 0)
        loop.call_soon(future.set_result, None)
        await future

    with case.expects_handler_call("Exception in callback"):
        case.run(main())


def test_default_exception_handler(case: LoopCase, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(None)
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(0.01)

        def broken(_loop: asyncio.AbstractEventLoop, _context: dict[str, object]) -> None:
            raise LookupError("broken handler")

        loop.set_exception_handler(broken)
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(0.01)

    with caplog.at_level(logging.ERROR, "asyncio"):
        case.run(main())
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 2
    assert "Exception in callback" in errors[0]
    assert "Unhandled error in exception handler" in errors[1]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_exit_exceptions_leave_the_loop_usable(case: LoopCase, kind: type[BaseException]) -> None:
    loop = case.new_loop()
    seen: list[int] = []

    def leave() -> None:
        raise kind(3)

    async def leaving() -> None:
        leave()

    for number in range(3):
        loop.call_soon(leave)
        loop.call_soon(seen.append, number)
        with pytest.raises(kind):
            loop.run_forever()
        assert not loop.is_running()
    task = loop.create_task(leaving())
    with pytest.raises(kind):
        loop.run_until_complete(task)
    loop.run_until_complete(asyncio.sleep(0.001))
    assert seen == [0, 1, 2]
    loop.close()


def test_unretrieved_exception_is_reported(case: LoopCase) -> None:
    async def main() -> None:
        async def fail() -> None:
            raise LookupError("nobody asks")

        task = asyncio.get_running_loop().create_task(fail())
        await asyncio.sleep(0.001)
        del task
        gc.collect()

    with case.expects_handler_call("Task exception was never retrieved"):
        case.run(main())


def test_asynchronous_generators_are_shut_down(case: LoopCase) -> None:
    cleaned: list[str] = []

    async def numbers(name: str) -> AsyncIterator[int]:
        try:
            for number in range(100):
                yield number
        finally:
            await asyncio.sleep(0.001)
            cleaned.append(name)

    async def main() -> None:
        async for _ in numbers("dropped"):
            break
        gc.collect()
        await asyncio.sleep(0.02)
        assert cleaned == ["dropped"]
        global kept
        kept = numbers("kept")
        await anext(kept)

    case.run(main())
    assert cleaned == ["dropped", "kept"]


def test_slow_callbacks_are_logged_in_debug_mode(
    case: LoopCase, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 0.02
        loop.call_soon(time.sleep, 0.05)
        await asyncio.sleep(0.01)

    with caplog.at_level(logging.WARNING, "asyncio"):
        case.run(main())
    slow = [r for r in caplog.records if "<Handle sleep(" in r.getMessage()]
    assert len(slow) == (1 if case.debug else 0)


def test_debug_mode_switched_at_run_time(case: LoopCase, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 0.02
        for debug in (True, False, True):
            loop.set_debug(debug)
            loop.call_soon(time.sleep, 0.05)
            await asyncio.sleep(0.01)
        loop.set_debug(case.debug)

    with caplog.at_level(logging.WARNING, "asyncio"):
        case.run(main())
    assert len([r for r in caplog.records if "<Handle sleep(" in r.getMessage()]) == 2


def test_wrong_thread_is_refused_in_debug_mode(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        errors: list[RuntimeError] = []

        def misuse() -> None:
            for call in (
                lambda: loop.call_soon(int),
                lambda: loop.call_later(0.001, int),
                lambda: loop.call_at(loop.time(), int),
            ):
                try:
                    call()
                except RuntimeError as error:
                    errors.append(error)

        thread = threading.Thread(target=misuse)
        thread.start()
        await asyncio.sleep(0.02)
        thread.join()
        if case.debug:
            assert len(errors) == 3
            assert "Non-thread-safe" in str(errors[0])

    case.run(main())


def test_coroutines_are_no_callbacks_in_debug_mode(case: LoopCase) -> None:
    async def coroutine() -> None:
        pass

    async def main() -> None:
        loop = asyncio.get_running_loop()
        if case.debug:
            for call in (loop.call_soon, loop.call_soon_threadsafe):
                with pytest.raises(TypeError, match="coroutines cannot be used"):
                    call(coroutine)
                with pytest.raises(TypeError, match="callable"):
                    call("no function")
            with pytest.raises(TypeError):
                loop.call_later(0, coroutine)

    case.run(main())


def test_handles_tell_what_they_are(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        handle = loop.call_soon(print, "x")
        timer = loop.call_later(5, print, "y")
        assert isinstance(handle, asyncio.Handle)
        assert isinstance(timer, asyncio.TimerHandle)
        assert "print" in repr(handle) and "print" in repr(timer)
        assert not handle.cancelled()
        assert timer.when() > loop.time()
        assert loop.call_later(6, int) > timer
        handle.cancel()
        timer.cancel()
        assert handle.cancelled() and timer.cancelled()
        assert "cancelled" in repr(handle)
        assert ("created at" in repr(handle)) == case.debug

    case.run(main())


def test_unclosed_loop_warns(case: LoopCase) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop = case.new_loop()
        loop.run_until_complete(asyncio.sleep(0))
        del loop
        gc.collect()
    assert [w.category for w in caught] == [ResourceWarning]
    assert "unclosed event loop" in str(caught[0].message)


def test_loops_are_freed(case: LoopCase) -> None:
    import weakref

    references = []
    for _ in range(10):
        loop = case.new_loop()
        loop.call_later(50, print, loop)
        loop.run_until_complete(asyncio.sleep(0))
        references.append(weakref.ref(loop))
        loop.close()
    del loop
    gc.collect()
    assert [reference() for reference in references] == [None] * 10


def test_task_factory(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        made: list[object] = []

        def factory(
            loop: asyncio.AbstractEventLoop, coro: object, **options: object
        ) -> asyncio.Task[None]:
            task = asyncio.Task(coro, loop=loop, **options)  # type: ignore[arg-type]
            made.append(task)
            return task

        loop.set_task_factory(factory)
        assert loop.get_task_factory() is factory
        task = loop.create_task(asyncio.sleep(0))
        await task
        assert made == [task]
        loop.set_task_factory(None)
        with pytest.raises(TypeError):
            loop.set_task_factory("no factory")  # type: ignore[arg-type]

    case.run(main())
