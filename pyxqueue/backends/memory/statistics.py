"""The `HasStatistics` protocol on a store in memory."""

from __future__ import annotations

from ...model.statistics import Statistics, StatisticsBatch
from .store import Queue


class MemoryStatistics:
    """The `HasStatistics` protocol."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._store = queue.store

    def add_statistics(self, batch: StatisticsBatch) -> bool:
        with self._store.changed:
            group, now = self._queue.look()
            return group.registered and group.statistics.accept(batch, now)

    def statistics(self, minutes: int) -> Statistics:
        with self._store.changed:
            group, now = self._queue.look()
            return group.statistics.show(minutes, now)
