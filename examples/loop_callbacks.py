"""Interacting with a loop directly: a coroutine, a callback soon, a callback later."""

import erlang


async def my_coroutine():
    return "result of the coroutine"


def my_callback(when):
    print(f"callback {when}")


# Get an event loop
loop = erlang.new_event_loop()

# Run a coroutine in the event loop
result = loop.run_until_complete(my_coroutine())
print(result)

# Schedule a callback
loop.call_soon(my_callback, "soon")

# Schedule a delayed callback
loop.call_later(0.5, my_callback, "later")
loop.call_later(0.6, loop.stop)

loop.run_forever()
loop.close()
