"""Odd and hostile code; py_hostile_SUITE says what has to come of each."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import math
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

# ---- the end of the program


def leave(code: Any = 3) -> None:
    """sys.exit in a plain function."""
    sys.exit(code)


def interrupt() -> None:
    raise KeyboardInterrupt


async def leave_later(code: int = 3) -> None:
    await asyncio.sleep(0.01)
    sys.exit(code)


async def leave_in_callback() -> str:
    """sys.exit in a callback of the loop; the task that it interrupts goes on."""
    asyncio.get_running_loop().call_soon(sys.exit, 4)
    await asyncio.sleep(0.05)
    return "alive"


async def raise_in_callback() -> str:
    def fail() -> None:
        raise ValueError("in a callback")

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    asyncio.get_running_loop().call_soon(fail)
    await asyncio.sleep(0.02)
    asyncio.get_running_loop().set_exception_handler(None)
    return "alive"


def leave_in_thread() -> str:
    thread = threading.Thread(target=sys.exit, args=(5,))
    thread.start()
    thread.join()
    return "alive"


class LeaveInDestructor:
    def __del__(self) -> None:
        sys.exit(6)


def leave_in_destructor() -> str:
    LeaveInDestructor()
    loop = LeaveInDestructor()
    loop.self = loop  # type: ignore[attr-defined]
    del loop
    gc.collect()
    return "alive"


class Blocking:
    """Its destructor does not come back."""

    def __del__(self) -> None:
        _blocked.set()
        threading.Event().wait()


_chained = threading.Event()
_blocked = threading.Event()


def chain_of_blocking(_last: Any = None) -> Any:
    """A chain without end, each step with an object whose destructor blocks as its argument."""
    import erlang

    time.sleep(0.01)
    return erlang.schedule_py(__name__, "chain_of_kept", [Blocking()])


def chain_of_kept(kept: Any) -> Any:
    import erlang

    _chained.set()
    time.sleep(0.01)
    return erlang.schedule_py(__name__, "chain_of_kept", [kept])


def chain_begun() -> bool:
    return _chained.is_set()


def blocked_destructor() -> bool:
    return _blocked.is_set()


class Endless:
    def __del__(self) -> None:
        Endless()


# ---- exceptions that do not want to be described


class StrRaises(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class StrRecurses(Exception):
    def __str__(self) -> str:
        return str(self)

    __repr__ = __str__


class StrIsNoString(Exception):
    def __str__(self) -> str:
        return 42  # type: ignore[return-value]

    __repr__ = __str__


class StrIsSurrogate(Exception):
    def __str__(self) -> str:
        return "\ud800\udfff\x00"


class StrExits(Exception):
    def __str__(self) -> str:
        sys.exit(7)


class Meta(type):
    @property
    def __module__(cls) -> str:  # type: ignore[override]
        raise ValueError("no module")

    def __getattribute__(cls, name: str) -> Any:
        raise ValueError(f"no {name}")

    def __repr__(cls) -> str:
        raise ValueError("no repr")


class ClassRaises(Exception, metaclass=Meta):
    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise ValueError("no class")


class HugeText(Exception):
    def __str__(self) -> str:
        return "x" * 50_000_000


class BadTraceback(Exception):
    @property
    def __traceback__(self) -> Any:  # type: ignore[override]
        raise ValueError("no traceback")

    @property
    def __cause__(self) -> Any:  # type: ignore[override]
        return self


EXCEPTIONS: dict[str, Callable[[], BaseException]] = {
    "str_raises": StrRaises,
    "str_recurses": StrRecurses,
    "str_is_no_string": StrIsNoString,
    "str_is_surrogate": StrIsSurrogate,
    "str_exits": StrExits,
    "huge_text": HugeText,
    "bad_traceback": BadTraceback,
    "class_raises": lambda: type.__call__(ClassRaises),
    "base": lambda: BaseException("base"),
    "generator_exit": GeneratorExit,
    "stop_iteration": lambda: StopIteration(1),
    "stop_async_iteration": lambda: StopAsyncIteration(1),
    "cancelled": lambda: asyncio.CancelledError("mine"),
    "group": lambda: BaseExceptionGroup("group", [SystemExit(1), ValueError(2)]),
    "surrogate_name": lambda: type("Bad\ud800Name", (Exception,), {})("x"),
    "memory": MemoryError,
}


def throw(name: str) -> None:
    raise EXCEPTIONS[name]()


async def throw_later(name: str) -> None:
    await asyncio.sleep(0)
    raise EXCEPTIONS[name]()


# ---- objects that bite when they are converted or dropped


class DelRaises:
    def __del__(self) -> None:
        raise ValueError("in a destructor")


def drop_raising() -> str:
    for _ in range(100):
        DelRaises()
    return "alive"


class DelCallsErlang:
    def __del__(self) -> None:
        import erlang

        erlang.call("hostile_echo", 1)


def drop_calling() -> str:
    for _ in range(20):
        DelCallsErlang()
    cycle = DelCallsErlang()
    cycle.self = cycle  # type: ignore[attr-defined]
    del cycle
    gc.collect()
    return "alive"


class Weird:
    """Has every method that conversion may look at, and all of them raise."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


class Key:
    """Changes the dict that it is a key of while it is converted."""

    def __init__(self, owner: dict[Any, Any]) -> None:
        self.owner = owner

    def tolist(self) -> int:
        for i in range(1000):
            self.owner[i] = i
        return 1


class Shrinking:
    def __init__(self, owner: Any) -> None:
        self.owner = owner

    @property
    def __dataclass_fields__(self) -> Any:
        self.owner.clear()
        gc.collect()
        return {}


@dataclass
class Point:
    x: Any

    def __getattribute__(self, name: str) -> Any:
        if name == "x":
            sys.exit(8)
        return object.__getattribute__(self, name)


def changing_dict() -> dict[Any, Any]:
    owner: dict[Any, Any] = {}
    for i in range(50):
        owner[f"k{i}"] = Key(owner)
    return owner


def shrinking_dict() -> dict[Any, Any]:
    owner: dict[Any, Any] = {}
    for i in range(50):
        owner[f"k{i}"] = Shrinking(owner)
    return owner


def shrinking_list() -> list[Any]:
    owner: list[Any] = []
    owner.extend(Shrinking(owner) for _ in range(50))
    return owner


def changed_by_thread() -> list[Any]:
    """A list and a dict that another thread changes while they are converted."""
    values: list[Any] = [list(range(100)) for _ in range(2000)]
    names: dict[Any, Any] = {i: list(range(100)) for i in range(2000)}
    stop = time.monotonic() + 1.0

    def change() -> None:
        n = 2000
        while time.monotonic() < stop:
            values.append(n)
            names[n] = n
            n += 1
            if n % 100 == 0:
                del values[2000:]
                for key in range(2000, n):
                    names.pop(key, None)

    threading.Thread(target=change, daemon=True).start()
    return [values, names]


def cycle() -> list[Any]:
    value: list[Any] = []
    value.append({"value": value})
    return value


VALUES: dict[str, Callable[[], Any]] = {
    "weird": Weird,
    "weird_in_list": lambda: [1, [Weird()]],
    "changing_dict": changing_dict,
    "shrinking_dict": shrinking_dict,
    "shrinking_list": shrinking_list,
    "changed_by_thread": changed_by_thread,
    "cycle": cycle,
    "dataclass_exits": lambda: Point(1),
    "nan": lambda: [math.nan, math.inf, -math.inf],
    "nan_keys": lambda: {math.nan: 1, float("nan"): 2},
    "same_keys": lambda: {1: "integer", 1.5: "float", "1": "str", b"1": "bytes"},
    "surrogates": lambda: "\ud800",
    "module": lambda: sys,
    "frame": lambda: sys._getframe(),
    "type": lambda: type,
    "generator": lambda: (x for x in range(3)),
    "coroutine": lambda: asyncio.sleep(1),
    "async_generator": lambda: endless(),
    "memoryview_released": lambda: released(),
    "lock": threading.Lock,
    "huge_integer": lambda: 1 << 10_000_000,
    "very_huge_integer": lambda: 1 << 600_000_000,
    "wide_list": lambda: [None] * 1_000_000,
    "range": lambda: range(10**18),
    "not_implemented": lambda: NotImplemented,
}


def released() -> memoryview:
    view = memoryview(b"abc")
    view.release()
    return view


def value(name: str) -> Any:
    return VALUES[name]()


async def value_later(name: str) -> Any:
    await asyncio.sleep(0)
    return VALUES[name]()


def integer(bits: int) -> int:
    """Two to the power of `bits`."""
    return 1 << bits


# ---- things that are never finished


def counting() -> Iterator[int]:
    try:
        while True:
            yield 1
    finally:
        raise ValueError("in a generator's end")


async def endless() -> AsyncIterator[int]:
    try:
        while True:
            yield 1
            await asyncio.sleep(0)
    finally:
        await asyncio.sleep(0.01)


def generators() -> str:
    kept = [counting() for _ in range(1000)]
    for generator in kept:
        next(generator)
    globals()["_kept"] = kept[:10]
    return "alive"


async def async_generators() -> str:
    kept = []
    for _ in range(100):
        generator = endless()
        await generator.__anext__()
        kept.append(generator)
    globals()["_kept_async"] = kept[:10]
    return "alive"


def threads() -> int:
    """Threads that never end, daemons and not."""

    def spin() -> None:
        while True:
            time.sleep(0.01)

    for daemon in (True, False, True, False):
        threading.Thread(target=spin, daemon=daemon).start()
    threading.Thread(target=time.sleep, args=(10_000,)).start()
    return threading.active_count()


def busy() -> None:
    while True:
        pass


async def busy_later() -> None:
    await asyncio.sleep(0)
    busy()


async def busy_callback() -> str:
    asyncio.get_running_loop().call_later(0.01, busy)
    return "armed"


_stubborn = threading.Event()


def stubborn() -> None:
    """Swallows everything that is raised in it, from when is_stubborn()."""
    while True:
        try:
            _stubborn.set()
            while True:
                pass
        except BaseException:
            pass


def is_stubborn() -> bool:
    return _stubborn.is_set()


def blocked(seconds: float = 10_000) -> None:
    """Blocking C code that releases the GIL."""
    time.sleep(seconds)


def lock_forever() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


async def never() -> None:
    await asyncio.get_running_loop().create_future()


async def refuses_cancel() -> None:
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass


# ---- asyncio, misused


async def run_inside() -> str:
    coroutine = asyncio.sleep(0)
    try:
        asyncio.run(coroutine)
    except RuntimeError as error:
        coroutine.close()
        return str(error)
    return "ran"


async def close_loop() -> str:
    try:
        asyncio.get_running_loop().close()
    except RuntimeError as error:
        return str(error)
    return "closed"


async def stop_loop() -> str:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.02)
    return "alive"


async def cancel_all() -> str:
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.sleep(1)
    return "not cancelled"


async def break_loop() -> str:
    """Breaks what asyncio keeps in its loop, as far as a loop can survive that."""
    loop: Any = asyncio.get_running_loop()
    for name in ("_scheduled", "_ready", "_selector", "_clock_resolution", "_thread_id"):
        try:
            delattr(loop, name)
        except AttributeError:
            pass
    return "broken"


async def replace_internals() -> str:
    loop: Any = asyncio.get_running_loop()
    loop._run_once = lambda: None
    loop.call_soon = None
    loop._ready = [object()]
    return "replaced"


async def break_asyncio() -> str:
    asyncio.Task = None  # type: ignore[assignment,misc]
    asyncio.tasks.Task = None  # type: ignore[assignment,misc]
    asyncio.ensure_future = None  # type: ignore[assignment]
    asyncio.get_running_loop = None  # type: ignore[assignment]
    asyncio.events.get_event_loop = None  # type: ignore[assignment]
    return "broken"


def break_modules() -> str:
    for name in list(sys.modules):
        if name.startswith(("asyncio", "erlang", "selectors", "threading")):
            del sys.modules[name]
    return "broken"


def break_builtins() -> str:
    import builtins

    for name in ("len", "isinstance", "print", "Exception", "KeyError", "super", "__import__"):
        setattr(builtins, name, None)
    return "broken"


def close_outputs() -> str:
    sys.stdout = None  # type: ignore[assignment]
    sys.stderr.close()
    sys.stderr = object()  # type: ignore[assignment]
    sys.unraisablehook = None  # type: ignore[assignment]
    drop_raising()
    return "alive"


# ---- imports


def reload_erlang() -> str:
    import erlang

    for _ in range(3):
        importlib.reload(erlang)
    for name in [name for name in sys.modules if name.startswith("erlang.")]:
        importlib.reload(sys.modules[name])
    return "reloaded"


def reimport_native() -> str:
    """The module of the core, made a second time."""
    old = sys.modules.pop("_erlang")
    try:
        import _erlang

        return "same" if _erlang is old else "other"
    except ImportError as error:
        return str(error)
    finally:
        sys.modules["_erlang"] = old


# ---- memory


def exhaust(limit: int) -> list[Any]:
    """MemoryErrors of all kinds with an address space of `limit` bytes more than now."""
    import resource

    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    seen: list[Any] = []
    resource.setrlimit(resource.RLIMIT_AS, (size + limit, before[1]))
    try:
        for make in (
            lambda: bytes(2 * limit),
            lambda: [0] * limit,
            lambda: "x" * (2 * limit),
            lambda: grow(),
        ):
            try:
                make()
                seen.append("made")
            except MemoryError:
                seen.append("MemoryError")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    return seen


def grow() -> None:
    kept: list[Any] = []
    while True:
        kept.append(bytearray(1 << 20))


def too_big(count: int) -> list[Any]:
    """A value whose term is `count` times as big as it is."""
    row = list(range(1000))
    return [row] * count


# ---- many threads at once


def crowd(count: int, seconds: float) -> list[str]:
    """Threads that do everything at once; the names of unexpected exceptions."""
    import erlang

    problems: list[str] = []
    stop = time.monotonic() + seconds

    def work(number: int) -> None:
        while time.monotonic() < stop:
            try:
                match number % 5:
                    case 0:
                        json.dumps({"a": [number] * 10})
                    case 1:
                        loop = erlang.new_event_loop()
                        try:
                            loop.run_until_complete(asyncio.sleep(0.001))
                        finally:
                            loop.close()
                    case 2:
                        gc.collect(0)
                    case 3:
                        erlang.Atom(f"hostile_{number}")
                    case 4:
                        if hasattr(erlang, "call"):
                            erlang.call("hostile_echo", number)
            except Exception as error:
                problems.append(f"{type(error).__name__}: {error}")
                return

    workers = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return problems
