"""Runs a Python program inside the Erlang VM as ``python3 program.py`` would run it."""

from __future__ import annotations

import asyncio
import os
import runpy
import sys
import traceback
from typing import Any

import erlang


def _show_loops() -> None:
    """Print the class of each loop that runs, from now on, to standard error."""
    run_forever = asyncio.BaseEventLoop.run_forever

    def shown(loop: Any) -> None:
        cls = type(loop)
        print(f"running on {cls.__module__}.{cls.__qualname__}", file=sys.stderr, flush=True)
        run_forever(loop)

    asyncio.BaseEventLoop.run_forever = shown


def run(arguments: list[str], *, show_loops: bool = False, keep_policy: bool = False) -> int:
    """Run the program ``arguments[0]`` as ``__main__``; returns its exit status.

    Unless ``keep_policy``, asyncio.run() and asyncio.new_event_loop() make an ErlangEventLoop.
    """
    path = os.path.abspath(arguments[0])
    sys.argv[:] = arguments
    sys.path.insert(0, os.path.dirname(path))
    # Standard output is often a pipe here, and somebody reads at the other end.
    sys.stdout.reconfigure(line_buffering=True)
    if show_loops:
        _show_loops()
    if not keep_policy:
        asyncio.set_event_loop_policy(erlang.get_event_loop_policy())
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as exit_request:
        if isinstance(exit_request.code, str):
            print(exit_request.code, file=sys.stderr)
            return 1
        return exit_request.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0
