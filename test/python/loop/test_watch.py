"""add_reader and add_writer: what the selector under the loop must get right."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loop_case import LoopCase


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected non-blocking sockets."""
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        yield left, right


Pair = tuple[socket.socket, socket.socket]


def test_called_until_the_data_is_read(case: LoopCase, pair: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = pair
        seen: list[bytes] = []
        loop.add_reader(left, lambda: seen.append(left.recv(2)))
        right.send(b"abcdef")
        while len(seen) < 3:
            await asyncio.sleep(0)
        assert seen == [b"ab", b"cd", b"ef"]
        await asyncio.sleep(0.02)
        assert len(seen) == 3
        assert loop.remove_reader(left) is True
        assert loop.remove_reader(left) is False
        right.send(b"x")
        await asyncio.sleep(0.02)
        assert len(seen) == 3

    case.run(main())


def test_second_callback_replaces_the_first(case: LoopCase, pair: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = pair
        seen: list[str] = []
        loop.add_reader(left, seen.append, "first")

        def second(text: str) -> None:
            seen.append(text)
            left.recv(10)

        loop.add_reader(left.fileno(), second, "second")
        right.send(b"x")
        await asyncio.sleep(0.02)
        assert seen == ["second"]
        loop.remove_reader(left)

    case.run(main())


def test_reader_and_writer_of_one_descriptor(case: LoopCase, pair: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = pair
        seen: list[str] = []

        def writable() -> None:
            seen.append("write")
            loop.remove_writer(left)

        def readable() -> None:
            seen.append("read")
            left.recv(10)

        loop.add_reader(left, readable)
        loop.add_writer(left, writable)
        await asyncio.sleep(0.02)
        assert seen == ["write"]
        right.send(b"x")
        await asyncio.sleep(0.02)
        assert seen == ["write", "read"]
        loop.add_writer(left, writable)
        assert loop.remove_reader(left)
        right.send(b"x")
        await asyncio.sleep(0.02)
        assert seen == ["write", "read", "write"]

    case.run(main())


def test_removal_by_another_callback_of_the_same_turn(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        pairs = [socket.socketpair() for _ in range(10)]
        seen: list[int] = []

        def readable(number: int) -> None:
            seen.append(number)
            for left, _right in pairs:
                loop.remove_reader(left)

        for number, (left, right) in enumerate(pairs):
            loop.add_reader(left, readable, number)
            right.send(b"x")
        await asyncio.sleep(0.05)
        assert len(seen) == 1
        for left, right in pairs:
            left.close()
            right.close()

    case.run(main())


def test_descriptor_number_used_again(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        seen: list[str] = []
        for turn in range(20):
            left, right = socket.socketpair()
            number = left.fileno()
            name = f"turn {turn}"

            def readable(sock: socket.socket = left, name: str = name) -> None:
                sock.recv(10)
                seen.append(name)

            loop.add_reader(left, readable)
            right.send(b"x")
            await asyncio.sleep(0.002)
            assert loop.remove_reader(left)
            left.close()
            right.close()
            with socket.socket() as again:
                assert again.fileno() == number
        assert seen == [f"turn {turn}" for turn in range(20)]

    case.run(main())


def test_descriptor_closed_behind_the_loop_s_back(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        seen: list[str] = []
        left, right = socket.socketpair()
        number = left.fileno()
        loop.add_reader(number, seen.append, "old")
        left.close()
        right.close()
        await asyncio.sleep(0.01)

        # The system forgot the old descriptor; the loop has not heard of it. Watching for what it
        # believes to be watched already says nothing to the system, so remove it first.
        left, right = socket.socketpair()
        assert left.fileno() == number
        assert loop.remove_reader(number)
        loop.add_reader(number, lambda: seen.append(left.recv(10).decode()))
        right.send(b"new")
        await asyncio.sleep(0.02)
        assert seen == ["new"]
        loop.remove_reader(number)

        # Asking for another event on a descriptor that is gone fails, and leaves no trace.
        loop.add_reader(number, seen.append, "old")
        left.close()
        right.close()
        with pytest.raises(OSError):
            loop.add_writer(number, seen.append, "old")
        loop.remove_reader(number)
        left, right = socket.socketpair()
        assert left.fileno() == number
        loop.add_writer(number, seen.append, "written")
        await asyncio.sleep(0.01)
        assert "written" in seen and "old" not in seen
        loop.remove_writer(number)
        left.close()
        right.close()

    case.run(main())


def test_closed_descriptor_is_refused(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        number = left.fileno()
        left.close()
        right.close()
        with pytest.raises(OSError):
            loop.add_reader(number, print)
        with pytest.raises(ValueError):
            loop.add_reader(left, print)
        with pytest.raises(ValueError):
            loop.add_reader("no file", print)
        assert loop.remove_reader(number) is False

    case.run(main())


def test_regular_file_is_refused(case: LoopCase, tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with (tmp_path / "file").open("wb") as file:
            for _ in range(2):
                with pytest.raises(PermissionError):
                    loop.add_reader(file, print)
                with pytest.raises(PermissionError):
                    loop.add_writer(file, print)
            assert loop.remove_reader(file) is False

    case.run(main())


def test_hang_up_calls_reader_and_writer(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        read_end, write_end = os.pipe()
        called = asyncio.Event()
        os.set_blocking(write_end, False)
        while True:
            try:
                os.write(write_end, bytes(65536))
            except BlockingIOError:
                break
        # The pipe is full: only the error that its closed other end is can make it ready.
        loop.add_writer(write_end, called.set)
        await asyncio.sleep(0.01)
        assert not called.is_set()
        os.close(read_end)
        await asyncio.wait_for(called.wait(), 5)
        loop.remove_writer(write_end)
        os.close(write_end)

        left, right = socket.socketpair()
        called.clear()
        loop.add_reader(left, called.set)
        right.close()
        await asyncio.wait_for(called.wait(), 5)
        loop.remove_reader(left)
        left.close()

    case.run(main())


def test_unread_data_does_not_starve_timers(case: LoopCase, pair: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = pair
        calls = 0

        def readable() -> None:
            nonlocal calls
            calls += 1

        right.send(b"x")
        loop.add_reader(left, readable)
        for _ in range(5):
            await asyncio.wait_for(asyncio.sleep(0.005), 5)
        assert calls > 5
        loop.remove_reader(left)

    case.run(main())


def test_descriptor_of_a_transport_is_refused(case: LoopCase, pair: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, _right = pair
        number = left.fileno()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=left)
        calls: list[Any] = [
            lambda: loop.add_reader(number, print),
            lambda: loop.add_writer(number, print),
            lambda: loop.remove_reader(number),
            lambda: loop.remove_writer(number),
        ]
        for call in calls:
            with pytest.raises(RuntimeError, match="is used by transport"):
                call()
        transport.close()
        await asyncio.sleep(0)

    case.run(main())


def test_many_descriptors_ready_at_once(case: LoopCase) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        pairs = [socket.socketpair() for _ in range(300)]
        seen: set[int] = set()

        def readable(number: int) -> None:
            pairs[number][0].recv(10)
            seen.add(number)

        for number, (left, _right) in enumerate(pairs):
            left.setblocking(False)
            loop.add_reader(left, readable, number)
        for _ in range(10):
            seen.clear()
            for _left, right in pairs:
                right.send(b"x")
            while len(seen) < len(pairs):
                await asyncio.sleep(0.001)
        for left, right in pairs:
            loop.remove_reader(left)
            left.close()
            right.close()

    case.run(main())
