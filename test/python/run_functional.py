"""Runs the functional tests of the loop from inside the VM, as ``py:call`` of this module."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

_FOLDER = Path(__file__).parent / "loop"


class _Counts:
    """A pytest plugin that counts outcomes and keeps the text of failures."""

    def __init__(self) -> None:
        self.passed = self.skipped = self.expected_failures = 0
        self.failures: list[dict[str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failures.append({"test": report.nodeid, "text": report.longreprtext})
        elif report.skipped:
            if hasattr(report, "wasxfail"):
                self.expected_failures += 1
            else:
                self.skipped += 1
        elif report.when == "call":
            self.passed += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failures.append({"test": report.nodeid, "text": report.longreprtext})


def run_functional(
    kind: str, certificates: str | None = None, only: str | None = None
) -> dict[str, Any]:
    """Runs the tests on one kind of loop, "erlang" or "stock", and returns what happened.

    ``certificates`` names a folder with key.pem and certificate.pem for "localhost" (self-signed),
    needed where the package trustme is not installed. ``only`` selects tests as pytest's -k does.

    The dict holds: kind, passed, skipped, expected_failures (counts), failures (a list of test and
    text), status (pytest's exit status).
    """
    if certificates is not None:
        os.environ["ERLANG_PYTHON_TEST_CERTIFICATES"] = certificates
    counts = _Counts()
    arguments = [
        str(_FOLDER),
        "--loop",
        kind,
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:faulthandler",
    ]
    if only is not None:
        arguments += ["-k", only]
    status = pytest.main(arguments, plugins=[counts])
    return {
        "kind": kind,
        "passed": counts.passed,
        "skipped": counts.skipped,
        "expected_failures": counts.expected_failures,
        "failures": counts.failures,
        "status": int(status),
    }
