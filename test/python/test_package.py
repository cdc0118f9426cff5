"""The loop, the policy and the execution mode of the package, in a plain interpreter."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import sys
import warnings
from pathlib import Path

import erlang
import erlang_loop
import pytest
from erlang import ExecutionMode, detect_mode
from fallback_selector import FallbackSelector

if erlang._native.INSIDE_VM:
    pytest.skip("this is about a plain interpreter", allow_module_level=True)


@pytest.mark.parametrize(
    "call",
    [
        erlang.ErlangEventLoop,
        erlang.new_event_loop,
        erlang.install,
        lambda: erlang.get_event_loop_policy().new_event_loop(),
    ],
)
def test_loops_need_the_vm(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(RuntimeError, match=r"needs the Erlang VM.*use asyncio\.run\(\)"):
            call()
        gc.collect()
    assert not caught, "the destructor of the loop that was not made complains"
    assert type(asyncio.get_event_loop_policy()) is not erlang.EventLoopPolicy


def test_run_uses_the_given_factory():
    async def main():
        return type(asyncio.get_running_loop()), asyncio.get_running_loop().get_debug()

    def factory():
        return erlang.ErlangEventLoop(FallbackSelector())

    assert erlang.run(main(), loop_factory=factory) == (erlang.ErlangEventLoop, False)
    assert erlang.run(main(), debug=True, loop_factory=factory)[1] is True
    with pytest.raises(RuntimeError, match="needs the Erlang VM"):
        coroutine = main()
        erlang.run(coroutine)
    coroutine.close()


def test_run_raises_what_asyncio_raises():
    def factory():
        return erlang.ErlangEventLoop(FallbackSelector())

    async def nested():
        coroutine = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match=r"erlang\.run\(\) cannot be called from a running"):
            erlang.run(coroutine, loop_factory=factory)
        coroutine.close()

    asyncio.run(nested())
    with pytest.raises((ValueError, TypeError)):
        erlang.run(None, loop_factory=factory)

    async def fail():
        raise LookupError("no")

    with pytest.raises(LookupError):
        erlang.run(fail(), loop_factory=factory)


def test_policy_makes_the_loop_of_the_package():
    made = []

    class Policy(erlang.EventLoopPolicy):
        def _loop_factory(self):
            made.append(erlang.ErlangEventLoop(FallbackSelector()))
            return made[-1]

    async def main():
        return asyncio.get_running_loop()

    before = asyncio.get_event_loop_policy()
    try:
        asyncio.set_event_loop_policy(Policy())
        assert asyncio.run(main()) is made[0]
        with asyncio.Runner() as runner:
            assert runner.run(main()) is made[1]
    finally:
        asyncio.set_event_loop_policy(before)


def test_alias_module():
    assert erlang_loop.ErlangEventLoop is erlang.ErlangEventLoop
    assert erlang_loop.ErlangEventLoopPolicy is erlang.EventLoopPolicy
    assert isinstance(erlang_loop.get_event_loop_policy(), asyncio.AbstractEventLoopPolicy)


def test_package_is_typed():
    folder = Path(importlib.util.find_spec("erlang").origin).parent
    assert (folder / "py.typed").exists()


def test_mode_of_the_main_interpreter(monkeypatch):
    # This interpreter has one GIL unless it is a free-threaded one.
    free = hasattr(sys, "_is_gil_enabled") and not sys._is_gil_enabled()
    assert detect_mode() is (ExecutionMode.FREE_THREADED if free else ExecutionMode.SHARED_GIL)
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert detect_mode() is ExecutionMode.FREE_THREADED
    # A free-threaded build that switched its GIL on again.
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True)
    assert detect_mode() is ExecutionMode.SHARED_GIL


class _Interpreters:
    """Stands for the module that knows about interpreters."""

    def __init__(self, current, **config):
        self.get_current = lambda: current
        self.get_main = lambda: 0
        if config:
            self.get_config = lambda _id: type("Config", (), config)


@pytest.mark.parametrize(
    ("interpreters", "mode"),
    [
        (_Interpreters(0), ExecutionMode.SHARED_GIL),
        (_Interpreters(0, gil="own"), ExecutionMode.SHARED_GIL),
        (_Interpreters(1, gil="own"), ExecutionMode.SUBINTERP),
        (_Interpreters((1, 5), gil="own"), ExecutionMode.SUBINTERP),
        (_Interpreters(1, gil="shared"), ExecutionMode.SHARED_GIL),
    ],
)
def test_mode_of_other_interpreters(monkeypatch, interpreters, mode):
    monkeypatch.setattr("erlang._mode._interpreters_module", lambda: interpreters)
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True, raising=False)
    assert detect_mode() is mode


@pytest.mark.skipif(sys.version_info < (3, 13), reason="interpreters tell their GIL since 3.13")
@pytest.mark.parametrize(("config", "mode"), [("isolated", "SUBINTERP"), ("legacy", "SHARED_GIL")])
def test_mode_in_a_real_interpreter(tmp_path, config, mode):
    import _interpreters

    file = tmp_path / "mode"
    code = f"""
import sys
sys.path[:] = {sys.path!r}
from erlang import detect_mode
with open({str(file)!r}, "w") as file:
    file.write(detect_mode().name)
"""
    interpreter = _interpreters.create(config)
    try:
        assert _interpreters.exec(interpreter, code) is None
    finally:
        _interpreters.destroy(interpreter)
    assert file.read_text() == mode


def test_constructor_that_fails_leaves_nothing_open():
    class Broken(FallbackSelector):
        def attach(self, loop):
            raise LookupError("no")

    selector = Broken()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(LookupError):
            erlang.ErlangEventLoop(selector)
        gc.collect()
    assert selector._closed
    assert [w.category for w in caught] == [ResourceWarning]
