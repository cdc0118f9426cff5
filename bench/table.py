#!/usr/bin/env python3
"""Prints results of the benchmarks as the sections of docs/benchmarks.md.

bench/table.py bench/results/bench_tasks.json...
"""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

from harness import report


def section(document: dict[str, Any]) -> list[str]:
    """The lines of the section of one program's results."""
    environment = document["environment"]
    rows = document["rows"]
    rounds = max(len(row["samples"]) for row in rows)
    quick = " --quick" if document["quick"] else ""
    goals = any(row["goal"] is not None for row in rows)
    lines = [
        f"### `{document['name']}.py{quick} --rounds {rounds}`",
        "",
        f"{environment['processor']}; load at the start {environment['load_before']:.1f}; PERF_BUILD "
        f"{'on' if environment['perf_build'] else 'off'}; started {environment['started'][:10]}.",
        "",
        "| case | subject | median | min | max | unit |" + (" to reach |" if goals else ""),
        "|---|---|---:|---:|---:|---|" + ("---:|" if goals else ""),
    ]
    for row in rows:
        figures = " | ".join(report.figure(row[key]) for key in ("median", "min", "max"))
        goal = report.figure(row["goal"]) if row["goal"] is not None else ""
        line = f"| {row['case']} | {row['subject']} | {figures} | {row['unit']} |"
        lines.append(line + (f" {goal} |" if goals else ""))
    return lines


def main() -> None:
    for name in sys.argv[1:]:
        print("\n".join(section(json.loads(pathlib.Path(name).read_text()))), end="\n\n")


if __name__ == "__main__":
    main()
