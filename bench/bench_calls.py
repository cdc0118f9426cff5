#!/usr/bin/env python3
"""py:call: latency, throughput, conversion of large values; start-up and idle cost of the VM.

Each round is a VM of its own. Start-up and idle cost stand beside those of a VM without the
application, which is checked to be one: bench_vm's `is_bare`, and no libpy_core in its memory.
"""

from __future__ import annotations

import time

from harness import process, processors, report, vm

# case: (elements, elements in quick mode, goal to Python in ms, goal to Erlang in ms)
_CONVERSIONS = {
    "integers": (1_000_000, 10_000, 55, 20),
    "text": (10_000_000, 100_000, 5, 2),
    "bytes": (10_000_000, 100_000, 5, 2),
    "string_keys": (100_000, 1_000, 30, 30),
    "documents": (10_000, 100, None, None),
}
_OURS = "application"
_BARE = "bare VM"
_CLASS = {_OURS: "erl + erlang_python", _BARE: "erl"}


def _calls(results: report.Report, machine: vm.VirtualMachine, quick: bool) -> None:
    count = 2_000 if quick else 100_000
    latency = machine.apply("bench_call_cases", "latency", count)
    assert latency["calls"] == count
    results.add("call, 1 process", "p50", "us", latency["p50_us"], goal=4)
    results.add("call, 1 process", "p99", "us", latency["p99_us"])
    for processes in (1, 50):
        answer = machine.apply("bench_call_cases", "throughput", processes, count)
        assert answer["calls"] == count
        name = f"call, {processes} process{'es' * (processes > 1)}"
        results.add(name, "rate", "calls/s", answer["per_second"], goal=250_000)


def _conversions(results: report.Report, machine: vm.VirtualMachine, quick: bool) -> None:
    for shape, (full, small, in_goal, out_goal) in _CONVERSIONS.items():
        size = small if quick else full
        answer = machine.apply("bench_call_cases", "convert", vm.Atom(shape), size)
        assert answer["elements"] == size
        name = f"{size:,} {shape}"
        goals = (None, None) if quick else (in_goal, out_goal)
        results.add(name, "to Python", "ms", answer["to_python_ms"], goal=goals[0])
        results.add(name, "to Erlang", "ms", answer["to_erlang_ms"], goal=goals[1])


def _start(results: report.Report, subject: str) -> vm.VirtualMachine:
    begin = time.perf_counter()
    machine = vm.VirtualMachine()
    if subject == _OURS:
        machine.start().python("math", "sqrt", 16.0)
    took = time.perf_counter() - begin
    if subject == _BARE:
        machine.assert_bare()
    else:
        machine.assert_application()
    used = process.usage(machine.pid)
    kind = _CLASS[subject]
    results.add("start to first call", subject, "ms", took * 1000, kind)
    results.add("memory after start", subject, "MB", used.rss / 1e6, kind)
    results.add("threads after start", subject, "", used.threads, kind)
    return machine


def _idle(results: report.Report, machines: dict[str, vm.VirtualMachine], quick: bool) -> None:
    """All at the same time: what disturbs the one disturbs the other."""
    seconds = 1 if quick else 10
    time.sleep(0.5 if quick else 2)
    before = {subject: process.usage(machine.pid) for subject, machine in machines.items()}
    time.sleep(seconds)
    for subject, machine in machines.items():
        after = process.usage(machine.pid)
        name = f"idle for {seconds} s"
        kind = _CLASS[subject]
        cpu = (after.cpu - before[subject].cpu) * 1000
        results.add(name, f"{subject}, CPU", "ms", cpu, kind)
        switches = after.switches - before[subject].switches
        results.add(name, f"{subject}, context switches", "", switches, kind)


def main() -> None:
    options = report.arguments(__doc__)
    vm.prepare()
    results = report.Report("bench_calls", options.quick, **vm.versions())
    for number in range(options.rounds):
        order = [_OURS, _BARE] if number % 2 == 0 else [_BARE, _OURS]
        machines = {subject: _start(results, subject) for subject in order}
        _idle(results, machines, options.quick)
        machines[_BARE].close()
        processors.add(results)
        with machines[_OURS] as machine:
            _calls(results, machine, options.quick)
            _conversions(results, machine, options.quick)
    results.finish()


if __name__ == "__main__":
    main()
