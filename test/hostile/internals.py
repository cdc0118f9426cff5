"""Code that reaches behind the event loop and the package; py_hostile_loop_SUITE says what has to come of it."""

from __future__ import annotations

import asyncio
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import _erlang
import erlang

# ---- the selector of the loop that runs


class Closes:
    """Closes the selector of the running loop where somebody asks it for a truth value, a time or a comparison."""

    def __init__(self, selector: Any) -> None:
        self.selector = selector

    def __bool__(self) -> bool:
        self.selector.close()
        return False

    def __call__(self, *args: Any) -> float:
        self.selector.close()
        return 0.0

    def __lt__(self, other: Any) -> bool:
        self.selector.close()
        return True

    __gt__ = __lt__


def _loop() -> Any:
    return asyncio.get_running_loop()


def debug_closes(method: str) -> None:
    """_debug is asked by call_soon and its likes."""
    loop = _loop()
    loop._debug = Closes(loop._selector)
    arguments = {"call_soon": (print,), "call_later": (1, print), "call_at": (1, print)}
    getattr(loop, method)(*arguments[method])


def time_closes() -> None:
    loop = _loop()
    loop.time = Closes(loop._selector)
    loop.call_later(1, print)


def comparison_closes() -> None:
    loop = _loop()
    for _ in range(5):
        loop.call_at(Closes(loop._selector), print)


class Fake:
    """A loop for attach() whose queue attaches another one while it is used."""

    def __init__(self, selector: Any) -> None:
        self.selector = selector
        self._ready = self
        self._debug = False
        self._scheduled: list[Any] = []

    def append(self, handle: Any) -> None:
        self.selector.attach(Fake(self.selector))

    def popleft(self) -> Any:
        self.selector.attach(Fake(self.selector))
        raise IndexError

    def __len__(self) -> int:
        self.selector.attach(Fake(self.selector))
        return 3


def attaches() -> str:
    selector = _erlang.Selector()
    selector.attach(Fake(selector))
    for _ in range(50):
        selector.call_soon(print)
        try:
            selector.run_ready()
        except IndexError:
            pass
    selector.close()
    return "alive"


def keys_replaced() -> list[str]:
    """What the selector keeps about a descriptor, replaced by other things."""
    seen = []
    for value in (
        None,
        42,
        (),
        (1, 2, 3),
        (1, 2, "3", 4),
        (1, 2, 3, 4),
        (1, 2, 3, (None,)),
        "four",
    ):
        selector = _erlang.Selector()
        selector.attach(_loop())
        left, right = socket.socketpair()
        try:
            selector.register(left, selectors.EVENT_READ | selectors.EVENT_WRITE, (None, None))
            selector._fd_to_key[left.fileno()] = value
            selector._fd_to_key["x"] = value
            right.send(b"x")
            for act in (
                lambda: selector.select(0),  # noqa: B023
                lambda: selector.poll(0),  # noqa: B023
                lambda: selector.get_key(left),  # noqa: B023
                lambda: selector.get_key(object()),  # noqa: B023
                lambda: selector.modify(left, selectors.EVENT_READ),  # noqa: B023
                lambda: selector.unregister(left),  # noqa: B023
            ):
                try:
                    act()
                    seen.append("done")
                except Exception as error:
                    seen.append(type(error).__name__)
        finally:
            selector.close()
            left.close()
            right.close()
    return sorted(set(seen))


def key_class_replaced() -> list[str]:
    """selectors.SelectorKey makes something else."""
    seen = []
    original = selectors.SelectorKey.__new__
    for made in (None, 42, (), (1, 2, 3, 4)):
        selector = _erlang.Selector()
        left, right = socket.socketpair()
        selectors.SelectorKey.__new__ = lambda *args, made=made: made  # type: ignore[assignment]
        try:
            selector.register(left, selectors.EVENT_WRITE)
            selector.select(0)
            selector.modify(left, selectors.EVENT_READ)
            seen.append("done")
        except Exception as error:
            seen.append(type(error).__name__)
        finally:
            selectors.SelectorKey.__new__ = original  # type: ignore[method-assign]
            selector.close()
            left.close()
            right.close()
    return sorted(set(seen))


def second_selector() -> str:
    """Another selector on the loop that runs this function within a batch of others."""
    try:
        other = _erlang.Selector(_loop()._selector.handle)
    except OSError as error:
        return type(error).__name__
    for _ in range(10):
        other.select(0)
    globals().setdefault("_kept", []).append(other)
    return "opened"


def closes_selector() -> None:
    _loop()._selector.close()


# ---- schedule


class Deleting:
    """Arguments whose iteration deletes the function that they are for."""

    def __iter__(self) -> Iterator[Any]:
        namespace = globals()
        for name in [name for name in namespace if name.startswith("_victim")]:
            del namespace[name]
        return iter([bytearray(100) for _ in range(100)])


def victim_deleted() -> Any:
    exec("def _victim(*args):\n    return len(args)\n", globals())
    return erlang.schedule_inline(__name__, "_victim", Deleting())  # type: ignore[arg-type]


class ClearsOnStr:
    def __init__(self, owner: list[Any]) -> None:
        self.owner = owner

    def __str__(self) -> str:
        self.owner.clear()
        self.owner.extend(bytearray(64) for _ in range(64))
        return ""


def arguments_cleared() -> Any:
    """The list of arguments is emptied by the function that is called with it."""
    arguments: list[Any] = []
    arguments.append(ClearsOnStr(arguments))
    arguments.extend("%d" % i * 50 for i in range(20))
    return erlang.schedule_inline("builtins", "print", arguments, {"file": Sink(), "sep": ""})


class Sink:
    def write(self, text: str) -> int:
        return len(text)


# ---- what the package hands out


async def wrong_process(reference: Any) -> list[str]:
    """The variable with the process that a coroutine runs for, set to other things."""
    seen = []

    async def ask(value: Any) -> None:
        _erlang.process_variable.set(value)
        await asyncio.sleep(0)
        try:
            erlang.self()
            seen.append("self")
        except Exception as error:
            seen.append(type(error).__name__)
        try:
            await erlang.async_call("hostile_echo", 1)
            seen.append("called")
        except Exception as error:
            seen.append(type(error).__name__)

    for value in (reference, None, 42, "pid"):
        await asyncio.create_task(ask(value))
    return seen


class Unordered:
    def __init__(self, heap: list[Any]) -> None:
        self.heap = heap

    def __lt__(self, other: Any) -> bool:
        self.heap[:] = [Unordered(self.heap) for _ in self.heap]
        return True


def hostile_heap() -> str:
    heap: list[Any] = []
    heap.extend(Unordered(heap) for _ in range(50))
    for _ in range(20):
        _erlang.timer_heap_push(heap, Unordered(heap))
        _erlang.timer_heap_pop(heap)
    return "alive"


def blocking_socket(seconds: float) -> list[str]:
    """socket_recv() and socket_send() on sockets that block: they must not keep everybody else from running."""
    seen = []
    left, right = socket.socketpair()
    ticks = 0
    stop = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not stop.wait(0.01):
            ticks += 1

    threading.Thread(target=tick, daemon=True).start()
    timer = threading.Timer(seconds, left.shutdown, (socket.SHUT_RDWR,))
    timer.start()
    try:
        for act in (
            lambda: _erlang.socket_recv(left.fileno()),
            lambda: [_erlang.socket_send(left.fileno(), b"x" * 65536) for _ in range(1000)],
        ):
            try:
                act()
                seen.append("done")
            except OSError as error:
                seen.append(type(error).__name__)
    finally:
        timer.cancel()
        stop.set()
        left.close()
        right.close()
    return seen


def wrong_arguments() -> int:
    """Every function and method of the native module, with arguments that it does not expect."""
    garbage: list[Any] = [None, -1, 2**70, "x", b"x", [], {}, object(), float("nan"), int, asyncio]
    selector = _erlang.Selector()
    functions = [getattr(_erlang, name) for name in dir(_erlang)]
    functions += [getattr(selector, name) for name in dir(selector) if not name.startswith("__")]
    functions = [function for function in functions if callable(function)]
    calls = 0
    for function in functions:
        if getattr(function, "__name__", "") in ("sleep", "select", "poll"):
            continue
        for arguments in [
            (),
            *((g,) for g in garbage),
            *((g, h) for g in garbage for h in garbage),
        ]:
            try:
                function(*arguments)
            except Exception:
                pass
            calls += 1
    selector.close()
    return calls


CALLS: dict[str, Callable[..., Any]] = {
    "debug_call_soon": lambda: debug_closes("call_soon"),
    "debug_call_later": lambda: debug_closes("call_later"),
    "debug_call_at": lambda: debug_closes("call_at"),
    "time_closes": time_closes,
    "comparison_closes": comparison_closes,
    "closes_selector": closes_selector,
    "attaches": attaches,
    "keys_replaced": keys_replaced,
    "key_class_replaced": key_class_replaced,
    "second_selector": second_selector,
}


def names() -> list[str]:
    return list(CALLS)


def attempt(name: str) -> Any:
    return CALLS[name]()
