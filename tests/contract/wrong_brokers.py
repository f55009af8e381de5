"""Backends that break B1 to B6, each in one small way."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from pyxqueue.backends.memory import MemoryBackend
from pyxqueue.backends.memory.entry import UNDER_WAY, Entry, Place
from pyxqueue.backends.memory.group import Group
from pyxqueue.message import (
    DEDUPE_MS,
    Delivery,
    Extension,
    LeaseStatus,
    Message,
    Record,
    Settlement,
    TaskStatus,
)

from .wrong import Collection

COLLECTION = Collection()
breaks = COLLECTION.breaks


@breaks("B1")
class EnqueueNotIdempotent(Group):
    def knows(self, task_id: str, now: int) -> bool:
        return False


@breaks("B1")
class IdempotentOnlyUnderWay(Group):
    def knows(self, task_id: str, now: int) -> bool:
        return super().knows(task_id, now) and self.tasks[task_id].place in UNDER_WAY


@breaks("B1")
class IdKnownAsLongAsTheRecord(Group):
    def knows(self, task_id: str, now: int) -> bool:
        return super().knows(task_id, now) and (
            self.tasks[task_id].place in UNDER_WAY or self.tasks[task_id].readable(now) is not None
        )


@breaks("B1")
class IdKnownForAnHour(Group):
    def knows(self, task_id: str, now: int) -> bool:
        known = super().knows(task_id, now)
        return known and (self.tasks[task_id].place in UNDER_WAY or now < self.tasks[task_id].updated + DEDUPE_MS)


@breaks("B1")
class IdKnownAsLongAsTheHistory(Group):
    def knows(self, task_id: str, now: int) -> bool:
        return super().knows(task_id, now) and self.tasks[task_id].place is not Place.PAST


@breaks("B1")
class IdKnownAsLongAsItIsShown(Group):
    def knows(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        return entry is not None and (entry.place is not Place.PAST or now < entry.known_until)


@breaks("B1")
class IdNeverFreeAfterACancel(Group):
    def knows(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        cancelled = entry is not None and entry.ended is TaskStatus.CANCELLED
        return cancelled or super().knows(task_id, now)


@breaks("B1")
class NewTaskTakesOverTheOldEnd(Group):
    def enter(self, entry: Entry) -> None:
        old = self.tasks.get(entry.id)
        super().enter(entry)
        if old is not None:
            entry.ended, entry.record = old.ended, old.record


@breaks("B1")
class EachGroupKnowsItsOwn(MemoryBackend):
    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        with self._store.changed:
            _, now = self._join()
            groups = self._store.groups(self._options.stream_key).values()
            answers = []
            for message in messages:
                new = [group for group in groups if not group.knows(message.id, now)]
                for group in new:
                    group.add(message, now)
                answers.append(bool(new))
            return answers


@breaks("B1")
class BatchNotCheckedAgainstItself(MemoryBackend):
    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        group, now = self._join()
        known = {message.id for message in messages if group.knows(message.id, now)}
        super().enqueue(list({message.id: message for message in messages}.values()))
        return [message.id not in known for message in messages]


@breaks("B2")
class LimitIgnored(Group):
    def claim(self, consumer: str, limit: int, now: int) -> list[Delivery]:
        return super().claim(consumer, 1_000, now)


@breaks("B2")
class LastInFirstOut(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> Delivery:
        return super().lend(next(reversed(self.lines[Place.READY].values())), consumer, now)


@breaks("B2")
class HandsOutWhatIsHeld(Group):
    def claim(self, consumer: str, limit: int, now: int) -> list[Delivery]:
        for entry in list(self.lines[Place.HELD].values()):
            self.move(entry, Place.READY, now)
        return super().claim(consumer, limit, now)


@breaks("B2")
class SameReceiptEveryTime(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> Delivery:
        delivery = super().lend(entry, consumer, now)
        entry.receipt = f"{entry.id}@0"
        return evolve(delivery, receipt=entry.receipt)


@breaks("B2")
class FenceStandsStill(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> Delivery:
        return evolve(super().lend(entry, consumer, now), fence=1)


@breaks("B2")
class ClaimIsNotWoken(MemoryBackend):
    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        group, _ = self._join()
        changed, group._changed = group._changed, lambda: None
        answers = super().enqueue(messages)
        group._changed = changed
        return answers


@breaks("B2")
class ClaimWaitsForEver(MemoryBackend):
    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        return super().claim(consumer, limit, 10**9 if wait_ms else 0)


@breaks("B2")
class InterruptIgnored(MemoryBackend):
    def interrupt(self) -> None:
        return


@breaks("B3")
class LeaseNeverEnds(Group):
    def reclaim(self, now: int) -> None:
        return


@breaks("B3")
class LeaseEndsForOthersOnly(Group):
    def claim(self, consumer: str, limit: int, now: int) -> list[Delivery]:
        for entry in self.lines[Place.HELD].values():
            if entry.consumer == consumer:
                entry.lease_end = max(entry.lease_end, now + 1)
        return super().claim(consumer, limit, now)


@breaks("B3")
class EndOfLeaseRefusesSettlement(Group):
    def settle(self, settlement: Settlement, now: int) -> bool:
        entry = self.holding(settlement.receipt)
        return entry is not None and now < entry.lease_end and super().settle(settlement, now)


@breaks("B3")
class EndOfLeaseRefusesExtension(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        entry = self.holding(extension.receipt)
        return super().extend(extension, now) if entry is not None and now < entry.lease_end else LeaseStatus.LOST


@breaks("B3")
class ExtendKeepsGhosts(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        if holder := self.holding(extension.receipt):
            for entry in self.lines[Place.HELD].values():
                if entry.consumer == holder.consumer:
                    entry.lease_end = now + self.lease
        return super().extend(extension, now)


@breaks("B3")
class ExtendDoesNothing(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        return LeaseStatus.HELD if self.holding(extension.receipt) else LeaseStatus.LOST


@breaks("B3")
class LosesWhatItTakesBack(Group):
    def reclaim(self, now: int) -> None:
        ended = [entry for entry in self.lines[Place.HELD].values() if entry.lease_end <= now]
        for entry in ended[100:]:
            self.remove(entry)
        super().reclaim(now)


@breaks("B3")
class OpeningChangesNoLease(MemoryBackend):
    def _join(self) -> tuple[Group, int]:
        group, now = self._look()
        if not group.registered:
            return super()._join()
        self._joined = group
        return group, now


@breaks("B4")
class SettleNotFenced(Group):
    def settle(self, settlement: Settlement, now: int) -> bool:
        entry = self.tasks.get(settlement.receipt.rpartition("@")[0])
        if entry is not None and entry.place is Place.HELD:
            settlement = evolve(settlement, receipt=entry.receipt)
        return super().settle(settlement, now)


@breaks("B4")
class SettleFencedByConsumer(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> Delivery:
        delivery = super().lend(entry, consumer, now)
        entry.receipt = f"{entry.id}@{consumer}"
        return evolve(delivery, receipt=entry.receipt)


@breaks("B4")
class SettleFencedByRun(Group):
    """A receipt that is worth something again after a requeue."""

    def lend(self, entry: Entry, consumer: str, now: int) -> Delivery:
        delivery = super().lend(entry, consumer, now)
        message = entry.message
        run = (message.attempt, message.crashes, message.redelivered) if isinstance(message, Message) else ()
        entry.receipt = f"{entry.id}@{run}"
        return evolve(delivery, receipt=entry.receipt)


@breaks("B4")
class RefusedSettlementStoresRecord(Group):
    def settle(self, settlement: Settlement, now: int) -> bool:
        if settlement.record is not None:
            self.put(settlement.record, now)
        return super().settle(settlement, now)


@breaks("B4")
class RefusedSettlementSendsFollowUps(Group):
    def settle(self, settlement: Settlement, now: int) -> bool:
        for message in settlement.then:
            if not self.knows(message.id, now):
                self.add(message, now)
        return super().settle(settlement, now)


@breaks("B4")
class RefusedSettlementReleases(Group):
    def settle(self, settlement: Settlement, now: int) -> bool:
        accepted = super().settle(settlement, now)
        entry = self.tasks.get(settlement.receipt.rpartition("@")[0])
        if not accepted and entry is not None and entry.place is Place.HELD:
            self.put_back(entry, 0, now)
        return accepted


@breaks("B4")
class RefusedSettlementAnswersTrue(Group):
    def settle(self, settlement: Settlement, now: int) -> bool:
        super().settle(settlement, now)
        return True


@breaks("B5")
class SettleAnswersMixed(MemoryBackend):
    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        return sorted(super().settle(settlements), reverse=True)


@breaks("B5")
class BatchStopsAtTheFirstRefusal(MemoryBackend):
    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        answers: list[bool] = []
        for settlement in settlements:
            answers += super().settle([settlement]) if False not in answers else [False]
        return answers


@breaks("B5")
class LargeBatchIsCut(MemoryBackend):
    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        return [*super().settle(settlements[:256]), *[True for _ in settlements[256:]]]


@breaks("B5")
class FollowUpsNotIdempotent(Group):
    def settle(self, settlement: Settlement, now: int) -> bool:
        accepted = super().settle(evolve(settlement, then=()), now)
        for message in settlement.then if accepted else ():
            self.add(message, now)
        return accepted


@breaks("B5")
class FollowUpsIgnoreTheirDelay(Group):
    def settle(self, settlement: Settlement, now: int) -> bool:
        return super().settle(evolve(settlement, then=[evolve(m, delay_ms=0) for m in settlement.then]), now)


@breaks("B5")
class RecordNotStored(Group):
    def end(self, entry: Entry, place: Place, record: Record, now: int) -> None:
        super().end(entry, place, record, now)
        entry.record = None


@breaks("B5")
class NoRecordMade(Group):
    def apply(self, entry: Entry, settlement: Settlement, now: int) -> None:
        super().apply(entry, settlement, now)
        if settlement.record is None:
            entry.record = None


@breaks("B6")
class ExtendSteals(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        entry = self.tasks.get(extension.receipt.rpartition("@")[0])
        if entry is not None and entry.place is Place.HELD:
            entry.receipt = extension.receipt
        return super().extend(extension, now)


@breaks("B6")
class ExtendProlongsForAnyone(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        entry = self.tasks.get(extension.receipt.rpartition("@")[0])
        if entry is not None and entry.place is Place.HELD:
            entry.lease_end = now + self.lease
        return super().extend(extension, now)


@breaks("B6")
class ExtendRevives(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        entry = self.tasks.get(extension.receipt.rpartition("@")[0])
        if entry is not None and entry.place is not Place.HELD and entry.receipt == extension.receipt:
            self.move(entry, Place.HELD, now)
        return super().extend(extension, now)


@breaks("B6")
class ExtendChangesTheReceipt(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        answer = super().extend(extension, now)
        if entry := self.holding(extension.receipt):
            entry.receipt += "x"
        return answer


@breaks("B6")
class ExtendAnswersMixed(MemoryBackend):
    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        return list(reversed(super().extend(extensions)))
