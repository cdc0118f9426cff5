"""Every functional test runs on asyncio's own loop and on ErlangEventLoop, debug mode off and on."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from certificates import Certificates, make_certificates
from loop_case import LoopCase, new_loop

KINDS = ("stock", "erlang")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    chosen = metafunc.config.getoption("--loop")
    kinds = KINDS if chosen == "all" else (chosen,)
    only = metafunc.definition.get_closest_marker("kind")
    parameters = [
        pytest.param((kind, debug), id=f"{kind}-debug" if debug else kind)
        for kind in kinds
        if only is None or kind in only.args
        for debug in (False, True)
    ]
    metafunc.parametrize("case", parameters, indirect=True)


@pytest.fixture(scope="session", autouse=True)
def _warm_up(request: pytest.FixtureRequest) -> None:
    # What the process opens once and keeps (the resolver, a thread pool) is no leak of a test.
    chosen = request.config.getoption("--loop")
    for kind in KINDS if chosen == "all" else (chosen,):
        loop = new_loop(kind)
        loop.run_until_complete(loop.getaddrinfo("localhost", 80))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Iterator[LoopCase]:
    """Runs coroutines on the loop under test and fails on whatever they leave behind."""
    threads = threading.active_count()
    current = LoopCase(*request.param)
    with current:
        yield current
    assert threading.active_count() <= threads, threading.enumerate()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate for "localhost" and 127.0.0.1 and the authority that signed it."""
    return make_certificates(
        tmp_path_factory.mktemp("certificates"), os.environ.get("ERLANG_PYTHON_TEST_CERTIFICATES")
    )
