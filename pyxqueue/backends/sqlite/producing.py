"""The asyncio side: it waits without a thread, and does the rest in threads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from ...model.message import Record, TaskInfo
from ...offload import Offloaded
from ...protocols import Backend
from .polling import Looked, await_
from .queue import Queue


class Looks(Backend, Protocol):
    """The backend, with the looks that its waiting is made of."""

    def look_for(self, ids: Sequence[str], least: int | None) -> Looked[Sequence[Record | None]]: ...

    def look_at(self, task_id: str, seen: TaskInfo | None) -> Looked[TaskInfo | None]: ...


class SQLiteProducer(Offloaded):
    """The `AsyncProducer` of a SQLite backend."""

    def __init__(self, backend: Looks, queue: Queue) -> None:
        super().__init__(backend)
        self._looks = backend
        self._queue = queue

    async def wait(
        self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None
    ) -> Sequence[Record | None]:
        return await await_(self._queue, partial(self._looks.look_for, ids, least), timeout_ms, ends_only=True)

    async def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        return await await_(self._queue, partial(self._looks.look_at, task_id, seen), timeout_ms, ends_only=False)
