"""What ErlangEventLoop does not do, and the documents' ways to use what it does."""

from __future__ import annotations

import asyncio
import signal
import threading
import time

import erlang
import pytest
from loop_case import INSIDE_VM, LoopCase

pytestmark = pytest.mark.kind("erlang")


def test_subprocesses(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(NotImplementedError, match="open_port/2"):
            loop.subprocess_shell(asyncio.SubprocessProtocol, "true")
        with pytest.raises(NotImplementedError, match="open_port/2"):
            await loop.subprocess_shell(asyncio.SubprocessProtocol, "true")
        with pytest.raises(NotImplementedError, match="open_port/2"):
            await loop.subprocess_exec(asyncio.SubprocessProtocol, "true")
        with pytest.raises(NotImplementedError, match="open_port/2"):
            await asyncio.create_subprocess_shell("true")
        with pytest.raises(NotImplementedError, match="open_port/2"):
            await asyncio.create_subprocess_exec("true")

    case.run(main())


def test_signals(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(NotImplementedError, match="Erlang"):
            loop.add_signal_handler(signal.SIGTERM, print)
        with pytest.raises(NotImplementedError, match="Erlang"):
            loop.remove_signal_handler(signal.SIGTERM)

    case.run(main())


def test_each_thread_drives_a_loop_of_its_own(case: LoopCase) -> None:
    results: dict[str, list[str]] = {}

    def run_tasks(name: str) -> None:
        loop = case.new_loop()
        seen: list[str] = []

        def callback() -> None:
            seen.append(name)

        loop.call_soon(callback)
        loop.call_later(0.01, callback)
        deadline = time.time() + 5
        while time.time() < deadline and len(seen) < 2:
            loop._run_once()
            time.sleep(0.01)
        loop.close()
        results[name] = seen

    threads = [threading.Thread(target=run_tasks, args=(f"loop_{name}",)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {"loop_a": ["loop_a"] * 2, "loop_b": ["loop_b"] * 2}


async def answer() -> tuple[type, bool]:
    await asyncio.sleep(0.001)
    loop = asyncio.get_running_loop()
    return type(loop), loop.get_debug()


@pytest.mark.skipif(not INSIDE_VM, reason="only the VM has the loop without an argument")
class TestInsideTheVm:
    """The usage patterns of the guide."""

    def test_run(self, case: LoopCase) -> None:
        assert erlang.run(answer(), debug=case.debug) == (erlang.ErlangEventLoop, case.debug)

        async def nested() -> None:
            coroutine = answer()
            with pytest.raises(RuntimeError, match="running event loop"):
                erlang.run(coroutine)
            coroutine.close()

        erlang.run(nested())
        with pytest.raises((ValueError, TypeError)):
            erlang.run(5)  # type: ignore[arg-type]
        made = erlang.run(answer(), loop_factory=asyncio.SelectorEventLoop)[0]
        assert made is asyncio.SelectorEventLoop

    def test_runner(self, case: LoopCase) -> None:
        with asyncio.Runner(loop_factory=erlang.new_event_loop, debug=case.debug) as runner:
            assert runner.run(answer()) == (erlang.ErlangEventLoop, case.debug)

    def test_policy(self, case: LoopCase) -> None:
        before = asyncio.get_event_loop_policy()
        try:
            asyncio.set_event_loop_policy(erlang.get_event_loop_policy())
            assert asyncio.run(answer(), debug=case.debug) == (erlang.ErlangEventLoop, case.debug)
        finally:
            asyncio.set_event_loop_policy(before)

    def test_install(self, case: LoopCase) -> None:
        import sys

        before = asyncio.get_event_loop_policy()
        try:
            if sys.version_info >= (3, 12):
                with pytest.warns(DeprecationWarning, match="erlang.run"):
                    erlang.install()
            else:
                erlang.install()
            assert isinstance(asyncio.get_event_loop_policy(), erlang.EventLoopPolicy)
            assert asyncio.run(answer())[0] is erlang.ErlangEventLoop
        finally:
            asyncio.set_event_loop_policy(before)

    def test_manual(self, case: LoopCase) -> None:
        loop = erlang.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            assert loop.run_until_complete(answer())[0] is erlang.ErlangEventLoop
        finally:
            asyncio.set_event_loop(None)
            loop.close()
