"""The asyncio API of a backend that has only synchronous calls: it runs them in threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from .model.message import Message, Record, TaskInfo, enough
from .protocols import AsyncProducer, Backend, HasAsync, in_one_process

T = TypeVar("T")
_SLICE = 500
"""The longest time in ms for which a waiting call keeps its thread, also after its await was cancelled."""
_WAITERS = 64


class Offloaded:
    """An `AsyncProducer` over a synchronous backend. Waits have threads of their own, so that they never delay an
    enqueue."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._pool = ThreadPoolExecutor(_WAITERS, "pyxqueue-wait")
        # A store inside this process replies at once, or has a clock of its own that a slice would move.
        self._sliced = not in_one_process(backend)

    async def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        return await asyncio.to_thread(self._backend.enqueue, messages)

    async def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        return await asyncio.to_thread(self._backend.show, ids)

    async def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        return await asyncio.to_thread(self._backend.cancel, ids, force)

    async def forget(self, ids: Sequence[str]) -> None:
        await asyncio.to_thread(self._backend.forget, ids)

    async def wait(
        self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None
    ) -> Sequence[Record | None]:
        return await self._in_slices(
            lambda step: self._backend.wait(ids, step, least), lambda records: enough(records, least), timeout_ms
        )

    async def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        def changed(info: TaskInfo | None) -> bool:
            return info is None or info.differs(seen)

        return await self._in_slices(lambda step: self._backend.watch(task_id, seen, step), changed, timeout_ms)

    async def _in_slices(self, wait: Callable[[int | None], T], over: Callable[[T], bool], timeout: int | None) -> T:
        """Wait in a thread in slices, until `over` returns True, the time is up, or the store returns early."""
        loop = asyncio.get_running_loop()
        left = timeout
        while True:
            step: Any = left if not self._sliced else _SLICE if left is None else min(_SLICE, left)
            begun = time.monotonic()
            result = await loop.run_in_executor(self._pool, wait, step)
            early = step is not None and (time.monotonic() - begun) * 1000 < step / 2
            left = None if left is None else left - (step or 0)
            if over(result) or not self._sliced or early or (left is not None and left <= 0):
                return result


def asynchronous(backend: Backend) -> AsyncProducer:
    """Return the backend's own asyncio API if it has one, else one with threads."""
    return backend.asynchronous() if isinstance(backend, HasAsync) else Offloaded(backend)
