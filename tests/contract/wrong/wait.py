"""Backends that break R2, each in one small way."""

from __future__ import annotations

import time
from collections.abc import Sequence

from .prelude import Entry, Group, MemoryBackend, Place, Quiet, breaks, m


@breaks("R2")
class SettlementWakesNobody(Quiet):
    def _end(self, entry: Entry, place: Place, record: m.Record, now: int) -> None:
        with self.quiet():
            super()._end(entry, place, record, now)


@breaks("R2")
class WakesOneWaiterOnly(Group):
    def _end(self, entry: Entry, place: Place, record: m.Record, now: int) -> None:
        changed, self._changed = self._changed, lambda: None
        super()._end(entry, place, record, now)
        changed.__self__.notify()  # type: ignore[attr-defined] # a bound method of the condition
        self._changed = changed


@breaks("R2")
class WaitReturnsWithTheFirst(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[m.Record | None]:
        for task_id in ids:
            super().wait([task_id], timeout_ms)
            break
        return super().wait(ids, 0)


@breaks("R2")
class WaitWantsAllThereAre(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[m.Record | None]:
        return super().wait(ids, timeout_ms)


@breaks("R2")
class WaitIsContentWithOne(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[m.Record | None]:
        return super().wait(ids, timeout_ms, least and 1)


@breaks("R2")
class WaitIgnoresItsTimeout(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[m.Record | None]:
        return super().wait(ids, None if timeout_ms else timeout_ms, least)


@breaks("R2")
class WaitIsOneLook(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[m.Record | None]:
        return super().wait(ids, 0)


@breaks("R2")
class WaitHangsOnTheUnknown(Group):
    def may_come(self, task_id: str) -> bool:
        return True


@breaks("R2")
class DeletionWakesNobody(Quiet):
    def remove(self, entry: Entry) -> None:
        with self.quiet():
            super().remove(entry)


@breaks("R2")
class WaitLooksOnlyWhenWoken(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[m.Record | None]:
        with self._store.changed:
            self._store.changed.wait(None if timeout_ms is None else timeout_ms / 1000)
        return super().wait(ids, 0, least)


@breaks("R2")
class WaitWithoutTimeIsForEver(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[m.Record | None]:
        return super().wait(ids, timeout_ms or None, least)


@breaks("R2")
class WaitCountsTheRecords(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[m.Record | None]:
        if len(set(ids)) < len(ids) and timeout_ms is None:
            time.sleep(2)  # the fault itself: longer than the test's patience
        return super().wait(ids, timeout_ms, least)


@breaks("R2")
class WaitsForWhatHasEnded(Group):
    """The task is known, so its record may come."""

    def may_come(self, task_id: str) -> bool:
        return task_id in self.tasks


@breaks("R2")
class WaitsForNothing(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[m.Record | None]:
        if not ids:
            time.sleep(2)  # the fault itself: longer than the test's patience
        return super().wait(ids, timeout_ms, least)


@breaks("R2")
class FailureWakesNobody(Quiet):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        with self.quiet(isinstance(settlement.verdict, m.Fail)):
            super()._apply(entry, settlement, now)


@breaks("R2")
class ObeyingWakesNobody(Quiet):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        with self.quiet(isinstance(settlement.verdict, m.Cancelled)):
            super()._apply(entry, settlement, now)


@breaks("R2")
class CancellationAtAReleaseWakesNobody(Quiet):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        with self.quiet():
            return super().release(consumer, started, now)


@breaks("R2")
class WaitTakesNaps(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[m.Record | None]:
        while timeout_ms is None and None in super().wait(ids, 0):
            time.sleep(0.1)  # the fault itself
        return super().wait(ids, timeout_ms, least)
