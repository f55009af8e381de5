"""Backends that break L8, each in one small way."""

from __future__ import annotations

from collections.abc import Sequence

from pyxqueue.model.message import evolve
from pyxqueue.protocols import Expired, TellExpired

from .prelude import READY, Entry, Group, MemoryBackend, Place, breaks, m


@breaks("L8")
class NothingMustBegin(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        return evolve(super().lend(entry, consumer, now), must_begin=False)


@breaks("L8")
class EverythingMustBegin(Group):
    """So that the usual task pays for it."""

    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        return evolve(super().lend(entry, consumer, now), must_begin=True)


@breaks("L8")
class ExpiredStarts(Group):
    """The claim alone is looked at."""

    def begin(self, receipt: str, now: int) -> m.StartStatus:
        return m.StartStatus.LOST if self.holding(receipt) is None else m.StartStatus.RUN


@breaks("L8")
class AnyoneMayBegin(Group):
    def begin(self, receipt: str, now: int) -> m.StartStatus:
        entry = self.find(receipt.rpartition("@")[0])
        return super().begin(receipt if entry is None else entry.receipt, now)


@breaks("L8")
class StartsOnce(Group):
    """A repeat after a lost reply is refused."""

    def begin(self, receipt: str, now: int) -> m.StartStatus:
        status = super().begin(receipt, now)
        if status is m.StartStatus.RUN and (entry := self.holding(receipt)) is not None:
            if entry.reason == "begun":
                return m.StartStatus.LOST
            entry.reason = "begun"
        return status


@breaks("L8")
class ExpiredWaitsForAClaim(Group):
    """Nothing ends by itself."""

    def maintain(self, limit: int | None, now: int) -> int:
        return self._promote(limit, now)


@breaks("L8")
class TheNextExpiryIsNotSaid(Group):
    """A supervisor sleeps until the next delayed task is due."""

    def maintain(self, limit: int | None, now: int) -> int:
        super().maintain(limit, now)
        return self._promote(0, now)


@breaks("L8")
class DelayedDoesNotExpire(Group):
    def _end_expired(self, entry: Entry, now: int) -> None:
        if entry.place is not Place.DELAYED:
            super()._end_expired(entry, now)


@breaks("L8")
class ExpiredIsDeleted(Group):
    """Without a record."""

    def _end_expired(self, entry: Entry, now: int) -> None:
        self.remove(entry)


@breaks("L8")
class ExpiredIsJustCancelled(Group):
    """Its record does not say why."""

    def _end_expired(self, entry: Entry, now: int) -> None:
        self._end(entry, Place.HISTORY, self._default_record(entry, m.TaskStatus.CANCELLED), now)


@breaks("L8")
class ExpiredHasFailed(Group):
    def _end_expired(self, entry: Entry, now: int) -> None:
        entry.reason = "expired"
        self._end(entry, Place.FAILED, self._default_record(entry, m.TaskStatus.FAILURE), now)


@breaks("L8")
class ExpiredIsTakenFromItsHolder(Group):
    """A running task is ended."""

    def maintain(self, limit: int | None, now: int) -> int:
        for entry in [entry for entry in self.lines[Place.IN_FLIGHT].values() if 0 < entry.expires <= now]:
            self._end_expired(entry, now)
        return super().maintain(limit, now)


@breaks("L8")
class ExpiredLosesItsLease(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        entry = self.holding(extension.receipt)
        if entry is not None and 0 < entry.expires <= now:
            return m.LeaseStatus.LOST
        return super().extend(extension, now)


@breaks("L8")
class ComingBackIsALife(Group):
    """The lifetime begins again."""

    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        if entry.expires:
            entry.alter(expires_ms=now + 5_000)
        super()._put_back(entry, delay, now)


@breaks("L8")
class WhatComesBackDoesNotExpire(Group):
    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        entry.alter(expires_ms=0)
        super()._put_back(entry, delay, now)


@breaks("L8")
class LateRetriesExpire(Group):
    """The error of the run is lost."""

    def _is_too_late(self, entry: Entry, delay: int, now: int) -> bool:
        return False


@breaks("L8")
class LateRetriesHaveNoRecord(Group):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        if isinstance(settlement.verdict, m.Retry):
            settlement = evolve(settlement, record=None)
        super()._apply(entry, settlement, now)


@breaks("L8")
class EveryRetryOfThemFails(Group):
    """Also one in time."""

    def _is_too_late(self, entry: Entry, delay: int, now: int) -> bool:
        return entry.expires > 0


@breaks("L8")
class LateRetriesOfCancelledTasksFail(Group):
    def _is_too_late(self, entry: Entry, delay: int, now: int) -> bool:
        return 0 < entry.expires <= now + delay


@breaks("L8")
class RequeueKeepsTheExpiry(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        entry = self.find(task_id)
        expires = 0 if entry is None else entry.expires
        again = super().requeue(task_id, now)
        if again and entry is not None:
            entry.alter(expires_ms=expires)
        return again


@breaks("L8")
class AdoptDropsTheExpiry(MemoryBackend):
    def adopt(self, tasks: Sequence[m.TaskInfo]) -> Sequence[bool]:
        messages = [task.message for task in tasks]
        bare = [evolve(one, expires_ms=0) if isinstance(one, m.Message) else one for one in messages]
        return super().adopt([evolve(task, message=one) for task, one in zip(tasks, bare, strict=True)])


@breaks("L8")
class ALifeBeginsWhenItIsDue(Group):
    """A lifetime counts from the end of the delay."""

    def add(self, message: m.Message, now: int) -> None:
        longer = message.lifetime_ms + message.delay_ms if message.lifetime_ms else 0
        super().add(evolve(message, lifetime_ms=longer), now)


@breaks("L8")
class FollowUpsDoNotExpire(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        then = [evolve(message, lifetime_ms=0) for message in settlement.then]
        return super().settle(evolve(settlement, then=then), now)


@breaks("L8")
class TheIdIsRemembered(Group):
    """A new task under the id of a deleted one expires as that would have."""

    marks: dict[str, int] | None = None

    def move(self, entry: Entry, place: Place, now: int) -> None:
        self.marks = self.marks or {}
        if entry.expires:
            self.marks[entry.id] = entry.expires
        super().move(entry, place, now)

    def maintain(self, limit: int | None, now: int) -> int:
        for task_id, expires in list((self.marks or {}).items()):
            entry = self.find(task_id)
            if entry is not None and entry.place in READY and expires <= now:
                self._end_expired(entry, now)
        return super().maintain(limit, now)


@breaks("L8")
class MarksAreLeft(Group):
    """The time of an expiry is kept after the end."""

    left = 0

    def _end_expired(self, entry: Entry, now: int) -> None:
        super()._end_expired(entry, now)
        self.left += 1

    def footprint(self) -> int:
        return super().footprint() + self.left


@breaks("L8")
class NothingIsTold(MemoryBackend):
    def watch_expired(self, tell: TellExpired) -> None:
        pass


@breaks("L8")
class OnlyMaintainTells(MemoryBackend):
    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[m.Delivery]:
        self.watch_expired(lambda _: None)
        return super().claim(consumer, limit, wait_ms)


@breaks("L8")
class ItIsToldAgain(MemoryBackend):
    """By the next call that ends one, too."""

    def watch_expired(self, tell: TellExpired) -> None:
        told = list[Expired]()

        def again(expired: Sequence[Expired]) -> None:
            told.extend(expired)
            tell(told)

        super().watch_expired(again)


@breaks("L8")
class OneHandleIsTold(MemoryBackend):
    """The first one, of what any has ended."""

    def watch_expired(self, tell: TellExpired) -> None:
        told = vars(self._store).setdefault("told", tell)
        super().watch_expired(told)
