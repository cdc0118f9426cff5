"""Writes docs/conformance.md from the results of run_group, one section for each Python version.

``python table.py RESULTS_DIRECTORY DOCUMENT``: the directory holds one JSON file for each group.
Sections of other Python versions that the document has already are kept.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

_HEAD = """\
# Conformance

CPython's own asyncio tests (`test.test_asyncio`), run inside the Erlang VM on `ErlangEventLoop`.
This page is written by `make conformance`; each group of tests runs in a VM of its own.
Wherever a test builds a loop, by the policy, by class name, by subclassing, or as the tests' own loop
with a hand-moved clock, it builds an `ErlangEventLoop` ("loops" counts them).

What is not run is listed below each table with the reason, from `test/conformance/skips.toml`.
Tests skipped by CPython are those that it skips on its own loop too, on this platform.
"""


def _sections(document: str) -> dict[str, str]:
    parts = re.split(r"^## CPython (\S+)\n", document, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _method(test: str) -> str:
    """The test without the class that runs it, which varies where one test runs on many loops."""
    parts = test.split(".")
    return f"{parts[0]}: {parts[-1]}"


def _section(results: list[dict[str, Any]]) -> str:
    lines = [
        "",
        "| group | passed | failed | skipped | skipped by CPython | loops |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    total: Counter[str] = Counter()
    for result in results:
        row = {
            "passed": result["passed"],
            "failed": len({failure["test"] for failure in result["failures"]}),
            "skipped": len(result["skipped"]),
            "skipped by CPython": len(result["skipped_by_cpython"]),
            "loops": result["loops"],
        }
        total.update(row)
        cells = " | ".join(str(value) for value in row.values())
        lines.append(f"| {result['group'].removeprefix('test_')} | {cells} |")
    lines.append(f"| **total** | {' | '.join(f'**{value}**' for value in total.values())} |")
    loops = sorted({f"`{result['loop']}` over `{result['selector']}`" for result in results})
    lines += ["", f"Loop: {', '.join(loops)}.", ""]
    for failure in (failure for result in results for failure in result["failures"]):
        lines.append(f"- FAILED {failure['test']}: {failure['text'].strip().splitlines()[-1]}")
    reasons: dict[str, set[str]] = {}
    for skip in (skip for result in results for skip in result["skipped"]):
        reasons.setdefault(skip["reason"], set()).add(_method(skip["test"]))
    for reason, tests in sorted(reasons.items()):
        lines += [f"- {reason}", *(f"  - {test}" for test in sorted(tests))]
    return "\n".join([*lines, ""])


def write_table(results_directory: Path, document: Path) -> None:
    """Replaces the section of the results' Python version in the document, or adds it."""
    results = [json.loads(file.read_text()) for file in sorted(results_directory.glob("*.json"))]
    versions = {result["python"] for result in results}
    if len(versions) != 1:
        raise ValueError(f"results of one Python version expected, found {sorted(versions)}")
    sections = _sections(document.read_text()) if document.exists() else {}
    sections[versions.pop()] = _section(results)
    ordered = sorted(sections, key=_version_key)
    body = "\n".join(f"## CPython {version}\n{sections[version].rstrip()}\n" for version in ordered)
    document.write_text(f"{_HEAD}\n{body}")


if __name__ == "__main__":
    write_table(Path(sys.argv[1]), Path(sys.argv[2]))
