"""Backends that break B2, each in one small way."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pyxqueue.model.message import evolve

from .prelude import Entry, Group, MemoryBackend, Place, Quiet, Remembering, Turn, breaks, m


@breaks("B2")
class LimitIgnored(Group):
    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        return super().claim(consumer, 1_000, turn, now)


@breaks("B2")
class LastInFirstOut(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        return super().lend(next(reversed(self.lines[entry.place].values())), consumer, now)


@breaks("B2")
class HandsOutWhatIsInFlight(Group):
    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        for entry in list(self.lines[Place.IN_FLIGHT].values()):
            self.move(entry, Place.NEW, now)
        return super().claim(consumer, limit, turn, now)


@breaks("B2")
class SameReceiptEveryTime(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        delivery = super().lend(entry, consumer, now)
        entry.receipt = f"{entry.id}@0"
        return evolve(delivery, receipt=entry.receipt)


@breaks("B2")
class FenceStandsStill(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        return evolve(super().lend(entry, consumer, now), fence=1)


@breaks("B2")
class ClaimIsNotWoken(MemoryBackend):
    def enqueue(self, messages: Sequence[m.Message]) -> Sequence[bool]:
        group, _ = self._queue.join()
        changed, group._changed = group._changed, lambda: None
        accepted = super().enqueue(messages)
        group._changed = changed
        return accepted


@breaks("B2")
class ClaimWaitsForEver(MemoryBackend):
    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[m.Delivery]:
        return super().claim(consumer, limit, 10**9 if wait_ms else 0)


@breaks("B2")
class InterruptIgnored(MemoryBackend):
    def interrupt(self) -> None:
        return


@breaks("B2")
class DeliveriesAreKeptInTheHandle(MemoryBackend):
    _deliveries: Sequence[m.Delivery] = ()

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[m.Delivery]:
        self._deliveries = super().claim(consumer, limit, wait_ms)
        time.sleep(0.0005)  # the fault itself: the moment in which those of another thread take their place
        return self._deliveries


@breaks("B2")
class InterruptStays(MemoryBackend):
    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[m.Delivery]:
        return super().claim(consumer, limit, 0 if self._broker._interrupts else wait_ms)


class Sorting(Group):
    """Hands out in an order of its own."""

    @staticmethod
    def key(entry: Entry) -> tuple[int | str, ...]:
        return (entry.order,)

    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        ready = self.lines[Place.NEW]
        for entry in sorted(ready.values(), key=self.key):
            ready.move_to_end(entry.id)
        return super().claim(consumer, limit, turn, now)


@breaks("B2")
class OrderOfIdsWithinAMillisecond(Sorting):
    @staticmethod
    def key(entry: Entry) -> tuple[int | str, ...]:
        return entry.updated, entry.id


@breaks("B2")
class PrioritiesOrderAClass(Sorting):
    """80 is claimed before 60."""

    @staticmethod
    def key(entry: Entry) -> tuple[int | str, ...]:
        return (-entry.message.priority if isinstance(entry.message, m.Message) else 0,)


@breaks("B2")
class CloseHandsBack(Remembering):
    """What is claimed belongs to the connection."""

    def close(self) -> None:
        with self._store.changed:
            group, now = self._queue.join()
            for entry in filter(None, map(group.holding, self.receipts)):
                group._put_back(entry, 0, now)
        super().close()


@breaks("B2")
class CloseEmptiesTheQueue(MemoryBackend):
    def close(self) -> None:
        self.delete([task.id for task in self.tasks()[0]])
        super().close()


@breaks("B2")
class LeaseOfTheFirstClaim(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        before = entry.lease_end
        delivery = super().lend(entry, consumer, now)
        entry.lease_end = before if before > now else entry.lease_end
        return delivery


@breaks("B2")
class RequeueWakesNoClaim(Quiet):
    def requeue(self, task_id: str, now: int) -> bool:
        with self.quiet():
            return super().requeue(task_id, now)


@breaks("B2")
class WhatIsHandedBackWakesNoClaim(Quiet):
    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        with self.quiet():
            super()._put_back(entry, delay, now)


@breaks("B2")
class FollowUpsWakeNoClaim(Quiet):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        with self.quiet(settlement.then):
            return super().settle(settlement, now)


@breaks("B2")
class AdoptionWakesNoClaim(Quiet):
    def adopt(self, task: m.TaskInfo, now: int) -> bool:
        with self.quiet():
            return super().adopt(task, now)


@breaks("B2")
class ForkedHandlesHaveAQueueOfTheirOwn(MemoryBackend):
    one_process = False


@breaks("B2")
class FencesCountTheClaimsOfATask(Group):
    """They begin again with a task that takes over the id."""

    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        claims = entry.fence + 1
        delivery = super().lend(entry, consumer, now)
        entry.fence = claims
        return evolve(delivery, fence=claims)


@breaks("B2")
class InterruptNeedsAWaitingClaim(MemoryBackend):
    _waits = False

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[m.Delivery]:
        self._waits = wait_ms > 0
        try:
            return super().claim(consumer, limit, wait_ms)
        finally:
            self._waits = False

    def interrupt(self) -> None:
        if self._waits:
            super().interrupt()


class Dating(Group):
    """Says that a claim was at another time than it was."""

    def time(self, entry: Entry, before: int, now: int) -> int:
        raise NotImplementedError

    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        before = entry.updated
        return evolve(super().lend(entry, consumer, now), claimed_ms=self.time(entry, before, now))


@breaks("B2")
class ClaimedWhenItBecameReady(Dating):
    def time(self, entry: Entry, before: int, now: int) -> int:
        return before


@breaks("B2")
class ClaimedWhenItWasClaimedFirst(Dating):
    def time(self, entry: Entry, before: int, now: int) -> int:
        self.first: int = getattr(self, "first", now)
        return self.first


@breaks("B2")
class ClaimedInSeconds(Dating):
    def time(self, entry: Entry, before: int, now: int) -> int:
        return now // 1000


@breaks("B2")
class ClaimedWhenTheClaimBeganToWait(MemoryBackend):
    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[m.Delivery]:
        begun = self._store.clock()
        return [evolve(one, claimed_ms=begun) for one in super().claim(consumer, limit, wait_ms)]
