"""How far apart the machine's processors are, which decides what a hand-over between two threads costs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

from . import build, report

# Nanoseconds to another processor and back: below, the two share a cache; between two caches it is 400 and more.
_NEAR = 300.0


def distance() -> float:
    """Nanoseconds that a word takes from one processor to another and back.

    On a virtual machine it says where the host runs the processors now: within one minute 75 ns and 430 ns were seen.
    """
    answer = subprocess.run(
        [str(build.client()), "processors"], check=True, capture_output=True, text=True, timeout=60
    )
    return float(answer.stdout)


def add(results: report.Report) -> float:
    """A sample of the distance, which figures of what hands work from thread to thread are to be read beside."""
    sample = distance()
    results.add("the machine", "to another processor and back", "ns", sample)
    return sample


def watched(results: report.Report, work: Callable[[], Any]) -> tuple[Any, bool]:
    """What work returns, and whether the processors shared a cache before it and after it."""
    before = add(results)
    answer = work()
    return answer, max(before, add(results)) < _NEAR
