"""Backends that break I2, each in one small way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .prelude import READY, Entry, Group, MemoryBackend, Mistaking, Place, breaks, first_page, m, moment


@breaks("I2")
class RequeueKeepsTheAttempt(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        attempt = entry.message.attempt if entry is not None and isinstance(entry.message, m.Message) else 1
        requeued = super().requeue(task_id, now)
        if requeued and entry is not None:
            entry.alter(attempt=attempt)
        return requeued


@breaks("I2")
class RequeueKeepsTheCrashes(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        requeued = super().requeue(task_id, now)
        if requeued:
            self.tasks[task_id].alter(crashes=1)
        return requeued


@breaks("I2")
class RequeueKeepsTheRecord(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        record = self.tasks[task_id].record if task_id in self.tasks else None
        requeued = super().requeue(task_id, now)
        if requeued:
            self.tasks[task_id].record = record
        return requeued


@breaks("I2")
class RequeueTakesANewId(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        requeued = super().requeue(task_id, now)
        if requeued:
            self.tasks[task_id].alter(id=f"{task_id}-again")
        return requeued


@breaks("I2")
class RequeuesWhatIsInFlight(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        if entry is not None and entry.place is Place.IN_FLIGHT:
            self._put_back(entry, 0, now)
            return True
        return super().requeue(task_id, now)


@breaks("I2")
class RequeuesAPage(MemoryBackend):
    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        return first_page(super().requeue, ids, rest=True)


@breaks("I2")
class LooksThenRequeues(MemoryBackend):
    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        ended = [task is not None and task.status.ended for task in self.show(ids)]
        moment()
        super().requeue(ids)
        return ended


@breaks("I2")
class RequeuesLike(Mistaking):
    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        return self.widely(super().requeue, ids)


@breaks("I2")
class OldTtlEndsTheRequeued(Group):
    """A row that the engine removes at the time that was written into it once."""

    def __init__(self, changed: Callable[[], None], ticket: Callable[[], int]) -> None:
        super().__init__(changed, ticket)
        self.ends: dict[str, int] = {}

    def _end(self, entry: Entry, place: Place, record: m.Record, now: int) -> None:
        super()._end(entry, place, record, now)
        self.ends[entry.id] = now + record.ttl_ms

    def reclaim(self, now: int) -> None:
        super().reclaim(now)
        for entry in [entry for place in READY for entry in self.lines[place].values()]:
            if self.ends.get(entry.id, now + 1) <= now:
                self.remove(entry)


@breaks("I2")
class RequeuesWhatIsGone(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        return super().requeue(task_id, now) or (entry is not None and entry.place is Place.REMEMBERED)


@breaks("I2")
class RequeuesKeepTheDeferrals(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        deferrals = entry.message.deferrals if entry is not None and isinstance(entry.message, m.Message) else 0
        requeued = super().requeue(task_id, now)
        if entry is not None and requeued:
            entry.alter(deferrals=deferrals)
        return requeued


@breaks("I2")
class RequeueIsAnEnqueue(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        requeued = super().requeue(task_id, now)
        if requeued:
            self.tasks[task_id].alter(enqueued_ms=now)
        return requeued
