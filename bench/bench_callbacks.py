#!/usr/bin/env python3
"""Python calling Erlang: erlang.call, async_call, send and the chains of erlang.schedule_inline.

Each round is a VM of its own.
"""

from __future__ import annotations

import subprocess

from harness import build, processors, report, vm

_CASES = "bench_callback_cases"


def _control(threads: int, each: int) -> float:
    """Round trips per second of threads of a plain Python, the one that is embedded."""
    python = (build.ROOT / "_build" / "cmake" / "python-executable").read_text().strip()
    program = str(build.BENCH / "python" / "bench_round_trips.py")
    command = [python, program, str(threads), str(each)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _round(results: report.Report, machine: vm.VirtualMachine, quick: bool) -> None:
    count = 2_000 if quick else 100_000

    def measure(function: str, *arguments: object) -> float:
        rate = machine.apply(_CASES, function, *arguments)
        assert rate > 0
        return rate

    assert machine.apply(_CASES, "prepare") is True
    latency = machine.apply(_CASES, "latency", count)
    assert latency["calls"] == count
    results.add("call, 1 thread", "p50", "us", latency["p50_us"], goal=8)
    results.add("call, 1 thread", "p99", "us", latency["p99_us"])
    results.add("call, 1 thread", "rate", "calls/s", measure("throughput", count), goal=100_000)
    rate = measure("threads", 16, count // 16)
    results.add("call, 16 threads", "rate", "calls/s", rate)
    control = _control(16, count // 32)
    results.add("call, 16 threads", "control: plain Python, sockets", "round trips/s", control)
    results.add("call, 16 threads", "times the control", "", rate / control)
    control = _control(1, count // 4)
    results.add("call, 1 thread", "control: plain Python, sockets", "round trips/s", control)
    rate = measure("nested", 10 if quick else 100)
    results.add("call, nested", "rate", "levels/s", rate)
    rate = measure("async_calls", count)
    results.add("async_call, all at once", "rate", "calls/s", rate, goal=100_000)
    rate = measure("async_one_by_one", count // 10)
    results.add("async_call, one by one", "rate", "calls/s", rate)
    results.add("send", "rate", "messages/s", measure("send", count * 5), goal=1_000_000)
    inline = measure("chain", vm.Atom("inline"), count * 5)
    queued = measure("chain", vm.Atom("queued"), count * 5)
    results.add("schedule_inline", "rate", "steps/s", inline, goal=1_000_000)
    results.add("schedule_py", "rate", "steps/s", queued)
    results.add("schedule_inline", "times schedule_py", "", inline / queued, goal=3)


def main() -> None:
    options = report.arguments(__doc__)
    vm.prepare()
    results = report.Report("bench_callbacks", options.quick, **vm.versions())
    for _ in range(options.rounds):
        processors.add(results)
        with vm.VirtualMachine() as machine:
            _round(results, machine.start(), options.quick)
        processors.add(results)
    results.finish()


if __name__ == "__main__":
    main()
