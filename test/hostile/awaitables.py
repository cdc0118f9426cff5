"""Futures, awaitables, task factories and executors that lie; py_hostile_loop_SUITE says what has to come of each."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import threading
import types
from collections.abc import Callable, Generator
from typing import Any

# ---- futures that a plain function returns


class Foreign:
    """What asyncio takes for a future without being one."""

    _asyncio_future_blocking = False

    def __init__(self) -> None:
        self.callbacks: list[Any] = []

    def __await__(self) -> Generator[Any, None, Any]:
        yield self

    def get_loop(self) -> Any:
        return asyncio.get_running_loop()

    def done(self) -> Any:
        return False

    def result(self) -> Any:
        return "early"

    def cancel(self, msg: Any = None) -> Any:
        return True

    def add_done_callback(self, callback: Any, *, context: Any = None) -> None:
        self.callbacks.append(callback)


class CallsBackAtOnce(Foreign):
    def add_done_callback(self, callback: Any, *, context: Any = None) -> None:
        for _ in range(3):
            callback(self)


class CallsBackAndRaises(Foreign):
    def add_done_callback(self, callback: Any, *, context: Any = None) -> None:
        callback(self)
        raise ValueError("no callbacks")


class TakesNoCallbacks(Foreign):
    def add_done_callback(self, callback: Any, *, context: Any = None) -> None:
        raise ValueError("no callbacks")


class ForgetsCallbacks(Foreign):
    def add_done_callback(self, callback: Any, *, context: Any = None) -> None:
        pass


class CallsBackElsewhere(Foreign):
    """From a thread, with what is no future."""

    def add_done_callback(self, callback: Any, *, context: Any = None) -> None:
        def work() -> None:
            for argument in (None, self, 42):
                callback(argument)

        threading.Thread(target=work).start()


class CallsBackWrongly(Foreign):
    def add_done_callback(self, callback: Any, *, context: Any = None) -> None:
        for arguments in ((), (self, self)):
            try:
                callback(*arguments)
            except TypeError:
                pass
        callback(self)


class DoneRaises(Foreign):
    def done(self) -> Any:
        raise ValueError("not telling")


class DoneIsNoBool(Foreign):
    def done(self) -> Any:
        class Undecided:
            def __bool__(self) -> bool:
                raise ValueError("neither")

        return Undecided()


class DoneExits(Foreign):
    def done(self) -> Any:
        sys.exit(3)


class ResultExits(CallsBackAtOnce):
    def result(self) -> Any:
        sys.exit(4)


class ResultIsItself(CallsBackAtOnce):
    def result(self) -> Any:
        return self


class LyingFuture(asyncio.Future):  # type: ignore[type-arg]
    """A subclass whose methods say something else than its base."""

    def done(self) -> bool:
        return True

    def result(self) -> Any:
        raise KeyboardInterrupt


class FailingFuture(asyncio.Future):  # type: ignore[type-arg]
    def add_done_callback(self, fn: Any, *, context: Any = None) -> None:
        super().add_done_callback(fn, context=context)
        fn(self)
        raise RuntimeError("after all")


FUTURES: dict[str, Callable[[], Any]] = {
    "calls_back_at_once": CallsBackAtOnce,
    "calls_back_and_raises": CallsBackAndRaises,
    "takes_no_callbacks": TakesNoCallbacks,
    "forgets_callbacks": ForgetsCallbacks,
    "calls_back_elsewhere": CallsBackElsewhere,
    "calls_back_wrongly": CallsBackWrongly,
    "done_raises": DoneRaises,
    "done_is_no_bool": DoneIsNoBool,
    "done_exits": DoneExits,
    "result_exits": ResultExits,
    "result_is_itself": ResultIsItself,
    "lying_future": lambda: LyingFuture(loop=asyncio.get_running_loop()),
    "failing_future": lambda: FailingFuture(loop=asyncio.get_running_loop()),
}


def future(name: str) -> Any:
    return FUTURES[name]()


# ---- what a coroutine awaits


class Awaits:
    """An awaitable whose __await__ gives anything."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def __await__(self) -> Any:
        return self.make()


def raises() -> Any:
    raise ValueError("in __await__")


def yields(*values: Any) -> Generator[Any, None, str]:
    yield from values
    return "done"


@types.coroutine
def bare(*values: Any) -> Generator[Any, None, None]:
    yield from values


class EndlessIterator:
    """Ignores that it is closed or cancelled a thousand times."""

    def __init__(self) -> None:
        self.refusals = 0

    def __iter__(self) -> EndlessIterator:
        return self

    def __next__(self) -> None:
        self.refusals += 1
        if self.refusals > 1000:
            raise StopIteration("tired")

    def throw(self, *args: Any) -> None:
        return self.__next__()

    send = throw


async def itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    await task


def other_loops_future() -> Any:
    loop = asyncio.SelectorEventLoop()
    try:
        return loop.create_future()
    finally:
        loop.close()


AWAITABLES: dict[str, Callable[[], Any]] = {
    "await_raises": lambda: Awaits(raises),
    "await_gives_none": lambda: Awaits(lambda: None),
    "await_gives_list": lambda: Awaits(lambda: [1, 2]),
    "await_gives_coroutine": lambda: Awaits(lambda: asyncio.sleep(0)),
    "yields_number": lambda: Awaits(lambda: yields(42)),
    "yields_objects": lambda: Awaits(lambda: yields(object(), None)),
    "yields_none": lambda: Awaits(lambda: yields(*[None] * 1000)),
    "yields_foreign": lambda: Awaits(lambda: yields(DoneRaises())),
    "yields_twice": lambda: Awaits(lambda: yields(CallsBackAtOnce(), CallsBackAndRaises())),
    "bare_number": lambda: bare(42),
    "endless": lambda: Awaits(EndlessIterator),
    "itself": itself,
    "other_loop": lambda: Awaits(lambda: yields(other_loops_future())),
}


def awaitable(name: str) -> Any:
    """The awaitable itself, which a task is made around."""
    return AWAITABLES[name]()


async def waits_for(name: str) -> Any:
    await asyncio.sleep(0)
    return await AWAITABLES[name]()


# ---- task factories


def exits(*args: Any, **kwargs: Any) -> Any:
    sys.exit(5)


def refuses(loop: Any, coro: Any, **kwargs: Any) -> Any:
    coro.close()
    raise ValueError("no tasks today")


def closes_selector(loop: Any, coro: Any, **kwargs: Any) -> Any:
    loop._selector.close()
    return asyncio.Task(coro, loop=loop)


FACTORIES: dict[str, Any] = {
    "none": lambda loop, coro, **kwargs: coro.close(),
    "number": lambda loop, coro, **kwargs: 42,
    "coroutine": lambda loop, coro, **kwargs: coro,
    "foreign": lambda loop, coro, **kwargs: CallsBackAndRaises(),
    "refuses": refuses,
    "exits": exits,
    "closes_selector": closes_selector,
    "not_callable": 42,
}


def set_factory(name: str) -> str:
    """Gives the running loop a task factory."""
    loop: Any = asyncio.get_running_loop()
    loop._task_factory = FACTORIES[name]
    return name


# ---- executors


class Garbage(concurrent.futures.Executor):
    def submit(self, *args: Any, **kwargs: Any) -> Any:
        return 42


class Refusing(concurrent.futures.Executor):
    def submit(self, *args: Any, **kwargs: Any) -> Any:
        raise OSError("no workers")


class Twice(concurrent.futures.Executor):
    """Sets the result from another thread, twice, and cancels it as well."""

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        future: concurrent.futures.Future[int] = concurrent.futures.Future()

        def work() -> None:
            for action in (future.set_result, future.set_result):
                try:
                    action(1)
                except concurrent.futures.InvalidStateError:
                    pass
            future.cancel()

        threading.Thread(target=work).start()
        return future


EXECUTORS: dict[str, Callable[[], Any]] = {
    "garbage": Garbage,
    "refusing": Refusing,
    "twice": Twice,
    "object": object,
}


async def in_executor(name: str) -> Any:
    return await asyncio.get_running_loop().run_in_executor(EXECUTORS[name](), int)


def names(kind: str) -> list[str]:
    return list(globals()[kind])
