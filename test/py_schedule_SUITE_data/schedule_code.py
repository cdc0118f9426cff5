"""What py_schedule_SUITE calls."""

import asyncio
import resource
import threading
import time

import erlang


def schedule(name, *args):
    return erlang.schedule(name, *args)


def count_py(n, i=0):
    return i if i == n else erlang.schedule_py("schedule_code", "count_py", [n], {"i": i + 1})


def count_inline(n, i=0):
    return (
        i if i == n else erlang.schedule_inline("schedule_code", "count_inline", [n], {"i": i + 1})
    )


def count_mixed(n, i=0):
    if i == n:
        return erlang.schedule("identity", i)
    step = erlang.schedule_inline if i % 3 else erlang.schedule_py
    return step("schedule_code", "count_mixed", [n, i + 1])


def memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def depth_inline(n, deepest=0):
    """The deepest Python stack that any step saw."""
    deepest = max(deepest, len(_stack()))
    return (
        deepest
        if n == 0
        else erlang.schedule_inline("schedule_code", "depth_inline", [n - 1, deepest])
    )


def depth_py(n, deepest=0):
    deepest = max(deepest, len(_stack()))
    return deepest if n == 0 else erlang.schedule_py("schedule_code", "depth_py", [n - 1, deepest])


def _stack():
    import sys

    frames = []
    frame = sys._getframe()
    while frame:
        frames.append(frame.f_code.co_name)
        frame = frame.f_back
    return frames


def not_returned():
    erlang.schedule("identity", 1)
    erlang.schedule_py("schedule_code", "fail")
    erlang.schedule_inline("schedule_code", "fail")
    return "oops"


def fail(*_args):
    raise LookupError("in a step")


def chain_to(kind, module, func, *args):
    return getattr(erlang, kind)(module, func, args)


def spin_py(seconds, until=0):
    """Goes on for so long, and tells how long."""
    until = until or time.monotonic() + seconds
    return (
        True
        if time.monotonic() > until
        else erlang.schedule_py("schedule_code", "spin_py", [seconds, until])
    )


def spin_inline(seconds, until=0):
    until = until or time.monotonic() + seconds
    if time.monotonic() > until:
        return True
    return erlang.schedule_inline("schedule_code", "spin_inline", [seconds, until])


steps = 0


def endless_py():
    global steps
    steps += 1
    return erlang.schedule_py("schedule_code", "endless_py")


def endless_inline():
    global steps
    steps += 1
    return erlang.schedule_inline("schedule_code", "endless_inline")


def threads_of_steps(n, seen=None):
    seen = seen if seen is not None else set()
    seen.add(threading.get_ident())
    return (
        len(seen)
        if n == 0
        else erlang.schedule_py("schedule_code", "threads_of_steps", [n - 1, seen])
    )


async def coroutine(kind):
    await asyncio.sleep(0)
    if kind == "schedule":
        return erlang.schedule("identity", 5)
    return getattr(erlang, kind)("schedule_code", "add", [2, 3])


async def coroutine_at_once():
    return erlang.schedule_py("schedule_code", "add", [2, 3])


def to_coroutine():
    return erlang.schedule_py("schedule_code", "later", [7])


def to_coroutine_inline():
    return erlang.schedule_inline("schedule_code", "later", [8])


async def later(value):
    await asyncio.sleep(0.001)
    return value


def add(a, b):
    return a + b


def slices(percent):
    """How often it may be called before it says yes."""
    calls = 1
    while not erlang.consume_time_slice(percent):
        calls += 1
    return calls


def slice_in_steps():
    """Each step begins a new slice."""
    erlang.consume_time_slice(60)
    return erlang.schedule_inline("schedule_code", "slice_rest")


def slice_rest():
    return erlang.consume_time_slice(60)


def tight_inline(n, i=0):
    if i == n:
        return n
    return erlang.schedule_inline("schedule_code", "tight_inline", [n, i + 1])


def tight_py(n, i=0):
    if i == n:
        return n
    return erlang.schedule_py("schedule_code", "tight_py", [n, i + 1])


def identity_keeps_objects(box=None):
    """Arguments of a step are the objects themselves, no copies by way of Erlang."""
    if box is None:
        box = [object()]
        return erlang.schedule_inline("schedule_code", "same_object", [box, id(box)])
    return None


def same_object(box, identity):
    return id(box) == identity
