"""A websocket client for a plain Python outside the VM: echoes, a big message, a close.

``websocket_peer.py echo|chat <uri>``
"""

from __future__ import annotations

import sys

from websockets.sync.client import connect


def echo(uri: str) -> None:
    """Talk with a server that sends back what it gets and closes on the text "close"."""
    with connect(uri, max_size=None) as connection:
        for number in range(200):
            connection.send(f"message {number}")
            assert connection.recv(timeout=10) == f"message {number}"
        big = bytes(range(256)) * 4096
        connection.send(big)
        assert connection.recv(timeout=10) == big
        connection.ping().wait(10)
        connection.send("close")
        try:
            connection.recv(timeout=10)
        except Exception as error:
            assert connection.protocol.close_code == 1000, error
            print("closed", connection.protocol.close_reason)


def chat(uri: str) -> None:
    """Two members of a room hear each other."""
    with connect(uri) as first, connect(uri) as second:
        assert (first.recv(timeout=10), second.recv(timeout=10)) == ("1 here", "2 here")
        second.send("from outside")
        print(first.recv(timeout=10), "|", second.recv(timeout=10))


if __name__ == "__main__":
    {"echo": echo, "chat": chat}[sys.argv[1]](sys.argv[2])
