"""Records: those of a backend's tasks, and the result half of a `SplitBackend`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial

from ...batching import record_size
from ...clock import wall_clock
from ...model.message import Record, enough, evolve
from ...protocols import StoreOptions
from . import upkeep
from .driver import best
from .group import Group
from .location import file_system_of, locate
from .opening import Opener
from .polling import has_ended, traces
from .queue import Queue
from .rows import COLUMNS, fence_of, record_bytes, record_of, stored_fence
from .schema import REMEMBERED
from .steps import in_steps
from .store import Store
from .versions import wal_is_safe
from .watch import Looked, wait

_GROUP = "\0results "
"""The prefix of the names of groups that have records only, and no tasks."""
_ALL = f"SELECT {COLUMNS} FROM task WHERE grp = ?"  # noqa: S608 - our own words
_NEW = """INSERT INTO task (seq, grp, id, place, sort, ord, updated, ended, record, record_end, record_fence)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_FORGET = "UPDATE task SET record = NULL, record_end = 0, sort = ? WHERE seq = ?"
_AGAIN = "UPDATE task SET ended = ?, record = ?, record_end = ?, record_fence = ?, sort = ?, updated = ? WHERE seq = ?"


class SQLiteRecords:
    """The `Results` protocol. `ends`: the tasks are in the same file, so a wait knows when a record can never come."""

    def __init__(self, queue: Queue, *, ends: bool) -> None:
        self._queue = queue
        self._ends = ends

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        if timeout_ms == 0:
            with self._queue.read() as groups:
                return _records(groups.mine, ids)
        return wait(self._queue, partial(self.look, ids, least), timeout_ms, ends_only=True)

    def look(self, ids: Sequence[str], least: int | None) -> Looked[Sequence[Record | None]]:
        """One look of `wait`."""
        with self._queue.read() as groups:
            records = _records(groups.mine, ids)
            if enough(records, least):
                return records, True, {}
            missing = [task_id for task_id, record in zip(ids, records, strict=True) if record is None]
            seen = traces(groups.mine, missing)
        # A missing record that can never come makes the whole wait futile.
        futile = self._ends and any(task_id not in seen or has_ended(seen[task_id]) for task_id in missing)
        return records, futile, {task_id: seen.get(task_id) for task_id in missing}

    def forget(self, ids: Sequence[str]) -> None:
        """R4: the records go; the tasks, and the knowledge of their ids, stay."""
        for batch in in_steps(ids):
            with self._queue.write() as groups:
                group = groups.mine
                for row in group.rows(batch).values():
                    sort = row.known_until if row.place == REMEMBERED else row.sort
                    group.db.execute(_FORGET, (sort, row.seq))
                upkeep.sweep(group)


class SQLiteResults:
    """A `ResultStore` for the tasks of another broker, for all processes of one machine.

    Parameters and errors are those of `SQLiteBackend`. The file may also be the broker's.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        options: StoreOptions,
        *,
        durability: str = "normal",
        shared: bool = False,
        clock: Callable[[], int] = wall_clock,
    ) -> None:
        store = Store(locate(path, durability, shared=shared), Opener(best(), file_system_of, wal_is_safe))
        self._queue = Queue(store, evolve(options, group=_GROUP + options.group), clock)
        records = SQLiteRecords(self._queue, ends=False)
        self.wait, self.forget = records.wait, records.forget

    def put(self, records: Sequence[Record]) -> None:
        for batch in in_steps(records, record_size):
            with self._queue.write() as groups:
                _put(groups.make(self._queue.options.group, registered=False), batch)

    def close(self) -> None:
        self._queue.store.close()


def _records(group: Group, ids: Sequence[str]) -> list[Record | None]:
    found = dict[str, Record | None]()
    for row in group.find(_ALL, ids):
        record = record_of(row.id, row.record, row.record_end, group.now)
        if record is not None and row.record_fence:  # it was put under that fencing token
            record = evolve(record, fence=fence_of(row.record_fence))
        found[row.id] = record
    return [found.get(task_id) for task_id in ids]


def _put(group: Group, records: Sequence[Record]) -> None:
    """R1: keep the record of the higher fencing token."""
    upkeep.sweep(group)
    for record in records:
        row = group.rows([record.id]).get(record.id)
        now, end = group.now, group.now + record.ttl_ms
        kept = (int(record.status), record_bytes(record), end, stored_fence(record.fence))
        if row is None:
            ticket = group.tickets.next()
            group.db.execute(_NEW, (ticket, group.key, record.id, REMEMBERED, end, ticket, now, *kept))
        elif now >= row.record_end or fence_of(row.record_fence) <= record.fence:
            group.db.execute(_AGAIN, (*kept, end, now, row.seq))
