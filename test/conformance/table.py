"""Shows the results that run_group wrote, one JSON file for each group.

- ``table.py line FILE`` prints one line, and the failures.
- ``table.py document DIRECTORY DOCUMENT`` writes the section of the results' Python version in
  docs/conformance.md; sections of other versions that it has already are kept.
- ``table.py total DIRECTORY GROUP...`` counts all tests, as ``N passed, N failed, N skipped``.
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
Wherever a test builds a loop, by the policy, by class name, by subclassing, or as the tests' own
loop with a hand-moved clock, it builds an `ErlangEventLoop` ("loops" counts them).

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


def _counts(result: dict[str, Any]) -> dict[str, int]:
    return {
        "passed": result["passed"],
        "failed": len({failure["test"] for failure in result["failures"]}),
        "skipped": len(result["skipped"]),
        "skipped by CPython": len(result["skipped_by_cpython"]),
        "loops": result["loops"],
    }


def _section(results: list[dict[str, Any]]) -> str:
    lines = [
        "",
        "| group | passed | failed | skipped | skipped by CPython | loops |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    total: Counter[str] = Counter()
    for result in results:
        row = _counts(result)
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


def write_line(file: Path) -> None:
    """Prints the counts of one group, and each failure with its traceback."""
    result = json.loads(file.read_text())
    counts = ", ".join(f"{value} {name}" for name, value in _counts(result).items())
    print(f"{result['group']}: {counts}, {result['seconds']:.1f} s, CPython {result['python']}")
    for failure in result["failures"]:
        print(f"FAILED {failure['test']}\n{failure['text']}")
    for entry in result["unused_skips"]:
        print(f"skips.toml: {entry} matches no test")


def write_total(results_directory: Path, groups: list[str]) -> bool:
    """Prints the sum over the groups; a group without a result counts as one failed test."""
    total: Counter[str] = Counter(passed=0, failed=0, skipped=0)
    for group in groups:
        file = results_directory / f"{group}.json"
        if not file.exists():
            total["failed"] += 1
            continue
        result = json.loads(file.read_text())
        total.update(_counts(result))
        total["failed"] += len(result["unused_skips"])
        total["skipped"] += len(result["skipped_by_cpython"])
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return total["failed"] == 0


def write_document(results_directory: Path, document: Path) -> None:
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


def main(arguments: list[str]) -> int:
    """The command line; see the top of this file."""
    command, path, *rest = arguments
    if command == "line":
        write_line(Path(path))
    elif command == "document":
        write_document(Path(path), Path(rest[0]))
    elif command == "total":
        return 0 if write_total(Path(path), rest) else 1
    else:
        raise ValueError(f"no such command: {command}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
