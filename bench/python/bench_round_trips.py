"""The control of "call, 16 threads": threads of a plain Python, each of which sends a byte to another process and waits.

    bench_round_trips.py THREADS EACH

Prints round trips per second of all threads together. Nothing here is of this project: it is what handing the GIL from
thread to thread and two switches of threads for each round trip cost where it runs.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import time


def _echo(descriptors: list[int]) -> None:
    """The other process: sends every byte back until all descriptors are closed."""
    poll = select.epoll()
    for descriptor in descriptors:
        poll.register(descriptor, select.EPOLLIN)
    left = len(descriptors)
    while left:
        for descriptor, _ in poll.poll():
            data = os.read(descriptor, 1)
            if data:
                os.write(descriptor, data)
            else:
                poll.unregister(descriptor)
                left -= 1


def _rate(number: int, each: int) -> float:
    pairs = [socket.socketpair() for _ in range(number)]
    child = os.fork()
    if child == 0:
        for near, _ in pairs:
            near.close()
        _echo([far.fileno() for _, far in pairs])
        os._exit(0)
    for _, far in pairs:
        far.close()
    ready = threading.Barrier(number + 1)

    def work(near: socket.socket) -> None:
        near.send(b"x")
        near.recv(1)
        ready.wait()
        for _ in range(each):
            near.send(b"x")
            near.recv(1)

    workers = [threading.Thread(target=work, args=(near,)) for near, _ in pairs]
    for worker in workers:
        worker.start()
    ready.wait()
    begin = time.perf_counter()
    for worker in workers:
        worker.join()
    took = time.perf_counter() - begin
    for near, _ in pairs:
        near.close()
    _, status = os.waitpid(child, 0)
    assert status == 0
    return number * each / took


if __name__ == "__main__":
    print(_rate(int(sys.argv[1]), int(sys.argv[2])))
