"""Finds or builds everything that a benchmark needs."""

from __future__ import annotations

import functools
import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
BUILD = ROOT / "_build" / "bench"


def require(program: str) -> str:
    """The path of a program, or SystemExit with what is missing."""
    path = shutil.which(program)
    if path is None:
        raise SystemExit(f"bench: no {program} found in PATH")
    return path


def application() -> pathlib.Path:
    """The folder with the application's compiled modules, built first.

    ``ERLANG_PYTHON_EBIN`` names one that is built already, for tests that run while rebar3 does.
    """
    built = os.environ.get("ERLANG_PYTHON_EBIN")
    if built:
        return pathlib.Path(built)
    subprocess.run([require("rebar3"), "compile"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return ROOT / "_build" / "default" / "lib" / "erlang_python" / "ebin"


def erlang_modules() -> pathlib.Path:
    """The folder with the compiled modules of bench/erl."""
    folder = BUILD / "ebin"
    folder.mkdir(parents=True, exist_ok=True)
    sources = sorted(str(path) for path in (BENCH / "erl").glob("*.erl"))
    subprocess.run([require("erlc"), "-o", str(folder), *sources], check=True)
    return folder


@functools.cache
def client() -> pathlib.Path:
    """The load generator, a Go program without dependencies, built by the Go that built the core."""
    binary = BUILD / "client"
    script = """
        . "$1" && unset CGO_CFLAGS CGO_LDFLAGS && cd "$2" && CGO_ENABLED=0 exec go build -o "$3" .
    """
    arguments = (ROOT / "_build" / "cmake" / "go.env", BENCH / "client", binary)
    subprocess.run(["sh", "-c", script, "sh", *map(str, arguments)], check=True)
    return binary


def virtual_environment() -> pathlib.Path | None:
    """The virtual environment with uvloop, aiohttp and uvicorn, when bench/make_venv.sh made it."""
    folder = ROOT / "_build" / "venv-bench"
    return folder if (folder / "made-for").exists() else None
