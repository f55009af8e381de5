"""Backends that wake nobody, and that leave something behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyxqueue.backends.memory.entry import Entry
from pyxqueue.backends.memory.group import Group
from pyxqueue.message import Cancelled, Extension, Fail, LeaseStatus, Record, Settlement, TaskInfo

from .wrong import Collection

COLLECTION = Collection()
breaks = COLLECTION.breaks


class Quiet(Group):
    """Tells nobody of something."""

    @contextmanager
    def quiet(self, really: object = True) -> Iterator[None]:
        changed = self._changed
        if really:
            self._changed = lambda: None
        yield
        self._changed = changed


@breaks("B2")
class RequeueWakesNoClaim(Quiet):
    def requeue(self, task_id: str, now: int) -> bool:
        with self.quiet():
            return super().requeue(task_id, now)


@breaks("B2")
class WhatIsHandedBackWakesNoClaim(Quiet):
    def put_back(self, entry: Entry, delay: int, now: int) -> None:
        with self.quiet():
            super().put_back(entry, delay, now)


@breaks("B2")
class FollowUpsWakeNoClaim(Quiet):
    def settle(self, settlement: Settlement, now: int) -> bool:
        with self.quiet(settlement.then):
            return super().settle(settlement, now)


@breaks("B2")
class AdoptionWakesNoClaim(Quiet):
    def adopt(self, task: TaskInfo, now: int) -> bool:
        with self.quiet():
            return super().adopt(task, now)


@breaks("R2")
class FailureWakesNobody(Quiet):
    def apply(self, entry: Entry, settlement: Settlement, now: int) -> None:
        with self.quiet(isinstance(settlement.verdict, Fail)):
            super().apply(entry, settlement, now)


@breaks("R2")
class ObeyingWakesNobody(Quiet):
    def apply(self, entry: Entry, settlement: Settlement, now: int) -> None:
        with self.quiet(isinstance(settlement.verdict, Cancelled)):
            super().apply(entry, settlement, now)


@breaks("R2")
class CancellationAtAReleaseWakesNobody(Quiet):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        with self.quiet():
            return super().release(consumer, started, now)


@breaks("I6")
class FailureWakesNoWatch(FailureWakesNobody):
    pass


@breaks("I6")
class CancellationWakesNoWatch(Quiet):
    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        with self.quiet():
            return super().cancel(task_id, now, force=force)


class Leaving(Group):
    """Leaves rows behind in a table of its own."""

    rows = 0

    def footprint(self) -> int:
        return super().footprint() + self.rows


@breaks("B13")
class ProgressIsLeft(Leaving):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        self.rows += extension.progress is not None
        return super().extend(extension, now)


@breaks("B13")
class WayBackIsLeft(Leaving):
    def put_back(self, entry: Entry, delay: int, now: int) -> None:
        self.rows += 1
        super().put_back(entry, delay, now)


@breaks("B13")
class RefusedSettlementIsLeft(Leaving):
    def settle(self, settlement: Settlement, now: int) -> bool:
        accepted = super().settle(settlement, now)
        self.rows += not accepted
        return accepted


@breaks("B13")
class FollowedIsLeft(Leaving):
    def settle(self, settlement: Settlement, now: int) -> bool:
        self.rows += bool(settlement.then)
        return super().settle(settlement, now)


@breaks("B13")
class AdoptionIsLeft(Leaving):
    def adopt(self, task: TaskInfo, now: int) -> bool:
        self.rows += 1
        return super().adopt(task, now)


@breaks("B13")
class ForeignRecordIsLeft(Leaving):
    def put(self, record: Record, now: int) -> None:
        self.rows += 1
        super().put(record, now)
