"""Backends that break B9, each in one small way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from unittest.mock import patch

from pyxqueue.errors import ConfigurationError
from pyxqueue.model.message import evolve
from pyxqueue.protocols import NO_LINES

from .prelude import Group, MemoryBackend, Place, Queue, breaks, m


@breaks("B9")
class OneGroupIsSkipped(MemoryBackend):
    def enqueue(self, messages: Sequence[m.Message]) -> Sequence[bool]:
        with self._store.changed:
            group, now = self._queue.join()
            new = [not group.knows(message.id, now) for message in messages]
            for message, wanted in zip(messages, new, strict=True):
                if wanted:
                    group.add(message, now)
            return new


@breaks("B9")
class GroupsShareRecords(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[m.Record | None]:
        now = self._store.clock()
        groups = self._queue.groups().values()
        found = [[record for group in groups if (record := group.read(task_id, now))] for task_id in ids]
        return [records[0] if records else None for records in found]


@breaks("B9")
class FollowUpsGoToEveryGroup(MemoryBackend):
    def settle(self, settlements: Sequence[m.Settlement]) -> Sequence[bool]:
        results = super().settle([evolve(settlement, then=()) for settlement in settlements])
        for settlement, accepted in zip(settlements, results, strict=True):
            if accepted:
                self.enqueue(settlement.then)
        return results


@breaks("B9")
class CancelsInEveryGroup(MemoryBackend):
    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        with self._store.changed:
            ours, now = self._queue.look()
            for group in self._queue.groups().values():
                for task_id in ids if group is not ours else ():
                    group.cancel(task_id, now)
            return super().cancel(ids, force)


@breaks("B9")
class ReleaseTakesFromEveryGroup(MemoryBackend):
    def release(self, consumer: str, started: Sequence[str], past: Mapping[str, str] = NO_LINES) -> int:
        with self._store.changed:
            now = self._store.clock()
            groups = self._queue.groups().values()
            return sum([group.release(consumer, started, now) for group in groups])


@breaks("B9")
class RemovedGroupKeepsItsTasks(MemoryBackend):
    def remove_group(self, group: str) -> None:
        self._store.group(self._options.stream_key, group).registered = False


@breaks("B9")
class WaitsForTheSlowestGroup(MemoryBackend):
    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[m.Delivery]:
        groups = self._queue.groups().values()
        busy = any(group.lines[Place.IN_FLIGHT] for group in groups if group is not self._queue.look()[0])
        return [] if busy else super().claim(consumer, limit, wait_ms)


@breaks("B9")
class GroupsAreRemovedByPrefix(MemoryBackend):
    def remove_group(self, group: str) -> None:
        for name in self.groups():
            if name.startswith(group):
                super().remove_group(name)


@breaks("B9")
class AnyGroupCanBeRemoved(MemoryBackend):
    def remove_group(self, group: str) -> None:
        with suppress(ConfigurationError):
            super().remove_group(group)


@breaks("B9")
class LeaseOfTheQueue(Queue):
    def join(self) -> tuple[Group, int]:
        group, now = super().join()
        for other in self.groups().values():
            other.lease = group.lease
        return group, now


@breaks("B9")
class GroupsAreReadOnce(MemoryBackend):
    _known: Sequence[Group] = ()

    def enqueue(self, messages: Sequence[m.Message]) -> Sequence[bool]:
        with self._store.changed:
            _, now = self._queue.join()
            self._known = self._known or list(self._queue.groups().values())
            results = [not any(group.knows(message.id, now) for group in self._known) for message in messages]
            for message, new in zip(messages, results, strict=True):
                for group in self._known if new else ():
                    group.add(message, now)
            return results


@breaks("B9")
class ListingRegisters(MemoryBackend):
    def groups(self) -> Sequence[str]:
        self.lease_ms()
        return super().groups()


@breaks("B9")
class AdoptingRegistersNothing(MemoryBackend):
    def adopt(self, tasks: Sequence[m.TaskInfo]) -> Sequence[bool]:
        with self._store.changed:
            group, now = self._queue.look()
            return [group.adopt(task, now) for task in tasks]


@breaks("B9")
class RemovalWakesNobody(MemoryBackend):
    def remove_group(self, group: str) -> None:
        with self._store.changed, patch.object(self._store.changed, "notify_all"):
            super().remove_group(group)
