"""What py_callback_SUITE calls."""

import asyncio
import concurrent.futures
import contextlib
import random
import sys
import threading
import time

import erlang


def call(name, *args):
    return erlang.call(name, *args)


def attribute(name, *args):
    return getattr(erlang, name)(*args)


def has_attribute(name):
    return hasattr(erlang, name)


def describe_error(name, *args):
    try:
        erlang.call(name, *args)
    except erlang.ErlangError as error:
        return {
            "type": type(error).__name__,
            "text": str(error),
            "class": error.error_class,
            "reason": error.reason,
            "stack": error.stack,
        }
    return None


def short_timeouts(count, name):
    """Calls that take and may take less than a millisecond."""
    for _ in range(count):
        with contextlib.suppress(TimeoutError):
            erlang.call(name, random.randrange(400), timeout=random.randrange(1, 500) * 1e-6)


def with_timeout(seconds, name, *args):
    started = time.monotonic()
    try:
        return ("value", erlang.call(name, *args, timeout=seconds))
    except TimeoutError:
        return ("timeout", time.monotonic() - started)


def nest(depth, name="nest"):
    """The threads that the levels ran on; every level gets the answer that belongs to it."""
    if depth == 0:
        return [threading.get_ident()]
    below = erlang.call(name, depth - 1)
    return [*below, threading.get_ident()]


def nest_to_error(depth):
    if depth == 0:
        raise LookupError("the bottom")
    return erlang.call("nest_to_error", depth - 1)


def threads(count, each):
    """The number of answers that each of so many threads got for its own calls, at random speeds."""
    wrong = []
    done = []

    def work(number):
        chance = random.Random(number)
        for i in range(each):
            value = (number, i)
            answer = tuple(erlang.call("delayed", value, chance.randrange(4)))
            if answer != value:
                wrong.append((value, answer))
        done.append(number)

    started = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return len(done), wrong


def executor(count):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda number: erlang.call("identity", number), range(count)))


async def loop_callback():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_soon(lambda: future.set_result(erlang.call("identity", "soon")))
    return await future


async def async_call(name, *args):
    return await erlang.async_call(name, *args)


async def async_many(count):
    answers = await asyncio.gather(*(erlang.async_call("delayed", i, i % 5) for i in range(count)))
    return answers == list(range(count))


async def async_cancelled():
    future = erlang.async_call("delayed", 1, 50)
    future.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await future
        return "not cancelled"
    await asyncio.sleep(0.1)
    return await erlang.async_call("identity", "after")


async def async_timeout():
    try:
        await asyncio.wait_for(erlang.async_call("delayed", 1, 5000), 0.02)
    except asyncio.TimeoutError:
        return "timeout"


async def async_error(name):
    try:
        await erlang.async_call(name)
    except erlang.ErlangError as error:
        return (type(error).__name__, error.error_class)


def on_stock_loop(count):
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        name = type(runner.get_loop()).__name__
        return name, runner.run(async_many(count)), runner.run(async_error("fail_error"))


def closed_loop():
    """An answer for a loop that is closed is dropped."""
    loop = asyncio.SelectorEventLoop()

    async def leave():
        erlang.async_call("delayed", 1, 50)

    loop.run_until_complete(leave())
    loop.close()
    time.sleep(0.1)
    return erlang.call("identity", "fine")


def send(destination, message):
    erlang.send(destination, message)


def send_error(destination):
    try:
        erlang.send(destination, "message")
    except erlang.ProcessError as error:
        return str(error)


def send_from_thread(destination, message):
    thread = threading.Thread(target=erlang.send, args=(destination, message))
    thread.start()
    thread.join()


def send_error_in_thread(destination):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(send_error, destination).result()


def me():
    return erlang.self()


def me_in_thread():
    def ask():
        try:
            return erlang.self()
        except erlang.ProcessError:
            return "nobody"

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(ask).result()


async def me_async():
    first = erlang.self()
    await asyncio.sleep(0.01)
    second = await asyncio.create_task(me_later())
    return first, second


async def me_later():
    await asyncio.sleep(0.01)
    return erlang.self()


async def me_around_nested():
    """A nested call runs for the callback's process; the coroutine around it for its own."""
    before = erlang.self()
    inner = erlang.call("nested_me")
    return before, inner, erlang.self()


def sleep(seconds):
    started = time.monotonic()
    erlang.sleep(seconds)
    return time.monotonic() - started


async def sleep_async(seconds):
    started = time.monotonic()
    await asyncio.gather(*(erlang.sleep(seconds) for _ in range(50)))
    return time.monotonic() - started


async def tell_later(destination, message):
    await asyncio.sleep(0.01)
    erlang.send(destination, (message, erlang.self()))


def spawn(destination, message):
    task = erlang.spawn_task(tell_later(destination, message), name="teller")
    return isinstance(task, asyncio.Task), task.get_name()


async def spawn_in_loop(destination, message):
    task = erlang.spawn_task(tell_later(destination, message))
    same = task.get_loop() is asyncio.get_running_loop()
    await task
    return same, type(task.get_loop()).__name__


def spawn_on_stock_loop(destination, message):
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(spawn_in_loop(destination, message))


async def set_debug(flag):
    asyncio.get_running_loop().set_debug(flag)


def spawn_with_factory():
    """The thread of the default loop, and those in which its task factory and the tasks' steps ran."""
    seen = []

    async def own_thread():
        return threading.get_ident()

    async def steps():
        seen.append(threading.get_ident())
        await asyncio.sleep(0)
        seen.append(threading.get_ident())

    def factory(loop, coro, **options):
        seen.append(threading.get_ident())
        eager = sys.version_info >= (3, 12)
        return asyncio.Task(coro, loop=loop, **options, **({"eager_start": True} if eager else {}))

    def finish(task, seconds=10):
        deadline = time.monotonic() + seconds
        while not task.done() and time.monotonic() < deadline:
            erlang.sleep(0.001)
        return task.result()

    first = erlang.spawn_task(own_thread())
    thread = finish(first)
    loop = first.get_loop()
    loop.set_task_factory(factory)
    try:
        for task in [erlang.spawn_task(steps()) for _ in range(100)]:
            finish(task)
    finally:
        loop.set_task_factory(None)
    return thread, seen


def spawn_many(count):
    """Tasks that nobody keeps are not collected."""
    seen = []

    async def note(i):
        await asyncio.sleep(0.001)
        seen.append(i)

    for i in range(count):
        erlang.spawn_task(note(i))
    deadline = time.monotonic() + 10
    while len(seen) < count and time.monotonic() < deadline:
        erlang.sleep(0.01)
    return sorted(seen) == list(range(count))
