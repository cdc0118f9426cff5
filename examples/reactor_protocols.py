"""The protocols of reactor_echo.erl."""

from __future__ import annotations

from erlang import reactor


class Echo(reactor.Protocol):
    """Sends back whatever it receives."""

    def data_received(self, data: bytes) -> str:
        """Called with what the client sent."""
        self.write_buffer.extend(data)
        return "write_pending"

    def connection_lost(self) -> None:
        """Called last."""
        print(f"a client at {self.client_info['addr']} is gone", flush=True)
