"""What a process uses, from /proc."""

from __future__ import annotations

import dataclasses
import os
import pathlib

_TICK = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True)
class Usage:
    """CPU time in seconds and context switches since the start; memory in bytes; threads."""

    cpu: float
    switches: int
    rss: int
    threads: int


def _fields(path: pathlib.Path) -> dict[str, str]:
    lines = (line.partition(":") for line in path.read_text().splitlines())
    return {name: value.strip() for name, _, value in lines}


def usage(pid: int) -> Usage:
    """What process ``pid`` has used so far.

    CPU time is /proc/PID/stat's, in ticks of the kernel, or the sum of the threads' schedstat,
    in nanoseconds, where the kernel keeps that.
    """
    root = pathlib.Path(f"/proc/{pid}")
    # The name, in brackets, may have spaces.
    stat = (root / "stat").read_text().rpartition(")")[2].split()
    cpu = (int(stat[11]) + int(stat[12])) / _TICK
    switches = 0
    nanoseconds = 0
    for task in (root / "task").iterdir():
        try:
            status = _fields(task / "status")
            nanoseconds += int((task / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
        switches += int(status["voluntary_ctxt_switches"])
        switches += int(status["nonvoluntary_ctxt_switches"])
    status = _fields(root / "status")
    return Usage(
        cpu=nanoseconds / 1e9 if nanoseconds else cpu,
        switches=switches,
        rss=int(status["VmRSS"].split()[0]) * 1024,
        threads=int(status["Threads"]),
    )
