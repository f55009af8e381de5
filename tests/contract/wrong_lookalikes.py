"""Backends that take one id for another, or an earlier life of a task for this one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

from attrs import evolve

from pyxqueue.backends.memory import MemoryBackend
from pyxqueue.backends.memory.entry import Entry, Place
from pyxqueue.backends.memory.group import Group
from pyxqueue.clock import deadline_after, seconds_left
from pyxqueue.message import Depth, Message, Record, Settlement, TaskInfo, TaskStatus, Unreadable

from .wrong import Collection

COLLECTION = Collection()
breaks = COLLECTION.breaks


def like(task_id: str, known: str) -> bool:
    """As the SQL operator compares: any character for ``_``, and without case."""
    return re.fullmatch(re.escape(task_id).replace("_", "."), known, re.IGNORECASE) is not None


def matching(task_id: str, known: str) -> bool:
    """An id that is taken for a regular expression."""
    return re.fullmatch(task_id, known) is not None


def without_case(task_id: str, known: str) -> bool:
    return task_id.lower() == known.lower()


def starting(task_id: str, known: str) -> bool:
    return known.startswith(task_id)


class Mistaking(MemoryBackend):
    """Finds the ids of tasks that are alike."""

    alike: Callable[[str, str], bool] = staticmethod(like)

    def found(self, task_id: str) -> list[str]:
        group, _ = self._look()
        return [known for known in group.tasks if self.alike(task_id, known)]

    def widely(self, operation: Callable[[Sequence[str]], Sequence[bool]], ids: Sequence[str]) -> list[bool]:
        return [any(operation(self.found(task_id))) for task_id in ids]


@breaks("R4")
class ForgetsLike(Mistaking):
    def forget(self, ids: Sequence[str]) -> None:
        super().forget([known for task_id in ids for known in self.found(task_id)])


@breaks("R4")
class ForgetsByPattern(ForgetsLike):
    alike = staticmethod(matching)


@breaks("R4")
class ForgetsWithoutCase(ForgetsLike):
    alike = staticmethod(without_case)


@breaks("R5")
class GetsLike(Mistaking):
    def get(self, ids: Sequence[str]) -> Sequence[Record | None]:
        with_record = [[i for i in self.found(one) if super(GetsLike, self).get([i])[0]] for one in ids]
        return super().get([(found or [one])[0] for one, found in zip(ids, with_record, strict=True)])


@breaks("R5")
class GetsWithoutCase(GetsLike):
    alike = staticmethod(without_case)


@breaks("I1")
class ShowsWithoutCase(Mistaking):
    alike = staticmethod(without_case)

    def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        return super().show([(self.found(task_id) or [task_id])[0] for task_id in ids])


@breaks("I2")
class RequeuesLike(Mistaking):
    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        return self.widely(super().requeue, ids)


@breaks("I3")
class CancelsLike(Mistaking):
    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        return self.widely(super().cancel, ids)


@breaks("I5")
class DeletesLike(Mistaking):
    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        return self.widely(super().delete, ids)


@breaks("I5")
class DeletesByPrefix(DeletesLike):
    alike = staticmethod(starting)


@breaks("I4")
class HiddenFilesAreNotListed(MemoryBackend):
    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        page, following = super().tasks(state, cursor, count)
        return [task for task in page if not task.id.startswith(".")], following


@breaks("I4")
class ListedByTimeAndId(MemoryBackend):
    """What was put in its place within one millisecond is in the order of the ids."""

    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        page, following = super().tasks(state, cursor, count)
        return sorted(page, key=lambda task: (task.updated_ms, task.id), reverse=True), following


class Aged(MemoryBackend):
    """Tells the age of the longest waiting message of some other place too."""

    other: Place = Place.HELD

    def depth(self) -> Depth:
        depth = super().depth()
        group, now = self._look()
        ages = [now - entry.updated for entry in group.lines[self.other].values()]
        return evolve(depth, oldest_ms=max([depth.oldest_ms, *ages]))


@breaks("I1")
class TheOldestIsHeld(Aged):
    pass


@breaks("I1")
class TheOldestIsDelayed(Aged):
    other = Place.DELAYED


@breaks("I2")
class OldTtlEndsTheRequeued(Group):
    """A row that the engine removes at the time that was written into it once."""

    def __init__(self, changed: Callable[[], None], ticket: Callable[[], int]) -> None:
        super().__init__(changed, ticket)
        self.ends: dict[str, int] = {}

    def end(self, entry: Entry, place: Place, record: Record, now: int) -> None:
        super().end(entry, place, record, now)
        self.ends[entry.id] = now + record.ttl_ms

    def reclaim(self, now: int) -> None:
        super().reclaim(now)
        for entry in list(self.lines[Place.READY].values()):
            if self.ends.get(entry.id, now + 1) <= now:
                self.remove(entry)


@breaks("I2")
class RequeuesWhatIsGone(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        return super().requeue(task_id, now) or (entry is not None and entry.place is Place.PAST)


@breaks("I3")
class TheUnreadableIsNotCancelled(Group):
    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        entry = self.tasks.get(task_id)
        return not (entry is not None and isinstance(entry.message, Unreadable)) and super().cancel(
            task_id, now, force=force
        )


@breaks("I3")
class OldReceiptsTakeTheCancellationBack(Group):
    def settle(self, settlement: Settlement, now: int) -> bool:
        accepted = super().settle(settlement, now)
        entry = self.tasks.get(settlement.receipt.rpartition("@")[0])
        if entry is not None and entry.place is Place.HELD:
            entry.cancelled = False
        return accepted


@breaks("I6")
class WatchWithoutTimeIsForEver(MemoryBackend):
    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        return super().watch(task_id, seen, timeout_ms or None)


@breaks("I6")
class WatchLooksAtHowMuchIsDone(MemoryBackend):
    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        until = deadline_after(timeout_ms)
        with self._store.changed:
            while True:
                found, left = self.show([task_id])[0], seconds_left(until)
                if found is None or self._news(found) != self._news(seen) or (left is not None and left <= 0):
                    return found
                self._store.changed.wait(left)

    @staticmethod
    def _news(task: TaskInfo | None) -> object:
        return task and (task.status, task.progress and task.progress.done)


@breaks("I6")
class WatchAnswersItsFirstLook(MemoryBackend):
    """It waits for what wakes it, and has not looked again when nothing did."""

    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        first = self.show([task_id])[0]
        if timeout_ms is None or first is None or first.differs(seen):
            return super().watch(task_id, seen, timeout_ms)
        time.sleep(timeout_ms / 1000)
        return first


class Moving(Group):
    """Adopts a header other than it was given."""

    @staticmethod
    def moved(message: Message) -> Message:
        return message

    def adopt(self, task: TaskInfo, now: int) -> bool:
        message = self.moved(task.message) if isinstance(task.message, Message) else task.message
        return super().adopt(evolve(task, message=message), now)


@breaks("I7")
class AdoptsWithoutTheSeal(Moving):
    @staticmethod
    def moved(message: Message) -> Message:
        return evolve(message, seal="")


@breaks("I7")
class AdoptsWithoutTheReply(Moving):
    @staticmethod
    def moved(message: Message) -> Message:
        return evolve(message, reply="")


@breaks("I7")
class AdoptsSmallNumbers(Moving):
    @staticmethod
    def moved(message: Message) -> Message:
        return evolve(message, attempt=min(message.attempt, 32_767))


@breaks("I7")
class AdoptsARedeliveredAsACrash(Moving):
    @staticmethod
    def moved(message: Message) -> Message:
        return evolve(message, crashes=message.crashes or int(message.redelivered))


@breaks("I7")
class AdoptsADueTimeAsADelay(Group):
    def adopt(self, task: TaskInfo, now: int) -> bool:
        if isinstance(task.message, Message) and task.message.due_ms > now:
            task = evolve(task, message=evolve(task.message, due_ms=now + task.message.due_ms))
        return super().adopt(task, now)


@breaks("I7")
class AdoptsWhatHasEndedHere(Group):
    def adopt(self, task: TaskInfo, now: int) -> bool:
        entry = self.tasks.get(task.id)
        if entry is not None and entry.place is Place.PAST:
            self.remove(entry)
        return super().adopt(task, now)


@breaks("I7")
class AdoptsNothingUnreadableThatWaits(Group):
    def adopt(self, task: TaskInfo, now: int) -> bool:
        if isinstance(task.message, Unreadable) and task.status is TaskStatus.PENDING:
            return True
        return super().adopt(task, now)
