"""Python inside the Erlang VM: an asyncio event loop on the BEAM, and access to Erlang.

``erlang.run(main())`` runs a coroutine on an ErlangEventLoop. The package can be imported outside
the VM as well; what needs the VM then raises RuntimeError with advice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._errors import ErlangError, NotRegisteredError, ProcessError
from ._loop import ErlangEventLoop
from ._mode import ExecutionMode, detect_mode
from ._native import (
    INSIDE_VM,
    ISOLATED,
    VM_FUNCTIONS,
    Atom,
    Binary,
    Fun,
    Pid,
    Port,
    Ref,
    ScheduleMarker,
    atom,
    unavailable,
)
from ._policy import EventLoopPolicy, get_event_loop_policy, install
from ._run import new_event_loop, run

__all__ = (
    "Atom",
    "Binary",
    "ErlangError",
    "ErlangEventLoop",
    "EventLoopPolicy",
    "ExecutionMode",
    "Fun",
    "NotRegisteredError",
    "Pid",
    "Port",
    "ProcessError",
    "Ref",
    "ScheduleMarker",
    "async_call",
    "atom",
    "call",
    "consume_time_slice",
    "detect_mode",
    "get_event_loop_policy",
    "install",
    "new_event_loop",
    "run",
    "schedule",
    "schedule_inline",
    "schedule_py",
    "self",
    "send",
    "setup_logging",
    "setup_output",
    "sleep",
    "spawn_task",
    "whereis",
)


if TYPE_CHECKING or INSIDE_VM:
    from ._callbacks import (
        async_call,
        call,
        consume_time_slice,
        registered_function,
        schedule,
        schedule_inline,
        schedule_py,
        self,
        send,
        sleep,
        spawn_task,
        whereis,
    )
    from ._logging import setup_logging, setup_output
elif ISOLATED:
    from ._isolated_calls import (
        async_call,
        call,
        registered_function,
        self,
        send,
        sleep,
        spawn_task,
        whereis,
    )


def __getattr__(name: str) -> Any:
    if name in VM_FUNCTIONS and not INSIDE_VM:
        return unavailable(name)
    if INSIDE_VM or ISOLATED:
        return registered_function(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
