"""Usage pattern 3: erlang.install(), which warns on Python 3.12 and later."""

import asyncio

import erlang


async def main():
    await asyncio.sleep(1.0)
    print("Done!")


erlang.install()  # Deprecated in 3.12+, use erlang.run() instead
asyncio.run(main())
