"""Backends that break I1, each in one small way."""

from __future__ import annotations

from collections.abc import Sequence

from pyxqueue.model.message import evolve

from .prelude import Entry, Group, MemoryBackend, Mistaking, Place, breaks, first_page, m, without_case


@breaks("I1")
class RetryLooksPending(Group):
    def info(self, entry: Entry, now: int) -> m.TaskInfo:
        found = super().info(entry, now)
        return evolve(found, status=m.TaskStatus.PENDING) if found.status is m.TaskStatus.RETRY else found


@breaks("I1")
class InFlightHasNoWorker(Group):
    def info(self, entry: Entry, now: int) -> m.TaskInfo:
        found = super().info(entry, now)
        return evolve(found, worker="") if found.status is m.TaskStatus.STARTED else found


@breaks("I1")
class EveryEndIsASuccess(Group):
    def info(self, entry: Entry, now: int) -> m.TaskInfo:
        found = super().info(entry, now)
        return evolve(found, status=m.TaskStatus.SUCCESS) if entry.place is Place.HISTORY else found


@breaks("I1")
class DeferralLooksLikeARetry(Group):
    def info(self, entry: Entry, now: int) -> m.TaskInfo:
        found = super().info(entry, now)
        again = (
            found.status is m.TaskStatus.PENDING and isinstance(found.message, m.Message) and found.message.deferrals
        )
        return evolve(found, status=m.TaskStatus.RETRY) if again else found


@breaks("I1")
class UnknownTasksLeftOut(MemoryBackend):
    def show(self, ids: Sequence[str]) -> Sequence[m.TaskInfo | None]:
        return [task for task in super().show(ids) if task is not None]


@breaks("I1")
class OldestIsNotTold(MemoryBackend):
    def depth(self) -> m.Depth:
        return evolve(super().depth(), oldest_ms=0)


@breaks("I1")
class ShowsAPage(MemoryBackend):
    def show(self, ids: Sequence[str]) -> Sequence[m.TaskInfo | None]:
        return first_page(super().show, ids, None)


@breaks("I1")
class ShowsWithoutCase(Mistaking):
    alike = staticmethod(without_case)

    def show(self, ids: Sequence[str]) -> Sequence[m.TaskInfo | None]:
        return super().show([(self.found(task_id) or [task_id])[0] for task_id in ids])


class OldestOfALine(MemoryBackend):
    """Tells the age of the longest waiting message of one line only."""

    ours: Place
    other: Place

    def depth(self) -> m.Depth:
        group, now = self._queue.look()
        ages = [[now - entry.updated for entry in group.lines[place].values()] for place in (self.ours, self.other)]
        return evolve(super().depth(), oldest_ms=max(ages[0] or ages[1], default=0))


@breaks("I1")
class TheOldestIsNew(OldestOfALine):
    ours, other = Place.NEW, Place.CAME_BACK


@breaks("I1")
class TheOldestCameBack(OldestOfALine):
    ours, other = Place.CAME_BACK, Place.NEW


class Aged(MemoryBackend):
    """Tells the age of the longest waiting message of some other place too."""

    other: Place = Place.IN_FLIGHT

    def depth(self) -> m.Depth:
        depth = super().depth()
        group, now = self._queue.look()
        ages = [now - entry.updated for entry in group.lines[self.other].values()]
        return evolve(depth, oldest_ms=max([depth.oldest_ms, *ages]))


@breaks("I1")
class TheOldestIsInFlight(Aged):
    pass


@breaks("I1")
class TheOldestIsDelayed(Aged):
    other = Place.DELAYED


@breaks("I1")
class SilentHoldersAreNotListed(MemoryBackend):
    def consumers(self) -> Sequence[m.ConsumerInfo]:
        return [consumer for consumer in super().consumers() if consumer.idle_ms < 1_000]


@breaks("I1")
class NobodyKnowsSinceWhen(Group):
    def info(self, entry: Entry, now: int) -> m.TaskInfo:
        return evolve(super().info(entry, now), updated_ms=0)


@breaks("I1")
class AnExtensionIsAStart(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        entry = self.holding(extension.receipt)
        if entry is not None:
            entry.updated = now
        return super().extend(extension, now)


@breaks("I1")
class ExtensionsAreNoSign(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        seen = dict(self.consumers)
        status = super().extend(extension, now)
        self.consumers.update(seen)
        return status
