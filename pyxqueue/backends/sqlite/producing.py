"""The asyncio side: it waits without a thread, and does the rest in threads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ...model.message import Record, TaskInfo
from ...offload import Offloaded
from ...protocols import Backend
from .inspector import SQLiteInspector
from .queue import Queue
from .results import SQLiteRecords
from .watch import await_


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
        return await await_(self._queue, partial(self._records.look, ids, least), timeout_ms, ends_only=True)

    async def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        return await await_(self._queue, partial(self._inspector.look, task_id, seen), timeout_ms, ends_only=False)
