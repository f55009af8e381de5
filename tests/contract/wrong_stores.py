"""Backends that break R1 to R5, each in one small way."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from pyxqueue.backends.memory import MemoryBackend
from pyxqueue.backends.memory.entry import Entry, Place
from pyxqueue.backends.memory.group import Group
from pyxqueue.message import Record

from .wrong import Collection

COLLECTION = Collection()
breaks = COLLECTION.breaks


@breaks("R1")
class LowerFenceWins(Group):
    def put(self, record: Record, now: int) -> None:
        self.forget(record.id, now)
        super().put(record, now)


@breaks("R1")
class FirstRecordWins(Group):
    def put(self, record: Record, now: int) -> None:
        if self.read(record.id, now) is None:
            super().put(record, now)


@breaks("R1")
class FencesAreText(Group):
    def put(self, record: Record, now: int) -> None:
        stored = self.read(record.id, now)
        if stored is None or str(stored.fence) <= str(record.fence):
            self.forget(record.id, now)
            super().put(record, now)


@breaks("R1")
class FencesHave64Bits(Group):
    def put(self, record: Record, now: int) -> None:
        super().put(evolve(record, fence=record.fence % 2**64), now)


@breaks("R2")
class PutWakesNobody(Group):
    def put(self, record: Record, now: int) -> None:
        changed, self._changed = self._changed, lambda: None
        super().put(record, now)
        self._changed = changed


@breaks("R2")
class SettlementWakesNobody(Group):
    def end(self, entry: Entry, place: Place, record: Record, now: int) -> None:
        changed, self._changed = self._changed, lambda: None
        super().end(entry, place, record, now)
        self._changed = changed


@breaks("R2")
class WakesOneWaiterOnly(Group):
    def put(self, record: Record, now: int) -> None:
        changed, self._changed = self._changed, lambda: None
        super().put(record, now)
        changed.__self__.notify()  # type: ignore[attr-defined]
        self._changed = changed


@breaks("R2")
class WaitAnswersWithTheFirst(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        for task_id in ids:
            super().wait([task_id], timeout_ms)
            break
        return self.get(ids)


@breaks("R2")
class WaitWantsAllThereAre(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        return super().wait(ids, timeout_ms)


@breaks("R2")
class WaitIsContentWithOne(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        return super().wait(ids, timeout_ms, least and 1)


@breaks("R2")
class WaitIgnoresItsTimeout(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        return super().wait(ids, None if timeout_ms else timeout_ms, least)


@breaks("R2")
class WaitIsOneLook(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        return self.get(ids)


@breaks("R2")
class WaitHangsOnTheUnknown(Group):
    def may_come(self, task_id: str) -> bool:
        return True


@breaks("R2")
class DeletionWakesNobody(Group):
    def remove(self, entry: Entry) -> None:
        changed, self._changed = self._changed, lambda: None
        super().remove(entry)
        self._changed = changed


@breaks("R2")
class WaitLooksOnlyWhenWoken(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        with self._store.changed:
            self._store.changed.wait(None if timeout_ms is None else timeout_ms / 1000)
        return super().wait(ids, 0, least)


@breaks("R3")
class TtlIgnored(Group):
    def put(self, record: Record, now: int) -> None:
        super().put(evolve(record, ttl_ms=10**12), now)


@breaks("R3")
class TtlHalved(Group):
    def put(self, record: Record, now: int) -> None:
        super().put(evolve(record, ttl_ms=record.ttl_ms // 2 - 1), now)


@breaks("R4")
class ForgetsTooMuch(MemoryBackend):
    def forget(self, ids: Sequence[str]) -> None:
        group, _ = self._look()
        super().forget([task_id for task_id in group.tasks if task_id.startswith(tuple(ids))])


@breaks("R4")
class ForgetsEverythingForNothing(MemoryBackend):
    def forget(self, ids: Sequence[str]) -> None:
        super().forget(ids or list(self._look()[0].tasks))


@breaks("R4")
class ForgetsNothing(Group):
    def forget(self, task_id: str, now: int) -> None:
        return


@breaks("R4")
class ForgetsTheTask(Group):
    def forget(self, task_id: str, now: int) -> None:
        if entry := self.tasks.get(task_id):
            self.remove(entry)


@breaks("R5")
class AnswersInAnotherOrder(MemoryBackend):
    def get(self, ids: Sequence[str]) -> Sequence[Record | None]:
        return super().get(sorted(ids))


@breaks("R5")
class UnknownIdsLeftOut(MemoryBackend):
    def get(self, ids: Sequence[str]) -> Sequence[Record | None]:
        return [record for record in super().get(ids) if record is not None]


@breaks("R5")
class RecordLosesItsWorker(Group):
    def put(self, record: Record, now: int) -> None:
        super().put(evolve(record, worker=""), now)
