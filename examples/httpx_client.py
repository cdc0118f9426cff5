"""An httpx client of fastapi_application.py: many requests at once, a stream, a thread.

As a program: ``httpx_client.py http://127.0.0.1:8000``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import httpx


async def visit(url: str, requests: int = 100) -> dict[str, Any]:
    """What the application answers, and over how many connections."""
    opened: list[str] = []

    async def trace(event: str, _: Any) -> None:
        if event == "connection.connect_tcp.complete":
            opened.append(event)

    limits = httpx.Limits(max_connections=10)
    async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as client:
        page = (await client.get("/")).json()
        answers = await asyncio.gather(
            *(
                client.get(f"/items/{n}", params={"q": "ü"}, extensions={"trace": trace})
                for n in range(requests)
            )
        )
        async with client.stream("GET", "/stream/1000") as response:
            lines = [line async for line in response.aiter_lines()]
        thread = (await client.get("/thread")).json()
        invalid = (await client.post("/jobs", json={"dividend": "many"})).status_code
        await client.post("/jobs", json={"dividend": 1, "divisor": 8})
        results: list[float] = []
        while not results:
            results = (await client.get("/results")).json()
    cls = type(asyncio.get_running_loop())
    return {
        "loop": f"{cls.__module__}.{cls.__qualname__}",
        "page": page,
        "items": [answer.json() for answer in answers]
        == [{"item_id": n, "q": "ü"} for n in range(requests)],
        "connections": len(opened),
        "lines": len(lines),
        "last_line": lines[-1],
        "thread": thread["runs"],
        "invalid": invalid,
        "results": results,
    }


if __name__ == "__main__":
    for name, value in asyncio.run(visit(*sys.argv[1:])).items():
        print(f"{name}: {value}")
