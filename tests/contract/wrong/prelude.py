"""How a wrong backend is declared, and what several of them are made of.

A wrong backend is the in-memory one with one law broken: a class of its own in place of one of the memory's, under the
decorator `breaks` with the number of that law. `m` is the vocabulary, `pyxqueue.model.message`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

from attrs import evolve, frozen

from pyxqueue.backends.memory import MemoryBackend, MemoryResults, MemoryStore
from pyxqueue.backends.memory.group import Group
from pyxqueue.backends.memory.results import RecordTable
from pyxqueue.backends.memory.store import Queue
from pyxqueue.locked import UNDER_WAY, Entry, Place
from pyxqueue.model import message as m
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing.contract import BackendContract, ResultStoreContract
from pyxqueue.testing.memory import MemoryHarness

__all__ = [
    "PAGE",
    "PLANTED",
    "UNDER_WAY",
    "Entry",
    "Group",
    "MemoryBackend",
    "MemoryResults",
    "MemoryStore",
    "Mistaking",
    "Place",
    "Queue",
    "Quiet",
    "RecordTable",
    "Remembering",
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
Part: TypeAlias = type[Group] | type[Queue] | type[MemoryBackend] | type[RecordTable] | type[MemoryResults]
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
    def contract(self) -> type[BackendContract | ResultStoreContract]:
        return ResultStoreContract if issubclass(self.harness, ResultsHarness) else BackendContract


def harness_of(broken: Part) -> type[MemoryHarness]:
    if issubclass(broken, Queue):
        broken = type("WrongBackend", (MemoryBackend,), {"new_queue": broken})
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


def first_page(call: Callable[[Sequence[Item]], Sequence[Answer]], items: Sequence[Item], rest: Answer) -> list[Answer]:
    """Only a page of the batch is done, all of it is answered."""
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


def like(task_id: str, known: str) -> bool:
    """As the SQL operator compares: any character for ``_``, and without case."""
    return re.fullmatch(re.escape(task_id).replace("_", "."), known, re.IGNORECASE) is not None


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
    """Tells nobody of something."""

    @contextmanager
    def quiet(self, really: object = True) -> Iterator[None]:
        changed = self._changed
        if really:
            self._changed = lambda: None
        yield
        self._changed = changed
