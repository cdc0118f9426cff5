"""What py_isolated_hostile_SUITE runs: code that makes it hard to answer."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import sys
import threading
import time
import zlib
from typing import Any

import erlang

LIBC = ctypes.PyDLL(None)


def send_raw(data: bytes) -> None:
    """Bytes on the pipe that are no frame of ours."""
    import erlang._isolated

    os.write(erlang._isolated.link._sink, data)


def frame(kind: int, number: int, body: bytes) -> bytes:
    return (len(body) + 9).to_bytes(4, "big") + bytes((kind,)) + number.to_bytes(8, "big") + body


def fork_in_c(seconds: int) -> None:
    """A process that has this one's end of the pipe, and that Python does not know of."""
    if LIBC.fork() == 0:
        LIBC.sleep(seconds)
        LIBC._exit(0)


def fork_and_end(status: int) -> None:
    fork_in_c(30)
    os._exit(status)


def close_all(first: int, last: int) -> str:
    os.closerange(first, last)
    files = [open(os.devnull, "wb") for _ in range(20)]
    return f"{len(files)} files"


class OddMeta(type):
    def __eq__(cls, other: object) -> bool:
        raise RuntimeError("no comparison")

    __hash__ = None  # type: ignore[assignment]


class NamelessMeta(type):
    @property
    def __module__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no module")


class OddText(str):
    def encode(self, *_args: object) -> bytes:
        raise RuntimeError("no bytes")

    def __getitem__(self, _key: object) -> str:
        raise RuntimeError("no items")


class Odd(Exception, metaclass=OddMeta):
    pass


class Nameless(Exception, metaclass=NamelessMeta):
    pass


class OddlyTold(Exception):
    def __str__(self) -> str:
        return OddText("odd")


class Untold(Exception):
    def __str__(self) -> str:
        raise SystemExit(7)


class Large(Exception):
    def __str__(self) -> str:
        return "x" * 2_000_000


def fail(kind: str) -> None:
    raise globals()[kind]("because")


async def fail_async(kind: str) -> None:
    fail(kind)


async def exit_in_a_callback() -> str:
    asyncio.get_running_loop().call_soon(sys.exit)
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.05)
    return "still here"


async def close_the_loop() -> None:
    loop = asyncio.get_running_loop()
    loop.run_forever = loop.close  # type: ignore[method-assign]
    loop.stop()
    await asyncio.sleep(60)


async def bad_factory() -> None:
    def factory(_loop: Any, _coroutine: Any, **_kwargs: Any) -> Any:
        raise RuntimeError("no tasks")

    asyncio.get_running_loop().set_task_factory(factory)


def call(name: str, *args: Any) -> Any:
    return erlang.call(name, *args)


def send_beside_signals(to: Any, size: int, how: str) -> str:
    """A signal handler raises, or asks Erlang itself, while a message is on its way."""
    if how == "raises":

        def handler(_signal: int, _frame: object) -> None:
            raise RuntimeError("alarm")
    else:

        def handler(_signal: int, _frame: object) -> None:
            erlang.send(to, "from the handler")

    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    count = 0
    try:
        for _ in range(20):
            try:
                erlang.send(to, b"x" * size)
            except RuntimeError:
                count += 1
    finally:
        for _ in range(100):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0)
                break
            except RuntimeError:
                continue
        signal.signal(signal.SIGALRM, previous)
    return "done"


seen: list[str] = []


class Dies:
    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        try:
            erlang.call("isolated_echo", 1)
            seen.append("answered")
        except RuntimeError:
            seen.append("refused")


def litter(count: int) -> None:
    gc.disable()
    for _ in range(count):
        Dies()
    gc.enable()


def fork_in_a_task() -> int:
    return os.fork()


class SlowNumber:
    def __index__(self) -> int:
        time.sleep(1)
        return 7


def slow_number() -> SlowNumber:
    return SlowNumber()


def spin_threads(count: int, seconds: float) -> None:
    def spin() -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass

    for _ in range(count):
        threading.Thread(target=spin, daemon=True).start()


def send_for_ever(to: Any, size: int) -> None:
    while True:
        erlang.send(to, b"x" * size)


def bomb(kind: int) -> None:
    body = zlib.compress(b"l\x02\x00\x00\x00" + b"j" * 0x2000000 + b"j")
    send_raw(frame(kind, 1, b"\x83P" + (0x2000006).to_bytes(4, "big") + body))
    time.sleep(0.5)


def flood(kind: int, body: bytes, seconds: float) -> None:
    data = frame(kind, 99, body) * 2000
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        send_raw(data)


async def call_often(name: str, count: int) -> dict[str, int]:
    results = await asyncio.gather(
        *(erlang.async_call(name) for _ in range(count)), return_exceptions=True
    )
    return {
        "busy": sum("too many" in str(result) for result in results),
        "answered": sum(not isinstance(result, Exception) for result in results),
    }


def ask_at_exit() -> None:
    import atexit

    def ask() -> None:
        try:
            erlang.call("isolated_echo", 1)
        except erlang.ErlangError:
            pass

    atexit.register(ask)
