"""Usage pattern 2: asyncio.Runner with a loop factory."""

import asyncio

import erlang


async def main():
    await asyncio.sleep(1.0)
    print("Done!")


with asyncio.Runner(loop_factory=erlang.new_event_loop) as runner:
    runner.run(main())
