"""SQLite through aiosqlite, which keeps each connection in a thread of its own.

As a program: ``sqlite_aiosqlite.py <file>``. It makes the tables words and counts.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from typing import Any

import aiosqlite


async def write(path: str, words: int = 1000) -> dict[str, Any]:
    """Fill a table from several tasks at once, roll one transaction back, read all of it again."""
    async with aiosqlite.connect(path) as database:
        await database.execute(
            "CREATE TABLE words (number INTEGER PRIMARY KEY, word TEXT NOT NULL)"
        )
        await asyncio.gather(
            *(
                database.execute("INSERT INTO words VALUES (?, ?)", (n, f"word {n}"))
                for n in range(words)
            )
        )
        await database.commit()
        await database.execute("DELETE FROM words")
        await database.rollback()
        await database.create_function("backwards", 1, lambda text: text[::-1])
        async with database.execute("SELECT backwards(word) FROM words ORDER BY number") as cursor:
            backwards = [row[0] async for row in cursor]
        try:
            await database.execute("INSERT INTO words VALUES (0, 'again')")
            refused = False
        except sqlite3.IntegrityError:
            refused = True

    async def count(number: int) -> int:
        async with aiosqlite.connect(path) as connection:
            async with connection.execute(
                "SELECT count(*) FROM words WHERE number % 8 = ?", (number,)
            ) as rows:
                return (await rows.fetchone())[0]

    counts = await asyncio.gather(*map(count, range(8)))
    cls = type(asyncio.get_running_loop())
    return {
        "loop": f"{cls.__module__}.{cls.__qualname__}",
        "rows": len(backwards),
        "first": backwards[0],
        "duplicate_refused": refused,
        "counted_by_eight_connections": sum(counts),
    }


if __name__ == "__main__":
    for name, value in asyncio.run(write(*sys.argv[1:])).items():
        print(f"{name}: {value}")
