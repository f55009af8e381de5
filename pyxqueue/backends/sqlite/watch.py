"""Waiting for what the tasks of a file become, in a thread or in an event loop; the file's `Poller` wakes both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from ...clock import deadline_after, is_over, seconds_left
from .polling import Seen, Waiter, poller_of
from .queue import Queue

T = TypeVar("T")
Looked = tuple[T, bool, Seen]
"""What a look has found, whether that is final, and the traces of the tasks that it is to wait for."""


def wait(queue: Queue, look: Callable[[], Looked[T]], timeout: int | None, *, ends_only: bool) -> T:
    """Look until the answer is final, or the timeout is over; asleep while nothing changes for it."""
    deadline = deadline_after(timeout)
    answer, final, seen = look()
    if final or is_over(deadline):
        return answer
    woken, poller = threading.Event(), poller_of(queue.store.location.path)
    waiter = Waiter(queue, woken.set, ends_only)
    try:
        while not final and not is_over(deadline):
            woken.clear()
            poller.arm(waiter, seen)
            woken.wait(seconds_left(deadline))
            waiter.check()
            answer, final, seen = look()
    finally:
        poller.disarm(waiter)
    return answer


async def await_(queue: Queue, look: Callable[[], Looked[T]], timeout: int | None, *, ends_only: bool) -> T:
    """`wait` for asyncio: a thread is needed for each look, and none while nothing changes."""
    deadline = deadline_after(timeout)
    answer, final, seen = await asyncio.to_thread(look)
    loop, woken, poller = asyncio.get_running_loop(), asyncio.Event(), poller_of(queue.store.location.path)
    waiter = Waiter(queue, partial(loop.call_soon_threadsafe, woken.set), ends_only)
    try:
        while not final and not is_over(deadline):
            woken.clear()
            poller.arm(waiter, seen)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds_left(deadline)):
                    await woken.wait()
            waiter.check()
            answer, final, seen = await asyncio.to_thread(look)
    finally:
        poller.disarm(waiter)
    return answer
