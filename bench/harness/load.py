"""The load that servers are put under: the Go client, and wrk for HTTP where it is installed."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}


class Client:
    """Runs the load generator as a process of its own."""

    def __init__(self, binary: pathlib.Path) -> None:
        self._binary = binary

    @property
    def http_client(self) -> str:
        """Which program makes the HTTP requests."""
        return "wrk" if shutil.which("wrk") else "bench/client"

    def run(self, network: str, port: int, connections: int, seconds: float) -> dict[str, Any]:
        """Load on a port of 127.0.0.1; returns requests, rate, p50_us, p99_us."""
        if network == "http" and shutil.which("wrk"):
            return _wrk(port, connections, seconds)
        command = [str(self._binary), network, "-address", f"127.0.0.1:{port}"]
        command += ["-connections", str(connections), "-duration", f"{seconds}s"]
        answer = json.loads(_output(command, seconds))
        return {**answer, "rate": answer["requests"] / answer["seconds"]}

    def certificate(self, folder: str) -> None:
        """Writes cert.pem and key.pem."""
        subprocess.run([str(self._binary), "certificate", "-folder", folder], check=True)

    @contextlib.contextmanager
    def echo_server(self) -> Iterator[int]:
        """A TCP echo server in Go: what the client reaches with it is the most that it can show."""
        command = [str(self._binary), "serve"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                yield int(server.stdout.readline())
            finally:
                server.kill()


def _output(command: list[str], seconds: float) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode != 0:
        raise RuntimeError(f"{command[:2]}: {done.stderr.strip()}")
    return done.stdout


def _wrk(port: int, connections: int, seconds: float) -> dict[str, Any]:
    whole = max(1, round(seconds))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{whole}s", "--latency"]
    text = _output([*command, f"http://127.0.0.1:{port}/"], whole)
    if "Socket errors" in text or "Non-2xx" in text:
        raise RuntimeError(text)

    def found(pattern: str) -> list[str]:
        match = re.search(pattern, text)
        if match is None:
            raise RuntimeError(f"wrk printed no {pattern}: {text}")
        return list(match.groups())

    def quantile(percent: int) -> float:
        number, unit = found(rf"\b{percent}%\s+([\d.]+)(us|ms|s)\b")
        return float(number) * _UNITS[unit]

    requests = int(found(r"(\d+) requests in")[0])
    return {
        "requests": requests,
        "all": requests,
        "rate": float(found(r"Requests/sec:\s+([\d.]+)")[0]),
        "p50_us": quantile(50),
        "p99_us": quantile(99),
    }
