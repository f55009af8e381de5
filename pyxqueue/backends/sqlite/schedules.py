"""The `ScheduleStore` protocol on a SQLite file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from math import inf

from ...errors import SerializationError
from ...model.message import Message
from ...model.schedules import SCHEDULE_ID, Schedule, schedule_from_fields, schedule_to_fields
from ...protocols import Changed, DueSchedules, ScheduleChange
from .driver import Connection
from .group import Group, packed
from .queue import Groups, Queue
from .rows import is_number, named_fields, pack_fields
from .schema import UNENDED

FIRST = "SELECT next FROM schedule WHERE queue = ? AND next IS NOT NULL AND next > ? ORDER BY next LIMIT 1"
DUE = (
    "SELECT id, fields FROM schedule WHERE queue = ? AND next IS NOT NULL AND next <= ? ORDER BY next, id "
    "LIMIT ? OFFSET ?"
)
_ONE = "SELECT fields FROM schedule WHERE queue = ? AND id = ?"
_KEEP = "INSERT OR REPLACE INTO schedule VALUES (?, ?, ?, ?, ?)"
_RUNS = f"SELECT 1 FROM task WHERE grp = ? AND id = ? AND place IN ({', '.join(map(str, UNENDED))})"  # noqa: S608


class SQLiteSchedules:
    """The schedules of one queue."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._name = queue.options.stream_key
        self.next_look = inf

    def look(self, groups: Groups) -> None:
        """Note when the next schedule is due, in a transaction of `maintain`."""
        left = self._left(groups.db, -1, groups.now)
        self.next_look = time.monotonic() + left / 1000 if left >= 0 else inf

    def _left(self, db: Connection, after: int, now: int) -> int:
        """The ms until the first schedule is due that is due after a time; -1 if there is none."""
        rows = db.execute(FIRST, (self._name, after))
        return max(0, rows[0][0] - now) if rows and is_number(rows[0][0]) else -1

    def due(self, limit: int) -> DueSchedules:
        with self._queue.read() as groups:
            now, skipped = groups.now, 0
            while True:
                rows = groups.db.execute(DUE, (self._name, now, limit + 1, skipped))
                read = (_read(name, fields) for name, fields in rows[:limit])
                found = [one for one in read if one is not None]
                if found or not limit or len(rows) <= limit:
                    break
                skipped += limit  # those that cannot be read hold up nothing
            left = 0 if len(rows) > limit else self._left(groups.db, now, now)
        return DueSchedules(now, found, left)

    def get(self, ids: Sequence[str]) -> Sequence[Schedule | None]:
        with self._queue.read() as groups:
            rows = [groups.db.execute(_ONE, (self._name, one)) for one in ids]
        return [_read(one, row[0][0]) if row else None for one, row in zip(ids, rows, strict=True)]

    def ids(self) -> Sequence[str]:
        with self._queue.read() as groups:
            rows = groups.db.execute("SELECT id FROM schedule WHERE queue = ?", (self._name,))
        return sorted(row[0] for row in rows if type(row[0]) is str and SCHEDULE_ID.fullmatch(row[0]))

    def change(self, change: ScheduleChange) -> Changed:
        with self._queue.write(join=True, takes_in=change.message is not None) as groups:
            db = groups.db
            rows = db.execute("SELECT mark FROM schedule WHERE queue = ? AND id = ?", (self._name, change.id))
            if change.mark != (rows[0][0] if rows else "") or change.not_before > groups.now:
                return Changed.REFUSED
            copies = groups.copies()
            if change.otherwise is not None and any(_runs(group, change.unless) for group in copies):
                self._keep(db, change.id, change.otherwise)
                return Changed.OTHERWISE
            if change.message is not None:
                _enqueue(copies, change.message)
            self._keep(db, change.id, change.new)
            return Changed.DONE

    def _keep(self, db: Connection, schedule_id: str, one: Schedule | None) -> None:
        if one is None:
            db.execute("DELETE FROM schedule WHERE queue = ? AND id = ?", (self._name, schedule_id))
        else:
            fields = pack_fields(schedule_to_fields(one))
            db.execute(_KEEP, (self._name, schedule_id, one.mark, one.next_ms or None, fields))


def _read(schedule_id: str, fields: bytes) -> Schedule | None:
    with suppress(SerializationError, ValueError, TypeError):  # another program has written it
        return schedule_from_fields(schedule_id, named_fields(fields))
    return None


def _runs(group: Group, task_id: str) -> bool:
    return bool(group.db.execute(_RUNS, (group.key, task_id)))


def _enqueue(copies: Sequence[Group], message: Message) -> None:
    if not any(group.knows([message.id]) for group in copies):
        for group in copies:
            group.add(packed([message], group.now + group.started_ms))
