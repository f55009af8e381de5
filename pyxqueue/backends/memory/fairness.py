"""The `FairLines` protocol on a store in memory."""

from __future__ import annotations

from collections.abc import Sequence

from ...model.fairness import TenantInfo
from .store import Queue


class MemoryFairLines:
    """The `FairLines` protocol."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def tenants(self, count: int) -> Sequence[TenantInfo]:
        with self._queue.store.changed:
            return self._queue.look()[0].fair.tenants()[:count]
