"""Makes CPython's asyncio tests build the loop under test wherever they build one of asyncio's own.

The tests name asyncio's classes in many ways: through the policy, as asyncio.SelectorEventLoop with
a selector of the test's choice, as a base class of a mocked loop, as asyncio's base loop. All of
these become the loop under test, before any test module is imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import sys
import threading
from asyncio import base_events, events, selector_events, unix_events
from collections.abc import Callable
from typing import Any

_STANDARD_SELECTORS = tuple(
    getattr(selectors, name)
    for name in ("SelectSelector", "PollSelector", "EpollSelector", "KqueueSelector")
    if hasattr(selectors, name)
)

_BASE_EVENT_LOOP = base_events.BaseEventLoop


def _loop_class(new_selector: Callable[[], Any] | None, counts: dict[str, int]) -> type:
    import erlang

    class LoopUnderTest(erlang.ErlangEventLoop):
        """ErlangEventLoop, counting its instances.

        A standard selector that a test passes is exchanged for the one under test; a mocked one,
        by which the test observes the loop, is kept.
        """

        def __init__(self, selector: Any = None) -> None:
            if isinstance(selector, _STANDARD_SELECTORS):
                selector.close()
                selector = None
            if selector is None and new_selector is not None:
                selector = new_selector()
            counts["loops"] += 1
            super().__init__(selector)

    LoopUnderTest.__name__ = LoopUnderTest.__qualname__ = "ErlangEventLoop"
    LoopUnderTest.__module__ = "erlang"
    return LoopUnderTest


def _policy_class(loop_class: type) -> type:
    import erlang

    class PolicyUnderTest(erlang.EventLoopPolicy):
        """erlang.EventLoopPolicy with the counting loop class."""

        def _loop_factory(self) -> asyncio.AbstractEventLoop:
            return loop_class()

        def set_child_watcher(self, watcher: Any) -> None:
            """Accepted, because the set-up of tests without subprocesses calls it too."""

    return PolicyUnderTest


class _IdleChildWatcher:
    """Stands for the watcher that tests of any kind attach to their loop, and watches nothing.

    asyncio's own would ask the loop for a signal handler. Tests that start a process are skipped.
    """

    def attach_loop(self, loop: Any) -> None:
        pass

    def close(self) -> None:
        pass


def _replace_names(module: Any, replacements: dict[str, Any]) -> None:
    for name, value in replacements.items():
        if hasattr(module, name):
            setattr(module, name, value)


def _replace_test_loop(loop_class: type) -> None:
    """The tests' own loop with a hand-moved clock becomes a subclass of the loop under test."""
    from test.test_asyncio import utils

    utils.TestLoop.__bases__ = (loop_class,)
    original = utils.TestLoop.__init__

    def __init__(self: Any, gen: Any = None) -> None:
        original(self, gen)
        # TestLoop.__init__ has just dropped the selector that the loop made for itself.
        unused_selectors.pop().close()

    unused_selectors: list[Any] = []
    original_attribute = utils.TestLoop.__setattr__

    def __setattr__(self: Any, name: str, value: Any) -> None:
        if name == "_selector" and isinstance(value, utils.TestSelector):
            unused_selectors.append(self._selector)
        original_attribute(self, name, value)

    utils.TestLoop.__init__ = __init__
    utils.TestLoop.__setattr__ = __setattr__


def substitute(group: str, new_selector: Callable[[], Any] | None) -> tuple[type, dict[str, int]]:
    """Replaces asyncio's loops by the loop under test for the rest of this interpreter's life.

    ``group`` is the name of the test module about to be imported. ``new_selector`` makes the selector of each loop; None means the VM's. Returns the class of the
    loop and a dict whose item "loops" counts the instances made.
    """
    counts = {"loops": 0}
    loop_class = _loop_class(new_selector, counts)
    policy_class = _policy_class(loop_class)
    from erlang._transport import _ErlangDatagramTransport, _ErlangSocketTransport

    loops = {"SelectorEventLoop": loop_class, "EventLoop": loop_class}
    policies = {
        "DefaultEventLoopPolicy": policy_class,
        "_DefaultEventLoopPolicy": policy_class,
    }
    for module in (asyncio, unix_events):
        _replace_names(module, loops)
        _replace_names(module, policies)
    _replace_names(asyncio, {"BaseEventLoop": loop_class})
    _replace_names(
        selector_events,
        {
            "BaseSelectorEventLoop": loop_class,
            "_SelectorSocketTransport": _ErlangSocketTransport,
            "_SelectorDatagramTransport": _ErlangDatagramTransport,
        },
    )
    if group != "test_unix_events":
        # That group tests the watchers themselves, with mocked processes.
        _replace_names(asyncio, {"SafeChildWatcher": _IdleChildWatcher})
    if group == "test_base_events":
        # Other groups mean asyncio's base class itself when they name it.
        _replace_names(base_events, {"BaseEventLoop": loop_class})

        class BaseSelectorLoopUnderTest(loop_class):
            """Like asyncio's class of that place in the hierarchy, it has no native sendfile."""

            _sock_sendfile_native = _BASE_EVENT_LOOP._sock_sendfile_native

        _replace_names(selector_events, {"BaseSelectorEventLoop": BaseSelectorLoopUnderTest})
    _replace_names(events, {"_event_loop_policy": None})
    _replace_test_loop(loop_class)
    return loop_class, counts


_OF_ASYNCIO = {"test_base_events.BaseEventLoopTests.test_not_implemented"}
"""Tests of asyncio's abstract base class as such: what it leaves to its subclasses."""


def keep_asyncios_own(name: str, test: Any) -> None:
    """Lets a test that is about asyncio's own base class, and not about a loop, build that one."""
    if name not in _OF_ASYNCIO:
        return
    set_up, replaced = test.setUp, base_events.BaseEventLoop

    def set_up_with_own_class() -> None:
        base_events.BaseEventLoop = _BASE_EVENT_LOOP
        try:
            set_up()
        finally:
            base_events.BaseEventLoop = replaced

    test.setUp = set_up_with_own_class


@contextlib.contextmanager
def as_main_thread() -> Any:
    """Lets the calling thread pass for Python's main thread, where the tests expect to run.

    In the VM every context has a thread of its own, while some tests want what asyncio does in the
    main thread only, such as the policy's making a loop on demand.
    """
    real = threading._main_thread
    threading._main_thread = threading.current_thread()
    try:
        yield
    finally:
        threading._main_thread = real


def version_tag() -> str:
    """The Python version as in "3.12"."""
    return ".".join(map(str, sys.version_info[:2]))
