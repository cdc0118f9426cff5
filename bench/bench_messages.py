#!/usr/bin/env python3
"""What goes one by one between Erlang and Python: streams, channels, and connections of the reactor.

Each round is a VM of its own, in which the cases take turns. Controls: a py:call that returns its argument, a message of
erlang.send, and a server of asyncio protocols on the same kind of loop.
"""

from __future__ import annotations

from harness import processors, report, vm

_CASES = "bench_message_cases"
# Samples of each case in a round.
_SAMPLES = 3


def _round(results: report.Report, machine: vm.VirtualMachine, quick: bool) -> None:
    count = 1_000 if quick else 100_000

    def rate(case: str, subject: str, unit: str, function: str, *arguments: object) -> None:
        value = machine.apply(_CASES, function, *arguments)
        assert value > 0
        results.add(case, subject, unit, value)

    def latency(case: str, subject: str, function: str, *arguments: object) -> None:
        value = machine.apply(_CASES, function, *arguments)
        results.add(case, f"{subject}, p50", "us", value["p50_us"])
        results.add(case, f"{subject}, p99", "us", value["p99_us"])

    assert machine.apply(_CASES, "prepare") is True
    for _ in range(1 if quick else _SAMPLES):
        rate("control: erlang.send", "one way", "messages/s", "sends", count)
        rate("stream, as a list", "range", "values/s", "as_list", count)
        for window in (vm.Atom("infinity"), 1000, 1):
            few = count if window != 1 else count // 20
            subject = f"window {window}"
            rate("stream, messages", subject, "values/s", "messages", window, few)
        rate("stream, loop", "async generator", "values/s", "loop_messages", count)
        for receiver in ("blocking", "coroutine"):
            kind = vm.Atom(receiver)
            rate("channel, integers", receiver, "messages/s", "channel", kind, 1, count)
            rate("channel, 16 kB", receiver, "messages/s", "channel_bytes", kind, count // 10)
        rate(
            "channel, 8 coroutines",
            "integers",
            "messages/s",
            "channel",
            vm.Atom("coroutine"),
            8,
            count,
        )
        few = count // 10
        latency("there and back", "control: py:call", "call_round_trips", few)
        latency("there and back", "channel, blocking", "round_trips", vm.Atom("blocking"), few)
        latency("there and back", "channel, coroutine", "round_trips", vm.Atom("coroutine"), few)
        for connections in (1, 50):
            case = f"echo, {connections} connection{'s' if connections > 1 else ''}"
            rate(case, "reactor", "messages/s", "echo", vm.Atom("reactor"), connections, few)
            rate(
                case,
                "control: asyncio protocol",
                "messages/s",
                "echo",
                vm.Atom("asyncio"),
                connections,
                few,
            )


def main() -> None:
    options = report.arguments(__doc__)
    vm.prepare()
    results = report.Report("bench_messages", options.quick, **vm.versions())
    for _ in range(options.rounds):
        processors.add(results)
        with vm.VirtualMachine() as machine:
            _round(results, machine.start(), options.quick)
        processors.add(results)
    results.finish()


if __name__ == "__main__":
    main()
