"""Usage pattern 1, the recommended one: erlang.run()."""

import asyncio

import erlang


async def main():
    await asyncio.sleep(1.0)  # Uses erlang:send_after internally
    print("Done!")


# Simple and clean
erlang.run(main())
