"""The `Inspector` protocol on a store in memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

from ...errors import ConfigurationError
from ...locked import CLAIMABLE, Entry, Place
from ...model.failed import Dropped, FailedLimits
from ...model.message import ConsumerInfo, Depth, Message, TaskInfo, TaskStatus, check_adoptable
from ...printable import quoted
from .store import Queue
from .watch import wait


class MemoryInspector:
    """The `Inspector` protocol."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._store = queue.store

    def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        with self._store.changed:
            group, now = self._queue.look()
            return [group.show(task_id, now) for task_id in ids]

    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        # The cursor is the order of the last task shown, so that what comes and goes between two pages moves nothing.
        if not re.fullmatch(r"\d{0,18}", cursor, re.ASCII):
            raise ConfigurationError(f"{quoted(cursor)} is not a cursor that `tasks` has returned")
        with self._store.changed:
            group, now = self._queue.look()
            entries = [
                entry
                for entry in group.tasks.values()
                if entry.place is not Place.REMEMBERED
                and state in (None, entry.status)
                and (not cursor or entry.order < int(cursor))
            ]
            entries.sort(key=lambda entry: entry.order, reverse=True)
            page = entries[:count]
            return [group.info(entry, now) for entry in page], str(page[-1].order) if len(page) < len(entries) else ""

    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        def look() -> tuple[TaskInfo | None, bool]:
            group, now = self._queue.look()
            info = group.show(task_id, now)
            return info, info is None or info.differs(seen)

        return wait(self._store.changed, look, timeout_ms)

    def consumers(self) -> Sequence[ConsumerInfo]:
        with self._store.changed:
            group, now = self._queue.look()
            in_flight = group.lines[Place.IN_FLIGHT].values()
            return [
                ConsumerInfo(name, now - seen, tuple(entry.id for entry in in_flight if entry.consumer == name))
                for name, seen in group.consumers.items()
            ]

    def depth(self) -> Depth:
        with self._store.changed:
            group, now = self._queue.look()
            count = {place: len(line) for place, line in group.lines.items()}
            waited = [now - entry.updated for place in CLAIMABLE for entry in islice(group.lines[place].values(), 1)]
            return Depth(
                ready=sum(count[place] for place in CLAIMABLE),
                in_flight=count[Place.IN_FLIGHT],
                delayed=count[Place.DELAYED],
                failed=count[Place.FAILED],
                history=count[Place.HISTORY],
                oldest_ms=max(waited, default=0),
                blocked=count[Place.BLOCKED],
                dependent=count[Place.DEPENDENT],
                due=sum(entry.due <= now for entry in group.lines[Place.DELAYED].values()),
            )

    def queues(self, limit: int) -> tuple[Sequence[str], bool]:
        with self._store.changed:
            found = self._store.queues()
        return found[:limit], len(found) <= limit

    def groups(self) -> Sequence[str]:
        with self._store.changed:
            return sorted(self._queue.groups())

    def remove_group(self, group: str) -> None:
        with self._store.changed:
            self._store.remove_group(self._queue.options.stream_key, group)

    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        with self._store.changed:
            group, now = self._queue.look()
            return [group.requeue(task_id, now) for task_id in ids]

    def rejoin(self, ids: Sequence[str]) -> Sequence[bool]:
        with self._store.changed:
            group, now = self._queue.look()
            return [group.rejoin(task_id, now) for task_id in ids]

    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        with self._store.changed:
            group, now = self._queue.look()
            accepted = [group.cancel(task_id, now, force=force) for task_id in ids]
            group.trim(self._queue.options.history, now)
            return accepted

    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        with self._store.changed:
            group, now = self._queue.look()
            deleted = [group.delete(task_id, now) for task_id in ids]
            group.maintain(0, now)
            return deleted

    def drop_failed(self, limits: FailedLimits, count: int) -> Sequence[Dropped]:
        with self._store.changed:
            group, now = self._queue.look()
            failed = sorted(group.lines[Place.FAILED].values(), key=lambda entry: entry.order)
            dropped: list[Dropped] = []
            for number, entry in enumerate(failed[:count], 1):
                if not limits.drops(entry.updated, len(failed) - number, now):
                    break
                dropped.append(Dropped(entry.id, _name(entry), entry.updated, limits.is_old(entry.updated, now)))
                group.delete(entry.id, now)
            group.maintain(0, now)
            return dropped

    def adopt(self, tasks: Sequence[TaskInfo]) -> Sequence[bool]:
        check_adoptable(tasks)
        with self._store.changed:
            group, now = self._queue.join()
            return [group.adopt(task, now) for task in tasks]


def _name(entry: Entry) -> str:
    return entry.message.name if isinstance(entry.message, Message) else ""
