"""Subprocesses where the sandbox allows them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import threading


def exit_codes(count: int) -> bool:
    """Whether the exit codes of `count` programs, run by as many threads, are their own."""
    codes: dict[int, int] = {}

    def run(number: int) -> None:
        codes[number] = subprocess.run(["sh", "-c", f"exit {number}"]).returncode

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return codes == {number: number for number in range(count)}


def other_ways() -> list[int]:
    """Exit codes of os.system, os.popen and os.posix_spawn."""
    process = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 5"], {})
    return [
        os.waitstatus_to_exitcode(os.system("exit 3")),
        os.waitstatus_to_exitcode(os.popen("exit 4").close() or 0),
        os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]),
    ]


def terminate() -> int:
    """A program can be terminated: it did not inherit the signals that Python's threads block."""
    process = subprocess.Popen(["sleep", "1000"])
    process.terminate()
    return process.wait(20)


def blocked_signals() -> list[str]:
    """Signals that are blocked or ignored in a program."""
    text = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout
    return [line.split()[1] for line in text.splitlines() if line.startswith(("SigBlk", "SigIgn"))]


def pipes() -> str:
    """Input and output of a program."""
    return subprocess.run(["cat"], input="x" * 1_000_000, capture_output=True, text=True).stdout[
        -3:
    ]


def spawn() -> int | None:
    """Exit code of a process that multiprocessing spawned."""
    process = multiprocessing.get_context("spawn").Process(target=os._exit, args=(6,))
    process.start()
    process.join()
    return process.exitcode


def own_signal() -> str:
    """Signals stay blocked where only subprocesses are allowed."""
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except RuntimeError as error:
        return type(error).__name__
    return "nothing"
