"""The asyncio side: it waits without a thread, and does the rest in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from ...model.message import Record, TaskInfo
from ...offload import Offloaded
from ...protocols import Backend
from .inspector import SQLiteInspector
from .queue import Queue
from .results import SQLiteRecords
from .watch import Looked, Wait

T = TypeVar("T")


class SQLiteProducer(Offloaded):
    """The `AsyncProducer` of a SQLite backend."""

    def __init__(self, backend: Backend, queue: Queue, records: SQLiteRecords, inspector: SQLiteInspector) -> None:
        super().__init__(backend)
        self._queue = queue
        self._records = records
        self._inspector = inspector

    async def wait(
        self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None
    ) -> Sequence[Record | None]:
        return await _wait(self._queue, partial(self._records.look, ids, least), timeout_ms, ends_only=True)

    async def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        return await _wait(self._queue, partial(self._inspector.look, task_id, seen), timeout_ms, ends_only=False)


async def _wait(queue: Queue, look: Callable[[], Looked[T]], timeout_ms: int | None, *, ends_only: bool) -> T:
    """Wait in this event loop: a thread is needed for each look, and none in between."""
    woken = asyncio.Event()
    wake = partial(asyncio.get_running_loop().call_soon_threadsafe, woken.set)
    with Wait(queue, look, timeout_ms, wake, ends_only=ends_only) as waiting:
        while not await asyncio.to_thread(waiting.look):
            with suppress(TimeoutError):
                async with asyncio.timeout(waiting.arm()):
                    await woken.wait()
            woken.clear()
        return waiting.found
