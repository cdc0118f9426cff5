#!/usr/bin/env python3
"""How fast the event loops are: ErlangEventLoop, asyncio's own, and uvloop where it is installed.

    python3 examples/benchmark_event_loop.py [--seconds 1.0]

Run from a plain shell it starts an Erlang VM with the application, builds that first when it has to, and
runs itself in there, so that all loops are measured in the same process and thread. Figures for
comparison with care, and with clients outside the process, are the business of bench/.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

_ROOT = pathlib.Path(__file__).resolve().parents[1]


async def _callbacks(seconds: float) -> float:
    """Callbacks per second, each scheduled by the one before."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    ran = 0
    begin = time.perf_counter()

    def step() -> None:
        nonlocal ran
        ran += 1
        if ran % 256 == 0 and time.perf_counter() - begin > seconds:
            done.set_result(None)
        else:
            loop.call_soon(step)

    loop.call_soon(step)
    await done
    return ran / (time.perf_counter() - begin)


async def _timers(seconds: float) -> float:
    """Timers per second, set for 1 ms and waited for, a thousand at a time."""
    loop = asyncio.get_running_loop()
    fired = 0
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        done = loop.create_future()
        left = 1000

        def fire(done: asyncio.Future[None] = done) -> None:
            nonlocal left, fired
            fired += 1
            left -= 1
            if left == 0:
                done.set_result(None)

        for _ in range(left):
            loop.call_later(0.001, fire)
        await done
    return fired / (time.perf_counter() - begin)


async def _io_latency(seconds: float) -> float:
    """Median microseconds from a byte sent to a socket to the callback that it is ready."""
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    near.setblocking(False)
    samples: list[float] = []
    arrived = asyncio.Event()
    sent = 0.0

    def ready() -> None:
        samples.append(time.perf_counter() - sent)
        near.recv(16)
        arrived.set()

    loop.add_reader(near, ready)
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        arrived.clear()
        sent = time.perf_counter()
        far.send(b"x")
        await arrived.wait()
    loop.remove_reader(near)
    near.close()
    far.close()
    return statistics.median(samples) * 1e6


def _loops() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    import erlang

    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
        "ErlangEventLoop": erlang.new_event_loop,
        "asyncio": asyncio.SelectorEventLoop,
    }
    try:
        import uvloop
    except ImportError:
        print("uvloop is not installed", flush=True)
    else:
        loops["uvloop"] = uvloop.new_event_loop
    return loops


def report(seconds: float) -> None:
    """Measures every loop, inside the VM, and prints the figures."""
    for name, factory in _loops().items():
        with asyncio.Runner(loop_factory=factory) as runner:
            kind = type(runner.get_loop())
            timers = runner.run(_timers(seconds))
            callbacks = runner.run(_callbacks(seconds))
            latency = runner.run(_io_latency(seconds))
        print(f"{name} ({kind.__module__}.{kind.__qualname__})")
        print(f"Timer throughput: {timers:,.0f} timers/sec")
        print(f"Callback dispatch: {callbacks:,.0f} callbacks/sec")
        print(f"I/O ready detection: {latency:,.1f} microseconds latency\n", flush=True)


def _modules() -> pathlib.Path:
    """The application's compiled modules, which are built when they are missing."""
    given = os.environ.get("ERLANG_PYTHON_EBIN")
    if given:
        return pathlib.Path(given)
    application = _ROOT / "_build" / "default" / "lib" / "erlang_python"
    if not all((application / path).exists() for path in ("ebin/py.beam", "priv/libpy_core.so")):
        if shutil.which("rebar3") is None:
            sys.exit("benchmark_event_loop: no rebar3 found; `make run` installs what is missing")
        subprocess.run(["rebar3", "compile"], cwd=_ROOT, check=True)
    return application / "ebin"


def main() -> int:
    """Starts the VM and has it run :func:`report`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure (1.0)")
    seconds = parser.parse_args().seconds
    modules = _modules()
    if shutil.which("erl") is None:
        sys.exit("benchmark_event_loop: no erl found; `make run` installs what is missing")
    # sys.config's syntax for strings is that of Erlang; a list of numbers needs no escapes.
    folder = list(os.fsencode(pathlib.Path(__file__).resolve().parent))
    # Packages of the virtual environment that this script runs in, if any: uvloop, perhaps.
    venv = list(os.fsencode(sys.prefix)) if sys.prefix != sys.base_prefix else None
    run = f"""
        {{ok, _}} = application:ensure_all_started(erlang_python),
        case py:call(benchmark_event_loop, report, [{seconds!r}]) of
            {{ok, none}} -> halt(0);
            {{error, {{Class, Message}}}} -> io:format("~ts: ~ts~n", [Class, Message]), halt(1)
        end."""
    command = [
        "erl",
        "-noshell",
        "-pa",
        str(modules),
        "-erlang_python",
        "python_path",
        f"[{folder}]",
    ]
    if venv:
        command += ["-erlang_python", "venv", str(venv)]
    return subprocess.run([*command, "-eval", run], stdin=subprocess.DEVNULL).returncode


if __name__ == "__main__":
    sys.exit(main())
