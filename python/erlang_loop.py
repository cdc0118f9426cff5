"""The former name of what is now in the package ``erlang``."""

from __future__ import annotations

from erlang import ErlangEventLoop, EventLoopPolicy, get_event_loop_policy, new_event_loop, run

ErlangEventLoopPolicy = EventLoopPolicy

__all__ = (
    "ErlangEventLoop",
    "ErlangEventLoopPolicy",
    "EventLoopPolicy",
    "get_event_loop_policy",
    "new_event_loop",
    "run",
)
