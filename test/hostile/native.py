"""Code that takes away what the core's C functions work with while they run."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import importlib
import os
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import _erlang
import erlang


def outcome(function: Callable[..., Any], *args: Any) -> str:
    try:
        function(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "returned"


# ---- a selector that is closed by the code that it runs


def close_selector() -> Any:
    loop: Any = asyncio.get_running_loop()
    loop._selector.close()
    return loop


def close_and_return_coroutine() -> Any:
    close_selector()
    return asyncio.sleep(0)


def close_and_return_future() -> Any:
    return close_selector().create_future()


class Awaitable:
    def __await__(self) -> Iterator[None]:
        yield


def close_and_return_awaitable() -> Any:
    close_selector()
    return Awaitable()


def second_selector() -> str:
    """A second selector on the loop that a thread of Erlang's drives."""
    loop_of = importlib.import_module("erlang._driver").loop_of
    handle = _erlang.default_loop()
    loop_of(handle)
    return outcome(_erlang.Selector, handle)


class Closing:
    """A debug flag, a clock and a handle in one, which closes the loop's selector when it is used."""

    def __init__(self, loop: Any, truth: bool) -> None:
        self.loop = loop
        self.truth = truth

    def __bool__(self) -> bool:
        self.loop._selector.close()
        return self.truth

    def __call__(self) -> float:
        self.loop._selector.close()
        return 1.0

    @property
    def _cancelled(self) -> bool:
        self.loop._selector.close()
        return self.truth


def close_within_calls() -> int:
    """call_soon() and its likes, whose loop is closed while they look at it; the number of calls."""
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("call_soon", (print,)),
        ("call_at", (1.0, print)),
        ("call_later", (1.0, print)),
    ]
    count = 0
    for name, args in calls:
        for attribute, truth in (("_debug", False), ("_debug", True), ("time", False)):
            loop: Any = erlang.new_event_loop()
            setattr(loop, attribute, Closing(loop, truth))
            outcome(getattr(loop, name), *args)
            count += 1
    return count


def close_within_events() -> list[str]:
    """Handles of descriptors that close the selector when an event is given to them."""
    outcomes = []
    for truth in (False, True):
        loop: Any = erlang.new_event_loop()
        with_data, other = socket.socketpair()
        other.send(b"x")
        handle = Closing(loop, truth)
        loop._selector.register(with_data, 3, (handle, handle))
        outcomes.append(outcome(loop._selector.poll, 0))
        with_data.close()
        other.close()
    return outcomes


def close_elsewhere() -> list[str]:
    """Another thread closes the selector in which a thread waits: the wait ends."""
    outcomes: list[str] = []

    def run(loop: Any) -> None:
        coroutine = asyncio.sleep(60)
        outcomes.append(outcome(loop.run_until_complete, coroutine))
        loop.close()

    threads = []
    for delay in (0.05, 0.3, 0.5):
        loop: Any = erlang.new_event_loop()
        thread = threading.Thread(target=run, args=(loop,))
        thread.start()
        threads.append(thread)
        time.sleep(delay)
        loop._selector.close()
    for thread in threads:
        thread.join()
    return outcomes


def replace_keys() -> list[str]:
    """Something else than a SelectorKey where the selector has its keys."""
    selector = _erlang.Selector()
    with_data, other = socket.socketpair()
    other.send(b"x")
    selector.register(with_data, 1)
    outcomes = []
    for wrong in ("text", (), (1, 2, 3, 4, 5)):
        selector._fd_to_key[with_data.fileno()] = wrong
        outcomes += [
            outcome(function, *args).split(":")[0]
            for function, args in (
                (selector.select, (0,)),
                (selector.modify, (with_data, 3)),
                (selector.get_key, (with_data,)),
                (selector.get_key, (object(),)),
                (selector.unregister, (with_data,)),
            )
        ]
    selector._fd_to_key[with_data.fileno()] = (with_data, 0, "many", None)
    outcomes.append(outcome(selector.select, 0))
    selector.close()
    with_data.close()
    other.close()
    return outcomes


# ---- futures of another kind


class OddFuture:
    """Looks like a future to asyncio and treats its callbacks in ways of its own."""

    _asyncio_future_blocking = False

    def __init__(self, way: str) -> None:
        self.way = way
        self._loop = asyncio.get_running_loop()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def done(self) -> bool:
        return False

    def result(self) -> str:
        return self.way

    def cancel(self) -> bool:
        return False

    def add_done_callback(self, callback: Callable[[Any], None], context: Any = None) -> None:
        if self.way != "forgets":
            callback(self)
        if self.way == "calls_and_raises":
            callback(self)
            raise ValueError(self.way)

    def __await__(self) -> Iterator[Any]:
        yield self


def odd_future(way: str) -> OddFuture:
    return OddFuture(way)


# ---- arguments and names that go away


class Emptying:
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __index__(self) -> int:
        self.items.clear()
        gc.collect()
        self.junk = [[object()] * 3 for _ in range(1000)]
        return 12


def emptied_arguments() -> Any:
    """math.gcd() gets its arguments as they are, and the first one empties the list."""
    items: list[Any] = []
    items.extend([Emptying(items), 18, 2**70 * 3])
    return erlang.schedule_inline("math", "gcd", items)


def vanishing(*args: Any) -> str:
    return f"called with {len(args)}"


def removing() -> Iterator[int]:
    del globals()["vanishing"]
    gc.collect()
    globals()["junk"] = [lambda: index for index in range(1000)]
    yield 1


def vanished_function() -> Any:
    return erlang.schedule_inline("native", "vanishing", removing())


def remove_main_when_warned() -> str:
    """From now on the warning about a piece of source code removes the module it is to run in."""

    def show(*args: Any, **kwargs: Any) -> None:
        sys.modules.pop("__main__", None)
        gc.collect()
        show.junk = [dict.fromkeys(range(20)) for _ in range(1000)]  # type: ignore[attr-defined]

    warnings.showwarning = show
    warnings.simplefilter("always")
    return "prepared"


def wrong_process(value: Any) -> str:
    """The process for which a coroutine runs, set to something else, where no task runs."""
    context = contextvars.copy_context()
    context.run(_erlang.process_variable.set, value)
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(context.run(outcome, erlang.self)))
    thread.start()
    thread.join()
    return outcomes[0].split(":")[0]


# ---- the module itself


def import_again(times: int) -> bool:
    """The native module made again and again: it is another object with the same types."""
    before = erlang.Atom
    first = sys.modules["_erlang"]
    try:
        for _ in range(times):
            del sys.modules["_erlang"]
            again = importlib.import_module("_erlang")
            if again.Atom is not before or again.Selector is not first.Selector:
                return False
    finally:
        sys.modules["_erlang"] = first
    return isinstance(erlang.Atom("x"), before)


def in_subinterpreter() -> str:
    """What a sub-interpreter says to the import of the native module."""
    source = (
        "try:\n    import _erlang\nexcept ImportError as error:\n    text = str(error)\n"
        "else:\n    text = 'imported'\n"
        "import os\nos.write({}, text.encode())\n"
    )
    reading, writing = os.pipe()
    if sys.version_info >= (3, 13):
        import _interpreters as interpreters  # type: ignore[import-not-found]

        number = interpreters.create("legacy")
        interpreters.exec(number, source.format(writing))
    else:
        import _xxsubinterpreters as interpreters  # type: ignore[import-not-found]

        number = interpreters.create(isolated=False)
        interpreters.run_string(number, source.format(writing))
    interpreters.destroy(number)
    text = os.read(reading, 1000).decode()
    os.close(reading)
    os.close(writing)
    return text


# ---- the end of a thread

KEPT: contextvars.ContextVar[Any] = contextvars.ContextVar("kept")
LOCAL = threading.local()


class CallsErlang:
    def __del__(self) -> None:
        erlang.sleep(0.0001)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def threads_that_end(number: int) -> bool:
    """What threads keep calls Erlang when it is dropped at their end: no descriptor is left behind."""

    def run() -> None:
        KEPT.set(CallsErlang())
        LOCAL.kept = CallsErlang()

    before = descriptors()
    for _ in range(number):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    # A thread is joined a moment before it has ended.
    for _ in range(200):
        if descriptors() < before + number / 2:
            return True
        time.sleep(0.05)
    return False
