"""The `ScheduleStore` protocol on a store in memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import inf

from ...locked import UNDER_WAY
from ...model.message import Message
from ...model.schedules import Schedule
from ...protocols import Changed, DueSchedules, ScheduleChange
from .group import Group
from .store import Queue


class MemorySchedules:
    """The schedules of one queue."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._store = queue.store
        self.next_look = inf

    @property
    def _all(self) -> dict[str, Schedule]:
        return self._store.schedules.setdefault(self._queue.options.stream_key, {})

    def due(self, limit: int) -> DueSchedules:
        with self._store.changed:
            now = self._store.clock()
            waiting = sorted((one.next_ms, one.id) for one in self._all.values() if one.next_ms)
            due = [self._all[found] for at, found in waiting if at <= now][:limit]
            rest = waiting[len(due) :]
            return DueSchedules(now, due, max(0, rest[0][0] - now) if rest else -1)

    def get(self, ids: Sequence[str]) -> Sequence[Schedule | None]:
        with self._store.changed:
            return [self._all.get(found) for found in ids]

    def ids(self) -> Sequence[str]:
        with self._store.changed:
            return sorted(self._all)

    def change(self, change: ScheduleChange) -> Changed:
        with self._store.changed:
            _, now = self._queue.join()
            old = self._all.get(change.id)
            if change.mark != (old.mark if old else "") or change.not_before > now:
                return Changed.REFUSED
            groups = list(self._queue.groups().values())
            if change.otherwise is not None and any(self._runs(group, change.unless) for group in groups):
                self._keep(change.id, change.otherwise)
                return Changed.OTHERWISE
            if change.message is not None:
                self._enqueue(groups, change.message, now)
            self._keep(change.id, change.new)
            return Changed.DONE

    def _runs(self, group: Group, task_id: str) -> bool:
        entry = group.find(task_id)
        return entry is not None and entry.place in UNDER_WAY

    def _enqueue(self, groups: Sequence[Group], message: Message, now: int) -> None:
        if not any(group.knows(message.id, now) for group in groups):
            for group in groups:
                group.add(message, now)

    def _keep(self, schedule_id: str, schedule: Schedule | None) -> None:
        if schedule is None:
            self._all.pop(schedule_id, None)
        else:
            self._all[schedule_id] = schedule

    def look(self) -> None:
        """Note when the next schedule is due, at the request of `maintain`."""
        left = self.due(0).left if self._all else -1
        self.next_look = time.monotonic() + left / 1000 if left >= 0 else inf
