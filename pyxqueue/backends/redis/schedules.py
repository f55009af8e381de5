"""The `ScheduleStore` protocol on Redis."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from math import inf

from ...batching import batches
from ...errors import SerializationError
from ...model.schedules import SCHEDULE_ID, Schedule, schedule_from_fields
from ...protocols import Changed, DueSchedules, ScheduleChange
from . import commands
from .keys import timetable
from .registration import Registration
from .steps import call


class RedisSchedules:
    """The schedules of one queue."""

    def __init__(self, registration: Registration) -> None:
        self._registration = registration
        self._session = registration.session
        self._stream_key = registration.options.stream_key
        self.next_look = inf

    def note(self, left: int) -> None:
        """Note in how many ms the next schedule is due; -1 if there is none."""
        self.next_look = time.monotonic() + left / 1000 if left >= 0 else inf

    def due(self, limit: int) -> DueSchedules:
        skipped = 0  # ids without a schedule, or with one that cannot be read: they hold up nothing
        while True:
            now, left, ids = self._session.run(call(commands.due_schedules(self._stream_key, limit, skipped)))
            found = [one for one in self.get(ids) if one is not None]
            skipped += len(ids)
            if found or not ids or left:
                return DueSchedules(now, found, left)

    def get(self, ids: Sequence[str]) -> Sequence[Schedule | None]:
        schedules: list[Schedule | None] = []
        for batch in batches(ids):
            found = self._session.run(call(commands.schedules(self._stream_key, batch)))
            for one, fields in zip(batch, found, strict=True):
                schedule = None
                with suppress(SerializationError):
                    schedule = schedule_from_fields(one, fields) if fields else None
                schedules.append(schedule)
        return schedules

    def ids(self) -> Sequence[str]:
        found = self._session.execute("ZRANGE", timetable(self._stream_key), 0, -1)
        names = (raw.decode(errors="replace") for raw in found)
        return sorted(name for name in names if SCHEDULE_ID.fullmatch(name))

    def change(self, change: ScheduleChange) -> Changed:
        registration = self._registration
        registration.use([change.message])
        return self._session.run(
            registration.current(
                lambda groups: commands.change_schedule(self._stream_key, registration.few(groups), change)
            )
        )
