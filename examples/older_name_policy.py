"""The older module name erlang_loop: its event loop policy."""

import asyncio

from erlang_loop import get_event_loop_policy

asyncio.set_event_loop_policy(get_event_loop_policy())


async def main():
    # Uses ErlangEventLoop automatically
    await asyncio.sleep(0.5)
    print("Done!")


asyncio.run(main())
