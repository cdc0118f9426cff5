"""Tasks and what is built on them: groups, timeouts, eager tasks, contexts, hints."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import socket
import sys
import threading
import time
import warnings

import pytest
from loop_case import LoopCase

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="outside")


def test_task_group_cancels_the_others(case: LoopCase) -> None:
    ended: list[str] = []

    async def sleeper() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def reader(sock: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().sock_recv(sock, 1)
        finally:
            ended.append("reader")

    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise LookupError("no")

    async def main() -> None:
        left, right = socket.socketpair()
        left.setblocking(False)
        with left, right:
            with pytest.raises(ExceptionGroup) as raised:
                async with asyncio.TaskGroup() as group:
                    for _ in range(10):
                        group.create_task(sleeper())
                    group.create_task(reader(left))
                    group.create_task(fail())
            assert [type(error) for error in raised.value.exceptions] == [LookupError]
            assert not asyncio.get_running_loop().remove_reader(left)

    case.run(main())
    assert sorted(ended) == ["cancelled"] * 10 + ["reader"]


def test_timeouts_nest(case: LoopCase) -> None:
    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            async with asyncio.timeout(0.02) as outer:
                async with asyncio.timeout(60) as inner:
                    await asyncio.Event().wait()
        assert outer.expired() and not inner.expired()
        async with asyncio.timeout(0.001) as moved:
            moved.reschedule(None)
            await asyncio.sleep(0.02)
        with pytest.raises(asyncio.TimeoutError):
            async with asyncio.timeout_at(asyncio.get_running_loop().time() - 1):
                await asyncio.sleep(60)

    case.run(main())


def test_shield_and_wait(case: LoopCase) -> None:
    async def work(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    async def main() -> None:
        task = asyncio.get_running_loop().create_task(work(0.05))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(task), 0.005)
        assert await task == 0.05
        tasks = [asyncio.get_running_loop().create_task(work(n / 100)) for n in (1, 2, 3000)]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=30)
        assert tasks[0] in done and tasks[2] in pending
        tasks[2].cancel()
        in_order = [await future for future in asyncio.as_completed(map(work, (0.03, 0.01, 0.02)))]
        assert in_order == [0.01, 0.02, 0.03]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[:2] == [0.01, 0.02]
        assert isinstance(results[2], asyncio.CancelledError)

    case.run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
def test_eager_tasks(case: LoopCase) -> None:
    async def at_once() -> str:
        return "done"

    async def later(seconds: float) -> asyncio.Task[object] | None:
        await asyncio.sleep(seconds)
        return asyncio.current_task()

    async def fail() -> None:
        raise LookupError("no")

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        me = asyncio.current_task()
        assert loop.create_task(at_once()).done()
        assert asyncio.current_task() is me
        task = loop.create_task(later(0.001))
        assert not task.done()
        assert await task is task
        with pytest.raises(LookupError):
            await loop.create_task(fail())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(later(number / 1000)) for number in range(50)]
        assert all(task.result() is task for task in tasks)
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            address = server.sockets[0].getsockname()
            for _ in range(5):
                reader, writer = await asyncio.open_connection(*address)
                writer.write(b"hello\n")
                assert await reader.readline() == b"hello\n"
                writer.close()
                await writer.wait_closed()
        assert await asyncio.to_thread(int, "5") == 5

    case.run(main())


def test_each_task_has_its_context(case: LoopCase) -> None:
    async def change(value: str) -> str:
        before = VARIABLE.get()
        VARIABLE.set(value)
        await asyncio.sleep(0.001)
        left, right = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=left)
        right.send(b"x")
        await reader.readexactly(1)
        writer.close()
        right.close()
        assert VARIABLE.get() == value
        return before

    async def main() -> None:
        VARIABLE.set("inside")
        before = await asyncio.gather(*(change(str(number)) for number in range(20)))
        assert set(before) == {"inside"}
        context = contextvars.copy_context()
        context.run(VARIABLE.set, "given")
        task = asyncio.get_running_loop().create_task(change("new"), context=context)
        assert await task == "given"
        assert context[VARIABLE] == "new"
        assert VARIABLE.get() == "inside"

    case.run(main())
    assert VARIABLE.get() == "outside"


def test_watchers_keep_their_context(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        seen: list[str] = []

        def ready() -> None:
            seen.append(VARIABLE.get())
            VARIABLE.set("by the callback")
            loop.remove_writer(left)

        VARIABLE.set("at add_writer")
        loop.add_writer(left, ready)
        VARIABLE.set("afterwards")
        await asyncio.sleep(0.02)
        assert seen == ["at add_writer"]
        assert VARIABLE.get() == "afterwards"
        left.close()
        right.close()

    case.run(main())


def test_coroutine_never_awaited(case: LoopCase) -> None:
    async def forgotten() -> None:
        pass

    async def main() -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            forgotten()
            gc.collect()
        return [str(w.message) for w in caught if w.category is RuntimeWarning]

    messages = case.run(main())
    assert len(messages) == 1 and "was never awaited" in messages[0]
    # In debug mode the loop has Python remember where the coroutine was made.
    assert ("Coroutine created at" in messages[0]) == case.debug
    assert sys.get_coroutine_origin_tracking_depth() == 0


def test_slow_steps_of_tasks_are_logged_in_debug_mode(
    case: LoopCase, caplog: pytest.LogCaptureFixture
) -> None:
    async def slow() -> None:
        time.sleep(0.05)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 0.02
        await loop.create_task(slow(), name="the slow one")

    with caplog.at_level("WARNING", "asyncio"):
        case.run(main())
    found = [r for r in caplog.records if "the slow one" in r.getMessage()]
    assert len(found) == (1 if case.debug else 0)


def test_pending_task_destroyed(case: LoopCase) -> None:
    loop = case.new_loop()

    async def waits() -> None:
        await loop.create_future()

    loop.create_task(waits())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    with case.expects_handler_call("Task was destroyed but it is pending"):
        gc.collect()


def test_cancelled_at_the_end_of_the_run(case: LoopCase) -> None:
    ended: list[int] = []

    async def background(number: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.001)
            ended.append(number)

    async def fails_then() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise LookupError("in the clean-up")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        global kept
        kept = [loop.create_task(background(number)) for number in range(5)]
        kept.append(loop.create_task(fails_then()))
        await asyncio.sleep(0.001)

    with case.expects_handler_call("unhandled exception during asyncio.run() shutdown"):
        case.run(main())
    assert sorted(ended) == list(range(5))


def test_executor_is_waited_for_at_the_end(case: LoopCase) -> None:
    ended = threading.Event()

    def work() -> None:
        time.sleep(0.1)
        ended.set()

    async def main() -> None:
        asyncio.get_running_loop().run_in_executor(None, work)

    case.run(main())
    assert ended.is_set()


def test_after_shutdown_of_the_executor(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, int, "1") == 1
        await loop.shutdown_default_executor()
        with pytest.raises(RuntimeError, match="shutdown"):
            loop.run_in_executor(None, int, "1")

    case.run(main())
