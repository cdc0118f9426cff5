"""What py_isolated_SUITE runs in the processes of its servers."""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import decimal
import enum
import os
import subprocess
import threading
import time
from typing import Any

import erlang

began = threading.Event()


class Number(enum.IntEnum):
    ONE = 1


class Text(str):
    pass


class Index:
    def __index__(self) -> int:
        return 7


class Float:
    def __float__(self) -> float:
        return 0.5


class Bad:
    def __index__(self) -> int:
        raise ValueError("no index")

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Outer:
    class Inner:
        @staticmethod
        def method(x: int) -> int:
            return x + 1


@dataclasses.dataclass
class Point:
    x: int
    y: Any = None


def echo(value: Any) -> Any:
    return value


def describe(value: Any) -> tuple[str, str]:
    return type(value).__name__, repr(value)


def fails(kind: str) -> None:
    if kind == "unprintable":
        raise Unprintable
    if kind == "surrogate":
        raise ValueError("\udc80")
    if kind == "exit":
        raise SystemExit(3)
    if kind == "group":
        raise ExceptionGroup("two", [ValueError(1), TypeError(2)])
    if kind == "decimal":
        raise decimal.InvalidOperation("x")
    raise KeyError(kind)


def crash() -> None:
    ctypes.string_at(0)


def hog_the_gil(seconds: int) -> None:
    """Inside C code that keeps the GIL."""
    ctypes.PyDLL(None).sleep(seconds)


def sleep(seconds: float) -> str:
    began.set()
    time.sleep(seconds)
    return "slept"


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def stubborn(seconds: float) -> str:
    """Goes on when it is interrupted."""
    end = time.monotonic() + seconds
    interrupted = 0
    while time.monotonic() < end:
        try:
            time.sleep(end - time.monotonic())
        except KeyboardInterrupt:
            interrupted += 1
            return f"interrupted {interrupted}"
    return "slept"


def allocate(size: int) -> int:
    return len(bytearray(size))


def call(name: str, *args: Any, **kwargs: Any) -> Any:
    return erlang.call(name, *args, **kwargs)


def call_error(name: str, *args: Any) -> tuple[Any, ...]:
    try:
        erlang.call(name, *args)
    except erlang.NotRegisteredError as error:
        return "not registered", error.name
    except erlang.ErlangError as error:
        return error.error_class, error.reason, len(error.stack) > 0, str(error)
    except Exception as error:
        return type(error).__name__, str(error)
    return ("none",)


def down(n: int) -> list[int]:
    """Erlang calls this again, in the same process."""
    return [] if n == 0 else [n, *erlang.call("isolated_down", n - 1)]


def call_in_threads(name: str, count: int) -> list[Any]:
    results: list[Any] = [None] * count

    def work(i: int) -> None:
        results[i] = erlang.call(name, i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


async def gather(name: str, count: int) -> list[Any]:
    return list(await asyncio.gather(*(erlang.async_call(name, i) for i in range(count))))


async def later(seconds: float, value: Any) -> Any:
    await asyncio.sleep(seconds)
    return value


async def cleans_up(path: str) -> None:
    try:
        await asyncio.sleep(60)
    finally:
        with open(path, "w") as file:
            file.write("cleaned up")


async def run_program() -> str:
    process = await asyncio.create_subprocess_exec("echo", "hello", stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return output.decode().strip()


def fork() -> tuple[int, str]:
    """A forked process that asks Erlang is refused, and disturbs nobody."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            erlang.call("isolated_echo", 1)
        except BaseException as error:
            os.write(writer, f"{type(error).__name__}: {error}".encode())
        os._exit(5)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def programs() -> str:
    return subprocess.run(["echo", "hello"], capture_output=True, text=True).stdout.strip()


def read_input() -> str:
    try:
        return input()
    except EOFError:
        return "end of file"


def write_garbage(data: bytes) -> None:
    import erlang._isolated

    os.write(erlang._isolated.link._sink, data)
    time.sleep(60)


def loop_name() -> str:
    async def name() -> str:
        return type(asyncio.get_running_loop()).__module__

    return asyncio.run(name())
