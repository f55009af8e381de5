"""The statistics of one group in memory."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from ...model.statistics import MAX_SENDERS, Statistics, StatisticsBatch, TaskCounts, add, show


class GroupStatistics:
    """The statistics of one group. The caller has locked the store."""

    def __init__(self) -> None:
        self.slots: dict[str, str] = {}
        self.senders: dict[str, int] = {}
        """The number of the last batch of each sender."""

    def accept(self, batch: StatisticsBatch, now: int) -> bool:
        if batch.number <= self.senders.get(batch.sender, -1):
            return False
        self.senders[batch.sender] = batch.number
        if len(self.senders) > 2 * MAX_SENDERS:
            largest = heapq.nlargest(MAX_SENDERS, self.senders.items(), key=lambda one: one[1])
            self.senders = dict(largest)
        self.add(batch.tasks, now)
        return True

    def add(self, tasks: Sequence[TaskCounts], now: int) -> None:
        add(self.slots, tasks, now)

    def show(self, minutes: int, now: int) -> Statistics:
        return show(self.slots, minutes, now)

    def __len__(self) -> int:
        return len(self.slots) + len(self.senders)
