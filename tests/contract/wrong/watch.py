"""Backends that break I6, each in one small way."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pyxqueue.clock import deadline_after, seconds_left

from .prelude import Entry, MemoryBackend, Quiet, breaks, m
from .wait import FailureWakesNobody


@breaks("I6")
class ProgressWakesNobody(Quiet):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        with self.quiet():
            return super().extend(extension, now)


@breaks("I6")
class WatchSeesTheEndOnly(MemoryBackend):
    def watch(self, task_id: str, seen: m.TaskInfo | None, timeout_ms: int | None) -> m.TaskInfo | None:
        self.wait([task_id], timeout_ms)
        return self.show([task_id])[0]


@breaks("I6")
class WatchReturnsAtOnce(MemoryBackend):
    def watch(self, task_id: str, seen: m.TaskInfo | None, timeout_ms: int | None) -> m.TaskInfo | None:
        return self.show([task_id])[0]


@breaks("I6")
class WatchIgnoresItsTimeout(MemoryBackend):
    def watch(self, task_id: str, seen: m.TaskInfo | None, timeout_ms: int | None) -> m.TaskInfo | None:
        return super().watch(task_id, seen, None)


@breaks("I6")
class WatchSeesNoDeletion(Quiet):
    def remove(self, entry: Entry) -> None:
        with self.quiet():
            super().remove(entry)


@breaks("I6")
class WatchWithoutTimeIsForEver(MemoryBackend):
    def watch(self, task_id: str, seen: m.TaskInfo | None, timeout_ms: int | None) -> m.TaskInfo | None:
        return super().watch(task_id, seen, timeout_ms or None)


@breaks("I6")
class WatchLooksAtHowMuchIsDone(MemoryBackend):
    def watch(self, task_id: str, seen: m.TaskInfo | None, timeout_ms: int | None) -> m.TaskInfo | None:
        until = deadline_after(timeout_ms)
        with self._store.changed:
            while True:
                found, left = self.show([task_id])[0], seconds_left(until)
                if found is None or self._news(found) != self._news(seen) or (left is not None and left <= 0):
                    return found
                self._store.changed.wait(left)

    @staticmethod
    def _news(task: m.TaskInfo | None) -> object:
        return task and (task.status, task.progress and task.progress.done)


@breaks("I6")
class WatchReturnsItsFirstLook(MemoryBackend):
    """It waits for what wakes it, and has not looked again when nothing did."""

    def watch(self, task_id: str, seen: m.TaskInfo | None, timeout_ms: int | None) -> m.TaskInfo | None:
        first = self.show([task_id])[0]
        if timeout_ms is None or first is None or first.differs(seen):
            return super().watch(task_id, seen, timeout_ms)
        time.sleep(timeout_ms / 1000)
        return first


@breaks("I6")
class FailureWakesNoWatch(FailureWakesNobody):
    pass


@breaks("I6")
class CancellationWakesNoWatch(Quiet):
    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        with self.quiet():
            return super().cancel(task_id, now, force=force)


@breaks("I6")
class ReleaseWakesNoWatch(Quiet):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        with self.quiet():
            return super().release(consumer, started, now)


@breaks("I6")
class WatchTakesNaps(MemoryBackend):
    def watch(self, task_id: str, seen: m.TaskInfo | None, timeout_ms: int | None) -> m.TaskInfo | None:
        while seen is not None and timeout_ms is None and super().watch(task_id, seen, 0) == seen:
            time.sleep(0.1)  # the fault itself
        return super().watch(task_id, seen, timeout_ms)
