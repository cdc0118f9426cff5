"""The native parts of the loop against asyncio's own: each check runs inside the VM and raises when they differ."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
import socket
from typing import Any

import _erlang
import erlang

MARK: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="none")


def both() -> list[asyncio.AbstractEventLoop]:
    """Our loop and asyncio's, in this order."""
    stock = asyncio.SelectorEventLoop()
    assert type(stock) is not erlang.ErlangEventLoop
    return [erlang.new_event_loop(), stock]


def on_both(check: Any) -> None:
    """``check(loop)`` must give the same on both loops."""
    results = []
    for loop in both():
        try:
            results.append(check(loop))
        finally:
            loop.close()
    assert results[0] == results[1], results


def outcome(function: Any, *args: Any, **kwargs: Any) -> tuple[str, str]:
    """The class and text of what a call raises."""
    try:
        function(*args, **kwargs)
    except BaseException as exc:
        return type(exc).__name__, str(exc)
    return "no exception", ""


def timer_heap_is_heapq() -> None:
    """Pushes and pops in random order leave the same list as heapq's, equal times included."""
    loop = erlang.new_event_loop()
    try:
        for seed in range(200):
            rnd = random.Random(seed)
            expected: list[Any] = []
            actual: list[Any] = []
            for _ in range(rnd.randrange(1, 300)):
                if expected and rnd.random() < 0.4:
                    assert heapq.heappop(expected) is _erlang.timer_heap_pop(actual)
                else:
                    when = rnd.choice([rnd.random(), 1.0, 2, float("inf"), -1.0])
                    handle = asyncio.TimerHandle(when, print, (), loop)
                    heapq.heappush(expected, handle)
                    _erlang.timer_heap_push(actual, handle)
                assert len(expected) == len(actual)
                assert all(a is b for a, b in zip(expected, actual, strict=True))
    finally:
        loop.close()


def timer_heap_refuses() -> None:
    """Wrong arguments and items that cannot be compared raise what heapq raises."""
    for push, pop in (
        (heapq.heappush, heapq.heappop),
        (_erlang.timer_heap_push, _erlang.timer_heap_pop),
    ):
        assert outcome(pop, [])[0] == "IndexError"
        assert outcome(pop, ())[0] == "TypeError"
        assert outcome(push, (), 1)[0] == "TypeError"
        heap = [1]
        assert outcome(push, heap, "x")[0] == "TypeError"


def timer_heap_survives_a_changing_list() -> None:
    """A comparison that empties the list raises, and nothing is freed twice."""

    class Emptier:
        def __lt__(self, other: object) -> bool:
            heap.clear()
            return True

    heap: list[Any] = [Emptier() for _ in range(50)]
    assert outcome(_erlang.timer_heap_push, heap, Emptier())[0] == "RuntimeError"
    heap[:] = [Emptier() for _ in range(50)]
    assert outcome(_erlang.timer_heap_pop, heap)[0] == "RuntimeError"


def handles_look_like_asyncios() -> None:
    """The handles that the native side makes have asyncio's classes and attributes."""

    def check(loop: Any) -> Any:
        soon = loop.call_soon(print, 1, 2)
        later = loop.call_later(5, print, "x")
        at = loop.call_at(loop.time() + 5, print)
        described = [
            (type(h), h._callback, h._args, h._cancelled, h._loop is loop, h._source_traceback)
            for h in (soon, later, at)
        ]
        reprs = [repr(soon), repr(later).split(" when=")[0]]
        for handle in (soon, later, at):
            handle.cancel()
            assert handle.cancelled()
        return described, reprs, isinstance(later.when(), float)

    on_both(check)


def arguments_are_checked_as_by_asyncio() -> None:
    """Missing and named arguments, None for a time, unknown keywords and a closed loop."""

    def check(loop: Any) -> Any:
        kinds = [
            outcome(loop.call_soon),
            outcome(loop.call_later, 1),
            outcome(loop.call_later, None, print),
            outcome(loop.call_at, None, print),
            outcome(loop.call_later, "x", print)[0],
            outcome(loop.call_soon, print, wrong=1),
            outcome(loop.call_soon, print, context=None, wrong=1)[0],
            outcome(loop.call_soon, print, callback=print),
            outcome(loop.call_soon, callback=print),
            outcome(loop.call_later, delay=1, callback=print, context=None),
            outcome(loop.call_later, 1, callback=print),
            outcome(loop.call_at, when=1.0, callback=print),
        ]
        loop.close()
        return kinds, outcome(loop.call_soon, print), outcome(loop.call_later, 1, print)

    on_both(check)


def contexts_are_kept() -> None:
    """A callback runs in the context of its call, or in the one given."""

    def check(loop: Any) -> Any:
        seen: list[str] = []
        context = contextvars.copy_context()
        context.run(MARK.set, "given")
        loop.call_soon(lambda: seen.append(MARK.get()))
        loop.call_soon(lambda: seen.append(MARK.get()), context=context)
        loop.call_later(0, lambda: (seen.append(MARK.get()), loop.stop()), context=context)
        loop.run_forever()
        return seen

    on_both(check)


def exceptions_reach_the_handler() -> None:
    """A callback that raises is reported as asyncio reports it, and the others run."""

    def check(loop: Any) -> Any:
        reports: list[Any] = []
        ran: list[int] = []
        loop.set_exception_handler(
            lambda _, c: reports.append(
                (sorted(c), c["message"].split(" at ")[0], repr(c["exception"]), type(c["handle"]))
            )
        )

        def fail(value: int) -> None:
            raise ValueError(value)

        loop.call_soon(fail, 1)
        loop.call_soon(ran.append, 2)
        loop.call_later(0, fail, 3)
        loop.call_later(0.01, loop.stop)
        loop.run_forever()
        return reports, ran

    on_both(check)


def system_exit_ends_the_run_only() -> None:
    """SystemExit leaves run_forever() with the other callbacks still ready; the loop runs on."""

    def check(loop: Any) -> Any:
        ran: list[int] = []

        def leave() -> None:
            raise SystemExit(3)

        loop.call_soon(leave)
        loop.call_soon(ran.append, 1)
        first = outcome(loop.run_forever)
        before = list(ran)
        loop.call_soon(loop.stop)
        loop.run_forever()
        return first, before, ran

    on_both(check)


def callbacks_of_callbacks_wait_a_turn() -> None:
    """What a callback makes ready runs after a look at the timers and sockets."""

    def check(loop: Any) -> Any:
        order: list[str] = []

        def first() -> None:
            order.append("first")
            loop.call_soon(order.append, "of first")
            loop.call_later(-1, order.append, "timer")

        loop.call_soon(first)
        loop.call_soon(order.append, "second")
        loop.call_later(0.02, loop.stop)
        loop.run_forever()
        return order

    on_both(check)


def subclasses_keep_their_methods() -> None:
    """A loop class with a call_soon of its own has it called."""
    calls: list[str] = []

    class Mine(erlang.ErlangEventLoop):
        def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
            calls.append("soon")
            return super().call_soon(callback, *args, context=context)

    loop = Mine()
    try:
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()
    assert calls


def sockets_raise_as_pythons() -> None:
    """recv and send of the native side raise what socket.recv() and send() raise."""
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        assert outcome(_erlang.socket_recv, left.fileno())[0] == outcome(left.recv, 1)[0]
        right.send(b"abc")
        assert _erlang.socket_recv(left.fileno()) == b"abc"
        right.close()
        assert _erlang.socket_recv(left.fileno()) == b""
        assert outcome(_erlang.socket_send, left.fileno(), b"x")[0] == "BrokenPipeError"
        assert outcome(_erlang.socket_send, left.fileno(), "text")[0] == "TypeError"
    assert outcome(_erlang.socket_recv, -1)[0] == "ValueError"


def sockets_never_block() -> None:
    """Not even one that a duplicate, which shares that property, was made to block by."""
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        with left.dup() as duplicate:
            duplicate.setblocking(True)
            assert outcome(_erlang.socket_recv, left.fileno())[0] == "BlockingIOError"
            sent = 0
            try:
                while True:
                    sent += _erlang.socket_send(left.fileno(), bytes(100_000))
            except BlockingIOError:
                assert sent > 0
