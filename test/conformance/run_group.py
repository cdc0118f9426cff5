"""Runs one group of CPython's own asyncio tests on ErlangEventLoop.

Inside the VM: ``py:call(run_group, run_group_to_file, [<<"test_events">>, File])`` with this
directory on sys.path, which scripts/conformance.sh does for each group. In a plain interpreter: ``python run_group.py test_events``, which uses the fallback
selector of the Python tests and so shows whether the Python half of the loop conforms.
"""

from __future__ import annotations

import faulthandler
import importlib
import io
import json
import sys
import time
import traceback
import unittest
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import skips
import substitute

_HERE = Path(__file__).parent


def _inside_vm() -> bool:
    return "_erlang" in sys.builtin_module_names


def _fallback_selector() -> type:
    sys.path.insert(0, str(_HERE.parent / "python"))
    from fallback_selector import FallbackSelector

    return FallbackSelector


def _short_id(test: unittest.TestCase) -> str:
    return test.id().removeprefix("test.test_asyncio.")


class _Result(unittest.TestResult):
    """Collects outcomes by test id; a failed subtest counts as its test's failure."""

    def __init__(self) -> None:
        super().__init__()
        self.failed: list[dict[str, str]] = []
        self.skipped_by_cpython: list[dict[str, str]] = []
        self.passed = 0
        self.seconds: dict[str, float] = {}
        self._started = 0.0

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._started = time.monotonic()

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        self.seconds[_short_id(test)] = time.monotonic() - self._started

    def _fail(self, test: unittest.TestCase, error: Any) -> None:
        text = "".join(traceback.format_exception(*error)) if isinstance(error, tuple) else error
        self.failed.append({"test": _short_id(test), "text": text})

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.passed += 1

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.passed += 1

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self._fail(test, err)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._fail(test, err)

    def addSubTest(self, test: unittest.TestCase, subtest: Any, err: Any) -> None:
        if err is not None:
            self._fail(subtest, err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.skipped_by_cpython.append({"test": _short_id(test), "reason": reason})

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self._fail(test, "unexpected success")


def _tests(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from _tests(item)
        else:
            yield item


def _select(
    module: Any, skip_list: skips.Skips, only: str | None
) -> tuple[unittest.TestSuite, list[dict[str, str]]]:
    """The tests of the module that apply, in order, and those that do not with their reasons."""
    chosen, skipped = unittest.TestSuite(), []
    for test in _tests(unittest.defaultTestLoader.loadTestsFromModule(module)):
        name = _short_id(test)
        if only is not None and only not in name:
            continue
        reason = skip_list.reason(name)
        if reason is None:
            substitute.keep_asyncios_own(name, test)
            chosen.addTest(test)
        else:
            skipped.append({"test": name, "reason": reason})
    return chosen, skipped


def run_group(name: str, stock: bool = False, only: str | None = None) -> dict[str, Any]:
    """Runs the tests of ``test.test_asyncio.<name>`` and returns what happened.

    ``stock`` leaves asyncio's own loops in place, as the control. ``only`` restricts the run to
    tests whose name contains it. A group may be run once per interpreter: asyncio stays changed.

    The dict holds: group, python, loop (class), selector (class), loops (instances made),
    passed, failures (a list of test and text), skipped and skipped_by_cpython (lists of test and
    reason), unused_skips, seconds, slowest.
    """
    name = name.decode() if isinstance(name, bytes) else name
    if stock:
        loop_name, selector_name, counts = "asyncio's own", "asyncio's own", {"loops": 0}
    else:
        selector_class = None if _inside_vm() else _fallback_selector()
        loop_class, counts = substitute.substitute(name, selector_class)
        loop = loop_class()
        tested = loop_class.__mro__[1]
        loop_name = f"{tested.__module__}.{tested.__name__}"
        selector = type(loop._selector)
        selector_name = f"{selector.__module__}.{selector.__name__}"
        loop.close()
        counts["loops"] = 0

    module = importlib.import_module(f"test.test_asyncio.{name}")
    skip_list = skips.Skips(name)
    if stock:
        skip_list._entries = []
    suite, skipped = _select(module, skip_list, only)
    result = _Result()
    started = time.monotonic()
    with substitute.as_main_thread(), warnings.catch_warnings():
        warnings.simplefilter("default")
        suite.run(result)
    return {
        "group": name,
        "python": ".".join(map(str, sys.version_info[:3])),
        "loop": loop_name,
        "selector": selector_name,
        "loops": counts["loops"],
        "passed": result.passed,
        "failures": result.failed,
        "skipped": skipped,
        "skipped_by_cpython": result.skipped_by_cpython,
        "unused_skips": skip_list.unused() if only is None else [],
        "seconds": round(time.monotonic() - started, 3),
        "slowest": sorted(result.seconds.items(), key=lambda item: -item[1])[:3],
    }


def conforms(result: dict[str, Any]) -> bool:
    """Whether a result of run_group() is as it must be: nothing failed, no entry left over."""
    return bool(result["passed"]) and not result["failures"] and not result["unused_skips"]


def run_group_to_file(name: str, file: str, time_limit: float = 600.0) -> bool:
    """run_group() with the result written to a JSON file, and True if the group conforms.

    After ``time_limit`` seconds the stacks of all threads are written to stderr, so that the log of
    a group that hangs says where.
    """
    faulthandler.dump_traceback_later(time_limit, file=sys.__stderr__)
    try:
        result = run_group(name)
    finally:
        faulthandler.cancel_dump_traceback_later()
    Path(file).write_text(json.dumps(result, indent=1))
    return conforms(result)


def _forbid_processes(event: str, _arguments: tuple[Any, ...]) -> None:
    if event in {"os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"} or (
        event == "subprocess.Popen"
    ):
        raise RuntimeError(f"{event} would not be allowed in the Erlang VM")


def main(arguments: list[str]) -> int:
    """Command line: ``run_group.py [OPTIONS] GROUP [PART_OF_TEST_NAME]``."""
    import argparse
    import threading

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stock", action="store_true", help="run on asyncio's own loops")
    parser.add_argument(
        "--as-in-vm",
        action="store_true",
        help="not in the main thread, and with starting processes forbidden",
    )
    parser.add_argument("--json", help="write the result to this file")
    parser.add_argument("--time-limit", type=float, default=600.0, help="seconds")
    parser.add_argument("group")
    parser.add_argument("only", nargs="?")
    options = parser.parse_args(arguments)
    faulthandler.dump_traceback_later(options.time_limit, exit=True)
    if not options.stock:
        sys.path.insert(0, str(_HERE.parent.parent / "python"))

    results: list[dict[str, Any]] = []

    def run() -> None:
        results.append(run_group(options.group, options.stock, options.only))

    if options.as_in_vm:
        sys.addaudithook(_forbid_processes)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    else:
        run()
    if not results:
        return 2
    if options.json:
        Path(options.json).write_text(json.dumps(results[0], indent=1))
    output = io.StringIO()
    for failure in results[0]["failures"]:
        print(f"FAILED {failure['test']}\n{failure['text']}", file=output)
    summary = {
        key: len(value) if isinstance(value, list) and key != "slowest" else value
        for key, value in results[0].items()
    }
    print(output.getvalue() + json.dumps(summary))
    return 0 if conforms(results[0]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
