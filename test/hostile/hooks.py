"""Hooks, modules, contexts and threads, misused; py_hostile_hooks_SUITE says what has to come of each."""

from __future__ import annotations

import asyncio
import builtins
import code
import contextvars
import gc
import os
import sys
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

import erlang

# ---- hooks of the interpreter


def raises(*args: Any, **kwargs: Any) -> Any:
    raise ValueError("in a hook")


def recurses(*args: Any, **kwargs: Any) -> Any:
    return recurses(*args, **kwargs)


def leaves(*args: Any, **kwargs: Any) -> Any:
    sys.exit(9)


def calls(*args: Any, **kwargs: Any) -> None:
    erlang.call("hostile_echo", 1)


def some_work() -> int:
    return sum(len(str(i)) for i in range(100))


def _set_trace(function: Any) -> Any:
    sys.settrace(function)
    return some_work()


def _set_profile(function: Any) -> Any:
    sys.setprofile(function)
    return some_work()


def _collect(function: Any) -> Any:
    gc.callbacks.append(function)
    try:
        gc.collect()
        return [gc.collect() for _ in range(3)]
    finally:
        gc.callbacks.remove(function)


def _unraisable(function: Any) -> Any:
    sys.unraisablehook = function

    class Fails:
        def __del__(self) -> None:
            raise ValueError("in a destructor")

    Fails()
    return some_work()


def _thread_hook(function: Any) -> Any:
    threading.excepthook = function
    thread = threading.Thread(target=raises)
    thread.start()
    thread.join()
    return some_work()


def _thread_trace(function: Any) -> Any:
    threading.settrace(function)
    threading.setprofile(function)
    thread = threading.Thread(target=some_work)
    thread.start()
    thread.join()
    threading.settrace(None)  # type: ignore[arg-type]
    threading.setprofile(None)
    return some_work()


def _weak(function: Any) -> Any:
    class Target:
        pass

    kept = []
    for _ in range(50):
        target = Target()
        kept.append(weakref.ref(target, function))
        weakref.finalize(target, function)
        target.self = target  # type: ignore[attr-defined]
        del target
    gc.collect()
    return some_work()


def _asyncgen(function: Any) -> Any:
    sys.set_asyncgen_hooks(function, function)

    async def generator() -> Any:
        yield 1

    one = generator().__anext__()
    try:
        one.send(None)
    except StopIteration:
        pass
    return some_work()


def _exception_handler(function: Any) -> Any:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(function)
    loop.call_soon(raises)
    return some_work()


HOOKS: dict[str, Callable[[Any], Any]] = {
    "trace": _set_trace,
    "profile": _set_profile,
    "collect": _collect,
    "unraisable": _unraisable,
    "thread_hook": _thread_hook,
    "thread_trace": _thread_trace,
    "weak": _weak,
    "asyncgen": _asyncgen,
    "exception_handler": _exception_handler,
}

FUNCTIONS: dict[str, Any] = {
    "raises": raises,
    "recurses": recurses,
    "leaves": leaves,
    "calls": calls,
}


def hooks() -> list[list[str]]:
    return [[hook, function] for hook in HOOKS for function in FUNCTIONS]


def set_hook(hook: str, function: str) -> str:
    """Sets a hook to a function that misbehaves, does something that runs it, and takes it away again."""
    unraisable, excepthook, asyncgen = (
        sys.unraisablehook,
        threading.excepthook,
        sys.get_asyncgen_hooks(),
    )
    try:
        HOOKS[hook](FUNCTIONS[function])
    finally:
        sys.settrace(None)
        sys.setprofile(None)
        sys.unraisablehook = unraisable
        threading.excepthook = excepthook
        sys.set_asyncgen_hooks(*asyncgen)
    return "alive"


def leave_trace(function: str) -> str:
    """The function stays in place for the calls that come after this one."""
    sys.settrace(FUNCTIONS[function])
    sys.setprofile(FUNCTIONS[function])
    return "left"


def audit() -> str:
    """A hook that nobody can take away, and that refuses everything."""
    sys.addaudithook(raises)
    return "added"


def delete_import() -> str:
    del builtins.__import__
    del builtins.__build_class__
    return "deleted"


# ---- modules that answer to any name with anything


class Hostile(types.ModuleType):
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


class Anything:
    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self


def _module(**attributes: Any) -> types.ModuleType:
    module = types.ModuleType("hostile")
    module.__dict__.update(attributes)
    return module


def _sibling(name: str) -> Any:
    return getattr(sys.modules["hostile_recurses"], name + "x")


MODULES: dict[str, Callable[[], Any]] = {
    "hostile_raises": lambda: _module(__getattr__=raises),
    "hostile_leaves": lambda: _module(__getattr__=leaves),
    "hostile_recurses": lambda: _module(__getattr__=_sibling),
    "hostile_number": lambda: _module(__getattr__=lambda name: 42),
    "hostile_attribute": lambda: Hostile("hostile"),
    "hostile_anything": Anything,
    "hostile_none": lambda: None,
    "hostile_text": lambda: "no module",
}


def add_modules() -> list[str]:
    for name, make in MODULES.items():
        sys.modules[name] = make()
    return list(MODULES)


# ---- arguments and exceptions of unusual size


def keywords(**kwargs: Any) -> int:
    return len(kwargs)


def arguments(*args: Any) -> int:
    return len(args)


class Notes(Exception):
    @property
    def __notes__(self) -> Any:
        raise ValueError("no notes")


def noted(kind: str) -> None:
    error: Any = Notes() if kind == "property" else ValueError(kind)
    if kind == "surrogate":
        error.add_note("\ud800\x00")
    elif kind == "many":
        for i in range(10_000):
            error.add_note(f"note {i}")
    elif kind == "number":
        error.__notes__ = 42
    elif kind == "objects":
        error.__notes__ = [object(), None, Notes(), 1]
    elif kind == "groups":
        for _ in range(2000):
            error = ExceptionGroup("group", [error, ValueError("beside")])
    elif kind == "cycle":
        error.__cause__ = error
        error.__context__ = ExceptionGroup("around", [error])
    raise error


# ---- contexts


async def contexts() -> str:
    """Contexts that are entered already, that are none, and tokens of other ones."""
    loop: Any = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: None)
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")
    token = variable.set(1)
    current = contextvars.copy_context()

    def inside() -> None:
        # call_soon runs it while `current` is entered below.
        current.run(lambda: None)

    loop.call_soon(inside, context=current)
    current.run(lambda: loop.call_soon(inside, context=current))
    for garbage in (42, None, "context", object()):
        try:
            loop.call_soon(print, context=garbage)
            loop.call_later(0, print, context=garbage)
        except TypeError:
            pass
    try:
        contextvars.copy_context().run(variable.reset, token)
    except ValueError:
        pass
    await asyncio.sleep(0.02)
    loop.set_exception_handler(None)
    return "alive"


# ---- threads


class CallsAtEnd:
    """Calls Erlang when the last reference goes, which a thread's local storage is."""

    def __del__(self) -> None:
        erlang.call("hostile_echo", 1)


def threads_end(count: int) -> int:
    """Threads whose local storage calls Erlang when they are ending; how many descriptors are left of them."""
    local = threading.local()

    def work(first: bool) -> None:
        if first:
            erlang.call("hostile_echo", 0)
        local.value = CallsAtEnd()

    def run(number: int) -> None:
        batch = [threading.Thread(target=work, args=(i % 2 == 0,)) for i in range(number)]
        for thread in batch:
            thread.start()
        for thread in batch:
            thread.join()

    run(4)
    before = len(os.listdir("/proc/self/fd"))
    run(count)
    return len(os.listdir("/proc/self/fd")) - before


_lock = threading.Lock()


def hold_lock() -> None:
    """Holds a lock until it is interrupted."""
    with _lock:
        while True:
            pass


def take_lock() -> bool:
    taken = _lock.acquire(timeout=10)
    if taken:
        _lock.release()
    return taken


# ---- the process


def close_all(first: int, last: int) -> int:
    """Closes descriptors by their numbers, as daemons do; how many it was not allowed to."""
    refused = 0
    for number in range(first, last):
        try:
            os.close(number)
        except RuntimeError:
            refused += 1
        except OSError:
            pass
    return refused


def duplicate_over_all(first: int, last: int) -> int:
    """Puts something else under the numbers of all descriptors."""
    refused = 0
    source = os.open("/dev/null", os.O_RDWR)
    for number in range(first, last):
        if number == source:
            continue
        try:
            os.fstat(number)
        except OSError:
            continue
        try:
            os.dup2(source, number)
        except RuntimeError:
            refused += 1
    return refused


class Changing:
    """Tells another number each time."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)

    def __index__(self) -> int:
        return self.numbers.pop(0) if len(self.numbers) > 1 else self.numbers[0]


def close_changing(victim: int) -> str:
    try:
        os.close(Changing(10_000, victim))  # type: ignore[arg-type]
    except OSError as error:
        return type(error).__name__
    return "closed"


def read_input() -> list[Any]:
    """Asks for input, which is the VM's."""
    seen: list[Any] = [sys.stdin.isatty(), sys.stdin.read()]
    for ask in (input, sys.stdin.readline, code.interact):
        try:
            seen.append(ask())
        except Exception as error:
            seen.append(type(error).__name__)
    return seen


def switch_interval(seconds: float) -> float:
    sys.setswitchinterval(seconds)
    return sys.getswitchinterval()


def interpreters() -> list[str]:
    """Sub-interpreters that import the package and try to leave."""
    try:
        import _interpreters as module  # type: ignore[import-not-found]
    except ImportError:
        import _xxsubinterpreters as module  # type: ignore[import-not-found]
    seen = []
    for source in (
        "import erlang",
        "import _erlang",
        "import erlang; erlang.call('hostile_echo', 1)",
        "import os; os.fork()",
        "import os; os._exit(3)",
        "import sys; sys.exit(4)",
        "import asyncio; asyncio.run(asyncio.sleep(0))",
        "while True: raise ValueError",
    ):
        interpreter = module.create()
        try:
            result = module.run_string(interpreter, source)
            seen.append("done" if result is None else "failed")
        except Exception as error:
            seen.append(type(error).__name__)
        finally:
            try:
                module.destroy(interpreter)
            except Exception as error:
                seen.append(type(error).__name__)
    return seen


def fill_memory() -> str:
    """Keeps all the memory that there is."""
    kept: list[Any] = []
    globals()["_kept"] = kept
    for size in (1 << 20, 1 << 16, 1 << 12, 1 << 10, 600):
        try:
            while True:
                kept.append(bytearray(size))
        except MemoryError:
            pass
    return "full"


def free_memory() -> str:
    globals().pop("_kept", None)
    return "free"
