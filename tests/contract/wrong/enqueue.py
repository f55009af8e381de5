"""Backends that break B1, each in one small way."""

from __future__ import annotations

from collections.abc import Sequence

from .prelude import UNDER_WAY, WAITING, Entry, Group, MemoryBackend, Place, Turn, breaks, first_page, m, moment


@breaks("B1")
class EnqueueNotIdempotent(Group):
    def knows(self, task_id: str, now: int) -> bool:
        return False


@breaks("B1")
class IdempotentOnlyUnderWay(Group):
    def knows(self, task_id: str, now: int) -> bool:
        return super().knows(task_id, now) and self.tasks[task_id].place in UNDER_WAY


@breaks("B1")
class IdKnownAsLongAsTheRecord(Group):
    def knows(self, task_id: str, now: int) -> bool:
        return super().knows(task_id, now) and (
            self.tasks[task_id].place in UNDER_WAY or self.tasks[task_id].readable(now) is not None
        )


@breaks("B1")
class IdKnownForAnHour(Group):
    def knows(self, task_id: str, now: int) -> bool:
        known = super().knows(task_id, now)
        return known and (self.tasks[task_id].place in UNDER_WAY or now < self.tasks[task_id].updated + m.DEDUPE_MS)


@breaks("B1")
class IdKnownAsLongAsTheHistory(Group):
    def knows(self, task_id: str, now: int) -> bool:
        return super().knows(task_id, now) and self.tasks[task_id].place is not Place.REMEMBERED


@breaks("B1")
class IdKnownAsLongAsItIsShown(Group):
    def knows(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        return entry is not None and (entry.place is not Place.REMEMBERED or now < entry.known_until)


@breaks("B1")
class IdNeverFreeAfterACancel(Group):
    def knows(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        cancelled = entry is not None and entry.ended is m.TaskStatus.CANCELLED
        return cancelled or super().knows(task_id, now)


@breaks("B1")
class NewTaskTakesOverTheOldEnd(Group):
    def enter(self, entry: Entry) -> None:
        old = self.tasks.get(entry.id)
        super().enter(entry)
        if old is not None:
            entry.ended, entry.record = old.ended, old.record


@breaks("B1")
class EachGroupKnowsItsOwn(MemoryBackend):
    def enqueue(self, messages: Sequence[m.Message]) -> Sequence[bool]:
        with self._store.changed:
            _, now = self._queue.join()
            groups = self._queue.groups().values()
            results = []
            for message in messages:
                new = [group for group in groups if not group.knows(message.id, now)]
                for group in new:
                    group.add(message, now)
                results.append(bool(new))
            return results


@breaks("B1")
class BatchNotCheckedAgainstItself(MemoryBackend):
    def enqueue(self, messages: Sequence[m.Message]) -> Sequence[bool]:
        group, now = self._queue.join()
        known = {message.id for message in messages if group.knows(message.id, now)}
        super().enqueue(list({message.id: message for message in messages}.values()))
        return [message.id not in known for message in messages]


@breaks("B1")
class IdsWithoutCase(Group):
    def knows(self, task_id: str, now: int) -> bool:
        return task_id.lower() in {known.lower() for known in self.tasks} or super().knows(task_id, now)


@breaks("B1")
class IdsAreCut(Group):
    def knows(self, task_id: str, now: int) -> bool:
        return task_id[:40] in {known[:40] for known in self.tasks}


@breaks("B1")
class OneRepeatSpoilsTheBatch(MemoryBackend):
    def enqueue(self, messages: Sequence[m.Message]) -> Sequence[bool]:
        group, now = self._queue.join()
        if any(group.knows(message.id, now) for message in messages):
            return [False] * len(messages)
        return super().enqueue(messages)


@breaks("B1")
class RepeatReplacesWhatWaits(MemoryBackend):
    def enqueue(self, messages: Sequence[m.Message]) -> Sequence[bool]:
        group, _ = self._queue.join()
        for message in messages:
            if (entry := group.tasks.get(message.id)) is not None and entry.place in WAITING:
                entry.alter(body=message.body)
        return super().enqueue(messages)


@breaks("B1")
class ForeignCopyTakesTheTasksPlace(Group):
    def take_foreign(self, entry: Entry, now: int) -> None:
        self.insert(entry, 0, now)


@breaks("B1")
class ForeignCopyReplacesTheEnd(Group):
    def take_foreign(self, entry: Entry, now: int) -> None:
        known = self.tasks.get(entry.id)
        if known is None or known.place not in UNDER_WAY:
            self.insert(entry, 0, now)


@breaks("B1")
class EnqueuesAPage(MemoryBackend):
    def enqueue(self, messages: Sequence[m.Message]) -> Sequence[bool]:
        return first_page(super().enqueue, messages, rest=True)


@breaks("B1")
class KnownForAnHourWhileItWaits(Group):
    """A key beside the task, with a life of its own."""

    def knows(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        if entry is not None and entry.place in UNDER_WAY and isinstance(entry.message, m.Message):
            return now < entry.message.enqueued_ms + m.DEDUPE_MS
        return super().knows(task_id, now)


@breaks("B1")
class CancelledIsForgotten(Group):
    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        cancelled = super().cancel(task_id, now, force=force)
        entry = self.tasks.get(task_id)
        if entry is not None and entry.place is Place.HISTORY:
            entry.known_until = 0
        return cancelled


@breaks("B1")
class BatchLooksAtTheReadyOnly(MemoryBackend):
    def enqueue(self, messages: Sequence[m.Message]) -> Sequence[bool]:
        delayed: set[str] = set()
        results: list[bool] = []
        for message in messages:
            results += [True] if message.id in delayed else super().enqueue([message])
            delayed.update([message.id] if message.delay_ms else [])
        return results


@breaks("B1")
class TemporaryFilesAreNotSeen(Group):
    """A folder's listing that leaves out what looks half written."""

    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        ready = self.lines[Place.NEW]
        hidden = {name: ready.pop(name) for name in list(ready) if name.endswith(".tmp")}
        found = super().claim(consumer, limit, turn, now)
        ready.update(hidden)
        return found


@breaks("B1")
class IdsAreNumbers(Group):
    @staticmethod
    def number(task_id: str) -> float | str:
        try:
            return float(task_id)
        except ValueError:
            return task_id

    def knows(self, task_id: str, now: int) -> bool:
        return self.number(task_id) in {self.number(known) for known in self.tasks}


@breaks("B1")
class LooksThenEnqueues(MemoryBackend):
    def enqueue(self, messages: Sequence[m.Message]) -> Sequence[bool]:
        new = [task is None for task in self.show([message.id for message in messages])]
        moment()
        super().enqueue(messages)
        return new


@breaks("B1")
class TheFailedAreReplaced(Group):
    def knows(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        if entry is not None and entry.place is Place.FAILED:
            return now < entry.known_until
        return super().knows(task_id, now)


@breaks("B1")
class AsksItsOwnGroup(MemoryBackend):
    def enqueue(self, messages: Sequence[m.Message]) -> Sequence[bool]:
        with self._store.changed:
            ours, now = self._queue.join()
            accepted = []
            for message in messages:
                accepted.append(not ours.knows(message.id, now))
                for group in self._queue.groups().values():
                    if accepted[-1] and not group.knows(message.id, now):
                        group.add(message, now)
            return accepted


@breaks("B1")
class IdsAreKnownAMomentLonger(Group):
    def knows(self, task_id: str, now: int) -> bool:
        return super().knows(task_id, now - 1)
