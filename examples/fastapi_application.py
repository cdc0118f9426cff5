"""A FastAPI application with work of its own in the background.

Jobs are divisions. A division by zero is a mistake that nobody foresaw: it ends ``work``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel


class Job(BaseModel):
    """What to divide by what."""

    dividend: float
    divisor: float


def create_application() -> FastAPI:
    """A new application, with an empty queue of jobs."""
    application = FastAPI()
    application.state.jobs = asyncio.Queue()
    application.state.results = []

    @application.get("/")
    async def index() -> dict[str, str]:
        cls = type(asyncio.get_running_loop())
        return {"loop": f"{cls.__module__}.{cls.__qualname__}"}

    @application.get("/items/{item_id}")
    async def item(item_id: int, q: str | None = None) -> dict[str, Any]:
        return {"item_id": item_id, "q": q}

    @application.get("/thread")
    def in_thread() -> dict[str, str]:
        """A plain function: FastAPI runs it in a thread of anyio's pool."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return {"runs": "in a thread"}
        return {"runs": "on the loop"}

    @application.get("/stream/{lines}")
    async def stream(lines: int, pause: float = 0) -> StreamingResponse:
        async def text() -> AsyncIterator[str]:
            for number in range(lines):
                yield f"line {number}\n"
                await asyncio.sleep(pause)

        return StreamingResponse(text(), media_type="text/plain")

    @application.post("/jobs", status_code=202)
    async def submit(job: Job, request: Request) -> dict[str, int]:
        await request.app.state.jobs.put(job)
        return {"waiting": request.app.state.jobs.qsize()}

    @application.get("/results")
    async def results(request: Request) -> list[float]:
        return request.app.state.results

    return application


async def work(application: FastAPI) -> None:
    """Do the jobs of the application, until cancelled or until one goes wrong."""
    while True:
        job = await application.state.jobs.get()
        application.state.results.append(job.dividend / job.divisor)
