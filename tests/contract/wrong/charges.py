"""Backends that break B11, each in one small way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyxqueue.model.message import evolve
from pyxqueue.protocols import NO_LINES

from .prelude import PAGE, Entry, Group, MemoryBackend, Place, breaks, lapsed, m


@breaks("B11")
class ReleaseChargesWhatWasNotStarted(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        return super().release(consumer, [entry.receipt for entry in self.lines[Place.IN_FLIGHT].values()], now)


@breaks("B11")
class ReleaseChargesNothing(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        return super().release(consumer, [], now)


@breaks("B11")
class ReleaseTakesFromEveryConsumer(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        for entry in self.lines[Place.IN_FLIGHT].values():
            entry.consumer = consumer
        return super().release(consumer, started, now)


@breaks("B11")
class DeferralCostsAnAttempt(Group):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        if isinstance(settlement.verdict, m.Defer):
            settlement = evolve(settlement, verdict=m.Retry(settlement.verdict.delay_ms))
        super()._apply(entry, settlement, now)


@breaks("B11")
class RetryDoesNotCount(Group):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        if isinstance(settlement.verdict, m.Retry):
            settlement = evolve(settlement, verdict=m.Defer(settlement.verdict.delay_ms))
        super()._apply(entry, settlement, now)


@breaks("B11")
class RetryKeepsRedelivered(Group):
    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        if isinstance(entry.message, m.Message) and entry.message.crashes:
            entry.alter(redelivered=True)
        super()._put_back(entry, delay, now)


@breaks("B11")
class FirstEndOfALeaseIsACrash(Group):
    def reclaim(self, now: int) -> None:
        for entry in lapsed(self, now):
            entry.alter(redelivered=True)
        super().reclaim(now)


@breaks("B11")
class EndOfALeaseIsNeverACrash(Group):
    def reclaim(self, now: int) -> None:
        for entry in lapsed(self, now):
            entry.alter(redelivered=False)
        super().reclaim(now)


@breaks("B11")
class NamesEndAtTheirFirstSpace(MemoryBackend):
    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[m.Delivery]:
        return super().claim(consumer.partition(" ")[0], limit, wait_ms)

    def release(self, consumer: str, started: Sequence[str], past: Mapping[str, str] = NO_LINES) -> int:
        return super().release(consumer.partition(" ")[0], started, past)


@breaks("B11")
class NamesAreASCII(MemoryBackend):
    def consumers(self) -> Sequence[m.ConsumerInfo]:
        return [evolve(one, name=one.name.encode("ascii", "replace").decode()) for one in super().consumers()]


@breaks("B11")
class EachMentionIsACrash(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        for entry in self.lines[Place.IN_FLIGHT].values():
            if isinstance(entry.message, m.Message) and entry.consumer == consumer:
                entry.alter(crashes=entry.message.crashes + max(0, started.count(entry.receipt) - 1))
        return super().release(consumer, started, now)


@breaks("B11")
class OldReceiptsAreCharged(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        ids = {receipt.rpartition("@")[0] for receipt in started}
        claimed = self.lines[Place.IN_FLIGHT].values()
        return super().release(consumer, [entry.receipt for entry in claimed if entry.id in ids], now)


@breaks("B11")
class DeferralClearsRedelivered(Group):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        if isinstance(settlement.verdict, m.Defer):
            entry.alter(redelivered=False)
        super()._apply(entry, settlement, now)


@breaks("B11")
class RetryIsEnqueuedAgain(Group):
    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        entry.alter(enqueued_ms=now)
        super()._put_back(entry, delay, now)


@breaks("B11")
class ReleasesAPage(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        rest = [entry for entry in self.lines[Place.IN_FLIGHT].values() if entry.consumer == consumer][PAGE:]
        for entry in rest:
            entry.consumer = ""
        count = super().release(consumer, started, now)
        for entry in rest:
            entry.consumer = consumer
        return count


@breaks("B11")
class ShortDelaysAreNone(Group):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        verdict = settlement.verdict
        if isinstance(verdict, m.Defer):
            verdict = m.Defer(verdict.delay_ms // 1000 * 1000)
        super()._apply(entry, evolve(settlement, verdict=verdict), now)


@breaks("B11")
class ReleaseLeavesWhatIsOverdue(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        overdue = lapsed(self, now)
        for entry in overdue:
            self.lines[Place.IN_FLIGHT].pop(entry.id)
        count = super().release(consumer, started, now)
        self.lines[Place.IN_FLIGHT].update({entry.id: entry for entry in overdue})
        return count


@breaks("B11")
class ReleaseClearsRedelivered(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        for entry in self.lines[Place.IN_FLIGHT].values():
            if entry.consumer == consumer:
                entry.alter(redelivered=False)
        return super().release(consumer, started, now)


@breaks("B11")
class ReleaseByPrefix(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        for entry in self.lines[Place.IN_FLIGHT].values():
            entry.consumer = consumer if entry.consumer.startswith(consumer) else entry.consumer
        return super().release(consumer, started, now)


@breaks("B11")
class NamesWithoutTrailingBlanks(MemoryBackend):
    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[m.Delivery]:
        return super().claim(consumer.rstrip(" "), limit, wait_ms)

    def release(self, consumer: str, started: Sequence[str], past: Mapping[str, str] = NO_LINES) -> int:
        return super().release(consumer.rstrip(" "), started, past)


@breaks("B11")
class WhatOthersHoldIsCharged(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        for entry in filter(None, map(self.holding, started)):
            if entry.consumer != consumer and isinstance(entry.message, m.Message):
                entry.alter(crashes=entry.message.crashes + 1)
        return super().release(consumer, started, now)


@breaks("B11")
class RetriesForgetTheDeferrals(Group):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        super()._apply(entry, settlement, now)
        if isinstance(settlement.verdict, m.Retry):
            entry.alter(deferrals=0)


@breaks("B11")
class LeaseEndForgetsTheDeferrals(Group):
    def reclaim(self, now: int) -> None:
        for entry in lapsed(self, now):
            entry.alter(deferrals=0)
        super().reclaim(now)


@breaks("B11")
class ReleaseChargesAtMostOneCrash(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        crashed = {
            entry.receipt: entry.message.crashes
            for entry in self.lines[Place.IN_FLIGHT].values()
            if isinstance(entry.message, m.Message)
        }
        return super().release(consumer, [receipt for receipt in started if not crashed.get(receipt)], now)
