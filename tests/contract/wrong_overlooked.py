"""Backends with what an author easily overlooks: each is right wherever one looks first."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from pyxqueue.backends.memory import MemoryBackend
from pyxqueue.backends.memory.entry import Entry, Place
from pyxqueue.backends.memory.group import Group
from pyxqueue.message import ConsumerInfo, Delivery, Extension, LeaseStatus, Message, Retry, Settlement, TaskInfo

from .wrong import Collection

COLLECTION = Collection()
breaks = COLLECTION.breaks


@breaks("B1")
class TheFailedAreReplaced(Group):
    def knows(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        if entry is not None and entry.place is Place.FAILED:
            return now < entry.known_until
        return super().knows(task_id, now)


@breaks("B2")
class ForkedHandlesHaveAQueueOfTheirOwn(MemoryBackend):
    one_process = False


@breaks("B10")
class OldProgressShowsWhileItWaits(Group):
    def put_back(self, entry: Entry, delay: int, now: int) -> None:
        kept = entry.progress
        super().put_back(entry, delay, now)
        if entry.place in (Place.READY, Place.DELAYED):
            entry.progress = kept

    def lend(self, entry: Entry, consumer: str, now: int) -> Delivery:
        entry.progress = None
        return super().lend(entry, consumer, now)


@breaks("B11")
class RetriesForgetTheReturns(Group):
    def apply(self, entry: Entry, settlement: Settlement, now: int) -> None:
        super().apply(entry, settlement, now)
        if isinstance(settlement.verdict, Retry):
            entry.alter(deferrals=0)


@breaks("B13")
class RemovedGroupsLeaveTheirTasks(MemoryBackend):
    def remove_group(self, group: str) -> None:
        groups = self._store.groups(self._options.stream_key)
        left = len(groups[group].tasks) if group in groups else 0
        super().remove_group(group)
        own = self._look()[0]
        own.consumers.update({f"{group}-{number}": self._store.clock() for number in range(left)})


@breaks("I1")
class SilentHoldersAreNotListed(MemoryBackend):
    def consumers(self) -> Sequence[ConsumerInfo]:
        return [consumer for consumer in super().consumers() if consumer.idle_ms < 1_000]


@breaks("I1")
class NobodyKnowsSinceWhen(Group):
    def info(self, entry: Entry, now: int) -> TaskInfo:
        return evolve(super().info(entry, now), updated_ms=0)


@breaks("I1")
class AnExtensionIsAStart(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        entry = self.holding(extension.receipt)
        if entry is not None:
            entry.updated = now
        return super().extend(extension, now)


@breaks("I2")
class RequeuesKeepTheReturns(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        deferrals = entry.message.deferrals if entry is not None and isinstance(entry.message, Message) else 0
        requeued = super().requeue(task_id, now)
        if entry is not None and requeued:
            entry.alter(deferrals=deferrals)
        return requeued


@breaks("I5")
class OnlyWhatIsShownIsDeleted(MemoryBackend):
    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        shown = [info is not None for info in self.show(ids)]
        return [
            there and super(OnlyWhatIsShownIsDeleted, self).delete([id_])[0]
            for there, id_ in zip(shown, ids, strict=True)
        ]


@breaks("I7")
class AdoptedFailuresHaveNoRecord(Group):
    def adopt(self, task: TaskInfo, now: int) -> bool:
        adopted = super().adopt(task, now)
        if adopted and task.record is None:
            self.forget(task.id, now)
        return adopted
