"""What the Erlang VM provides to Python, or a clear error where there is no VM.

Inside the VM the built-in extension module ``_erlang`` exists and this module re-exports its types.
In a plain Python interpreter the package can still be imported, so that code which only mentions
the types (annotations, ``isinstance``) can be linted, documented and tested there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

__all__ = (
    "INSIDE_VM",
    "ISOLATED",
    "VM_FUNCTIONS",
    "Atom",
    "Binary",
    "Fun",
    "Pid",
    "Port",
    "Ref",
    "ScheduleMarker",
    "atom",
    "require_vm",
    "unavailable",
)

VM_FUNCTIONS = frozenset(
    {
        "async_call",
        "call",
        "consume_time_slice",
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
    }
)
"""Functions of the package that exist outside the VM only to raise RuntimeError with advice."""

ISOLATED = getattr(sys, "_erlang_python_isolated", False)
"""Whether this is a process that a ``py_isolated`` server started."""

_ADVICE = (
    "it needs the Erlang VM: start the application erlang_python and call the code with py:call or "
    "py_event_loop:run. Outside the VM, use asyncio.run() and asyncio's own event loop"
)


def outside_vm(what: str) -> RuntimeError:
    """The error for using ``what`` (a name of this package) in an interpreter without the VM."""
    return RuntimeError(f"{what} is not available in this Python interpreter: {_ADVICE}")


def unavailable(name: str) -> Callable[..., NoReturn]:
    """A function that stands for ``erlang.<name>`` outside the VM: it raises RuntimeError."""

    def function(*_args: object, **_kwargs: object) -> NoReturn:
        raise outside_vm(f"erlang.{name}()")

    function.__name__ = function.__qualname__ = name
    function.__module__ = "erlang"
    return function


if TYPE_CHECKING:

    class _Term:
        """A term that Python has no type for; compares and hashes as the term does in Erlang."""

    class Atom(_Term):
        """An Erlang atom."""

        def __init__(self, name: str) -> None: ...

    class Pid(_Term):
        """An Erlang process identifier."""

    class Ref(_Term):
        """An Erlang reference."""

    class Port(_Term):
        """An Erlang port identifier."""

    class Fun(_Term):
        """An Erlang fun."""

    class ScheduleMarker:
        """What schedule(), schedule_py() and schedule_inline() return."""

    class Binary:
        """Asks for an object that supports the buffer protocol to reach Erlang as a binary."""

        def __init__(self, data: Any) -> None: ...

    def atom(name: str) -> Atom:
        """The atom of that name."""
        ...

    INSIDE_VM: bool

else:
    try:
        import _erlang
    except ImportError:
        INSIDE_VM = False

        def _placeholder(name: str) -> type:
            def refuse(cls: type, *_args: object, **_kwargs: object) -> NoReturn:
                raise outside_vm(f"erlang.{name}")

            return type(name, (), {"__module__": "erlang", "__slots__": (), "__new__": refuse})

        if ISOLATED:
            from ._external import Atom, Binary, Fun, Pid, Port, Ref

            atom = Atom
        else:
            Atom = _placeholder("Atom")
            Pid = _placeholder("Pid")
            Ref = _placeholder("Ref")
            Port = _placeholder("Port")
            Fun = _placeholder("Fun")
            Binary = _placeholder("Binary")
            atom = unavailable("atom")
        ScheduleMarker = _placeholder("ScheduleMarker")

    else:
        INSIDE_VM = True
        Atom = _erlang.Atom
        Pid = _erlang.Pid
        Ref = _erlang.Ref
        Port = _erlang.Port
        Fun = _erlang.Fun
        Binary = _erlang.Binary
        ScheduleMarker = _erlang.ScheduleMarker
        atom = getattr(_erlang, "atom", Atom)


def require_vm(what: str) -> None:
    """Raises RuntimeError, naming ``what``, unless the code runs inside the Erlang VM."""
    if not INSIDE_VM:
        raise outside_vm(what)
