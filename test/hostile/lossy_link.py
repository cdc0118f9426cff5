"""A network with loss, delay, duplicates and disorder, for a VM in a namespace of its own.

    lossy_link.py LOSS DUPLICATES SHORTEST LONGEST

Two network namespaces with a TUN device each, and this program between them: of the packets that go either way it
drops the part LOSS, sends the part DUPLICATES twice, and holds each for SHORTEST to LONGEST seconds, so that they
overtake each other. The kernel's own sch_netem, which few machines have, is not needed; root is.

In the far namespace (10.77.0.2) it answers on port 7 of TCP and UDP with what it gets, and on port 9 of TCP it never
reads. It prints `ready NAMESPACE`, the path of the near namespace (10.77.0.1), and runs until it is ended.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random
import select
import socket
import struct
import subprocess
import sys
import threading
import time

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_TUN_WITHOUT_HEADER = 0x0001 | 0x1000

_libc = ctypes.CDLL(None, use_errno=True)


def _new_namespace() -> str:
    """Puts the calling thread into a network namespace of its own."""
    if _libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    return f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"


def _tun(name: str, address: str) -> int:
    """The descriptor of a TUN device in the calling thread's namespace."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", name.encode(), _TUN_WITHOUT_HEADER))
    subprocess.run(["ip", "address", "add", f"{address}/24", "dev", name], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    return device


def _echo(connection: socket.socket) -> None:
    with connection:
        try:
            while data := connection.recv(65536):
                connection.sendall(data)
        except OSError:
            pass


def _accept(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _accept_only(listener: socket.socket) -> None:
    kept = []
    while True:
        kept.append(listener.accept())


def _echo_datagrams(receiver: socket.socket) -> None:
    while True:
        data, address = receiver.recvfrom(65536)
        receiver.sendto(data, address)


def _far(made: threading.Event, devices: dict[str, int]) -> None:
    _new_namespace()
    devices["far"] = _tun("far0", "10.77.0.2")
    listener = socket.create_server(("10.77.0.2", 7), backlog=256)
    silent = socket.create_server(("10.77.0.2", 9))
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("10.77.0.2", 7))
    for work, argument in (
        (_accept, listener),
        (_accept_only, silent),
        (_echo_datagrams, receiver),
    ):
        threading.Thread(target=work, args=(argument,), daemon=True).start()
    made.set()
    # The namespace lives as long as a thread is in it.
    threading.Event().wait()


def _near(made: threading.Event, devices: dict[str, int], namespace: list[str]) -> None:
    namespace.append(_new_namespace())
    devices["near"] = _tun("near0", "10.77.0.1")
    made.set()
    threading.Event().wait()


def _relay(
    near: int, far: int, loss: float, duplicates: float, shortest: float, longest: float
) -> None:
    waiting: list[tuple[float, int, int, bytes]] = []
    number = 0
    other = {near: far, far: near}
    while True:
        timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        readable, _, _ = select.select([near, far], [], [], timeout)
        for device in readable:
            packet = os.read(device, 65536)
            if random.random() < loss:
                continue
            for _ in range(2 if random.random() < duplicates else 1):
                number += 1
                due = time.monotonic() + random.uniform(shortest, longest)
                heapq.heappush(waiting, (due, number, other[device], packet))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, device, packet = heapq.heappop(waiting)
            try:
                os.write(device, packet)
            except OSError:
                pass


def main() -> None:
    loss, duplicates, shortest, longest = map(float, sys.argv[1:])
    devices: dict[str, int] = {}
    namespace: list[str] = []
    for target, arguments in ((_far, (devices,)), (_near, (devices, namespace))):
        made = threading.Event()
        threading.Thread(target=target, args=(made, *arguments), daemon=True).start()
        if not made.wait(20):
            sys.exit("no namespace")
    print("ready", namespace[0], flush=True)
    _relay(devices["near"], devices["far"], loss, duplicates, shortest, longest)


if __name__ == "__main__":
    main()
