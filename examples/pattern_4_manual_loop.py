"""Usage pattern 4: a loop managed by hand."""

import asyncio

import erlang


async def main():
    await asyncio.sleep(1.0)
    print("Done!")


loop = erlang.new_event_loop()
asyncio.set_event_loop(loop)
try:
    loop.run_until_complete(main())
finally:
    loop.close()
