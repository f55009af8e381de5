"""Backends that break I1 to I6, each in one small way."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from pyxqueue.backends.memory import MemoryBackend
from pyxqueue.backends.memory.entry import UNDER_WAY, Entry, Place
from pyxqueue.backends.memory.group import Group
from pyxqueue.message import Depth, Extension, LeaseStatus, Message, TaskInfo, TaskStatus

from .wrong import Collection

COLLECTION = Collection()
breaks = COLLECTION.breaks


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
        again = found.status is TaskStatus.PENDING and isinstance(found.message, Message) and found.message.deferrals
        return evolve(found, status=TaskStatus.RETRY) if again else found


@breaks("I1")
class UnknownTasksLeftOut(MemoryBackend):
    def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        return [task for task in super().show(ids) if task is not None]


@breaks("I1")
class OldestIsNotTold(MemoryBackend):
    def depth(self) -> Depth:
        return evolve(super().depth(), oldest_ms=0)


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
    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        return task_id not in self.lines[Place.HELD] and super().cancel(task_id, now, force=force)


@breaks("I3")
class CancelledHolderIsNotTold(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        answer = super().extend(extension, now)
        return LeaseStatus.HELD if answer is LeaseStatus.CANCEL else answer


@breaks("I3")
class SecondRequestIsForgotten(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        answer = super().extend(extension, now)
        return LeaseStatus.CANCEL if answer is LeaseStatus.CANCEL_AGAIN else answer


@breaks("I3")
class ForceIsIgnored(Group):
    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        return super().cancel(task_id, now)


@breaks("I3")
class ForceIsTakenBack(Group):
    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        if (entry := self.tasks.get(task_id)) is not None and entry.cancelled == 3 and not force:
            entry.cancelled = 1
        return super().cancel(task_id, now, force=force)


@breaks("I3")
class CancelledHolderIsToldOnce(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
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

    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        entry = self.tasks.get(task_id)
        if entry is not None and entry.place is Place.HELD:
            self.put_back(entry, 0, now)
        return super().cancel(task_id, now, force=force)


@breaks("I3")
class LateCancelIsTrue(Group):
    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        return super().cancel(task_id, now, force=force) or task_id in self.tasks


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
        return [task for task in page if task.record is not None or not task.status.ended], more


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
            self.put(record, record.ended_ms)
        return answer


@breaks("I5")
class DeletesOnlyWhatEnded(Group):
    def delete(self, task_id: str) -> bool:
        return task_id in self.tasks and self.tasks[task_id].place not in UNDER_WAY and super().delete(task_id)


@breaks("I6")
class ProgressWakesNobody(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        changed, self._changed = self._changed, lambda: None
        answer = super().extend(extension, now)
        self._changed = changed
        return answer


@breaks("I6")
class WatchSeesTheEndOnly(MemoryBackend):
    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        self.wait([task_id], timeout_ms)
        return self.show([task_id])[0]


@breaks("I6")
class WatchAnswersAtOnce(MemoryBackend):
    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        return self.show([task_id])[0]


@breaks("I6")
class WatchIgnoresItsTimeout(MemoryBackend):
    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        return super().watch(task_id, seen, None)
