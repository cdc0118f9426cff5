"""Redis through redis.asyncio: a pool of connections, pipelines, a blocking pop, publish/subscribe.

As a program: ``redis_client.py redis://127.0.0.1:6379/0``. Its keys begin with erlang_python:.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import redis.asyncio as redis

PREFIX = "erlang_python:"


async def use(url: str, increments: int = 500) -> dict[str, Any]:
    """Count, collect, wait and listen; says what came of it."""
    pool = redis.BlockingConnectionPool.from_url(
        url, max_connections=10, timeout=30, decode_responses=True
    )
    async with redis.Redis(connection_pool=pool) as client:
        counter, numbers, queue = f"{PREFIX}counter", f"{PREFIX}numbers", f"{PREFIX}queue"
        await client.delete(counter, numbers, queue)

        await asyncio.gather(*(client.incr(counter) for _ in range(increments)))

        async with client.pipeline(transaction=True) as pipeline:
            for number in range(1000):
                pipeline.rpush(numbers, number)
            await pipeline.execute()

        waiting = asyncio.create_task(client.blpop([queue], timeout=20))
        await asyncio.sleep(0.1)
        await client.rpush(queue, "at last")
        popped = await waiting

        async with client.pubsub() as subscription:
            await subscription.subscribe(f"{PREFIX}news")
            while (await subscription.get_message(timeout=10)) is None:
                pass
            for number in range(10):
                await client.publish(f"{PREFIX}news", f"item {number}")
            news = [
                (await subscription.get_message(ignore_subscribe_messages=True, timeout=10))["data"]
                for _ in range(10)
            ]
        big = "ü" * 1_000_000
        await client.set(f"{PREFIX}big", big)
        result = {
            "counter": int(await client.get(counter)),
            "numbers": [int(n) for n in await client.lrange(numbers, 0, -1)] == list(range(1000)),
            "popped": popped[1],
            "news": news == [f"item {n}" for n in range(10)],
            "big_value_arrived": await client.get(f"{PREFIX}big") == big,
        }
    await pool.aclose()
    cls = type(asyncio.get_running_loop())
    return {"loop": f"{cls.__module__}.{cls.__qualname__}", **result}


if __name__ == "__main__":
    for name, value in asyncio.run(use(*sys.argv[1:])).items():
        print(f"{name}: {value}")
