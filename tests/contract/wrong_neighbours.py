"""Brokers that are wrong about neighbours: other handles, claims, consumers and groups."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from attrs import evolve

from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.backends.memory.entry import Entry, Place
from pyxqueue.backends.memory.group import Group
from pyxqueue.message import (
    Cancelled,
    Delivery,
    Done,
    Extension,
    LeaseStatus,
    Message,
    Settlement,
)
from pyxqueue.protocols import StoreOptions

from .wrong import Collection

COLLECTION = Collection()
breaks = COLLECTION.breaks


@breaks("B1")
class BatchLooksAtTheReadyOnly(MemoryBackend):
    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        delayed: set[str] = set()
        answers: list[bool] = []
        for message in messages:
            answers += [True] if message.id in delayed else super().enqueue([message])
            delayed.update([message.id] if message.delay_ms else [])
        return answers


@breaks("B1")
class TemporaryFilesAreNotSeen(Group):
    """A folder's listing that leaves out what looks half written."""

    def claim(self, consumer: str, limit: int, now: int) -> list[Delivery]:
        ready = self.lines[Place.READY]
        hidden = {name: ready.pop(name) for name in list(ready) if name.endswith(".tmp")}
        found = super().claim(consumer, limit, now)
        ready.update(hidden)
        return found


@breaks("B1")
class IdsAreNumbers(Group):
    @staticmethod
    def number(task_id: str) -> float | str:
        try:
            return float(task_id)
        except ValueError:
            return task_id

    def knows(self, task_id: str, now: int) -> bool:
        return self.number(task_id) in {self.number(known) for known in self.tasks}


class Sorting(Group):
    """Hands out in an order of its own."""

    @staticmethod
    def key(entry: Entry) -> tuple[int | str, ...]:
        return (entry.order,)

    def claim(self, consumer: str, limit: int, now: int) -> list[Delivery]:
        ready = self.lines[Place.READY]
        for entry in sorted(ready.values(), key=self.key):
            ready.move_to_end(entry.id)
        return super().claim(consumer, limit, now)


@breaks("B2")
class OrderOfIdsWithinAMillisecond(Sorting):
    @staticmethod
    def key(entry: Entry) -> tuple[int | str, ...]:
        return entry.updated, entry.id


@breaks("B2")
class PrioritiesGoFirst(Sorting):
    @staticmethod
    def key(entry: Entry) -> tuple[int | str, ...]:
        return (-entry.message.priority if isinstance(entry.message, Message) else 0,)


class Remembering(MemoryBackend):
    """A handle that knows which receipts it was given."""

    def __init__(self, store: MemoryStore, options: StoreOptions) -> None:
        super().__init__(store, options)
        self.receipts: set[str] = set()

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        deliveries = super().claim(consumer, limit, wait_ms)
        self.receipts.update(delivery.receipt for delivery in deliveries)
        return deliveries


@breaks("B2")
class CloseHandsBack(Remembering):
    """What is claimed belongs to the connection."""

    def close(self) -> None:
        with self._store.changed:
            group, now = self._join()
            for entry in filter(None, map(group.holding, self.receipts)):
                group.put_back(entry, 0, now)
        super().close()


@breaks("B2")
class CloseEmptiesTheQueue(MemoryBackend):
    def close(self) -> None:
        self.delete([task.id for task in self.tasks()[0]])
        super().close()


@breaks("B4")
class ReceiptsOfTheHandle(Remembering):
    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        mine = [one if one.receipt in self.receipts else evolve(one, receipt="") for one in settlements]
        return super().settle(mine)


@breaks("B6")
class ExtensionsOfTheHandle(Remembering):
    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        mine = [one if one.receipt in self.receipts else evolve(one, receipt="") for one in extensions]
        return super().extend(mine)


@breaks("B2")
class LeaseOfTheFirstClaim(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> Delivery:
        before = entry.lease_end
        delivery = super().lend(entry, consumer, now)
        entry.lease_end = before if before > now else entry.lease_end
        return delivery


class Renewing(Group):
    """Takes any sign of life of a consumer for all that it holds."""

    def renew(self, consumer: str, now: int) -> None:
        for entry in self.lines[Place.HELD].values():
            if entry.consumer == consumer and entry.lease_end > now:
                entry.lease_end = now + self.lease


@breaks("B3")
class ClaimRenews(Renewing):
    def claim(self, consumer: str, limit: int, now: int) -> list[Delivery]:
        self.renew(consumer, now)
        return super().claim(consumer, limit, now)


@breaks("B3")
class SettlementRenews(Renewing):
    def settle(self, settlement: Settlement, now: int) -> bool:
        if entry := self.holding(settlement.receipt):
            self.renew(entry.consumer, now)
        return super().settle(settlement, now)


@breaks("B5")
class FollowUpsLoseTheirParent(Group):
    def settle(self, settlement: Settlement, now: int) -> bool:
        orphans = [evolve(message, parent="") for message in settlement.then]
        return super().settle(evolve(settlement, then=orphans), now)


@breaks("B5")
class FollowUpsAreNotStamped(Group):
    def settle(self, settlement: Settlement, now: int) -> bool:
        accepted = super().settle(settlement, now)
        for message in settlement.then if accepted else ():
            self.tasks[message.id].alter(enqueued_ms=message.enqueued_ms)
        return accepted


@breaks("B5")
class TheCancelledHasNoFollowUps(Group):
    def settle(self, settlement: Settlement, now: int) -> bool:
        entry = self.holding(settlement.receipt)
        return super().settle(evolve(settlement, then=()) if entry and entry.cancelled else settlement, now)


@breaks("B5")
class TheCancelledCannotFail(Group):
    def apply(self, entry: Entry, settlement: Settlement, now: int) -> None:
        if entry.cancelled and not isinstance(settlement.verdict, Done):
            settlement = Settlement(settlement.receipt, Cancelled())
        super().apply(entry, settlement, now)


@breaks("B6")
class TheCancelledIsNotExtended(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        entry = self.holding(extension.receipt)
        return LeaseStatus.CANCEL if entry and entry.cancelled else super().extend(extension, now)


@breaks("B6")
class OneAnswerForEachReceipt(MemoryBackend):
    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        return super().extend(list({extension.receipt: extension for extension in extensions}.values()))


@breaks("B9")
class LeaseOfTheQueue(MemoryBackend):
    def _join(self) -> tuple[Group, int]:
        group, now = super()._join()
        for other in self._store.groups(self._options.stream_key).values():
            other.lease = group.lease
        return group, now


@breaks("B9")
class GroupsAreReadOnce(MemoryBackend):
    _known: Sequence[Group] = ()

    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        with self._store.changed:
            _, now = self._join()
            self._known = self._known or list(self._store.groups(self._options.stream_key).values())
            answers = [not any(group.knows(message.id, now) for group in self._known) for message in messages]
            for message, new in zip(messages, answers, strict=True):
                for group in self._known if new else ():
                    group.add(message, now)
            return answers


@breaks("B10")
class FirstProgressOfABatch(MemoryBackend):
    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        firsts = {extension.receipt: extension for extension in reversed(extensions)}
        return super().extend([firsts[extension.receipt] for extension in extensions])


@breaks("B10")
class ProgressFencedByConsumer(Group):
    def __init__(self, changed: Callable[[], None], ticket: Callable[[], int]) -> None:
        super().__init__(changed, ticket)
        self.issued: dict[str, tuple[Entry, str]] = {}

    def lend(self, entry: Entry, consumer: str, now: int) -> Delivery:
        delivery = super().lend(entry, consumer, now)
        self.issued[delivery.receipt] = entry, consumer
        return delivery

    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        entry, consumer = self.issued.get(extension.receipt, (None, ""))
        if entry is not None and entry.place is Place.HELD and entry.consumer == consumer:
            entry.progress = extension.progress
        return super().extend(extension, now)


@breaks("B10")
class TheCancelledTellsNothing(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        entry = self.holding(extension.receipt)
        return super().extend(evolve(extension, progress=None) if entry and entry.cancelled else extension, now)


@breaks("B11")
class ReleaseLeavesWhatIsOverdue(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        overdue = [entry for entry in self.lines[Place.HELD].values() if entry.lease_end <= now]
        for entry in overdue:
            self.lines[Place.HELD].pop(entry.id)
        count = super().release(consumer, started, now)
        self.lines[Place.HELD].update({entry.id: entry for entry in overdue})
        return count


@breaks("B11")
class ReleaseClearsTheSuspicion(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        for entry in self.lines[Place.HELD].values():
            if entry.consumer == consumer:
                entry.alter(redelivered=False)
        return super().release(consumer, started, now)


@breaks("B11")
class ReleaseByPrefix(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        for entry in self.lines[Place.HELD].values():
            entry.consumer = consumer if entry.consumer.startswith(consumer) else entry.consumer
        return super().release(consumer, started, now)


@breaks("B11")
class NamesWithoutTrailingBlanks(MemoryBackend):
    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        return super().claim(consumer.rstrip(" "), limit, wait_ms)

    def release(self, consumer: str, started: Sequence[str]) -> int:
        return super().release(consumer.rstrip(" "), started)


@breaks("B11")
class WhatOthersHoldIsCharged(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        for entry in filter(None, map(self.holding, started)):
            if entry.consumer != consumer and isinstance(entry.message, Message):
                entry.alter(crashes=entry.message.crashes + 1)
        return super().release(consumer, started, now)


# Looking and writing in two steps, with a moment between them in which others do the same


def moment() -> None:
    time.sleep(0.0005)  # the fault itself


@breaks("B1")
class LooksThenEnqueues(MemoryBackend):
    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        new = [task is None for task in self.show([message.id for message in messages])]
        moment()
        super().enqueue(messages)
        return new


@breaks("B3")
class LooksThenTakesBack(MemoryBackend):
    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        with self._store.changed:
            group, now = self._join()
            overdue = [entry for entry in group.lines[Place.HELD].values() if entry.lease_end <= now][:limit]
        moment()
        with self._store.changed:
            taken = [group.lend(entry, consumer, now) for entry in overdue]
        return taken or super().claim(consumer, limit, wait_ms)


@breaks("B4")
class LooksThenSettles(MemoryBackend):
    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        with self._store.changed:
            group, _ = self._join()
            current = [group.holding(settlement.receipt) is not None for settlement in settlements]
        moment()
        super().settle(settlements)
        return current


@breaks("I2")
class LooksThenRequeues(MemoryBackend):
    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        ended = [task is not None and task.status.ended for task in self.show(ids)]
        moment()
        super().requeue(ids)
        return ended
