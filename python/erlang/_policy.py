"""The event loop policy that makes asyncio create Erlang event loops."""

from __future__ import annotations

import asyncio
import sys
import warnings
from asyncio import events

from ._loop import ErlangEventLoop
from ._native import require_vm

__all__ = ("EventLoopPolicy", "get_event_loop_policy", "install")

# 3.14 deprecates policies and hides the classes behind underscores.
if sys.version_info >= (3, 14):
    _BasePolicy = events._BaseDefaultEventLoopPolicy
else:
    _BasePolicy = events.BaseDefaultEventLoopPolicy


class EventLoopPolicy(_BasePolicy):
    """asyncio's default policy, with ErlangEventLoop as the class of new loops."""

    def _loop_factory(self) -> ErlangEventLoop:
        return ErlangEventLoop()


def get_event_loop_policy() -> EventLoopPolicy:
    """A new policy object, for ``asyncio.set_event_loop_policy()``."""
    return EventLoopPolicy()


def install() -> None:
    """Makes asyncio.run() and asyncio.new_event_loop() use ErlangEventLoop in this interpreter.

    Warns with DeprecationWarning on Python 3.12 and later, where erlang.run() or an asyncio.Runner
    with a loop factory is preferred. Raises RuntimeError outside the Erlang VM.
    """
    require_vm("erlang.install()")
    if sys.version_info >= (3, 12):
        warnings.warn(
            "erlang.install() is deprecated since Python 3.12: use erlang.run(main()) or "
            "asyncio.Runner(loop_factory=erlang.new_event_loop) instead",
            DeprecationWarning,
            stacklevel=2,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(EventLoopPolicy())
