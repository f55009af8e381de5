"""Backends that break I3, each in one small way."""

from __future__ import annotations

from collections.abc import Sequence

from pyxqueue.model.message import evolve

from .prelude import Entry, Group, MemoryBackend, Mistaking, Place, Quiet, breaks, first_page, in_flight, m


@breaks("I3")
class CancelInFlightIgnored(Group):
    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        return task_id not in self.lines[Place.IN_FLIGHT] and super().cancel(task_id, now, force=force)


@breaks("I3")
class CancelledHolderIsNotTold(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        status = super().extend(extension, now)
        return m.LeaseStatus.HELD if status is m.LeaseStatus.CANCEL else status


@breaks("I3")
class SecondRequestIsForgotten(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        status = super().extend(extension, now)
        return m.LeaseStatus.CANCEL if status is m.LeaseStatus.CANCEL_AGAIN else status


@breaks("I3")
class ForceIsIgnored(Group):
    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        return super().cancel(task_id, now)


@breaks("I3")
class ForceIsTakenBack(Group):
    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        if (entry := self.tasks.get(task_id)) is not None and entry.cancelled == 3 and not force:
            entry.cancelled = 1
        return super().cancel(task_id, now, force=force)


@breaks("I3")
class CancelledHolderIsToldOnce(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        status = super().extend(extension, now)
        if (entry := self.holding(extension.receipt)) is not None:
            entry.cancelled = False
        return status


@breaks("I3")
class CancelledRunsAgain(Group):
    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        entry.cancelled = False
        super()._put_back(entry, delay, now)


@breaks("I3")
class CancelledHasLost(Group):
    """The holder of a cancelled task can do nothing with it any more."""

    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        entry = self.tasks.get(task_id)
        if entry is not None and entry.place is Place.IN_FLIGHT:
            self._put_back(entry, 0, now)
        return super().cancel(task_id, now, force=force)


@breaks("I3")
class LateCancelIsTrue(Group):
    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        return super().cancel(task_id, now, force=force) or task_id in self.tasks


@breaks("I3")
class CancelSticksOverARequeue(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        cancelled = task_id in self.tasks and self.tasks[task_id].cancelled
        requeued = super().requeue(task_id, now)
        if requeued:
            self.tasks[task_id].cancelled = cancelled
        return requeued


@breaks("I3")
class CancelsInAnyOrder(MemoryBackend):
    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        return sorted(super().cancel(ids, force))


@breaks("I3")
class CancelsAPage(MemoryBackend):
    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        return first_page(super().cancel, ids, rest=True)


@breaks("I3")
class CancelsLike(Mistaking):
    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        return self.widely(super().cancel, ids)


@breaks("I3")
class TheUnreadableIsNotCancelled(Group):
    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        entry = self.tasks.get(task_id)
        return not (entry is not None and isinstance(entry.message, m.Unreadable)) and super().cancel(
            task_id, now, force=force
        )


@breaks("I3")
class OldReceiptsTakeTheCancellationBack(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        accepted = super().settle(settlement, now)
        if entry := in_flight(self, settlement.receipt):
            entry.cancelled = False
        return accepted


@breaks("I3")
class WhatEndsInsteadWakesNobody(Quiet):
    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        with self.quiet(entry.cancelled):
            super()._put_back(entry, delay, now)


@breaks("I3")
class TheCancelledAreNotCharged(Group):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        if entry.cancelled and isinstance(settlement.verdict, m.Retry):
            settlement = evolve(settlement, verdict=m.Cancelled())
        super()._apply(entry, settlement, now)
