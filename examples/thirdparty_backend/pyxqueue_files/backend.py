"""The protocols on a folder: each method is one change of it, or looks again until it has a result."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import Event
from typing import TypeVar

from pyxqueue.errors import ConfigurationError
from pyxqueue.locked import READY, Place
from pyxqueue.model.message import (
    ConsumerInfo,
    Delivery,
    Depth,
    Extension,
    LeaseStatus,
    Message,
    Record,
    Settlement,
    TaskInfo,
    TaskStatus,
    check_adoptable,
    enough,
)
from pyxqueue.model.turns import Turn
from pyxqueue.protocols import NO_LINES, StoreOptions

from .folder import Folder
from .group import Group, file_name

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")

SHORTEST_NAP, LONGEST_NAP = 0.001, 0.05
"""Seconds between two looks at the last ticket."""
LOOK_AGAIN = 0.5
"""Seconds after which a waiting call looks even if no ticket was drawn: leases and delays end without one."""


def wall_clock() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class FilesBackend:
    """One group of one queue in a folder. Any number of processes and threads of one host may use it at once."""

    def __init__(self, path: Path, options: StoreOptions, clock: Callable[[], int] = wall_clock) -> None:
        self._folder = Folder(path / file_name(options.stream_key))
        self._options = options
        self._clock = clock
        self._joined = False
        self._interrupted = Event()
        self._turn = Turn()

    @contextmanager
    def _look(self) -> Iterator[Group]:
        """The group, which looking does not register. A change of it ends with some tidying up."""
        with self._folder.change() as change:
            group = Group(change, self._options.group, self._clock())
            yield group
            if change.writes:
                group.trim(self._options.history)

    @contextmanager
    def _join(self) -> Iterator[Group]:
        """The group, registered from now on."""
        with self._look() as group:
            if not self._joined or not group.registered:
                group.register(self._options.lease_ms)
            yield group
        self._joined = True

    def _each(self, method: Callable[[Group, A, int], B], items: Sequence[A]) -> list[B]:
        """What the method returns for each item, all in one change."""
        with self._look() as group:
            return [method(group, item, group.now) for item in items]

    def _until(self, look: Callable[[], tuple[T, bool]], timeout: int | None, interrupted: Event) -> T:
        """Look until it is enough, again after each new ticket, for at most `timeout` ms."""
        end = math.inf if timeout is None else time.monotonic() + timeout / 1000
        while True:
            seen = self._folder.ticket()  # before the look: what comes during it is not missed
            found, enough = look()
            if enough or time.monotonic() >= end:
                return found
            again, nap = min(end, time.monotonic() + LOOK_AGAIN), SHORTEST_NAP
            while self._folder.ticket() == seen and time.monotonic() < again:
                if interrupted.wait(nap):
                    interrupted.clear()
                    return found
                nap = min(2 * nap, LONGEST_NAP)

    # -- Broker

    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        with self._join() as home:
            groups, accepted = home.all(), list[bool]()
            for message in messages:
                new = not any(group.knows(message.id, home.now) for group in groups)
                for group in groups if new else ():
                    group.add(message, home.now)
                accepted.append(new)
            return accepted

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        def look() -> tuple[list[Delivery], bool]:
            with self._join() as group:
                deliveries, self._turn = group.claim(consumer, limit, self._turn, group.now)
                return deliveries, bool(deliveries)

        return self._until(look, wait_ms, self._interrupted)

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        return self._each(Group.settle, settlements)

    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        return self._each(Group.extend, extensions)

    def release(self, consumer: str, started: Sequence[str], past: Mapping[str, str] = NO_LINES) -> int:
        with self._look() as group:
            group.remember_runs(consumer, past)
            return group.release(consumer, started, group.now)

    def maintain(self, limit: int) -> int:
        with self._join() as group:
            group.forget_silent()
            return group.maintain(limit, group.now)

    def lease_ms(self) -> int:
        with self._join() as group:
            return group.lease

    def interrupt(self) -> None:
        self._interrupted.set()  # it stays so until a claim has seen it, which may be on its way to wait

    def close(self) -> None:
        self.interrupt()

    # -- Results

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        def look() -> tuple[list[Record | None], bool]:
            with self._look() as group:
                records = [group.read(task_id, group.now) for task_id in ids]
                # A missing record that can never come makes the whole wait futile.
                futile = not all(group.may_come(i) for i, record in zip(ids, records, strict=True) if record is None)
                return records, futile or enough(records, least)

        return self._until(look, timeout_ms, Event())

    def forget(self, ids: Sequence[str]) -> None:
        self._each(Group.forget, ids)

    # -- Inspector

    def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        return self._each(Group.show, ids)

    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        if not re.fullmatch(r"\d{0,18}", cursor, re.ASCII):
            raise ConfigurationError(f"{cursor!r} is not a cursor that `tasks` has returned")
        with self._look() as group:
            return group.page(state, int(cursor) if cursor else None, count)

    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        def look() -> tuple[TaskInfo | None, bool]:
            (info,) = self.show([task_id])
            return info, info is None or info.differs(seen)

        return self._until(look, timeout_ms, Event())

    def consumers(self) -> Sequence[ConsumerInfo]:
        with self._look() as group:
            in_flight = list(group.line(Place.IN_FLIGHT))
            return [
                ConsumerInfo(name, group.now - seen, [entry.id for entry in in_flight if entry.consumer == name])
                for name, seen in group.consumers().items()
            ]

    def depth(self) -> Depth:
        with self._look() as group:
            waited = [group.now - entry.updated for place in READY for entry in islice(group.line(place), 1)]
            return Depth(
                ready=sum(len(group.names(place)) for place in READY),
                in_flight=len(group.names(Place.IN_FLIGHT)),
                delayed=len(group.names(Place.DELAYED)),
                failed=len(group.names(Place.FAILED)),
                history=len(group.names(Place.HISTORY)),
                oldest_ms=max(waited, default=0),
                due=sum(entry.due <= group.now for entry in group.line(Place.DELAYED)),
            )

    def groups(self) -> Sequence[str]:
        with self._look() as home:
            return sorted(group.name for group in home.all())

    def remove_group(self, group: str) -> None:
        with self._look() as home:
            found = {one.name: one for one in home.all()}
            if group not in found:
                raise ConfigurationError(f"{self._options.stream_key!r} has no group {group!r}, only {sorted(found)}")
            found[group].drop()

    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        return self._each(Group.requeue, ids)

    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        return self._each(lambda group, task_id, now: group.cancel(task_id, now, force=force), ids)

    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        return self._each(Group.delete, ids)

    def adopt(self, tasks: Sequence[TaskInfo]) -> Sequence[bool]:
        check_adoptable(tasks)
        with self._join() as group:
            return [group.adopt(task, group.now) for task in tasks]
