"""The `FairLines` protocol on a SQLite file."""

from __future__ import annotations

from collections.abc import Sequence

from ...model.fairness import TenantInfo
from .queue import Queue


class SQLiteFairLines:
    """The `FairLines` protocol."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def tenants(self, count: int) -> Sequence[TenantInfo]:
        with self._queue.read() as groups:
            return groups.mine.gates.lines.tenants(count)
