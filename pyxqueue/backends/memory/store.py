"""The shared store of one process, and the handle on one of its groups that keeps the `Backend` protocol."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Sequence
from threading import Condition
from typing import Any

from ...clock import deadline_after, seconds_left, started_ms, wall_clock
from ...errors import ConfigurationError
from ...locked import Entry, Place
from ...model.message import (
    ConsumerInfo,
    Delivery,
    Depth,
    Extension,
    Fields,
    LeaseStatus,
    Message,
    Record,
    Settlement,
    TaskInfo,
    TaskStatus,
    check_adoptable,
)
from ...model.wire import message_from_fields
from ...printable import quoted
from ...protocols import StoreOptions
from .group import Group


class MemoryStore:
    """All queues of one process. Backends that shall see the same tasks are opened on the same store.

    `clock` returns the store's time in ms. Calls that wait are woken in time for what the wall clock brings; a
    caller that passes its own clock calls `poke` after each change of it.
    """

    new_group = Group

    def __init__(self, clock: Callable[[], int] = wall_clock) -> None:
        self.clock = clock
        self.changed = Condition()
        """Its lock guards everything in the store; it is notified whenever a waiting call might go on."""
        # One counter for all fencing tokens: no receipt is ever issued twice, not even to a task that was deleted
        # and came back.
        self._tickets = itertools.count(1)
        self._queues: dict[str, dict[str, Group]] = {}
        self.results: dict[tuple[str, str], Any] = {}
        """What `MemoryResults` keeps, by stream key and group."""

    def group(self, stream_key: str, name: str) -> Group:
        """The group of that name, made if need be; not yet one that messages are copied into."""
        groups = self._queues.setdefault(stream_key, {})
        if name not in groups:
            groups[name] = self.new_group(self.changed.notify_all, self._tickets.__next__)
            groups[name].started_ms = started_ms(self.clock)
        return groups[name]

    def groups(self, stream_key: str) -> dict[str, Group]:
        """The registered groups by name, rid of what need not be remembered."""
        now = self.clock()
        found = {name: group for name, group in self._queues.get(stream_key, {}).items() if group.registered}
        for group in found.values():
            group.sweep(now)
        return found

    def queues(self) -> list[str]:
        """The queues that have a registered group."""
        return sorted(key for key, groups in self._queues.items() if any(group.registered for group in groups.values()))

    def remove_group(self, stream_key: str, name: str) -> None:
        if name not in self.groups(stream_key):
            raise ConfigurationError(
                f"{quoted(stream_key)} has no group {quoted(name)}, only {sorted(self.groups(stream_key))}"
            )
        del self._queues[stream_key][name]
        self.changed.notify_all()

    def poke(self) -> None:
        """Make the calls that wait look again, because the clock was moved."""
        with self.changed:
            self.changed.notify_all()

    def inject(self, stream_key: str, group: str, fields: Fields) -> str:
        """Put a raw entry on the ready line of a group, as a foreign producer would; return its id."""
        with self.changed:
            now = self.clock()
            message = message_from_fields(dict(fields), f"raw-{next(self._tickets)}")
            home = self.group(stream_key, group)
            home.registered = True
            home.take_foreign(Entry(message.id, message), now)
            return message.id


class MemoryBackend:
    """A handle on one group of one queue in `store`. It may be used from any number of threads.

    The group is registered by the first broker operation.
    """

    one_process = True
    """Worker processes cannot share it."""

    def __init__(self, store: MemoryStore, options: StoreOptions) -> None:
        self._store = store
        self._options = options
        self._joined: Group | None = None
        self._interrupts = 0
        self._interrupts_seen = 0

    def _look(self) -> tuple[Group, int]:
        """The group, which looking does not register, and the time."""
        return self._store.group(self._options.stream_key, self._options.group), self._store.clock()

    def _join(self) -> tuple[Group, int]:
        """The group, registered from now on, and the time."""
        group, now = self._look()
        if group is not self._joined:
            group.registered = True
            if self._options.lease_ms is not None:
                group.lease = self._options.lease_ms
            self._joined = group
        return group, now

    # -- Broker

    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        with self._store.changed:
            _, now = self._join()
            groups = self._store.groups(self._options.stream_key).values()
            answers = []
            for message in messages:
                new = not any(group.knows(message.id, now) for group in groups)
                for group in groups if new else ():
                    group.add(message, now)
                answers.append(new)
            return answers

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        until = time.monotonic() + wait_ms / 1000
        with self._store.changed:
            seen = self._interrupts_seen
            while True:
                group, now = self._join()
                deliveries = group.claim(consumer, limit, now)
                group.trim(self._options.history, now)
                left = until - time.monotonic()
                if deliveries or left <= 0 or self._interrupts > seen:
                    self._interrupts_seen = self._interrupts
                    return deliveries
                self._store.changed.wait(self._nap(group, now, left))

    def _nap(self, group: Group, now: int, left: float) -> float:
        """How many seconds to wait at most. A clock that is not the wall clock says itself when it moved."""
        event = group.next_event(now) if self._store.clock is wall_clock else None
        return left if event is None else min(left, event / 1000)

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        with self._store.changed:
            group, now = self._join()
            answers = [group.settle(settlement, now) for settlement in settlements]
            group.trim(self._options.history, now)
            return answers

    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        with self._store.changed:
            group, now = self._join()
            return [group.extend(extension, now) for extension in extensions]

    def release(self, consumer: str, started: Sequence[str]) -> int:
        with self._store.changed:
            group, now = self._join()
            count = group.release(consumer, started, now)
            group.trim(self._options.history, now)
            return count

    def maintain(self, limit: int) -> int:
        with self._store.changed:
            group, now = self._join()
            return group.maintain(limit, now)

    def lease_ms(self) -> int:
        with self._store.changed:
            group, _ = self._join()
            return group.lease

    def interrupt(self) -> None:
        # An interrupt that finds no waiting claim is kept for the next claim: it may be on its way to wait.
        with self._store.changed:
            self._interrupts += 1
            self._store.changed.notify_all()

    def close(self) -> None:
        self.interrupt()

    # -- Results

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        until = deadline_after(timeout_ms)
        with self._store.changed:
            while True:
                group, now = self._look()
                records, left = [group.read(task_id, now) for task_id in ids], seconds_left(until)
                # A missing record that can never come makes the whole wait futile.
                hopeful = all(group.may_come(i) for i, record in zip(ids, records, strict=True) if record is None)
                missing = records.count(None)
                enough = not missing or (least is not None and len(records) - missing >= least)
                if enough or not hopeful or (left is not None and left <= 0):
                    return records
                self._store.changed.wait(left)

    def forget(self, ids: Sequence[str]) -> None:
        with self._store.changed:
            group, now = self._look()
            for task_id in ids:
                group.forget(task_id, now)

    # -- Inspector

    def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        with self._store.changed:
            group, now = self._look()
            return [group.show(task_id, now) for task_id in ids]

    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        # The cursor is the order of the last task shown, so that what comes and goes between two pages moves nothing.
        if not re.fullmatch(r"\d{0,18}", cursor, re.ASCII):
            raise ConfigurationError(f"{quoted(cursor)} is not a cursor that `tasks` has returned")
        with self._store.changed:
            group, now = self._look()
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
        until = deadline_after(timeout_ms)
        with self._store.changed:
            while True:
                group, now = self._look()
                info, left = group.show(task_id, now), seconds_left(until)
                if info is None or info.differs(seen) or (left is not None and left <= 0):
                    return info
                self._store.changed.wait(left)

    def consumers(self) -> Sequence[ConsumerInfo]:
        with self._store.changed:
            group, now = self._look()
            held = group.lines[Place.IN_FLIGHT].values()
            return [
                ConsumerInfo(name, now - seen, tuple(entry.id for entry in held if entry.consumer == name))
                for name, seen in group.consumers.items()
            ]

    def depth(self) -> Depth:
        with self._store.changed:
            group, now = self._look()
            count = {place: len(line) for place, line in group.lines.items()}
            first = next(iter(group.lines[Place.READY].values()), None)
            return Depth(
                ready=count[Place.READY],
                in_flight=count[Place.IN_FLIGHT],
                delayed=count[Place.DELAYED],
                failed=count[Place.FAILED],
                history=count[Place.HISTORY],
                oldest_ms=0 if first is None else now - first.updated,
            )

    def queues(self, limit: int) -> tuple[Sequence[str], bool]:
        with self._store.changed:
            found = self._store.queues()
        return found[:limit], len(found) <= limit

    def groups(self) -> Sequence[str]:
        with self._store.changed:
            return sorted(self._store.groups(self._options.stream_key))

    def remove_group(self, group: str) -> None:
        with self._store.changed:
            self._store.remove_group(self._options.stream_key, group)

    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        with self._store.changed:
            group, now = self._look()
            return [group.requeue(task_id, now) for task_id in ids]

    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        with self._store.changed:
            group, now = self._look()
            answers = [group.cancel(task_id, now, force=force) for task_id in ids]
            group.trim(self._options.history, now)
            return answers

    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        with self._store.changed:
            group, _ = self._look()
            return [group.delete(task_id) for task_id in ids]

    def adopt(self, tasks: Sequence[TaskInfo]) -> Sequence[bool]:
        check_adoptable(tasks)
        with self._store.changed:
            group, now = self._join()
            return [group.adopt(task, now) for task in tasks]
