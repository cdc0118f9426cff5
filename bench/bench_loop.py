#!/usr/bin/env python3
"""ErlangEventLoop against stock asyncio and uvloop, in alternating runs.

All of them run in the same kind of process, a VM with the application, and in the same kind of
thread, a context's; `erlang task` is our loop as Erlang drives it, with the server as a task. The
client of the servers is one and the same program outside. bench_loops.py checks in every run that
the loop that runs is of the class that its name says; the table repeats what it found. uvloop,
aiohttp and uvicorn come from the virtual environment that bench/make_venv.sh makes; without it
their rows are missing.
"""

from __future__ import annotations

import dataclasses
import tempfile

from harness import build, load, process, processors, report, vm

_LOOPS = ["erlang", "asyncio", "uvloop"]
_TASK = "erlang task"
_CLASSES = {
    "erlang": "erlang._loop.ErlangEventLoop",
    _TASK: "erlang._loop.ErlangEventLoop",
    "asyncio": "asyncio.unix_events._UnixSelectorEventLoop",
    "uvloop": "uvloop.Loop",
}
# case: (count, count in quick mode)
_MICRO = {
    "call_soon chain": (100_000, 2_000),
    "call_soon, 100 per turn": (500_000, 2_000),
    "sleep(0)": (100_000, 2_000),
    "call_later + cancel": (200_000, 2_000),
    "call_soon_threadsafe": (100_000, 2_000),
    "thread to sleeping loop": (500, 20),
    "sleep(0.001) lateness": (1_000, 50),
    "sleep(0.0002) lateness": (2_000, 50),
}


@dataclasses.dataclass(frozen=True)
class _Served:
    scenario: str
    network: str
    connections: int
    needs_venv: bool = False

    @property
    def name(self) -> str:
        plural = "s" if self.connections > 1 else ""
        return f"{self.scenario}, {self.connections:,} connection{plural}"


_SERVED = [
    *(_Served("tcp protocol", "tcp", connections) for connections in (1, 50, 1000)),
    *(_Served("tcp streams", "tcp", connections) for connections in (1, 50, 1000)),
    *(_Served("tls protocol", "tls", connections) for connections in (1, 50)),
    *(_Served("udp", "udp", connections) for connections in (1, 50)),
    _Served("aiohttp", "http", 50, needs_venv=True),
    _Served("uvicorn", "http", 50, needs_venv=True),
]


class _Bench:
    def __init__(self, results: report.Report, client: load.Client, certificate: str) -> None:
        self._results = results
        self._client = client
        self._certificate = certificate
        self._machines: dict[str, vm.VirtualMachine] = {}

    def machine(self, loop: str) -> vm.VirtualMachine:
        """The VM in which that kind of loop runs; all of them are set up alike."""
        if loop not in self._machines:
            machine = vm.VirtualMachine(venv=build.virtual_environment()).start()
            self._machines[loop] = machine.assert_application()
        return self._machines[loop]

    def close(self) -> None:
        for machine in self._machines.values():
            machine.close()

    def _check(self, loop: str, answer: dict[str, object]) -> None:
        if answer["class"] != _CLASSES[loop]:
            raise AssertionError(f"{loop} ran {answer['class']}")

    def micro(self, case: str, loop: str, count: int) -> None:
        """One of bench_micro's cases."""
        answer = self.machine(loop).python("bench_micro", "run", case, loop, count)
        self._check(loop, answer)
        kind = _CLASSES[loop]
        if answer.get("early"):
            # libuv counts in milliseconds and rounds down; a loop of ours may never do that.
            assert loop == "uvloop", f"{loop}: {answer['early']} of {count} fired early"
            self._results.note(f"{case}: timers of uvloop fire early")
        if "rate" in answer:
            self._results.add(case, loop, "/s", answer["rate"], kind)
            self._results.add(case, f"{loop}, CPU of each", "us", answer["cpu_us"], kind)
        else:
            self._results.add(case, f"{loop}, p50", "us", answer["p50_us"], kind)
            self._results.add(case, f"{loop}, p99", "us", answer["p99_us"], kind)

    def served(self, case: _Served, loop: str, seconds: float) -> None:
        """One of bench_servers' servers under load."""
        machine = self.machine(loop)
        if loop == _TASK:
            command = ("serve_task", "serve_task", [case.scenario, self._certificate])
        else:
            command = ("serve", "serve", [loop, case.scenario, self._certificate])
        kind, function, arguments = command
        machine.command((vm.Atom(kind), vm.Atom("bench_servers"), vm.Atom(function), arguments))
        started = machine.python("bench_servers", "started")
        self._check(loop, started)
        before = process.usage(machine.pid)
        figures = self._client.run(case.network, started["port"], case.connections, seconds)
        used = process.usage(machine.pid).cpu - before.cpu
        assert machine.python("bench_servers", "stop") is True
        self._add(case.name, loop, figures, _CLASSES[loop])
        cpu = used / figures["all"] * 1e6
        self._results.add(case.name, f"{loop}, CPU of each", "us", cpu, _CLASSES[loop])

    def ceiling(self, served: list[_Served], seconds: float) -> None:
        """What the client reaches with a server in Go."""
        with self._client.echo_server() as port:
            for case in served:
                if case.scenario == "tcp protocol":
                    figures = self._client.run(case.network, port, case.connections, seconds)
                    self._add(case.name, "limit of the client", figures, "Go, epoll")

    def _add(self, case: str, subject: str, figures: dict[str, float], kind: str) -> None:
        assert figures["requests"] > 0
        self._results.add(case, subject, "requests/s", figures["rate"], kind)
        self._results.add(case, f"{subject}, p50", "us", figures["p50_us"], kind)
        self._results.add(case, f"{subject}, p99", "us", figures["p99_us"], kind)


def _rotated(subjects: list[str], number: int) -> list[str]:
    """Another order in each round, so that none is always the first."""
    start = number % len(subjects)
    return subjects[start:] + subjects[:start]


def main() -> None:
    options = report.arguments(
        __doc__,
        only={"default": "", "help": "only cases whose name contains this"},
        loops={"default": ",".join([*_LOOPS, _TASK]), "help": "which, separated by commas"},
    )
    vm.prepare()
    venv = build.virtual_environment()
    loops = [loop for loop in options.loops.split(",") if venv or loop != "uvloop"]
    client = load.Client(build.client())
    results = report.Report(
        "bench_loop", options.quick, **vm.versions(), http_client=client.http_client
    )
    if venv is None:
        results.note("no uvloop, aiohttp and uvicorn: bench/make_venv.sh installs them")
    micro = {case: counts for case, counts in _MICRO.items() if options.only in case}
    served = [
        case for case in _SERVED if options.only in case.name and (venv or not case.needs_venv)
    ]
    with tempfile.TemporaryDirectory() as folder:
        client.certificate(folder)
        bench = _Bench(results, client, folder)
        try:
            for number in range(options.rounds):
                processors.add(results)
                _round(bench, micro, served, _rotated(loops, number), options.quick)
        finally:
            bench.close()
    results.finish()


def _round(
    bench: _Bench,
    micro: dict[str, tuple[int, int]],
    served: list[_Served],
    loops: list[str],
    quick: bool,
) -> None:
    for case, counts in micro.items():
        for loop in loops:
            if loop != _TASK:
                bench.micro(case, loop, counts[1 if quick else 0])
    seconds = 0.3 if quick else 3.0
    if quick:
        served = [case for case in served if case.connections < 1000 and case.network != "http"]
    for case in served:
        for loop in loops:
            bench.served(case, loop, seconds)
    bench.ceiling(served, seconds)


if __name__ == "__main__":
    main()
