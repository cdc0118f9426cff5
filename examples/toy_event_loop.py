"""How an event loop works, in one page: tasks are generators that say what they wait for.

It waits in select() itself, so it keeps its thread busy waiting: what asyncio does properly, and
ErlangEventLoop with the waiting left to the BEAM.
"""

import heapq
import itertools
import select
import socket
import time
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass


@dataclass
class Readable:
    """Yielded by a task that goes on when the socket has something to read."""

    resource: socket.socket


@dataclass
class Sleep:
    """Yielded by a task that goes on after so many seconds."""

    seconds: float


Task = Generator[Readable | Sleep, None, None]


def event_loop(tasks: list[Task]) -> None:
    """Run the tasks until all are complete."""
    ready_tasks = deque(tasks)  # Tasks ready to run
    io_waiting: dict[socket.socket, Task] = {}  # Tasks waiting for I/O
    timers: list[tuple[float, int, Task]] = []  # Tasks waiting for time, the earliest first
    order = itertools.count()  # Equal times: first come, first served

    while ready_tasks or io_waiting or timers:
        # Run all ready tasks until they yield
        while ready_tasks:
            task = ready_tasks.popleft()
            try:
                result = next(task)
            except StopIteration:
                continue
            if isinstance(result, Readable):
                io_waiting[result.resource] = task
            else:
                heapq.heappush(timers, (time.monotonic() + result.seconds, next(order), task))

        # Find when the next timer will expire
        timeout = max(0.0, timers[0][0] - time.monotonic()) if timers else None
        if timeout is None and not io_waiting:
            break

        # Wait for I/O or timer (whichever comes first)
        ready_resources, _, _ = select.select(list(io_waiting), [], [], timeout)

        # Move tasks with ready I/O to ready queue
        for resource in ready_resources:
            ready_tasks.append(io_waiting.pop(resource))

        # Move tasks with expired timers to ready queue
        while timers and timers[0][0] <= time.monotonic():
            ready_tasks.append(heapq.heappop(timers)[2])


def sender(sock: socket.socket) -> Task:
    """Sends three numbered messages, then says that it is done."""
    for number in range(1, 4):
        yield Sleep(0.1)
        sock.send(f"message {number}".encode())
    sock.close()


def receiver(sock: socket.socket) -> Task:
    """Prints what arrives until the other side closes."""
    while True:
        yield Readable(sock)
        data = sock.recv(100)
        if not data:
            break
        print(f"received {data.decode()}")
    sock.close()
    print("the sender is done")


def clock() -> Task:
    """Ticks meanwhile."""
    for tick in range(1, 3):
        yield Sleep(0.15)
        print(f"tick {tick}")


if __name__ == "__main__":
    here, there = socket.socketpair()
    event_loop([sender(here), receiver(there), clock()])
