"""Backends whose records are wrong at their corners: in their fencing tokens, in how long they live, in what goes
with them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from attrs import evolve

from pyxqueue.backends.memory import MemoryBackend
from pyxqueue.backends.memory.entry import Entry, Place
from pyxqueue.backends.memory.group import Group
from pyxqueue.message import Failure, Record, TaskStatus

from .wrong import Collection

COLLECTION = Collection()
breaks = COLLECTION.breaks


@breaks("R1")
class RefusedRecordRenewsTheTtl(Group):
    def put(self, record: Record, now: int) -> None:
        stored = self.read(record.id, now)
        super().put(record, now)
        if stored is not None and stored.fence > record.fence:
            self.tasks[record.id].record = evolve(stored, ttl_ms=record.ttl_ms)


@breaks("R1")
class FenceOutlivesItsRecord(Group):
    _fence = 0

    def put(self, record: Record, now: int) -> None:
        if record.fence >= self._fence:
            super().put(record, now)

    def forget(self, task_id: str, now: int) -> None:
        stored = self.read(task_id, now)
        self._fence = stored.fence if stored else 0
        super().forget(task_id, now)


@breaks("R1")
class NoFenceAlwaysWins(Group):
    def put(self, record: Record, now: int) -> None:
        if record.fence == 0:
            self.forget(record.id, now)
        super().put(record, now)


@breaks("R1")
class SettledRecordsHaveNoFence(Group):
    def end(self, entry: Entry, place: Place, record: Record, now: int) -> None:
        super().end(entry, place, evolve(record, fence=0), now)


@breaks("R1")
class BareEndReplacesWhatWasPut(Group):
    def bare(self, entry: Entry, now: int, status: TaskStatus, error: Failure | None = None) -> Record:
        return self.minimal(entry, status, error)


@breaks("R1")
class BareEndKeepsWhatAnEarlierHolderPut(Group):
    def bare(self, entry: Entry, now: int, status: TaskStatus, error: Failure | None = None) -> Record:
        return entry.readable(now) or self.minimal(entry, status, error)


@breaks("R1")
class MadeRecordsHaveNoFence(Group):
    def minimal(self, entry: Entry, status: TaskStatus, error: Failure | None = None) -> Record:
        return evolve(super().minimal(entry, status, error), fence=0)


@breaks("R2")
class WaitWithoutTimeIsForEver(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        return super().wait(ids, timeout_ms or None, least)


@breaks("R2")
class WaitCountsTheRecords(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        if len(set(ids)) < len(ids) and timeout_ms is None:
            time.sleep(2)  # the fault itself: longer than the test's patience
        return super().wait(ids, timeout_ms, least)


@breaks("R2")
class WaitsForWhatHasEnded(Group):
    """The task is known, so its record may come."""

    def may_come(self, task_id: str) -> bool:
        return task_id in self.tasks


@breaks("R3")
class ZeroTtlIsForEver(Group):
    def put(self, record: Record, now: int) -> None:
        super().put(evolve(record, ttl_ms=record.ttl_ms or 10**12), now)


@breaks("R3")
class ReadingRenews(Group):
    def read(self, task_id: str, now: int) -> Record | None:
        record = super().read(task_id, now)
        if record is not None:
            self.tasks[task_id].record = evolve(record, ended_ms=now)
        return record


@breaks("R4")
class ForgetTakesTheProgress(Group):
    def forget(self, task_id: str, now: int) -> None:
        if entry := self.tasks.get(task_id):
            entry.progress = None
        super().forget(task_id, now)


@breaks("R4")
class ForgetTakesTheRow(Group):
    def forget(self, task_id: str, now: int) -> None:
        super().forget(task_id, now)
        entry = self.tasks.get(task_id)
        if entry is not None and entry.place is Place.PAST:
            self.remove(entry)
