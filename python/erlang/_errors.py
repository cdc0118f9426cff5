"""What goes wrong between Python and Erlang."""

from __future__ import annotations

from typing import Any

__all__ = ("ChannelClosed", "ErlangError", "NotRegisteredError", "ProcessError")


class ErlangError(Exception):
    """The Erlang function raised, its process was killed, or Erlang stopped.

    ``error_class`` is ``"error"``, ``"exit"`` or ``"throw"``; ``reason`` the term as a Python object (a text where
    Python has none for it); ``stack`` the stack trace as Erlang prints it, empty where there is none.
    """

    def __init__(
        self, message: str = "", error_class: str = "error", reason: Any = None, stack: str = ""
    ) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.reason = reason
        self.stack = stack


class NotRegisteredError(ErlangError):
    """No Erlang function is registered under ``name``."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no Erlang function is registered as '{name}'", "error", "not_registered")
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        """Made again from the name, not from the message."""
        return type(self), (self.name,)


class ProcessError(Exception):
    """An Erlang process does not exist: the receiver of a message, or the one that ``self()`` asks for."""


class ChannelClosed(Exception):
    """The channel is closed, and what was sent before is received."""


ChannelClosed.__module__ = "erlang.channel"
for _class in (ErlangError, NotRegisteredError, ProcessError):
    _class.__module__ = "erlang"
del _class
