"""Child VMs that a benchmark drives through their standard input; see erl/bench_vm.erl."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

from . import build

_MARK = "@@ "


class Atom(str):
    """A name that is to be an atom in Erlang."""


def term(value: Any) -> str:
    """A Python value as Erlang source."""
    if isinstance(value, Atom):
        return f"'{value}'"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return "<<" + ",".join(map(str, value.encode())) + ">>"
    if isinstance(value, (list, tuple)):
        inner = ",".join(map(term, value))
        return f"[{inner}]" if isinstance(value, list) else f"{{{inner}}}"
    if isinstance(value, dict):
        return "#{" + ",".join(f"{term(k)}=>{term(v)}" for k, v in value.items()) + "}"
    raise TypeError(f"no term for {value!r}")


class VirtualMachine:
    """An Erlang VM with the benchmark's modules; with the application once :meth:`start` ran.

    ``venv`` is a virtual environment for its Python, ``settings`` more of the application's
    environment.
    """

    def __init__(
        self, venv: pathlib.Path | None = None, settings: dict[str, Any] | None = None
    ) -> None:
        environment: dict[str, Any] = {"python_path": [str(build.BENCH / "python")]}
        if venv is not None:
            environment["venv"] = str(venv)
        environment.update(settings or {})
        command = [build.require("erl"), "-noshell", "-pa", str(_EBIN[0]), str(_EBIN[1])]
        for key, value in environment.items():
            command += ["-erlang_python", key, term(value)]
        command += ["-s", "bench_vm", "main"]
        # Settings of the caller's Python must not reach the one in the VM.
        variables = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables
        )
        if self._answer() != "ready":
            raise RuntimeError("the VM did not start")

    @property
    def pid(self) -> int:
        """The operating system's number of the process."""
        return self._process.pid

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(_MARK):
                return json.loads(line[len(_MARK) :])
            sys.stderr.write(line)
        raise RuntimeError(f"the VM ended with status {self._process.wait()}")

    def command(self, command: Any) -> Any:
        """Runs one of bench_vm's commands; RuntimeError when that fails."""
        assert self._process.stdin is not None
        self._process.stdin.write(term(command) + ".\n")
        self._process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]

    def start(self) -> VirtualMachine:
        """Starts the application."""
        self.command(Atom("start"))
        return self

    def assert_bare(self) -> VirtualMachine:
        """Makes sure that nothing of the application is in this VM: neither running nor mapped."""
        mapped = pathlib.Path(f"/proc/{self.pid}/maps").read_text()
        if self.command(Atom("is_bare")) is not True or "libpy_core" in mapped:
            raise AssertionError("the bare VM is not bare")
        return self

    def assert_application(self) -> VirtualMachine:
        """Makes sure that the application runs here, with its core."""
        mapped = pathlib.Path(f"/proc/{self.pid}/maps").read_text()
        if self.command(Atom("is_bare")) is not False or "libpy_core" not in mapped:
            raise AssertionError("the VM does not run the application")
        return self

    def apply(self, module: str, function: str, *arguments: Any) -> Any:
        """Calls an Erlang function."""
        return self.command((Atom("apply"), Atom(module), Atom(function), list(arguments)))

    def python(self, module: str, function: str, *arguments: Any) -> Any:
        """Calls a Python function in the VM."""
        return self.command((Atom("python"), Atom(module), Atom(function), list(arguments)))

    def close(self) -> None:
        """Ends the VM."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> VirtualMachine:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


_EBIN: list[pathlib.Path] = []


def prepare() -> None:
    """Builds what every VM needs."""
    _EBIN[:] = [build.application(), build.erlang_modules()]


def versions() -> dict[str, str]:
    """The versions of Python and of the Erlang runtime that are measured."""
    with VirtualMachine() as machine:
        python = machine.start().python("platform", "python_version")
        runtime = machine.apply("erlang", "system_info", Atom("version"))
    return {"python": python, "erts": "".join(map(chr, runtime))}
