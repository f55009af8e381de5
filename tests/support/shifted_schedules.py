"""Schedules in Redis on a clock that a test moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve

from pyxqueue.backends.redis.keys import timetable
from pyxqueue.model.schedules import Schedule
from pyxqueue.protocols import Changed, DueSchedules, ScheduleChange, ScheduleStore


class Shifted:
    """Schedules of a server: the times that it compares are moved with the clock of the test."""

    next_look = 0.0

    def __init__(self, inner: ScheduleStore, raw: Any, clock: Callable[[], int], stream_key: str) -> None:
        self.inner, self.raw, self.clock, self.key = inner, raw, clock, timetable(stream_key)

    def _shift(self) -> int:
        return self.inner.due(0).now - self.clock()

    def due(self, limit: int) -> DueSchedules:
        shift = self._shift()
        for one in self.inner.get(self.inner.ids()):
            if one is not None:
                due = one.next_ms + shift if one.next_ms else "+inf"
                self.raw.execute_command("ZADD", self.key, due, one.id)
        return evolve(self.inner.due(limit), now=self.clock())

    def get(self, ids: Sequence[str]) -> Sequence[Schedule | None]:
        return self.inner.get(ids)

    def ids(self) -> Sequence[str]:
        return self.inner.ids()

    def change(self, change: ScheduleChange) -> Changed:
        not_before = change.not_before + self._shift() if change.not_before else 0
        return self.inner.change(evolve(change, not_before=not_before))
