"""Records: those of a backend's tasks, and the result half of a `SplitBackend`."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from attrs import define, field

from ...model.message import Record, enough, evolve
from ...protocols import StoreOptions
from .store import MemoryStore, Queue
from .watch import wait


@define(eq=False)
class RecordTable:
    """The records of one group. The caller has locked the store."""

    kept: dict[str, Record] = field(factory=dict)
    _ends: list[tuple[int, str]] = field(factory=list)

    def put(self, record: Record, now: int) -> None:
        """R1: keep the record of the higher fencing token."""
        self.sweep(now)
        stored = self.read(record.id, now)
        if stored is None or stored.fence <= record.fence:
            self.keep(evolve(record, ended_ms=now))

    def keep(self, record: Record) -> None:
        self.kept[record.id] = record
        heapq.heappush(self._ends, (record.ended_ms + record.ttl_ms, record.id))

    def read(self, task_id: str, now: int) -> Record | None:
        """R3: the record, for as long as it can be read."""
        record = self.kept.get(task_id)
        return record if record is not None and now < record.ended_ms + record.ttl_ms else None

    def forget(self, task_id: str) -> None:
        """R4."""
        self.kept.pop(task_id, None)

    def sweep(self, now: int) -> None:
        """Forget the records that have ended."""
        while self._ends and self._ends[0][0] <= now:
            task_id = heapq.heappop(self._ends)[1]
            if task_id in self.kept and self.read(task_id, now) is None:
                del self.kept[task_id]

    def __len__(self) -> int:
        return len(self.kept)


class MemoryRecords:
    """The `Results` protocol, for the tasks of a backend."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._store = queue.store

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        def look() -> tuple[list[Record | None], bool]:
            group, now = self._queue.look()
            records = [group.read(task_id, now) for task_id in ids]
            # A missing record that can never come makes the whole wait futile.
            futile = not all(group.may_come(i) for i, record in zip(ids, records, strict=True) if record is None)
            return records, futile or enough(records, least)

        return wait(self._store.changed, look, timeout_ms)

    def forget(self, ids: Sequence[str]) -> None:
        with self._store.changed:
            group, now = self._queue.look()
            for task_id in ids:
                group.forget(task_id, now)


class MemoryResults:
    """A `ResultStore` for the tasks of another broker. It may be used from any number of threads."""

    one_process = True
    """Worker processes cannot share it."""

    new_table = RecordTable

    def __init__(self, store: MemoryStore, options: StoreOptions) -> None:
        self._changed, self._clock = store.changed, store.clock
        with self._changed:
            self._records: RecordTable = store.results.setdefault((options.stream_key, options.group), self.new_table())

    def put(self, records: Sequence[Record]) -> None:
        with self._changed:
            for record in records:
                self._records.put(record, self._clock())
            self._changed.notify_all()

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        def look() -> tuple[list[Record | None], bool]:
            records = [self._records.read(task_id, self._clock()) for task_id in ids]
            return records, enough(records, least)

        return wait(self._changed, look, timeout_ms)

    def forget(self, ids: Sequence[str]) -> None:
        with self._changed:
            for task_id in ids:
                self._records.forget(task_id)

    def close(self) -> None:
        """Nothing is open."""
