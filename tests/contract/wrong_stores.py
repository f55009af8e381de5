"""Backends that break R1 to R5 and I1 to I6, each in one small way."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from pyxqueue.backends.memory import MemoryBackend
from pyxqueue.backends.memory.entry import UNDER_WAY, Entry, Place
from pyxqueue.backends.memory.group import Group
from pyxqueue.message import Depth, Extension, Hold, Message, Record, TaskInfo, TaskStatus

from .wrong import Collection

COLLECTION = Collection()
breaks = COLLECTION.breaks


@breaks("R1")
class LowerRankWins(Group):
    def put(self, record: Record, now: int) -> None:
        self.forget(record.id, now)
        super().put(record, now)


@breaks("R1")
class FirstRecordWins(Group):
    def put(self, record: Record, now: int) -> None:
        if self.read(record.id, now) is None:
            super().put(record, now)


@breaks("R1")
class RanksAreText(Group):
    def put(self, record: Record, now: int) -> None:
        stored = self.read(record.id, now)
        if stored is None or str(stored.rank) <= str(record.rank):
            self.forget(record.id, now)
            super().put(record, now)


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
    def wait(self, ids: Sequence[str], timeout: int | None) -> Sequence[Record | None]:
        for task_id in ids:
            super().wait([task_id], timeout)
            break
        return self.get(ids)


@breaks("R2")
class WaitIgnoresItsTimeout(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout: int | None) -> Sequence[Record | None]:
        return super().wait(ids, None if timeout else timeout)


@breaks("R2")
class WaitIsOneLook(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout: int | None) -> Sequence[Record | None]:
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
    def wait(self, ids: Sequence[str], timeout: int | None) -> Sequence[Record | None]:
        with self._store.changed:
            self._store.changed.wait(None if timeout is None else timeout / 1000)
        return super().wait(ids, 0)


@breaks("R3")
class TtlIgnored(Group):
    def put(self, record: Record, now: int) -> None:
        super().put(evolve(record, ttl=10**12), now)


@breaks("R3")
class TtlHalved(Group):
    def put(self, record: Record, now: int) -> None:
        super().put(evolve(record, ttl=record.ttl // 2 - 1), now)


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


@breaks("I1")
class RetryLooksPending(Group):
    def info(self, entry: Entry, now: int) -> TaskInfo:
        found = super().info(entry, now)
        return evolve(found, status=TaskStatus.PENDING) if found.status is TaskStatus.RETRY else found


@breaks("I1")
class HeldHasNoWorker(Group):
    def info(self, entry: Entry, now: int) -> TaskInfo:
        found = super().info(entry, now)
        return evolve(found, worker="") if found.status is TaskStatus.STARTED else found


@breaks("I1")
class EveryEndIsASuccess(Group):
    def info(self, entry: Entry, now: int) -> TaskInfo:
        found = super().info(entry, now)
        return evolve(found, status=TaskStatus.SUCCESS) if entry.place is Place.FINISHED else found


@breaks("I1")
class ReturnLooksLikeARetry(Group):
    def info(self, entry: Entry, now: int) -> TaskInfo:
        found = super().info(entry, now)
        again = found.status is TaskStatus.PENDING and isinstance(found.message, Message) and found.message.returns
        return evolve(found, status=TaskStatus.RETRY) if again else found


@breaks("I1")
class UnknownTasksLeftOut(MemoryBackend):
    def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        return [task for task in super().show(ids) if task is not None]


@breaks("I1")
class OldestIsNotTold(MemoryBackend):
    def depth(self) -> Depth:
        return evolve(super().depth(), oldest=0)


@breaks("I2")
class RequeueKeepsTheAttempt(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        attempt = entry.message.attempt if entry is not None and isinstance(entry.message, Message) else 1
        answer = super().requeue(task_id, now)
        if answer and entry is not None:
            entry.alter(attempt=attempt)
        return answer


@breaks("I2")
class RequeueKeepsTheCrashes(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        answer = super().requeue(task_id, now)
        if answer:
            self.tasks[task_id].alter(crashes=1)
        return answer


@breaks("I2")
class RequeueKeepsTheRecord(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        record = self.tasks[task_id].record if task_id in self.tasks else None
        answer = super().requeue(task_id, now)
        if answer:
            self.tasks[task_id].record = record
        return answer


@breaks("I2")
class RequeueTakesANewId(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        answer = super().requeue(task_id, now)
        if answer:
            self.tasks[task_id].alter(id=f"{task_id}-again")
        return answer


@breaks("I2")
class RequeuesWhatIsHeld(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        if entry is not None and entry.place is Place.HELD:
            self.put_back(entry, 0, now)
            return True
        return super().requeue(task_id, now)


@breaks("I3")
class CancelOfTheHeldIgnored(Group):
    def cancel(self, task_id: str, now: int) -> bool:
        return task_id not in self.lines[Place.HELD] and super().cancel(task_id, now)


@breaks("I3")
class CancelledHolderIsNotTold(Group):
    def extend(self, extension: Extension, now: int) -> Hold:
        answer = super().extend(extension, now)
        return Hold.HELD if answer is Hold.CANCEL else answer


@breaks("I3")
class CancelledHolderIsToldOnce(Group):
    def extend(self, extension: Extension, now: int) -> Hold:
        answer = super().extend(extension, now)
        if (entry := self.holding(extension.receipt)) is not None:
            entry.cancelled = False
        return answer


@breaks("I3")
class CancelledRunsAgain(Group):
    def put_back(self, entry: Entry, delay: int, now: int) -> None:
        entry.cancelled = False
        super().put_back(entry, delay, now)


@breaks("I3")
class CancelledHasLost(Group):
    """The holder of a cancelled task can do nothing with it any more."""

    def cancel(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        if entry is not None and entry.place is Place.HELD:
            self.put_back(entry, 0, now)
        return super().cancel(task_id, now)


@breaks("I3")
class LateCancelIsTrue(Group):
    def cancel(self, task_id: str, now: int) -> bool:
        return super().cancel(task_id, now) or task_id in self.tasks


@breaks("I3")
class CancelSticksOverARequeue(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        cancelled = task_id in self.tasks and self.tasks[task_id].cancelled
        answer = super().requeue(task_id, now)
        if answer:
            self.tasks[task_id].cancelled = cancelled
        return answer


@breaks("I4")
class PagesOverlap(MemoryBackend):
    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        page, more = super().tasks(state, cursor, count)
        return page, str(int(more) + 1) if more and count > 1 else more


@breaks("I4")
class PagesLeaveGaps(MemoryBackend):
    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        page, more = super().tasks(state, cursor, count + 1)
        return page[:count], more


@breaks("I4")
class OldestFirst(MemoryBackend):
    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        page, more = super().tasks(state, cursor, count)
        return list(reversed(page)), more


@breaks("I4")
class StateIgnored(MemoryBackend):
    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        return super().tasks(None, cursor, count)


@breaks("I4")
class HistoryGoesWithTheRecords(MemoryBackend):
    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        page, more = super().tasks(state, cursor, count)
        return [task for task in page if task.record is not None or not task.status.finished], more


@breaks("I4")
class AnyCursorWillDo(MemoryBackend):
    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        return super().tasks(state, cursor if cursor.isdigit() else "", count)


@breaks("I5")
class DeletesWhatIsHeld(Group):
    def delete(self, task_id: str) -> bool:
        entry = self.tasks.get(task_id)
        if entry is not None and entry.place is Place.HELD:
            self.remove(entry)
            return True
        return super().delete(task_id)


@breaks("I5")
class DeleteKeepsTheRecord(Group):
    def delete(self, task_id: str) -> bool:
        record = self.tasks[task_id].record if task_id in self.tasks else None
        answer = super().delete(task_id)
        if answer and record is not None:
            self.put(record, record.finished)
        return answer


@breaks("I5")
class DeletesOnlyWhatEnded(Group):
    def delete(self, task_id: str) -> bool:
        return task_id in self.tasks and self.tasks[task_id].place not in UNDER_WAY and super().delete(task_id)


@breaks("I6")
class ProgressWakesNobody(Group):
    def extend(self, extension: Extension, now: int) -> Hold:
        changed, self._changed = self._changed, lambda: None
        answer = super().extend(extension, now)
        self._changed = changed
        return answer


@breaks("I6")
class WatchSeesTheEndOnly(MemoryBackend):
    def watch(self, task_id: str, seen: TaskInfo | None, timeout: int | None) -> TaskInfo | None:
        self.wait([task_id], timeout)
        return self.show([task_id])[0]


@breaks("I6")
class WatchAnswersAtOnce(MemoryBackend):
    def watch(self, task_id: str, seen: TaskInfo | None, timeout: int | None) -> TaskInfo | None:
        return self.show([task_id])[0]


@breaks("I6")
class WatchIgnoresItsTimeout(MemoryBackend):
    def watch(self, task_id: str, seen: TaskInfo | None, timeout: int | None) -> TaskInfo | None:
        return super().watch(task_id, seen, None)
