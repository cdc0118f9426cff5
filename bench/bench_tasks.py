#!/usr/bin/env python3
"""Tasks on py_event_loop and py_event_loop_pool: the documented patterns, cold tasks, waiting tasks.

Each round is a VM of its own, in which each pattern is measured several times. "processors near" are the samples before
and after which the two processors shared a cache.
"""

from __future__ import annotations

import time

from harness import process, processors, report, vm

_LOOP = vm.Atom("py_event_loop")
_POOL = vm.Atom("py_event_loop_pool")
_WORKS = {
    "math.sqrt": vm.Atom("sqrt"),
    "async def noop": vm.Atom("noop"),
    "async def sleep(0)": vm.Atom("sleep0"),
}
# Samples of each pattern in a round. They are many and short, because the machine's state may not last a second.
_SAMPLES = 6
# Tasks per second to reach, for math.sqrt unless a work is named.
_GOALS = {
    ("sequential, loop", "math.sqrt"): 400_000,
    ("sequential, pool", "math.sqrt"): 400_000,
    ("50 processes, pool", "math.sqrt"): 450_000,
    ("fire and collect 10,000", "math.sqrt"): 900_000,
    ("fire and collect 10,000", "async def noop"): 250_000,
}


def _patterns(results: report.Report, machine: vm.VirtualMachine, quick: bool) -> None:
    for name, work in _WORKS.items():
        count = 2_000 if quick else 30_000 if name == "math.sqrt" else 10_000
        patterns = {
            "sequential, loop": ("sequential", _LOOP, work, count),
            "sequential, pool": ("sequential", _POOL, work, count),
            "sequential, loop, create_task + await": ("sequential_await", _LOOP, work, count),
            "50 processes, pool": ("processes", 50, work, count),
            "fire and collect 10,000": ("collect", work, 10_000, 1 if quick else 3),
        }
        for pattern, (function, *arguments) in patterns.items():
            for _ in range(1 if quick else _SAMPLES):
                before = process.usage(machine.pid)
                answer, near = processors.watched(
                    results, lambda: machine.apply("bench_task_cases", function, *arguments)
                )
                cpu = process.usage(machine.pid).cpu - before.cpu
                assert answer["tasks"] > 0
                goal = _GOALS.get((pattern, name))
                results.add(pattern, name, "tasks/s", answer["per_second"], goal=goal)
                if near:
                    subject = f"{name}, processors near"
                    results.add(pattern, subject, "tasks/s", answer["per_second"], goal=goal)
                results.add(pattern, f"{name}, CPU of each", "us", cpu / answer["all"] * 1e6)


def _all_at_once(results: report.Report, machine: vm.VirtualMachine, quick: bool) -> None:
    count = 10_000 if quick else 100_000
    answer = machine.apply("bench_task_cases", "all_at_once", count)
    case = f"{count:,} at once"
    goal = None if quick else 1.0
    results.add(case, "asyncio.sleep(0)", "s", answer["seconds"], goal=goal)
    results.add(case, "completed", "tasks", answer["tasks"], goal=count)


def _cold(results: report.Report, machine: vm.VirtualMachine, quick: bool) -> None:
    for kind, subject in (("run", "run"), ("await", "create_task + await")):
        answer = machine.apply("bench_task_cases", "cold", vm.Atom(kind), 2, 50 if quick else 500)
        results.add("cold task, 2 ms pause", f"{subject}, p50", "us", answer["p50_us"])
        results.add("cold task, 2 ms pause", f"{subject}, p99", "us", answer["p99_us"])


def _waiting(results: report.Report, quick: bool) -> None:
    """In a VM where nothing else ran: its memory is not yet inflated by what did."""
    seconds = 1 if quick else 10
    count = 1_000 if quick else 10_000
    with vm.VirtualMachine() as machine:
        machine.start().assert_application()
        machine.apply("bench_task_cases", "hold", 1)
        machine.apply("bench_task_cases", "release", 10_000)
        empty = process.usage(machine.pid)
        assert machine.apply("bench_task_cases", "hold", count)["tasks"] == count
        time.sleep(0.5)
        full = process.usage(machine.pid)
        time.sleep(seconds)
        after = process.usage(machine.pid)
        case = f"{count:,} waiting tasks"
        results.add(case, "memory of each", "bytes", (full.rss - empty.rss) / count)
        results.add(f"{case}, {seconds} s", "CPU", "ms", (after.cpu - full.cpu) * 1000)
        results.add(f"{case}, {seconds} s", "context switches", "", after.switches - full.switches)
        assert machine.apply("bench_task_cases", "release", 10_000)["left"] == 0


def main() -> None:
    options = report.arguments(__doc__)
    vm.prepare()
    results = report.Report("bench_tasks", options.quick, **vm.versions())
    for _ in range(options.rounds):
        with vm.VirtualMachine() as machine:
            machine.start().assert_application()
            _patterns(results, machine, options.quick)
            _all_at_once(results, machine, options.quick)
            _cold(results, machine, options.quick)
        _waiting(results, options.quick)
    results.finish()


if __name__ == "__main__":
    main()
