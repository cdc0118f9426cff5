"""The fixture that the other tests rely on notices what it promises to notice."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading

import pytest
from loop_case import LoopCase


def other(case: LoopCase) -> LoopCase:
    """A case of the same kind whose end this test can look at."""
    return LoopCase(case.kind, case.debug)


def test_runs_on_the_kind_of_loop_that_it_says(case: LoopCase) -> None:
    async def main() -> tuple[str, bool]:
        loop = asyncio.get_running_loop()
        return type(loop).__name__, loop.get_debug()

    expected = {"stock": "_UnixSelectorEventLoop", "erlang": "ErlangEventLoop"}
    assert case.run(main()) == (expected[case.kind], case.debug)


def test_notices_calls_of_the_exception_handler(case: LoopCase) -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0.001)

    with pytest.raises(AssertionError, match="unexpected calls of the exception handler"):
        with other(case) as inner:
            inner.run(main())


def test_notices_exceptions_that_nobody_retrieves(case: LoopCase) -> None:
    async def main() -> None:
        asyncio.get_running_loop().create_future().set_exception(LookupError("nobody asks"))

    with pytest.raises(AssertionError, match="never retrieved"):
        with other(case) as inner:
            inner.run(main())


def test_notices_resource_warnings(case: LoopCase) -> None:
    with pytest.raises(AssertionError, match=r"unclosed <socket\.socket"):
        with other(case):
            socket.socket()
            gc.collect()


def test_notices_an_unclosed_transport(case: LoopCase) -> None:
    left, right = socket.socketpair()

    async def main() -> None:
        await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=left)

    with pytest.raises(AssertionError, match="unclosed transport"):
        with other(case) as inner:
            inner.run(main())
    left.close()
    right.close()


def test_notices_open_descriptors(case: LoopCase) -> None:
    read_end = write_end = -1
    with pytest.raises(AssertionError, match="open file descriptors"):
        with other(case):
            read_end, write_end = os.pipe()
    os.close(read_end)
    os.close(write_end)


def test_notices_threads(case: LoopCase) -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    before = threading.active_count()
    thread.start()
    assert threading.active_count() > before
    release.set()
    thread.join()
