"""What ``py:python_info/0`` and ``py:activate_venv/1`` run."""

from __future__ import annotations

import os
import platform
import site
import sys
from typing import Any

from ._mode import detect_mode

__all__ = ["activate_venv", "python_info", "set_python_path"]

_configured: list[str] = []
"""The folders of the environment key ``python_path`` that are on ``sys.path``."""


def python_info() -> dict[str, Any]:
    """Describe the interpreter that runs inside the VM."""
    return {
        "version": platform.python_version(),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "build": " ".join(platform.python_build()),
        "compiler": platform.python_compiler(),
        "mode": detect_mode().name.lower(),
        "path": list(sys.path),
    }


def set_python_path(folders: list[str]) -> None:
    """Make ``folders`` importable, in place of those that the application's last run named.

    They come behind the folder of the package ``erlang``, which belongs to the VM.
    """
    for folder in _configured:
        if folder in sys.path:
            sys.path.remove(folder)
    _configured[:] = [folder for folder in dict.fromkeys(folders) if folder not in sys.path]
    sys.path[1:1] = _configured


def _site_packages(path: str) -> str:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return os.path.join(path, "lib", version, "site-packages")


def activate_venv(path: str) -> None:
    """Make the packages of the virtual environment at ``path`` importable.

    Its folders, those of its ``.pth`` files included, come before what was on ``sys.path``;
    ``sys.prefix`` and ``VIRTUAL_ENV`` name it from now on. Raises ValueError when ``path`` is no
    virtual environment of this Python version.
    """
    if not os.path.isfile(os.path.join(path, "pyvenv.cfg")):
        raise ValueError(f"no virtual environment: {path!r} has no pyvenv.cfg")
    packages = _site_packages(path)
    if not os.path.isdir(packages):
        raise ValueError(
            f"the virtual environment {path!r} is of another Python: it has no {packages!r}"
        )
    before = list(sys.path)
    site.addsitedir(packages)
    added = [entry for entry in sys.path if entry not in before]
    if packages not in added:
        added.insert(0, packages)
    # The package erlang stays first: it belongs to the VM.
    rest = [entry for entry in before if entry not in added]
    sys.path[:] = rest[:1] + added + rest[1:]
    sys.prefix = sys.exec_prefix = path
    os.environ["VIRTUAL_ENV"] = path
    executable = os.path.join(path, "bin", "python3")
    if os.path.exists(executable):
        sys.executable = executable
