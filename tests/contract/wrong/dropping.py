"""Backends that break I9, each in one small way."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from pyxqueue.model.failed import Dropped, FailedLimits
from pyxqueue.model.message import TaskStatus

from .prelude import MemoryBackend, breaks


@breaks("I9")
class DropsNothing(MemoryBackend):
    def drop_failed(self, limits: FailedLimits, count: int) -> Sequence[Dropped]:
        return []


@breaks("I9")
class DropsAnyNumber(MemoryBackend):
    def drop_failed(self, limits: FailedLimits, count: int) -> Sequence[Dropped]:
        return super().drop_failed(limits, 10_000)


@breaks("I9")
class DropsTooEarly(MemoryBackend):
    def drop_failed(self, limits: FailedLimits, count: int) -> Sequence[Dropped]:
        early = limits.ttl_ms and limits.ttl_ms // 3
        return super().drop_failed(replace(limits, ttl_ms=early), count)


@breaks("I9")
class KeepsOneLess(MemoryBackend):
    def drop_failed(self, limits: FailedLimits, count: int) -> Sequence[Dropped]:
        keep = limits.keep and limits.keep - 1
        return super().drop_failed(replace(limits, keep=keep), count)


@breaks("I9")
class NoLimitKeepsNone(MemoryBackend):
    def drop_failed(self, limits: FailedLimits, count: int) -> Sequence[Dropped]:
        return super().drop_failed(replace(limits, keep=limits.keep or 0), count)


@breaks("I9")
class NoAgeIsAnyAge(MemoryBackend):
    def drop_failed(self, limits: FailedLimits, count: int) -> Sequence[Dropped]:
        return super().drop_failed(replace(limits, ttl_ms=limits.ttl_ms or 0), count)


@breaks("I9")
class DropsTheNewest(MemoryBackend):
    def drop_failed(self, limits: FailedLimits, count: int) -> Sequence[Dropped]:
        listed, _ = self.tasks(TaskStatus.FAILURE, "", 10_000)
        surplus = 0 if limits.keep is None else max(0, len(listed) - limits.keep)
        newest = [info.id for info in listed[: min(surplus, count)]]
        self.delete(newest)
        return [Dropped(task_id, "kit.job", 0, False) for task_id in newest]


@breaks("I9")
class DropsWhatWasRequeued(MemoryBackend):
    """What it has found at one time is deleted at the next."""

    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        done = super().requeue(ids)
        self.delete(ids)
        return done


@breaks("I9")
class TellsNoNames(MemoryBackend):
    def drop_failed(self, limits: FailedLimits, count: int) -> Sequence[Dropped]:
        return [replace(one, name="") for one in super().drop_failed(limits, count)]


@breaks("I9")
class TellsTheTimeOfTheCall(MemoryBackend):
    def drop_failed(self, limits: FailedLimits, count: int) -> Sequence[Dropped]:
        return [replace(one, failed_ms=one.failed_ms + 3_600_000) for one in super().drop_failed(limits, count)]


@breaks("I9")
class AllAreTooMany(MemoryBackend):
    def drop_failed(self, limits: FailedLimits, count: int) -> Sequence[Dropped]:
        return [replace(one, is_old=False) for one in super().drop_failed(limits, count)]


@breaks("I9")
class ToldByEach(MemoryBackend):
    """Each call tells what it has found, also if another one has deleted it."""

    def drop_failed(self, limits: FailedLimits, count: int) -> Sequence[Dropped]:
        listed, _ = self.tasks(TaskStatus.FAILURE, "", 10_000)
        super().drop_failed(limits, count)
        surplus = 0 if limits.keep is None else max(0, len(listed) - limits.keep)
        oldest = list(reversed(listed))[:surplus][:count]
        return [Dropped(info.id, "kit.job", info.updated_ms, False) for info in oldest]
