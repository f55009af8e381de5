"""Backends that break B7 to B13, each in one small way."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from attrs import evolve

from pyxqueue.backends.memory import MemoryBackend
from pyxqueue.backends.memory.entry import Entry, Place
from pyxqueue.backends.memory.group import Group
from pyxqueue.message import (
    Defer,
    Delivery,
    Extension,
    Fail,
    LeaseStatus,
    Message,
    Record,
    Retry,
    Settlement,
    Unreadable,
)

from .wrong import Collection

COLLECTION = Collection()
breaks = COLLECTION.breaks


@breaks("B7")
class DropsTheUnreadable(Group):
    def claim(self, consumer: str, limit: int, now: int) -> list[Delivery]:
        for entry in list(self.lines[Place.READY].values()):
            if isinstance(entry.message, Unreadable):
                self.remove(entry)
        return super().claim(consumer, limit, now)


@breaks("B7")
class UnreadableLosesBytesAtFailure(Group):
    def apply(self, entry: Entry, settlement: Settlement, now: int) -> None:
        if isinstance(entry.message, Unreadable) and isinstance(settlement.verdict, Fail):
            text = {name: value.decode(errors="replace").encode() for name, value in entry.message.fields.items()}
            entry.message = evolve(entry.message, fields=text)
        super().apply(entry, settlement, now)


@breaks("B7")
class WantsAnIdInEveryEntry(Group):
    def insert(self, entry: Entry, due: int, now: int) -> None:
        if entry.id.startswith("raw-") and isinstance(entry.message, Message):
            entry.message = Unreadable(entry.id, {b"name": entry.message.name.encode()}, "it has no id")
        super().insert(entry, due, now)


@breaks("B7")
class LosesTheReason(Group):
    def apply(self, entry: Entry, settlement: Settlement, now: int) -> None:
        super().apply(entry, settlement, now)
        entry.reason = ""


@breaks("B7")
class CapsTheFailed(Group):
    def trim(self, limit: int, now: int) -> int:
        failed = list(self.lines[Place.FAILED].values())
        for entry in failed[: max(0, len(failed) - limit)]:
            self.remove(entry)
        return super().trim(limit, now)


@breaks("B7")
class FailedGoWithTheirRecord(Group):
    def sweep(self, now: int) -> None:
        for entry in list(self.lines[Place.FAILED].values()):
            if entry.readable(now) is None:
                self.remove(entry)
        super().sweep(now)


@breaks("B7")
class FailedIsNotRequeued(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        return task_id not in self.lines[Place.FAILED] and super().requeue(task_id, now)


@breaks("B8")
class DelayIgnored(Group):
    def line_up(self, entry: Entry, due: int, now: int) -> None:
        super().line_up(entry, 0, now)


@breaks("B8")
class DelayOfVerdictsIgnored(Group):
    def put_back(self, entry: Entry, delay: int, now: int) -> None:
        super().put_back(entry, 0, now)


@breaks("B8")
class DelayedComesEarly(Group):
    def promote(self, limit: int | None, now: int) -> int:
        return super().promote(limit, now + 6_000)


@breaks("B8")
class DelayedNeverComes(Group):
    def promote(self, limit: int | None, now: int) -> int:
        return -1


@breaks("B8")
class PromoteLosesSome(Group):
    def promote(self, limit: int | None, now: int) -> int:
        due = [entry for entry in self.lines[Place.DELAYED].values() if entry.due <= now]
        for entry in due[256:]:
            self.remove(entry)
        return super().promote(limit, now)


@breaks("B8")
class PromoteDuplicates(Group):
    def promote(self, limit: int | None, now: int) -> int:
        before = set(self.lines[Place.DELAYED])
        answer = super().promote(limit, now)
        for task_id in before - set(self.lines[Place.DELAYED]):
            self.insert(Entry(f"{task_id}-twin", self.tasks[task_id].message), 0, now)
        return answer


@breaks("B8")
class PromoteIgnoresItsLimit(Group):
    def promote(self, limit: int | None, now: int) -> int:
        return super().promote(None, now)


@breaks("B8")
class PromoteSaysNothingIsDelayed(Group):
    def promote(self, limit: int | None, now: int) -> int:
        super().promote(limit, now)
        return -1


@breaks("B8")
class DelayedInOrderOfEnqueue(Group):
    def promote(self, limit: int | None, now: int) -> int:
        first = next(iter(self.lines[Place.DELAYED].values()), None)
        return super().promote(limit, now) if first is None or first.due <= now else first.due - now


@breaks("B9")
class OneGroupIsSkipped(MemoryBackend):
    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        with self._store.changed:
            group, now = self._join()
            new = [not group.knows(message.id, now) for message in messages]
            for message, wanted in zip(messages, new, strict=True):
                if wanted:
                    group.add(message, now)
            return new


@breaks("B9")
class GroupsShareRecords(MemoryBackend):
    def get(self, ids: Sequence[str]) -> Sequence[Record | None]:
        now = self._store.clock()
        groups = self._store.groups(self._options.stream_key).values()
        found = [[record for group in groups if (record := group.read(task_id, now))] for task_id in ids]
        return [records[0] if records else None for records in found]


@breaks("B9")
class FollowUpsGoToEveryGroup(MemoryBackend):
    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        answers = super().settle([evolve(settlement, then=()) for settlement in settlements])
        for settlement, accepted in zip(settlements, answers, strict=True):
            if accepted:
                self.enqueue(settlement.then)
        return answers


@breaks("B9")
class CancelsInEveryGroup(MemoryBackend):
    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        with self._store.changed:
            ours, now = self._look()
            for group in self._store.groups(self._options.stream_key).values():
                for task_id in ids if group is not ours else ():
                    group.cancel(task_id, now)
            return super().cancel(ids, force)


@breaks("B9")
class ReleaseTakesFromEveryGroup(MemoryBackend):
    def release(self, consumer: str, started: Sequence[str]) -> int:
        with self._store.changed:
            now = self._store.clock()
            groups = self._store.groups(self._options.stream_key).values()
            return sum([group.release(consumer, started, now) for group in groups])


@breaks("B9")
class RemovedGroupKeepsItsTasks(MemoryBackend):
    def remove_group(self, group: str) -> None:
        self._store.group(self._options.stream_key, group).registered = False


@breaks("B9")
class WaitsForTheSlowestGroup(MemoryBackend):
    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        groups = self._store.groups(self._options.stream_key).values()
        busy = any(group.lines[Place.HELD] for group in groups if group is not self._joined)
        return [] if busy else super().claim(consumer, limit, wait_ms)


@breaks("B10")
class ProgressUnfenced(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        entry = self.tasks.get(extension.receipt.rpartition("@")[0])
        if entry is not None and entry.place is Place.HELD and extension.progress is not None:
            entry.progress = extension.progress
        return super().extend(extension, now)


@breaks("B10")
class ProgressAfterTheEnd(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        entry = self.tasks.get(extension.receipt.rpartition("@")[0])
        if entry is not None and entry.record is not None:
            entry.record = evolve(entry.record, progress=extension.progress)
        return super().extend(extension, now)


@breaks("B10")
class ProgressKeptOverARetry(Group):
    def put_back(self, entry: Entry, delay: int, now: int) -> None:
        progress = entry.progress
        super().put_back(entry, delay, now)
        entry.progress = progress


@breaks("B10")
class FirstProgressWins(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        entry = self.holding(extension.receipt)
        if entry is not None and entry.progress is not None:
            extension = evolve(extension, progress=entry.progress)
        return super().extend(extension, now)


@breaks("B10")
class ProgressNotInTheRecord(Group):
    def end(self, entry: Entry, place: Place, record: Record, now: int) -> None:
        super().end(entry, place, evolve(record, progress=None), now)


@breaks("B11")
class ReleaseChargesWhatWasNotStarted(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        return super().release(consumer, [entry.receipt for entry in self.lines[Place.HELD].values()], now)


@breaks("B11")
class ReleaseChargesNothing(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        return super().release(consumer, [], now)


@breaks("B11")
class ReleaseTakesFromEveryConsumer(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        for entry in self.lines[Place.HELD].values():
            entry.consumer = consumer
        return super().release(consumer, started, now)


@breaks("B11")
class ReturnCostsAnAttempt(Group):
    def apply(self, entry: Entry, settlement: Settlement, now: int) -> None:
        if isinstance(settlement.verdict, Defer):
            settlement = evolve(settlement, verdict=Retry(settlement.verdict.delay_ms))
        super().apply(entry, settlement, now)


@breaks("B11")
class RetryDoesNotCount(Group):
    def apply(self, entry: Entry, settlement: Settlement, now: int) -> None:
        if isinstance(settlement.verdict, Retry):
            settlement = evolve(settlement, verdict=Defer(settlement.verdict.delay_ms))
        super().apply(entry, settlement, now)


@breaks("B11")
class RetryKeepsTheSuspicion(Group):
    def put_back(self, entry: Entry, delay: int, now: int) -> None:
        if isinstance(entry.message, Message) and entry.message.crashes:
            entry.alter(redelivered=True)
        super().put_back(entry, delay, now)


@breaks("B11")
class FirstEndOfALeaseIsACrash(Group):
    def reclaim(self, now: int) -> None:
        for entry in self.lines[Place.HELD].values():
            if entry.lease_end <= now:
                entry.alter(redelivered=True)
        super().reclaim(now)


@breaks("B11")
class EndOfALeaseIsNeverACrash(Group):
    def reclaim(self, now: int) -> None:
        for entry in self.lines[Place.HELD].values():
            if entry.lease_end <= now:
                entry.alter(redelivered=False)
        super().reclaim(now)


@breaks("B12")
class BodyIsDecoded(Group):
    def add(self, message: Message, now: int) -> None:
        super().add(evolve(message, body=message.body.decode(errors="replace").encode()), now)


@breaks("B12")
class BodyIsMangledAtFailure(Group):
    def apply(self, entry: Entry, settlement: Settlement, now: int) -> None:
        if isinstance(entry.message, Message) and isinstance(settlement.verdict, Fail):
            entry.alter(body=entry.message.body.decode(errors="replace").encode())
        super().apply(entry, settlement, now)


@breaks("B12")
class HeadersGoWithARetry(Group):
    def put_back(self, entry: Entry, delay: int, now: int) -> None:
        entry.alter(headers={})
        super().put_back(entry, delay, now)


@breaks("B12")
class SealIsLostInADelay(Group):
    def line_up(self, entry: Entry, due: int, now: int) -> None:
        if due > now:
            entry.alter(seal="")
        super().line_up(entry, due, now)


@breaks("B12")
class ValueIsDecoded(Group):
    def end(self, entry: Entry, place: Place, record: Record, now: int) -> None:
        super().end(entry, place, evolve(record, value=record.value.decode(errors="ignore").encode()), now)


@breaks("B13")
class HistoryIsNotCapped(Group):
    def trim(self, limit: int, now: int) -> int:
        self.sweep(now)
        return 0


@breaks("B13")
class TrimDropsTheNewest(Group):
    def trim(self, limit: int, now: int) -> int:
        history = self.lines[Place.FINISHED]
        for task_id in reversed(list(history)):
            history.move_to_end(task_id)
        return super().trim(limit, now)


@breaks("B13")
class RecordGoesWithTheHistory(Group):
    def move(self, entry: Entry, place: Place, now: int) -> None:
        if place is Place.PAST:
            entry.record = None
        super().move(entry, place, now)


@breaks("B13")
class NothingIsForgotten(Group):
    def sweep(self, now: int) -> None:
        return


@breaks("B13")
class IdsAreNeverForgotten(Group):
    def sweep(self, now: int) -> None:
        records = [entry for entry in self.lines[Place.PAST].values() if entry.forget_at <= now]
        for entry in records:
            entry.record = None
            entry.known_until = now + 1
            heapq.heappush(self._forget, (now + 1, entry.id))
        super().sweep(now)
