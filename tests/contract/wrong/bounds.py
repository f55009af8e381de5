"""Backends that break B13, each in one small way."""

from __future__ import annotations

import heapq

from pyxqueue.model.message import evolve
from pyxqueue.protocols import StoreOptions

from .prelude import Entry, Group, MemoryBackend, MemoryStore, Place, breaks, m


@breaks("B13")
class HistoryIsNotCapped(Group):
    def trim(self, limit: int, now: int) -> int:
        self.sweep(now)
        return 0


@breaks("B13")
class TrimDropsTheNewest(Group):
    def trim(self, limit: int, now: int) -> int:
        history = self.lines[Place.HISTORY]
        for task_id in reversed(list(history)):
            history.move_to_end(task_id)
        return super().trim(limit, now)


@breaks("B13")
class RecordGoesWithTheHistory(Group):
    def move(self, entry: Entry, place: Place, now: int) -> None:
        if place is Place.REMEMBERED:
            entry.record = None
        super().move(entry, place, now)


@breaks("B13")
class NothingIsForgotten(Group):
    def sweep(self, now: int) -> None:
        return


@breaks("B13")
class IdsAreNeverForgotten(Group):
    def sweep(self, now: int) -> None:
        records = [entry for entry in self.lines[Place.REMEMBERED].values() if entry.forget_at <= now]
        for entry in records:
            entry.record = None
            entry.known_until = now + 1
            heapq.heappush(self._forget, (now + 1, entry.id))
        super().sweep(now)


@breaks("B13")
class TrimsOneForOne(Group):
    def trim(self, limit: int, now: int) -> int:
        return super().trim(max(limit, len(self.lines[Place.HISTORY]) - 1), now)


@breaks("B13")
class NoHistoryIsAllHistory(MemoryBackend):
    def __init__(self, store: MemoryStore, options: StoreOptions) -> None:
        super().__init__(store, evolve(options, history=options.history or 10_000))


class Leaving(Group):
    """Leaves rows behind in a table of its own."""

    rows = 0

    def footprint(self) -> int:
        return super().footprint() + self.rows


@breaks("B13")
class ProgressIsLeft(Leaving):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        self.rows += extension.progress is not None
        return super().extend(extension, now)


@breaks("B13")
class WayBackIsLeft(Leaving):
    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        self.rows += 1
        super()._put_back(entry, delay, now)


@breaks("B13")
class RefusedSettlementIsLeft(Leaving):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        accepted = super().settle(settlement, now)
        self.rows += not accepted
        return accepted


@breaks("B13")
class FollowedIsLeft(Leaving):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        self.rows += bool(settlement.then)
        return super().settle(settlement, now)


@breaks("B13")
class AdoptionIsLeft(Leaving):
    def adopt(self, task: m.TaskInfo, now: int) -> bool:
        self.rows += 1
        return super().adopt(task, now)


@breaks("B13")
class RefusalIsLeft(Leaving):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        accepted = super().settle(settlement, now)
        self.rows += not accepted
        return accepted


@breaks("B13")
class RemovedGroupsLeaveTheirTasks(MemoryBackend):
    def remove_group(self, group: str) -> None:
        groups = self._queue.groups()
        left = len(groups[group].tasks) if group in groups else 0
        super().remove_group(group)
        own = self._queue.look()[0]
        own.consumers.update({f"{group}-{number}": self._store.clock() for number in range(left)})
