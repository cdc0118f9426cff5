"""Samples of alternating runs, as a table and as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
from typing import Any

from . import build


@dataclasses.dataclass
class Row:
    """One figure of one subject in one case, with a sample of each round.

    ``subject_class`` is the class that ran, as it named itself when it ran.
    """

    case: str
    subject: str
    unit: str
    subject_class: str = ""
    goal: float | None = None
    samples: list[float] = dataclasses.field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """Median, smallest and largest sample."""
        return {
            "median": statistics.median(self.samples),
            "min": min(self.samples),
            "max": max(self.samples),
        }


def _first_line(path: str, prefix: str) -> str:
    try:
        for line in pathlib.Path(path).read_text().splitlines():
            if line.startswith(prefix):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return ""


def _output(*command: str) -> str:
    try:
        return subprocess.run(
            command, cwd=build.ROOT, capture_output=True, text=True
        ).stdout.strip()
    except OSError:
        return ""


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    cache = build.ROOT / "_build" / "cmake" / "CMakeCache.txt"
    return {
        "processor": _first_line("/proc/cpuinfo", "model name") or platform.processor(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "kernel": f"{platform.system()} {platform.release()}",
        "revision": _output("git", "describe", "--always", "--dirty"),
        "perf_build": cache.exists() and "PERF_BUILD:BOOL=ON" in cache.read_text(),
        "load_before": os.getloadavg()[0],
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


class Report:
    """Collects the rows of one program, prints them and writes bench/results/NAME.json (quick: NAME-quick.json)."""

    def __init__(self, name: str, quick: bool, **facts: Any) -> None:
        self.name = name
        self.quick = quick
        self.environment = {**machine(), **facts}
        self._rows: dict[tuple[str, str, str], Row] = {}
        self._notes: list[str] = []
        load = self.environment["load_before"]
        if load > 0.5 and not quick:
            self.note(f"the machine was not idle: load {load:.1f} at the start")

    def note(self, text: str) -> None:
        """A remark that belongs to the figures."""
        if text not in self._notes:
            self._notes.append(text)
            print(f"{self.name}: {text}", file=sys.stderr)

    def add(
        self,
        case: str,
        subject: str,
        unit: str,
        sample: float,
        subject_class: str = "",
        goal: float | None = None,
    ) -> None:
        """Adds the sample of one round."""
        row = self._rows.setdefault(
            (case, subject, unit), Row(case, subject, unit, subject_class, goal)
        )
        if row.subject_class != subject_class:
            raise AssertionError(f"{subject} was {row.subject_class} and is {subject_class} now")
        row.samples.append(sample)

    def _table(self) -> list[str]:
        head = ["case", "subject", "median", "min", "max", "unit", "runs", "to reach", "class"]
        lines = [head]
        for row in self._rows.values():
            summary = row.summary()
            lines.append(
                [
                    row.case,
                    row.subject,
                    *(figure(summary[key]) for key in ("median", "min", "max")),
                    row.unit,
                    str(len(row.samples)),
                    "" if row.goal is None else figure(row.goal),
                    row.subject_class,
                ]
            )
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        right = {2, 3, 4, 6, 7}
        return [
            "  ".join(
                cell.rjust(width) if column in right else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths))
            ).rstrip()
            for line in lines
        ]

    def finish(self) -> None:
        """Prints the table and writes the JSON."""
        facts = self.environment
        print(f"\n{self.name}{' (quick: no figures to quote)' if self.quick else ''}")
        print(", ".join(f"{key} {value}" for key, value in facts.items() if value != ""))
        print("\n".join(self._table()))
        for note in self._notes:
            print(f"note: {note}")
        folder = build.BENCH / "results"
        folder.mkdir(exist_ok=True)
        document = {
            "name": self.name,
            "quick": self.quick,
            "environment": facts,
            "notes": self._notes,
            "rows": [{**dataclasses.asdict(row), **row.summary()} for row in self._rows.values()],
        }
        # Quick runs must not replace figures that somebody waited for.
        path = folder / f"{self.name}{'-quick' if self.quick else ''}.json"
        path.write_text(json.dumps(document, indent=1) + "\n")
        print(f"written: {path.relative_to(build.ROOT)}")


def figure(value: float) -> str:
    """Three significant digits or more, thousands separated."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def arguments(description: str, **more: dict[str, Any]) -> argparse.Namespace:
    """The options that every program has, and ``more`` of its own."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--rounds", type=int, help="how often everything is run (5, quick: 2)")
    for name, options in more.items():
        parser.add_argument(f"--{name}", **options)
    options = parser.parse_args()
    if options.rounds is None:
        options.rounds = 2 if options.quick else 5
    return options
