#!/usr/bin/env python3
"""Python in processes of its own (py_isolated) beside Python in the VM: calls, values, work in parallel, starts, memory.

Each round is a VM of its own, in which the cases take turns. The control is the same call in the VM.
"""

from __future__ import annotations

from harness import processors, report, vm

_CASES = "bench_isolated_cases"
# Samples of each case in a round.
_SAMPLES = 3
_WHERE = {"isolated": vm.Atom("isolated"), "control: in the VM": vm.Atom("vm")}


def _round(results: report.Report, machine: vm.VirtualMachine, quick: bool) -> None:
    count = 200 if quick else 5_000
    assert machine.apply(_CASES, "prepare") is True
    for _ in range(1 if quick else _SAMPLES):
        for subject, where in _WHERE.items():
            latency = machine.apply(_CASES, "calls", where, count)
            results.add("call", f"{subject}, p50", "us", latency["p50_us"])
            results.add("call", f"{subject}, p99", "us", latency["p99_us"])
            rate = machine.apply(_CASES, "processes", where, 16, count)
            results.add("call, 16 processes", subject, "calls/s", rate)
            for case in ("integers", "bytes", "documents"):
                taken = machine.apply(_CASES, "values", where, vm.Atom(case), 3 if quick else 20)
                results.add(f"{case}, there and back", subject, "us", taken)
            taken = machine.apply(_CASES, "parallel", where, 1 if quick else 20)
            results.add("two computations at once", subject, "us", taken)
        results.add("start", "isolated", "us", machine.apply(_CASES, "start"))
        results.add("memory of a process", "isolated", "kB", machine.apply(_CASES, "memory"))


def main() -> None:
    options = report.arguments(__doc__)
    vm.prepare()
    results = report.Report("bench_isolated", options.quick, **vm.versions())
    for _ in range(options.rounds):
        processors.add(results)
        with vm.VirtualMachine() as machine:
            _round(results, machine.start(), options.quick)
        processors.add(results)
    results.finish()


if __name__ == "__main__":
    main()
