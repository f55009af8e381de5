"""The embedded backend: broker and result store as one object on one SQLite file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial

from ...batching import MAX_ITEMS, settlement_size
from ...clock import deadline_after, is_over, wall_clock
from ...model.message import Delivery, Extension, LeaseStatus, Message, Record, Settlement
from ...model.wire import message_size
from ...protocols import AsyncProducer, StoreOptions
from . import tending
from .driver import Driver, best
from .group import SEEN_EVERY, Group
from .inspector import SQLiteInspector
from .location import FileSystemOf, Location, file_system_of, locate
from .opening import Opener
from .polling import Looked, has_ended, traces, wait
from .producing import SQLiteProducer
from .queue import Groups, Queue
from .rows import COLUMNS, record_of
from .schema import DELAYED, HELD, PAST, READY
from .steps import give_way, in_steps, until_done
from .store import BUSY_LIMIT, Mark, Store
from .versions import Version, wal_is_safe
from .waiting import sleep


class SQLiteBackend(SQLiteInspector):
    """One group of one queue in a SQLite file, for all processes of one machine.

    Parameters: `path`, the file, made at first use; `options`; `durability`, "normal" (what was accepted survives the
    death of every process) or "full" (a power cut too); `shared`, True if other users are trusted to write the file
    (else it is refused where they can); `clock`, answers the store's now in ms, and must be the same for all who share
    the file; `busy_limit`, seconds to try for a lock that another program holds; `driver`, the SQLite to use (None:
    Python's own, or that of `apsw` where only that one can be trusted with WAL); `safe_for_wal`, judges its version;
    `file_system`, answers the type of the file system below a folder.

    Nothing is opened before the first call. It may be used from any number of threads, and after a fork.

    Errors: `ConfigurationError` and `StoreFileError` for a file that cannot be used; `BrokerUnavailableError` while it
    is locked, and once when it was deleted or replaced; `StoreFullError` when a full disk keeps out new tasks.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Location,
        options: StoreOptions,
        *,
        durability: str = "normal",
        shared: bool = False,
        clock: Callable[[], int] = wall_clock,
        busy_limit: float = BUSY_LIMIT,
        driver: Driver | None = None,
        safe_for_wal: Callable[[Version], bool] = wal_is_safe,
        file_system: FileSystemOf = file_system_of,
    ) -> None:
        location = path if isinstance(path, Location) else locate(path, durability, shared=shared)
        opener = Opener(driver or best(), file_system, safe_for_wal)
        super().__init__(Queue(Store(location, opener, busy_limit), options, clock))
        self._interrupts = 0
        self._interrupts_seen = 0
        self._heard: dict[str, int] = {}

    # Broker

    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        def step(batch: Sequence[Message]) -> Sequence[bool]:
            return self._queue.joined_around(lambda groups, _: groups.enqueue(batch), takes_in=True)

        return in_steps(messages, step, message_size)

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        deadline = deadline_after(wait_ms if limit > 0 else 0)
        seen = self._interrupts_seen
        mark: Mark | None = None
        while True:
            event, worth = self._queue.look_around(lambda groups: self._outlook(groups, consumer))
            deliveries = self._claim(consumer, limit) if worth else []
            interrupted = self._interrupts > seen
            if deliveries or interrupted or is_over(deadline):
                self._interrupts_seen = self._interrupts
                return deliveries
            if mark is None or worth:
                mark = self._store.mark()  # and look once more: something may have come in between
                continue
            sleep(self._store, mark, deadline, partial(self._rouse, seen, event))
            mark = self._store.mark()

    def _rouse(self, interrupts: int, event: float) -> bool:
        return self._interrupts > interrupts or self._clock() >= event

    def _outlook(self, groups: Groups, consumer: str) -> tuple[float, bool]:
        """When something happens by itself next, and whether a claim has anything to do now."""
        group, now = groups.get(self._queue.options.group), groups.now
        events = [first for place in (HELD, DELAYED, PAST) if (first := group.first(place)) is not None]
        ready = groups.db.execute("SELECT 1 FROM task WHERE grp = ? AND place = ? LIMIT 1", (group.key, READY))
        event = min(events, default=float("inf"))
        unheard = not 0 <= now - self._heard.get(consumer, -1) < SEEN_EVERY
        return event, bool(ready) or event <= now or unheard or not self._queue.is_joined(groups)

    def _claim(self, consumer: str, limit: int) -> Sequence[Delivery]:
        def step(group: Group) -> tuple[Sequence[Delivery], bool]:
            if not 0 <= group.now - self._heard.get(consumer, -1) < SEEN_EVERY:
                group.seen([consumer])
                group.mend()
                self._heard[consumer] = group.now
            moved = (group.reclaim(MAX_ITEMS), group.maintain(MAX_ITEMS))
            group.trim(self._queue.options.history)
            return group.claim(consumer, limit) if limit > 0 else [], MAX_ITEMS in moved

        while True:
            deliveries, more = self._queue.joined(step)
            if deliveries or not more:
                return deliveries
            give_way()

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        def step(batch: Sequence[Settlement]) -> Sequence[bool]:
            return self._queue.joined(lambda group: self._capped(group, group.settle(batch)))

        return in_steps(settlements, step, settlement_size)

    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        return in_steps(extensions, lambda batch: self._queue.joined(lambda group: group.extend(batch)))

    def release(self, consumer: str, started: Sequence[str]) -> int:
        def step(size: int) -> int:
            return self._queue.joined(lambda group: self._capped(group, group.release(consumer, started, size)))

        self._heard.pop(consumer, None)
        return until_done(step)

    def maintain(self, limit: int) -> int:
        def look(groups: Groups) -> tuple[int, bool]:
            group = groups.get(self._queue.options.group)
            first = group.first(DELAYED)
            return -1 if first is None else int(max(0, first - group.now)), groups.has_removed

        left, has_removed = self._queue.look_around(look)
        if has_removed:  # what a removal that was cut off has left
            until_done(lambda size: self._queue.change(lambda groups: groups.clear(size)))
        if left == 0:
            until_done(lambda size: self._queue.joined(lambda group: group.maintain(size)), limit)
            left, _ = self._queue.look_around(look)
        return left

    def lease_ms(self) -> int:
        return self._queue.joined(lambda group: group.lease)

    def interrupt(self) -> None:
        # An interrupt that finds nobody waiting is kept for the next claim: it may be on its way to wait.
        with self._store.changed:
            self._interrupts += 1
            self._store.changed.notify_all()

    def close(self) -> None:
        self.interrupt()
        self._store.close()

    # Results

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        if timeout_ms == 0:
            return self._queue.look(lambda group: _records(group, ids))
        return wait(self._queue, partial(self.look_for, ids, least), timeout_ms, ends_only=True)

    def look_for(self, ids: Sequence[str], least: int | None) -> Looked[Sequence[Record | None]]:
        """One look of `wait`."""

        def look(group: Group) -> Looked[Sequence[Record | None]]:
            records = _records(group, ids)
            missing = [task_id for task_id, record in zip(ids, records, strict=True) if record is None]
            if not missing or (least is not None and len(records) - len(missing) >= least):
                return records, True, {}
            seen = traces(group, missing)
            # A missing record that can never come makes the whole wait futile.
            futile = any(task_id not in seen or has_ended(seen[task_id]) for task_id in missing)
            return records, futile, {task_id: seen.get(task_id) for task_id in missing}

        return self._queue.look(look)

    def asynchronous(self) -> AsyncProducer:
        return SQLiteProducer(self, self._queue)

    def forget(self, ids: Sequence[str]) -> None:
        in_steps(ids, lambda batch: self._queue.tended(lambda group: tending.forget(group, batch)))


def _records(group: Group, ids: Sequence[str]) -> list[Record | None]:
    rows = group.find(f"SELECT {COLUMNS} FROM task WHERE grp = ?", ids)  # noqa: S608 - our own words
    found = {row.id: record_of(row.id, row.record, row.record_end, group.now) for row in rows}
    return [found.get(task_id) for task_id in ids]
