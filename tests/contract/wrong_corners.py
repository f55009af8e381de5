"""Backends that break the laws at their corners only: with odd names, at the edges of sizes, in what comes between."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Sequence
from contextlib import suppress

from attrs import evolve

from pyxqueue.backends.memory import MemoryBackend
from pyxqueue.backends.memory.entry import UNDER_WAY, Entry, Place
from pyxqueue.backends.memory.group import Group
from pyxqueue.errors import ConfigurationError
from pyxqueue.message import (
    ConsumerInfo,
    Defer,
    Delivery,
    Done,
    Extension,
    Failure,
    LeaseStatus,
    Message,
    Record,
    Settlement,
    TaskInfo,
    TaskStatus,
)

from .wrong import Collection

COLLECTION = Collection()
breaks = COLLECTION.breaks


@breaks("B1")
class IdsWithoutCase(Group):
    def knows(self, task_id: str, now: int) -> bool:
        return task_id.lower() in {known.lower() for known in self.tasks} or super().knows(task_id, now)


@breaks("B1")
class IdsAreCut(Group):
    def knows(self, task_id: str, now: int) -> bool:
        return task_id[:40] in {known[:40] for known in self.tasks}


@breaks("B1")
class OneRepeatSpoilsTheBatch(MemoryBackend):
    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        group, now = self._join()
        if any(group.knows(message.id, now) for message in messages):
            return [False] * len(messages)
        return super().enqueue(messages)


@breaks("B1")
class RepeatReplacesWhatWaits(MemoryBackend):
    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        group, _ = self._join()
        for message in messages:
            if (entry := group.tasks.get(message.id)) is not None and entry.place in (Place.READY, Place.DELAYED):
                entry.alter(body=message.body)
        return super().enqueue(messages)


@breaks("B2")
class AnswersAreKeptInTheHandle(MemoryBackend):
    _answer: Sequence[Delivery] = ()

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        self._answer = super().claim(consumer, limit, wait_ms)
        time.sleep(0.0005)  # the fault itself: the moment in which another thread's answer takes its place
        return self._answer


@breaks("B2")
class InterruptStays(MemoryBackend):
    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        return super().claim(consumer, limit, 0 if self._interrupts else wait_ms)


@breaks("B3")
class LeaseOfTheHandle(MemoryBackend):
    def _join(self) -> tuple[Group, int]:
        group, now = super()._join()
        group.lease = self._options.lease_ms or group.lease
        return group, now


@breaks("B3")
class LeaseInSeconds(MemoryBackend):
    def lease_ms(self) -> int:
        return super().lease_ms() // 1000


@breaks("B3")
class ExtensionsAreShort(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        answer = super().extend(extension, now)
        if entry := self.holding(extension.receipt):
            entry.lease_end = now + self.lease * 7 // 10
        return answer


@breaks("B4")
class ReceiptsStartAnewWithEachLife(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> Delivery:
        claims = int(entry.receipt.rpartition("@")[2] or 0) + 1
        delivery = super().lend(entry, consumer, now)
        entry.receipt = f"{entry.id}@{claims}"
        return evolve(delivery, receipt=entry.receipt)


@breaks("B5")
class FollowUpsOfTheDoneOnly(Group):
    def settle(self, settlement: Settlement, now: int) -> bool:
        return super().settle(settlement if isinstance(settlement.verdict, Done) else evolve(settlement, then=()), now)


@breaks("B5")
class FollowUpsReplaceEachOther(Group):
    def settle(self, settlement: Settlement, now: int) -> bool:
        latest = {message.id: message for message in settlement.then}
        return super().settle(evolve(settlement, then=list(latest.values())), now)


@breaks("B5")
class WorkersStampTheRecord(Group):
    def end(self, entry: Entry, place: Place, record: Record, now: int) -> None:
        super().end(entry, place, record, now)
        if record.ended_ms and entry.record is not None:
            entry.record = evolve(entry.record, ended_ms=record.ended_ms, ttl_ms=now + record.ttl_ms)


@breaks("B5")
class NothingIsOneItem(MemoryBackend):
    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        return super().settle(settlements) or [False]


@breaks("B5")
class RecordBeforeTheVerdict(MemoryBackend):
    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        with self._store.changed:
            group, now = self._join()
            for settlement in settlements:
                if settlement.record is not None and group.holding(settlement.receipt):
                    group.put(settlement.record, now)
        time.sleep(0.05)  # the fault itself: a moment in which half of it is to be seen
        return super().settle(settlements)


@breaks("B5")
class FollowUpsComeLater(MemoryBackend):
    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        answers = super().settle([evolve(settlement, then=()) for settlement in settlements])
        time.sleep(0.05)  # the fault itself: a moment in which half of it is to be seen
        with self._store.changed:
            group, now = self._join()
            for settlement, accepted in zip(settlements, answers, strict=True):
                for message in settlement.then if accepted else ():
                    if not group.knows(message.id, now):
                        group.add(message, now)
        return answers


@breaks("B8")
class TakesOutBeforeItPutsIn(MemoryBackend):
    def promote(self, limit: int) -> int:
        with self._store.changed:
            group, now = self._join()
            due = [entry for entry in group.lines[Place.DELAYED].values() if entry.due <= now][:limit]
            for entry in due:
                group.remove(entry)
        time.sleep(0.002)  # the fault itself: a moment in which they are nowhere
        with self._store.changed:
            for entry in due:
                group.insert(entry, 0, now)
        return super().promote(0)


@breaks("B8")
class PromotesOneAtLeast(Group):
    def promote(self, limit: int | None, now: int) -> int:
        return super().promote(limit if limit is None else max(1, limit), now)


@breaks("B9")
class GroupsAreRemovedByPrefix(MemoryBackend):
    def remove_group(self, group: str) -> None:
        for name in self.groups():
            if name.startswith(group):
                super().remove_group(name)


@breaks("B9")
class AnyGroupCanBeRemoved(MemoryBackend):
    def remove_group(self, group: str) -> None:
        with suppress(ConfigurationError):
            super().remove_group(group)


@breaks("B11")
class NamesEndAtTheirFirstSpace(MemoryBackend):
    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        return super().claim(consumer.partition(" ")[0], limit, wait_ms)

    def release(self, consumer: str, started: Sequence[str]) -> int:
        return super().release(consumer.partition(" ")[0], started)


@breaks("B11")
class NamesAreASCII(MemoryBackend):
    def consumers(self) -> Sequence[ConsumerInfo]:
        return [evolve(one, name=one.name.encode("ascii", "replace").decode()) for one in super().consumers()]


@breaks("B11")
class EachMentionIsACrash(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        for entry in self.lines[Place.HELD].values():
            if isinstance(entry.message, Message) and entry.consumer == consumer:
                entry.alter(crashes=entry.message.crashes + max(0, started.count(entry.receipt) - 1))
        return super().release(consumer, started, now)


@breaks("B11")
class OldReceiptsAreCharged(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        ids = {receipt.rpartition("@")[0] for receipt in started}
        held = self.lines[Place.HELD].values()
        return super().release(consumer, [entry.receipt for entry in held if entry.id in ids], now)


@breaks("B11")
class ReturnClearsTheSuspicion(Group):
    def apply(self, entry: Entry, settlement: Settlement, now: int) -> None:
        if isinstance(settlement.verdict, Defer):
            entry.alter(redelivered=False)
        super().apply(entry, settlement, now)


@breaks("B11")
class RetryIsEnqueuedAnew(Group):
    def put_back(self, entry: Entry, delay: int, now: int) -> None:
        entry.alter(enqueued_ms=now)
        super().put_back(entry, delay, now)


@breaks("B12")
class NothingGetsADefault(Group):
    def add(self, message: Message, now: int) -> None:
        super().add(evolve(message, body=message.body or b"[[],{}]"), now)


@breaks("B12")
class LargeBodiesAreCut(Group):
    def add(self, message: Message, now: int) -> None:
        super().add(evolve(message, body=message.body[:1_000_000]), now)


@breaks("B12")
class LargeValuesAreCut(Group):
    def end(self, entry: Entry, place: Place, record: Record, now: int) -> None:
        super().end(entry, place, evolve(record, value=record.value[:1_000_000]), now)


@breaks("B12")
class TextIsNormalised(Group):
    def add(self, message: Message, now: int) -> None:
        headers = {name: unicodedata.normalize("NFC", value) for name, value in message.headers.items()}
        super().add(evolve(message, headers=headers), now)


@breaks("B12")
class HeadersAreStripped(Group):
    def add(self, message: Message, now: int) -> None:
        super().add(evolve(message, headers={name.strip(): value for name, value in message.headers.items()}), now)


@breaks("R1")
class LastOfABatchWins(MemoryBackend):
    def put(self, records: Sequence[Record]) -> None:
        super().put(list({record.id: record for record in records}.values()))


@breaks("R2")
class WaitsForNothing(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        if not ids:
            time.sleep(2)  # the fault itself: longer than the test's patience
        return super().wait(ids, timeout_ms, least)


@breaks("R5")
class TracebacksAreCut(Group):
    def put(self, record: Record, now: int) -> None:
        error = record.error and evolve(record.error, traceback=record.error.traceback[:10_000])
        super().put(evolve(record, error=error), now)


@breaks("R5")
class FailuresAreOneLine(Group):
    def put(self, record: Record, now: int) -> None:
        error = record.error and Failure(record.error.type, " ".join(record.error.message.split()))
        super().put(evolve(record, error=error), now)


@breaks("I3")
class CancelsInAnyOrder(MemoryBackend):
    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        return sorted(super().cancel(ids, force))


@breaks("I4")
class PagesByOffset(MemoryBackend):
    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        super().tasks(state, cursor, 1)  # a made-up cursor is refused
        start = int(cursor or 0)
        everything, _ = super().tasks(state, "", 10**6)
        more = start + count < len(everything)
        return everything[start : start + count], str(start + count) if more else ""


@breaks("I4")
class PlaceAfterPlace(MemoryBackend):
    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        super().tasks(state, cursor, 1)
        everything, _ = super().tasks(state, "", 10**6)
        ordered = sorted(everything, key=lambda task: not task.status.ended)
        start = int(cursor or 0)
        return ordered[start : start + count], str(start + count) if start + count < len(ordered) else ""


@breaks("I5")
class DeletesInAnyOrder(MemoryBackend):
    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        return sorted(super().delete(ids))


@breaks("I5")
class NoIdsAreAllIds(MemoryBackend):
    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        if not ids:
            super().delete([task.id for task in self.tasks()[0]])
        return super().delete(ids)


@breaks("I6")
class WatchSeesNoDeletion(Group):
    def remove(self, entry: Entry) -> None:
        changed, self._changed = self._changed, lambda: None
        super().remove(entry)
        self._changed = changed


@breaks("B1")
class ForeignCopyTakesTheTasksPlace(Group):
    def take_foreign(self, entry: Entry, now: int) -> None:
        self.insert(entry, 0, now)


@breaks("B1")
class ForeignCopyReplacesTheEnd(Group):
    def take_foreign(self, entry: Entry, now: int) -> None:
        known = self.tasks.get(entry.id)
        if known is None or known.place not in UNDER_WAY:
            self.insert(entry, 0, now)
