"""Backends that break B3 and B6, each in one small way."""

from __future__ import annotations

from collections.abc import Sequence

from pyxqueue.model.message import evolve

from .prelude import (
    Entry,
    Group,
    MemoryBackend,
    Place,
    Queue,
    Remembering,
    Turn,
    breaks,
    first_page,
    in_flight,
    lapsed,
    m,
    moment,
)


@breaks("B3")
class LeaseNeverEnds(Group):
    def reclaim(self, now: int) -> None:
        return


@breaks("B3")
class LeaseEndsForOthersOnly(Group):
    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        for entry in self.lines[Place.IN_FLIGHT].values():
            if entry.consumer == consumer:
                entry.lease_end = max(entry.lease_end, now + 1)
        return super().claim(consumer, limit, turn, now)


@breaks("B3")
class EndOfLeaseRefusesSettlement(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        entry = self.holding(settlement.receipt)
        return entry is not None and now < entry.lease_end and super().settle(settlement, now)


@breaks("B3")
class EndOfLeaseRefusesExtension(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        entry = self.holding(extension.receipt)
        return super().extend(extension, now) if entry is not None and now < entry.lease_end else m.LeaseStatus.LOST


@breaks("B3")
class ExtendKeepsGhosts(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        if holder := self.holding(extension.receipt):
            for entry in self.lines[Place.IN_FLIGHT].values():
                if entry.consumer == holder.consumer:
                    entry.lease_end = now + self.lease
        return super().extend(extension, now)


@breaks("B3")
class ExtendDoesNothing(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        return m.LeaseStatus.HELD if self.holding(extension.receipt) else m.LeaseStatus.LOST


@breaks("B3")
class LosesWhatItTakesBack(Group):
    def reclaim(self, now: int) -> None:
        ended = lapsed(self, now)
        for entry in ended[100:]:
            self.remove(entry)
        super().reclaim(now)


@breaks("B3")
class OpeningChangesNoLease(Queue):
    def join(self) -> tuple[Group, int]:
        group, now = self.look()
        if not group.registered:
            return super().join()
        self._joined = group
        return group, now


@breaks("B3")
class LeaseOfTheHandle(Queue):
    def join(self) -> tuple[Group, int]:
        group, now = super().join()
        group.lease = self.options.lease_ms or group.lease
        return group, now


@breaks("B3")
class LeaseInSeconds(MemoryBackend):
    def lease_ms(self) -> int:
        return super().lease_ms() // 1000


@breaks("B3")
class ExtensionsAreShort(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        status = super().extend(extension, now)
        if entry := self.holding(extension.receipt):
            entry.lease_end = now + self.lease * 7 // 10
        return status


HALF_DAY = 12 * 3_600_000


@breaks("B3")
class LeaseOfHalfADayAtMost(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        delivery = super().lend(entry, consumer, now)
        entry.lease_end = min(entry.lease_end, now + HALF_DAY)
        return delivery


@breaks("B3")
class LeaseIn32Bits(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        delivery = super().lend(entry, consumer, now)
        entry.lease_end = now + self.lease % 2**31
        return delivery


class Renewing(Group):
    """Takes any sign of life of a consumer for all that it holds."""

    def renew(self, consumer: str, now: int) -> None:
        for entry in self.lines[Place.IN_FLIGHT].values():
            if entry.consumer == consumer and entry.lease_end > now:
                entry.lease_end = now + self.lease


@breaks("B3")
class ClaimRenews(Renewing):
    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        self.renew(consumer, now)
        return super().claim(consumer, limit, turn, now)


@breaks("B3")
class SettlementRenews(Renewing):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        if entry := self.holding(settlement.receipt):
            self.renew(entry.consumer, now)
        return super().settle(settlement, now)


@breaks("B3")
class LooksThenTakesBack(MemoryBackend):
    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[m.Delivery]:
        with self._store.changed:
            group, now = self._queue.join()
            overdue = lapsed(group, now)[:limit]
        moment()
        with self._store.changed:
            taken = [group.lend(entry, consumer, now) for entry in overdue]
        return taken or super().claim(consumer, limit, wait_ms)


@breaks("B6")
class ExtendSteals(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        if entry := in_flight(self, extension.receipt):
            entry.receipt = extension.receipt
        return super().extend(extension, now)


@breaks("B6")
class ExtendProlongsForAnyone(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        if entry := in_flight(self, extension.receipt):
            entry.lease_end = now + self.lease
        return super().extend(extension, now)


@breaks("B6")
class ExtendRevives(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        entry = self.tasks.get(extension.receipt.rpartition("@")[0])
        if entry is not None and entry.place is not Place.IN_FLIGHT and entry.receipt == extension.receipt:
            self.move(entry, Place.IN_FLIGHT, now)
        return super().extend(extension, now)


@breaks("B6")
class ExtendChangesTheReceipt(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        status = super().extend(extension, now)
        if entry := self.holding(extension.receipt):
            entry.receipt += "x"
        return status


@breaks("B6")
class ExtendReturnsMixed(MemoryBackend):
    def extend(self, extensions: Sequence[m.Extension]) -> Sequence[m.LeaseStatus]:
        return list(reversed(super().extend(extensions)))


@breaks("B6")
class ExtendsAPage(MemoryBackend):
    def extend(self, extensions: Sequence[m.Extension]) -> Sequence[m.LeaseStatus]:
        return first_page(super().extend, extensions, m.LeaseStatus.HELD)


@breaks("B6")
class ExtensionsOfTheHandle(Remembering):
    def extend(self, extensions: Sequence[m.Extension]) -> Sequence[m.LeaseStatus]:
        mine = [one if one.receipt in self.receipts else evolve(one, receipt="") for one in extensions]
        return super().extend(mine)


@breaks("B6")
class TheCancelledIsNotExtended(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        entry = self.holding(extension.receipt)
        return m.LeaseStatus.CANCEL if entry and entry.cancelled else super().extend(extension, now)


@breaks("B6")
class OneAnswerForEachReceipt(MemoryBackend):
    def extend(self, extensions: Sequence[m.Extension]) -> Sequence[m.LeaseStatus]:
        return super().extend(list({extension.receipt: extension for extension in extensions}.values()))


@breaks("B3")
class LeasesLastAMomentLonger(Group):
    def reclaim(self, now: int) -> None:
        super().reclaim(now - 1)
