"""PostgreSQL through asyncpg: a pool, transactions, COPY, prepared statements, NOTIFY.

As a program: ``postgresql_asyncpg.py postgresql://user@127.0.0.1:5432/database``. It makes and fills
the table erlang_python_accounts.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import asyncpg

TABLE = "erlang_python_accounts"


class _Regretted(Exception):
    pass


async def bank(dsn: str, accounts: int = 100, transfers: int = 200) -> dict[str, Any]:
    """Make accounts and move money between them, ten transfers at a time; says what is there then."""
    async with asyncpg.create_pool(dsn, min_size=2, max_size=10, timeout=30) as pool:
        await pool.execute(f"DROP TABLE IF EXISTS {TABLE}")
        await pool.execute(f"CREATE TABLE {TABLE} (id int PRIMARY KEY, balance numeric NOT NULL)")
        async with pool.acquire() as connection:
            await connection.copy_records_to_table(
                TABLE, records=[(number, 100) for number in range(accounts)]
            )

        async def transfer(number: int) -> None:
            source, target = number % accounts, number * number % accounts
            async with pool.acquire() as connection, connection.transaction():
                # In one order, so that no two transfers wait for each other.
                for account in sorted({source, target}):
                    await connection.execute(
                        f"SELECT 1 FROM {TABLE} WHERE id = $1 FOR UPDATE", account
                    )
                change = f"UPDATE {TABLE} SET balance = balance + $2 WHERE id = $1"
                await connection.execute(change, source, -1)
                await connection.execute(change, target, 1)

        await asyncio.gather(*map(transfer, range(transfers)))

        try:
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute(f"DELETE FROM {TABLE}")
                raise _Regretted
        except _Regretted:
            pass

        heard: asyncio.Queue[str] = asyncio.Queue()
        async with pool.acquire() as listener:
            await listener.add_listener("erlang_python", lambda *event: heard.put_nowait(event[-1]))
            await pool.execute("SELECT pg_notify('erlang_python', 'all moved')")
            notification = await asyncio.wait_for(heard.get(), 10)
            await listener.reset()

        async with pool.acquire() as connection, connection.transaction():
            cursor = connection.cursor(f"SELECT id FROM {TABLE} ORDER BY id", prefetch=10)
            identifiers = [row["id"] async for row in cursor]

        async with pool.acquire() as connection:
            try:
                await connection.execute("SELECT pg_sleep(30)", timeout=0.1)
                cancelled = False
            except TimeoutError:
                cancelled = True
            # The connection is usable after that.
            total = await connection.fetchval(f"SELECT sum(balance) FROM {TABLE}")
            errors = 0
            try:
                await connection.execute(f"INSERT INTO {TABLE} VALUES (0, 0)")
            except asyncpg.UniqueViolationError:
                errors += 1
    cls = type(asyncio.get_running_loop())
    return {
        "loop": f"{cls.__module__}.{cls.__qualname__}",
        "accounts": len(identifiers),
        "in_order": identifiers == sorted(identifiers),
        "total": int(total),
        "notification": notification,
        "query_cancelled": cancelled,
        "duplicates_refused": errors,
    }


if __name__ == "__main__":
    for name, value in asyncio.run(bank(*sys.argv[1:])).items():
        print(f"{name}: {value}")
