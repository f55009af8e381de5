"""Backends that break B4 and B5, each in one small way."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pyxqueue.model.message import evolve

from .prelude import (
    PAGE,
    UNDER_WAY,
    Entry,
    Group,
    MemoryBackend,
    Place,
    Remembering,
    breaks,
    first_page,
    in_flight,
    m,
    moment,
    settles,
    store_record,
)


@breaks("B4")
class SettleNotFenced(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        if entry := in_flight(self, settlement.receipt):
            settlement = evolve(settlement, receipt=entry.receipt)
        return super().settle(settlement, now)


@breaks("B4")
class SettleFencedByConsumer(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        delivery = super().lend(entry, consumer, now)
        entry.receipt = f"{entry.id}@{consumer}"
        return evolve(delivery, receipt=entry.receipt)


@breaks("B4")
class SettleFencedByRun(Group):
    """A receipt that is worth something again after a requeue."""

    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        delivery = super().lend(entry, consumer, now)
        message = entry.message
        run = (message.attempt, message.crashes, message.redelivered) if isinstance(message, m.Message) else ()
        entry.receipt = f"{entry.id}@{run}"
        return evolve(delivery, receipt=entry.receipt)


@breaks("B4")
class RefusedSettlementStoresRecord(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        if settlement.record is not None:
            store_record(self, settlement.record, now)
        return super().settle(settlement, now)


@breaks("B4")
class RefusedSettlementSendsFollowUps(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        for message in settlement.then:
            if not self.knows(message.id, now):
                self.add(message, now)
        return super().settle(settlement, now)


@breaks("B4")
class RefusedSettlementReleases(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        accepted = super().settle(settlement, now)
        entry = in_flight(self, settlement.receipt)
        if entry is not None and not accepted:
            self._put_back(entry, 0, now)
        return accepted


@breaks("B4")
class RefusedSettlementReturnsTrue(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        super().settle(settlement, now)
        return True


@breaks("B4")
class ReceiptsStartAgainWithEachLife(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        claims = int(entry.receipt.rpartition("@")[2] or 0) + 1
        delivery = super().lend(entry, consumer, now)
        entry.receipt = f"{entry.id}@{claims}"
        return evolve(delivery, receipt=entry.receipt)


@breaks("B4")
class ReceiptsOfTheHandle(Remembering):
    def settle(self, settlements: Sequence[m.Settlement]) -> Sequence[bool]:
        mine = [one if one.receipt in self.receipts else evolve(one, receipt="") for one in settlements]
        return super().settle(mine)


@breaks("B4")
class LooksThenSettles(MemoryBackend):
    def settle(self, settlements: Sequence[m.Settlement]) -> Sequence[bool]:
        with self._store.changed:
            group, _ = self._queue.join()
            current = [group.holding(settlement.receipt) is not None for settlement in settlements]
        moment()
        super().settle(settlements)
        return current


@breaks("B5")
class SettleReturnsMixed(MemoryBackend):
    def settle(self, settlements: Sequence[m.Settlement]) -> Sequence[bool]:
        return sorted(super().settle(settlements), reverse=True)


@breaks("B5")
class BatchStopsAtTheFirstRefusal(MemoryBackend):
    def settle(self, settlements: Sequence[m.Settlement]) -> Sequence[bool]:
        results: list[bool] = []
        for settlement in settlements:
            results += super().settle([settlement]) if False not in results else [False]
        return results


@breaks("B5")
class EndsBeforeAllElse(MemoryBackend):
    """It applies the ends of a batch first, so that of two settlements for one delivery the second may count."""

    def settle(self, settlements: Sequence[m.Settlement]) -> Sequence[bool]:
        order = sorted(range(len(settlements)), key=lambda n: not isinstance(settlements[n].verdict, m.Done))
        results = dict(zip(order, super().settle([settlements[n] for n in order]), strict=True))
        return [results[n] for n in range(len(settlements))]


@breaks("B5")
class LargeBatchIsCut(MemoryBackend):
    def settle(self, settlements: Sequence[m.Settlement]) -> Sequence[bool]:
        return [*super().settle(settlements[:256]), *[True for _ in settlements[256:]]]


@breaks("B5")
class FollowUpsNotIdempotent(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        accepted = super().settle(evolve(settlement, then=()), now)
        for message in settlement.then if accepted else ():
            self.add(message, now)
        return accepted


@breaks("B5")
@settles
def follow_ups_ignore_their_delay(settlement: m.Settlement) -> m.Settlement:
    return evolve(settlement, then=[evolve(m, delay_ms=0) for m in settlement.then])


@breaks("B5")
class RecordNotStored(Group):
    def _end(self, entry: Entry, place: Place, record: m.Record, now: int) -> None:
        super()._end(entry, place, record, now)
        entry.record = None


@breaks("B5")
class NoRecordMade(Group):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        super()._apply(entry, settlement, now)
        if settlement.record is None:
            entry.record = None


@breaks("B5")
class MadeRecordsSayAttemptOne(Group):
    def _default_record(self, entry: Entry, status: m.TaskStatus) -> m.Record:
        return evolve(super()._default_record(entry, status), attempt=1)


@breaks("B5")
class RecordsOfCancelledTasksSayAttemptOne(Group):
    def _default_record(self, entry: Entry, status: m.TaskStatus) -> m.Record:
        record = super()._default_record(entry, status)
        return evolve(record, attempt=1) if status is m.TaskStatus.CANCELLED else record


@breaks("B5")
@settles
def follow_ups_of_the_done_only(settlement: m.Settlement) -> m.Settlement:
    return settlement if isinstance(settlement.verdict, m.Done) else evolve(settlement, then=())


@breaks("B5")
@settles
def follow_ups_replace_each_other(settlement: m.Settlement) -> m.Settlement:
    latest = {message.id: message for message in settlement.then}
    return evolve(settlement, then=list(latest.values()))


@breaks("B5")
class WorkersStampTheRecord(Group):
    def _end(self, entry: Entry, place: Place, record: m.Record, now: int) -> None:
        super()._end(entry, place, record, now)
        if record.ended_ms and entry.record is not None:
            entry.record = evolve(entry.record, ended_ms=record.ended_ms, ttl_ms=now + record.ttl_ms)


@breaks("B5")
class NothingIsOneItem(MemoryBackend):
    def settle(self, settlements: Sequence[m.Settlement]) -> Sequence[bool]:
        return super().settle(settlements) or [False]


@breaks("B5")
class RecordBeforeTheVerdict(MemoryBackend):
    def settle(self, settlements: Sequence[m.Settlement]) -> Sequence[bool]:
        with self._store.changed:
            group, now = self._queue.join()
            for settlement in settlements:
                if settlement.record is not None and group.holding(settlement.receipt):
                    store_record(group, settlement.record, now)
        time.sleep(0.05)  # the fault itself: a moment in which half of it is to be seen
        return super().settle(settlements)


@breaks("B5")
class FollowUpsComeLater(MemoryBackend):
    def settle(self, settlements: Sequence[m.Settlement]) -> Sequence[bool]:
        results = super().settle([evolve(settlement, then=()) for settlement in settlements])
        time.sleep(0.05)  # the fault itself: a moment in which half of it is to be seen
        with self._store.changed:
            group, now = self._queue.join()
            for settlement, accepted in zip(settlements, results, strict=True):
                for message in settlement.then if accepted else ():
                    if not group.knows(message.id, now):
                        group.add(message, now)
        return results


@breaks("B5")
class SettlesAPage(MemoryBackend):
    def settle(self, settlements: Sequence[m.Settlement]) -> Sequence[bool]:
        return first_page(super().settle, settlements, rest=True)


@breaks("B5")
@settles
def follows_up_a_page(settlement: m.Settlement) -> m.Settlement:
    return evolve(settlement, then=settlement.then[:PAGE])


@breaks("B5")
@settles
def follow_ups_lose_their_parent(settlement: m.Settlement) -> m.Settlement:
    orphans = [evolve(message, parent="") for message in settlement.then]
    return evolve(settlement, then=orphans)


@breaks("B5")
class FollowUpsAreNotStamped(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        accepted = super().settle(settlement, now)
        for message in settlement.then if accepted else ():
            self.tasks[message.id].alter(enqueued_ms=message.enqueued_ms)
        return accepted


@breaks("B5")
class TheCancelledHasNoFollowUps(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        entry = self.holding(settlement.receipt)
        return super().settle(evolve(settlement, then=()) if entry and entry.cancelled else settlement, now)


@breaks("B5")
class TheCancelledCannotFail(Group):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        if entry.cancelled and not isinstance(settlement.verdict, m.Done):
            settlement = m.Settlement(settlement.receipt, m.Cancelled())
        super()._apply(entry, settlement, now)


@breaks("B5")
class MadeRecordsHaveTheTokenOfTheLastClaim(Group):
    def _default_record(self, entry: Entry, status: m.TaskStatus) -> m.Record:
        return evolve(super()._default_record(entry, status), fence=entry.fence)


@breaks("B5")
class CreatedRecordsHaveNoHolder(Group):
    def _default_record(self, entry: Entry, status: m.TaskStatus) -> m.Record:
        return evolve(super()._default_record(entry, status), worker="")


@breaks("B5")
class CreatedRecordsHaveTheLastHolder(Group):
    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        entry = self.tasks.get(task_id)
        holder = entry.consumer if entry else ""
        cancelled = super().cancel(task_id, now, force=force)
        if entry and entry.record:
            entry.record = evolve(entry.record, worker=holder)
        return cancelled


@breaks("B5")
class RecordsOfRetriesAreStored(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        entry = self.holding(settlement.receipt)
        accepted = super().settle(settlement, now)
        if accepted and entry and entry.place in UNDER_WAY and settlement.record:
            entry.record = evolve(settlement.record, ended_ms=now)
        return accepted
