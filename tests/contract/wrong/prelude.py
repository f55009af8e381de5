"""How a wrong backend is declared, and what several of them are made of.

A wrong backend is the in-memory one with one law broken. It is declared with `breaks` and the number of that law: as a
class that takes the place of one of the memory's, or as a function that alters what is stored, with `stores`,
`records`, `settles`, `adopts` or `moves`. `m` is the vocabulary, `pyxqueue.model.message`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeAlias, TypeVar

from attrs import frozen

from pyxqueue.backends.memory import MemoryBackend, MemoryResults, MemoryStore
from pyxqueue.backends.memory.group import Group
from pyxqueue.backends.memory.results import RecordTable
from pyxqueue.backends.memory.schedules import MemorySchedules
from pyxqueue.backends.memory.store import Queue
from pyxqueue.locked import READY, UNDER_WAY, WAITING, Entry, Place
from pyxqueue.model import message as m
from pyxqueue.model.message import evolve
from pyxqueue.model.turns import Turn
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing.contract import BackendContract, ResultStoreContract, ScheduleContract
from pyxqueue.testing.memory import MemoryHarness
from tests.support.memory_claims import MemoryClaims, SharingBackend, SharingHarness

__all__ = [
    "PAGE",
    "PLANTED",
    "READY",
    "UNDER_WAY",
    "WAITING",
    "Entry",
    "Group",
    "MemoryBackend",
    "MemoryClaims",
    "MemoryResults",
    "MemorySchedules",
    "MemoryStore",
    "Mistaking",
    "Place",
    "Queue",
    "Quiet",
    "RecordTable",
    "Remembering",
    "Turn",
    "Wrong",
    "breaks",
    "first_page",
    "harness_of",
    "m",
    "moment",
    "store_record",
    "without_case",
]

Item = TypeVar("Item")
Answer = TypeVar("Answer")
PAGE = 1_000
Part: TypeAlias = (
    type[Group]
    | type[Queue]
    | type[MemoryBackend]
    | type[RecordTable]
    | type[MemoryResults]
    | type[MemorySchedules]
    | type[MemoryClaims]
)
Broken = TypeVar("Broken", bound=Part)


class ResultsHarness(MemoryHarness):
    """A result store in memory, for `ResultStoreContract`."""

    results_type: type[MemoryResults] = MemoryResults

    def open(self, *_: Any, **__: Any) -> Any:
        return self.results_type(self.store, StoreOptions(self.stream_key))


@frozen
class Wrong:
    """A wrong backend or result store, the law that it breaks, and how the kit opens it."""

    name: str
    law: str
    harness: type[MemoryHarness]

    @property
    def contract(self) -> type[BackendContract | ResultStoreContract | ScheduleContract]:
        if self.law in {"L1", "L2"}:
            return ScheduleContract
        return ResultStoreContract if issubclass(self.harness, ResultsHarness) else BackendContract


def harness_of(broken: Part) -> type[MemoryHarness]:
    if issubclass(broken, Queue):
        broken = type("WrongBackend", (MemoryBackend,), {"new_queue": broken})
    if issubclass(broken, MemorySchedules):
        broken = type("WrongBackend", (MemoryBackend,), {"new_schedules": broken})
    if issubclass(broken, MemoryClaims):
        backend = type("WrongBackend", (SharingBackend,), {"new_claims": broken})
        return type("WrongHarness", (SharingHarness,), {"backend_type": backend})
    if issubclass(broken, MemoryBackend):
        return type("WrongHarness", (MemoryHarness,), {"backend_type": broken})
    if issubclass(broken, RecordTable):
        broken = type("WrongResults", (MemoryResults,), {"new_table": broken})
    if issubclass(broken, MemoryResults):
        return type("WrongHarness", (ResultsHarness,), {"results_type": broken})
    store = type("WrongStore", (MemoryStore,), {"new_group": broken})
    return type("WrongHarness", (MemoryHarness,), {"store_type": store})


def store_record(group: Group, record: m.Record, now: int) -> None:
    """What no backend does: a record that comes without a settlement."""
    entry = group.tasks.setdefault(record.id, Entry(record.id, None))
    entry.record = evolve(record, ended_ms=now)
    if entry.place is Place.REMEMBERED:
        entry.ended = record.status
        group.move(entry, Place.REMEMBERED, now)
    group._changed()


PLANTED: list[Wrong] = []
"""Every wrong backend whose module has been imported."""


def breaks(law: str) -> Callable[[Broken], Broken]:
    """Declare a wrong backend."""

    def add(broken: Broken) -> Broken:
        PLANTED.append(Wrong(broken.__name__, law, harness_of(broken)))
        return broken

    return add


def stores(alter: Callable[[m.Message], m.Message]) -> type[Group]:
    """Stores another message than was enqueued."""

    class Storing(Group):
        def add(self, message: m.Message, now: int) -> None:
            super().add(alter(message), now)

    return named(alter.__name__, Storing)


def records(alter: Callable[[m.Record], m.Record]) -> type[Group]:
    """Stores another record than that of the end."""

    class Recording(Group):
        def _end(self, entry: Entry, place: Place, record: m.Record, now: int) -> None:
            super()._end(entry, place, alter(record), now)

    return named(alter.__name__, Recording)


def settles(alter: Callable[[m.Settlement], m.Settlement]) -> type[Group]:
    """Applies another settlement than was sent."""

    class Settling(Group):
        def settle(self, settlement: m.Settlement, now: int) -> bool:
            return super().settle(alter(settlement), now)

    return named(alter.__name__, Settling)


def adopts(alter: Callable[[m.TaskInfo], m.TaskInfo]) -> type[Group]:
    """Adopts another task than was given."""

    class Adopting(Group):
        def adopt(self, task: m.TaskInfo, now: int) -> bool:
            return super().adopt(alter(task), now)

    return named(alter.__name__, Adopting)


def moves(alter: Callable[[m.Message], m.Message]) -> type[Group]:
    """Adopts a task with another message than it had."""

    def altered(task: m.TaskInfo) -> m.TaskInfo:
        return evolve(task, message=alter(task.message)) if isinstance(task.message, m.Message) else task

    return named(alter.__name__, adopts(altered))


def named(name: str, group: type[Group]) -> type[Group]:
    group.__name__ = name
    return group


def in_flight(group: Group, receipt: str) -> Entry | None:
    """The task in flight that a receipt names, current or not."""
    entry = group.tasks.get(receipt.rpartition("@")[0])
    return entry if entry is not None and entry.place is Place.IN_FLIGHT else None


def lapsed(group: Group, now: int) -> list[Entry]:
    """The tasks in flight whose lease has ended."""
    return [entry for entry in group.lines[Place.IN_FLIGHT].values() if entry.lease_end <= now]


def first_page(call: Callable[[Sequence[Item]], Sequence[Answer]], items: Sequence[Item], rest: Answer) -> list[Answer]:
    """Do a page of the batch only; return a result for all of it."""
    return [*call(items[:PAGE]), *([rest] * len(items[PAGE:]))]


class Remembering(MemoryBackend):
    """A handle that knows which receipts it was given."""

    def __init__(self, store: MemoryStore, options: StoreOptions) -> None:
        super().__init__(store, options)
        self.receipts: set[str] = set()

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[m.Delivery]:
        deliveries = super().claim(consumer, limit, wait_ms)
        self.receipts.update(delivery.receipt for delivery in deliveries)
        return deliveries


def moment() -> None:
    """Between a look and a write that should be one step: others do the same in it."""
    time.sleep(0.0005)  # the fault itself


@cache
def pattern(task_id: str) -> re.Pattern[str]:
    return re.compile(re.escape(task_id).replace("_", "."), re.IGNORECASE)


def like(task_id: str, known: str) -> bool:
    """As the SQL operator compares: any character for ``_``, and without case."""
    return pattern(task_id).fullmatch(known) is not None


def without_case(task_id: str, known: str) -> bool:
    return task_id.lower() == known.lower()


class Mistaking(MemoryBackend):
    """Finds the ids of tasks that are alike."""

    alike: Callable[[str, str], bool] = staticmethod(like)

    def found(self, task_id: str) -> list[str]:
        group, _ = self._queue.look()
        return [known for known in group.tasks if self.alike(task_id, known)]

    def widely(self, operation: Callable[[Sequence[str]], Sequence[bool]], ids: Sequence[str]) -> list[bool]:
        return [any(operation(self.found(task_id))) for task_id in ids]


class Quiet(Group):
    """Wakes no waiting call where it should."""

    @contextmanager
    def quiet(self, really: object = True) -> Iterator[None]:
        changed = self._changed
        if really:
            self._changed = lambda: None
        yield
        self._changed = changed
