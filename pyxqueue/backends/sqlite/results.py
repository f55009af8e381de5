"""The result half of a `SplitBackend` on a SQLite file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Never

from attrs import evolve

from ...batching import record_size
from ...clock import wall_clock
from ...model.message import Record
from ...protocols import StoreOptions
from .driver import best
from .group import Group
from .location import file_system_of, locate
from .opening import Opener
from .polling import Looked, traces, wait
from .queue import Queue
from .rows import COLUMNS, fence_of, record_bytes, record_of, stored_fence
from .schema import PAST
from .steps import in_steps
from .store import Store
from .versions import wal_is_safe

_GROUP = "\0results "
"""What the names of groups begin with that have no tasks, only records."""
_NEW = """INSERT INTO task (seq, grp, id, place, sort, ord, updated, ended, record, record_end, record_fence)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_AGAIN = "UPDATE task SET ended = ?, record = ?, record_end = ?, record_fence = ?, sort = ?, updated = ? WHERE seq = ?"


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

    def put(self, records: Sequence[Record]) -> None:
        in_steps(records, lambda batch: self._queue.noted(lambda group: _put(group, batch)), record_size)

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        return wait(self._queue, partial(self._look, ids, least), timeout_ms, ends_only=True)

    def _look(self, ids: Sequence[str], least: int | None) -> Looked[list[Record | None]]:
        def look(group: Group) -> Looked[list[Record | None]]:
            records = _read(group, ids)
            missing = [task_id for task_id, record in zip(ids, records, strict=True) if record is None]
            if not missing or (least is not None and len(records) - len(missing) >= least):
                return records, True, {}
            seen = traces(group, missing)
            return records, False, {task_id: seen.get(task_id) for task_id in missing}

        return self._queue.look(look)

    def forget(self, ids: Sequence[str]) -> None:
        def step(batch: Sequence[str]) -> Sequence[Never]:
            return self._queue.noted(lambda group: _forget(group, batch))

        in_steps(ids, step)

    def close(self) -> None:
        self._queue.store.close()


def _put(group: Group, records: Sequence[Record]) -> Sequence[Never]:
    """R1: keep the record of the higher fencing token."""
    group.sweep()
    for record in records:
        row = group.rows([record.id]).get(record.id)
        now, end = group.now, group.now + record.ttl_ms
        kept = (int(record.status), record_bytes(evolve(record, ended_ms=now)), end, stored_fence(record.fence))
        if row is None:
            ticket = group.tickets.next()
            group.db.execute(_NEW, (ticket, group.key, record.id, PAST, end, ticket, now, *kept))
        elif now >= row.record_end or fence_of(row.record_fence) <= record.fence:
            group.db.execute(_AGAIN, (*kept, end, now, row.seq))
    return ()


def _read(group: Group, ids: Sequence[str]) -> list[Record | None]:
    found: dict[str, Record] = {}
    for row in group.find(f"SELECT {COLUMNS} FROM task WHERE grp = ?", ids):  # noqa: S608 - our own words
        if (record := record_of(row.id, row.record, row.record_end, group.now)) is not None:
            found[row.id] = evolve(record, fence=fence_of(row.record_fence))
    return [found.get(task_id) for task_id in ids]


def _forget(group: Group, ids: Sequence[str]) -> Sequence[Never]:
    group.remove(list(group.rows(ids).values()))
    return ()
