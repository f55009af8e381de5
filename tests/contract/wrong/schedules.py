"""Backends that break L1 or L2, each in one small way."""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import inf

from pyxqueue.model.message import evolve
from pyxqueue.model.schedules import Schedule
from pyxqueue.protocols import Changed, DueSchedules, ScheduleChange

from .prelude import READY, Group, MemorySchedules, Place, breaks, m


@breaks("L1")
class ComparesNothing(MemorySchedules):
    def change(self, change: ScheduleChange) -> Changed:
        old = self._all.get(change.id)
        return super().change(evolve(change, mark=old.mark if old else ""))


@breaks("L1")
class ComparesBeforeTheStep(MemorySchedules):
    def change(self, change: ScheduleChange) -> Changed:
        old = self._all.get(change.id)
        if change.mark != (old.mark if old else ""):
            return Changed.REFUSED
        time.sleep(0.002)  # the fault itself: a moment in which another program ticks
        with self._store.changed:
            old = self._all.get(change.id)
            return super().change(evolve(change, mark=old.mark if old else ""))


@breaks("L1")
class EnqueuesBeforeItCompares(MemorySchedules):
    def change(self, change: ScheduleChange) -> Changed:
        if change.message is not None and change.otherwise is None:
            with self._store.changed:
                self._enqueue(list(self._queue.groups().values()), change.message, self._store.clock())
        return super().change(change)


@breaks("L1")
class DeletesWithoutComparing(MemorySchedules):
    def change(self, change: ScheduleChange) -> Changed:
        if change.new is None:
            self._keep(change.id, None)
        return super().change(change)


@breaks("L1")
class MakesWhatIsThere(MemorySchedules):
    def change(self, change: ScheduleChange) -> Changed:
        if not change.mark:
            self._keep(change.id, None)
        return super().change(change)


@breaks("L1")
class TicksWhatWasDeleted(MemorySchedules):
    def change(self, change: ScheduleChange) -> Changed:
        if change.id not in self._all:
            change = evolve(change, mark="")
        return super().change(change)


@breaks("L1")
class CursorWithoutTask(MemorySchedules):
    def change(self, change: ScheduleChange) -> Changed:
        return super().change(evolve(change, message=None))


@breaks("L1")
class TaskWithoutCursor(MemorySchedules):
    def _keep(self, schedule_id: str, schedule: Schedule | None) -> None:
        if schedule is None or schedule_id not in self._all or schedule.runs == self._all[schedule_id].runs:
            super()._keep(schedule_id, schedule)


@breaks("L1")
class IntoItsOwnGroupOnly(MemorySchedules):
    def _enqueue(self, groups: Sequence[Group], message: m.Message, now: int) -> None:
        super()._enqueue([self._queue.join()[0]], message, now)


@breaks("L1")
class SchedulesOfAGroup(MemorySchedules):
    @property
    def _all(self) -> dict[str, Schedule]:
        options = self._queue.options
        return self._store.schedules.setdefault(f"{options.stream_key}/{options.group}", {})


@breaks("L1")
class EnqueuesWhatIsKnown(MemorySchedules):
    def _enqueue(self, groups: Sequence[Group], message: m.Message, now: int) -> None:
        for group in groups:
            group.add(message, now)


@breaks("L1")
class KnownTaskHoldsUp(MemorySchedules):
    def change(self, change: ScheduleChange) -> Changed:
        with self._store.changed:
            group, now = self._queue.look()
            if change.message is not None and group.knows(change.message.id, now):
                return Changed.REFUSED
            return super().change(change)


@breaks("L1")
class OverlapIgnored(MemorySchedules):
    def change(self, change: ScheduleChange) -> Changed:
        return super().change(evolve(change, otherwise=None))


@breaks("L1")
class OverlapOfReadyOnesOnly(MemorySchedules):
    def _runs(self, group: Group, task_id: str) -> bool:
        entry = group.find(task_id)
        return entry is not None and entry.place in READY


@breaks("L1")
class OverlapForgetsRetries(MemorySchedules):
    def _runs(self, group: Group, task_id: str) -> bool:
        entry = group.find(task_id)
        return super()._runs(group, task_id) and entry is not None and entry.place is not Place.DELAYED


@breaks("L1")
class OverlapInItsOwnGroupOnly(MemorySchedules):
    def _runs(self, group: Group, task_id: str) -> bool:
        return group is self._queue.look()[0] and super()._runs(group, task_id)


@breaks("L1")
class FailedTaskHoldsUp(MemorySchedules):
    def _runs(self, group: Group, task_id: str) -> bool:
        entry = group.find(task_id)
        return super()._runs(group, task_id) or (entry is not None and entry.place is Place.FAILED)


@breaks("L1")
class KnownTaskCountsAsRunning(MemorySchedules):
    def _runs(self, group: Group, task_id: str) -> bool:
        return group.knows(task_id, self._store.clock())


@breaks("L1")
class SkippedTickIsEnqueued(MemorySchedules):
    def change(self, change: ScheduleChange) -> Changed:
        changed = super().change(change)
        if changed is Changed.OTHERWISE and change.message is not None:
            with self._store.changed:
                self._enqueue(list(self._queue.groups().values()), change.message, self._store.clock())
        return changed


@breaks("L1")
class SkippedTickIsForgotten(MemorySchedules):
    def change(self, change: ScheduleChange) -> Changed:
        return super().change(evolve(change, otherwise=self._all.get(change.id)) if change.otherwise else change)


@breaks("L1")
class FieldsStayAfterAChange(MemorySchedules):
    def _keep(self, schedule_id: str, schedule: Schedule | None) -> None:
        old = self._all.get(schedule_id)
        if old is not None and schedule is not None:
            schedule = evolve(schedule, paused=schedule.paused or old.paused)
        super()._keep(schedule_id, schedule)


@breaks("L1")
class BodyIsText(MemorySchedules):
    def _keep(self, schedule_id: str, schedule: Schedule | None) -> None:
        if schedule is not None:
            body = schedule.call.body.decode("latin-1").strip().encode()
            schedule = evolve(schedule, call=m.evolve(schedule.call, body=body))
        super()._keep(schedule_id, schedule)


@breaks("L1")
class ListsWhatIsDueAtSomeTime(MemorySchedules):
    def ids(self) -> Sequence[str]:
        return [found for found in super().ids() if self._all[found].next_ms]


@breaks("L1")
class ListsAsMade(MemorySchedules):
    def ids(self) -> Sequence[str]:
        return list(self._all)


@breaks("L1")
class GetLeavesOutWhatIsMissing(MemorySchedules):
    def get(self, ids: Sequence[str]) -> Sequence[Schedule | None]:
        return [found for found in super().get(ids) if found is not None]


@breaks("L2")
class TicksEarly(MemorySchedules):
    def change(self, change: ScheduleChange) -> Changed:
        return super().change(evolve(change, not_before=0))


@breaks("L2")
class TicksEarlyUnlessItOverlaps(MemorySchedules):
    def change(self, change: ScheduleChange) -> Changed:
        return super().change(change if change.otherwise is not None else evolve(change, not_before=0))


@breaks("L2")
class TicksALittleEarly(MemorySchedules):
    def change(self, change: ScheduleChange) -> Changed:
        return super().change(evolve(change, not_before=change.not_before - 60_000))


@breaks("L2")
class NeverOnTime(MemorySchedules):
    def change(self, change: ScheduleChange) -> Changed:
        return super().change(evolve(change, not_before=change.not_before and change.not_before + 60_000))


@breaks("L2")
class AllAreDue(MemorySchedules):
    def due(self, limit: int) -> DueSchedules:
        return evolve(super().due(limit), schedules=sorted(self._all.values(), key=lambda one: one.next_ms)[:limit])


@breaks("L2")
class DueByName(MemorySchedules):
    def due(self, limit: int) -> DueSchedules:
        found = super().due(1_000)
        return evolve(super().due(limit), schedules=sorted(found.schedules, key=lambda one: one.id)[:limit])


@breaks("L2")
class DueIgnoresItsLimit(MemorySchedules):
    def due(self, limit: int) -> DueSchedules:
        return evolve(super().due(limit), schedules=super().due(1_000).schedules)


@breaks("L2")
class LeftIn32Bits(MemorySchedules):
    def due(self, limit: int) -> DueSchedules:
        found = super().due(limit)
        return evolve(found, left=found.left if found.left < 2**31 else -1)


@breaks("L2")
class SaysNothingIsLeft(MemorySchedules):
    def due(self, limit: int) -> DueSchedules:
        return evolve(super().due(limit), left=-1)


@breaks("L2")
class DeletedIsStillAwaited(MemorySchedules):
    def due(self, limit: int) -> DueSchedules:
        found = super().due(limit)
        return evolve(found, left=0 if not self._all else found.left)


@breaks("L2")
class MaintainDoesNotLook(MemorySchedules):
    def look(self) -> None:
        self.next_look = inf


@breaks("L2")
class MaintainAlwaysLooks(MemorySchedules):
    def look(self) -> None:
        self.next_look = 0.0
