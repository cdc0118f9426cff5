"""A coroutine object does nothing until an event loop runs it."""

import asyncio

import erlang


async def hello_world():
    print("hello world!")
    return 42


hello_world_coroutine = hello_world()
print(hello_world_coroutine)

event_loop = erlang.new_event_loop()
asyncio.set_event_loop(event_loop)
try:
    print("entering event loop")
    result = event_loop.run_until_complete(hello_world_coroutine)
    print(result)
finally:
    event_loop.close()
