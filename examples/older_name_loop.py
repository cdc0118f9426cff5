"""The older module name erlang_loop: a loop made and set by hand."""

import asyncio

from erlang_loop import ErlangEventLoop

# Create and set the event loop
loop = ErlangEventLoop()
asyncio.set_event_loop(loop)


async def main():
    await asyncio.sleep(1.0)  # Uses erlang:send_after internally
    print("Done!")


loop.run_until_complete(main())
loop.close()
