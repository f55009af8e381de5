"""Backends that break the laws at their extremes: in large batches, over long times, without any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from attrs import evolve

from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.backends.memory.entry import UNDER_WAY, Entry, Place
from pyxqueue.backends.memory.group import Group
from pyxqueue.message import (
    DEDUPE_MS,
    Defer,
    Delivery,
    Extension,
    LeaseStatus,
    Message,
    Record,
    Settlement,
    TaskInfo,
    TaskStatus,
)
from pyxqueue.protocols import StoreOptions

from .wrong import Collection

COLLECTION = Collection()
breaks = COLLECTION.breaks
Item = TypeVar("Item")
Answer = TypeVar("Answer")
PAGE = 1_000
QUARTER_HOUR = 900_000
HALF_DAY = 12 * 3_600_000


def first_page(call: Callable[[Sequence[Item]], Sequence[Answer]], items: Sequence[Item], rest: Answer) -> list[Answer]:
    """Only a page of the batch is done, all of it is answered."""
    return [*call(items[:PAGE]), *([rest] * len(items[PAGE:]))]


# One page of a batch


@breaks("B1")
class EnqueuesAPage(MemoryBackend):
    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        return first_page(super().enqueue, messages, rest=True)


@breaks("B5")
class SettlesAPage(MemoryBackend):
    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        return first_page(super().settle, settlements, rest=True)


@breaks("B5")
class FollowsUpAPage(Group):
    def settle(self, settlement: Settlement, now: int) -> bool:
        return super().settle(evolve(settlement, then=settlement.then[:PAGE]), now)


@breaks("B6")
class ExtendsAPage(MemoryBackend):
    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        return first_page(super().extend, extensions, LeaseStatus.HELD)


@breaks("B11")
class ReleasesAPage(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        rest = [entry for entry in self.lines[Place.HELD].values() if entry.consumer == consumer][PAGE:]
        for entry in rest:
            entry.consumer = ""
        count = super().release(consumer, started, now)
        for entry in rest:
            entry.consumer = consumer
        return count


@breaks("B13")
class TrimsAPage(Group):
    def trim(self, limit: int, now: int) -> int:
        return super().trim(max(limit, len(self.lines[Place.FINISHED]) - PAGE), now)


@breaks("R4")
class ForgetsAPage(MemoryBackend):
    def forget(self, ids: Sequence[str]) -> None:
        super().forget(ids[:PAGE])


@breaks("R5")
class GetsAPage(MemoryBackend):
    def get(self, ids: Sequence[str]) -> Sequence[Record | None]:
        return first_page(super().get, ids, None)


@breaks("R5")
class WaitsForAPage(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        return first_page(lambda some: super(WaitsForAPage, self).wait(some, timeout_ms, least), ids, None)


@breaks("I1")
class ShowsAPage(MemoryBackend):
    def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        return first_page(super().show, ids, None)


@breaks("I2")
class RequeuesAPage(MemoryBackend):
    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        return first_page(super().requeue, ids, rest=True)


@breaks("I3")
class CancelsAPage(MemoryBackend):
    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        return first_page(super().cancel, ids, rest=True)


@breaks("I4")
class ListsAPage(MemoryBackend):
    _shown = 0

    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        page, following = super().tasks(state, cursor, count)
        self._shown = len(page) + (self._shown if cursor else 0)
        return page, following if self._shown < PAGE else ""


@breaks("I5")
class DeletesAPage(MemoryBackend):
    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        return first_page(super().delete, ids, rest=True)


@breaks("I7")
class AdoptsAPage(MemoryBackend):
    def adopt(self, tasks: Sequence[TaskInfo]) -> Sequence[bool]:
        return first_page(super().adopt, tasks, rest=True)


# Times


@breaks("B1")
class KnownForAnHourWhileItWaits(Group):
    """A key beside the task, with a life of its own."""

    def knows(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        if entry is not None and entry.place in UNDER_WAY and isinstance(entry.message, Message):
            return now < entry.message.enqueued_ms + DEDUPE_MS
        return super().knows(task_id, now)


@breaks("B1")
class CancelledIsForgotten(Group):
    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        answer = super().cancel(task_id, now, force=force)
        entry = self.tasks.get(task_id)
        if entry is not None and entry.place is Place.FINISHED:
            entry.known_until = 0
        return answer


@breaks("B3")
class LeaseOfHalfADayAtMost(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> Delivery:
        delivery = super().lend(entry, consumer, now)
        entry.lease_end = min(entry.lease_end, now + HALF_DAY)
        return delivery


@breaks("B3")
class LeaseIn32Bits(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> Delivery:
        delivery = super().lend(entry, consumer, now)
        entry.lease_end = now + self.lease % 2**31
        return delivery


@breaks("B7")
class ExpiredIsDropped(Group):
    """A column `expires` that the engine itself acts upon."""

    def claim(self, consumer: str, limit: int, now: int) -> list[Delivery]:
        for entry in list(self.lines[Place.READY].values()):
            if isinstance(entry.message, Message) and 0 < entry.message.expires_ms <= now:
                self.remove(entry)
        return super().claim(consumer, limit, now)


@breaks("B8")
class DelayOfAQuarterHourAtMost(Group):
    def add(self, message: Message, now: int) -> None:
        super().add(evolve(message, delay_ms=min(message.delay_ms, QUARTER_HOUR)), now)


@breaks("B8")
class DelayOfVerdictsOfAQuarterHourAtMost(Group):
    def put_back(self, entry: Entry, delay: int, now: int) -> None:
        super().put_back(entry, min(delay, QUARTER_HOUR), now)


@breaks("B8")
class DelayIn32Bits(Group):
    def add(self, message: Message, now: int) -> None:
        super().add(evolve(message, delay_ms=message.delay_ms % 2**31), now)


@breaks("B8")
class DelayInWholeSeconds(Group):
    def add(self, message: Message, now: int) -> None:
        super().add(evolve(message, delay_ms=message.delay_ms // 1000 * 1000), now)


@breaks("B8")
class PromoteAnswersIn32Bits(Group):
    def promote(self, limit: int | None, now: int) -> int:
        answer = super().promote(limit, now)
        return answer if answer < 2**31 else -1


@breaks("B11")
class ShortDelaysAreNone(Group):
    def apply(self, entry: Entry, settlement: Settlement, now: int) -> None:
        verdict = settlement.verdict
        if isinstance(verdict, Defer):
            verdict = Defer(verdict.delay_ms // 1000 * 1000)
        super().apply(entry, evolve(settlement, verdict=verdict), now)


@breaks("R3")
class TtlAsADate(Group):
    """More than thirty days is taken for a moment, and that was long ago."""

    def put(self, record: Record, now: int) -> None:
        super().put(evolve(record, ttl_ms=record.ttl_ms if record.ttl_ms <= 30 * 86_400_000 else 0), now)


@breaks("R3")
class TtlOfSettlementsIn32Bits(Group):
    def end(self, entry: Entry, place: Place, record: Record, now: int) -> None:
        super().end(entry, place, evolve(record, ttl_ms=record.ttl_ms % 2**31), now)


@breaks("R3")
class SettlementWithoutTtlIsForEver(Group):
    def end(self, entry: Entry, place: Place, record: Record, now: int) -> None:
        super().end(entry, place, evolve(record, ttl_ms=record.ttl_ms or 10**12), now)


@breaks("B13")
class NoHistoryIsAllHistory(MemoryBackend):
    def __init__(self, store: MemoryStore, options: StoreOptions) -> None:
        super().__init__(store, evolve(options, history=options.history or 10_000))
