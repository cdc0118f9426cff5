"""Makes the package under test, and the tests' own helpers, importable."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

_HERE = Path(__file__).parent

for folder in (_HERE, _HERE.parent.parent / "python"):
    # Inside the VM the package comes from the application's priv directory already.
    if folder == _HERE or "erlang" not in sys.modules:
        sys.path.insert(0, str(folder))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--loop", choices=("stock", "erlang", "all"), default="all", help="which loop to test"
    )
