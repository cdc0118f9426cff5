"""The list of conformance tests that do not apply, with the reason for each: skips.toml."""

from __future__ import annotations

import fnmatch
import sys
import tomllib
from pathlib import Path

_FILE = Path(__file__).with_name("skips.toml")


class Skips:
    """What to skip in one group. Remembers which entries matched no test."""

    def __init__(self, group: str, file: Path = _FILE) -> None:
        document = tomllib.loads(file.read_text())
        self._reasons: dict[str, str] = document["reasons"]
        self._entries = [
            entry
            for entry in document["skip"]
            if entry["test"].split(".", 1)[0] == group
            and entry.get("since", [3, 0]) <= list(sys.version_info[:2])
            and list(sys.version_info[:2]) < entry.get("until", [4, 0])
        ]
        for entry in self._entries:
            if entry["reason"] not in self._reasons:
                raise ValueError(f"skips.toml: {entry['test']}: no such reason {entry['reason']!r}")
        self._used: set[str] = set()

    def reason(self, test: str) -> str | None:
        """Why the test (as in "test_events.EPollEventLoopTests.test_x") is skipped, or None."""
        for entry in self._entries:
            if fnmatch.fnmatchcase(test, entry["test"]):
                self._used.add(entry["test"])
                reason = f"{entry['reason']}: {self._reasons[entry['reason']]}"
                return f"{reason} {entry['note']}" if "note" in entry else reason
        return None

    def unused(self) -> list[str]:
        """The entries that matched no test so far: leftovers, to be removed from the list."""
        return [entry["test"] for entry in self._entries if entry["test"] not in self._used]
