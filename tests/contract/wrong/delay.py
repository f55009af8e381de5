"""Backends that break B8, each in one small way."""

from __future__ import annotations

import socket
import time
import weakref

from pyxqueue.model.message import evolve

from .prelude import Entry, Group, MemoryBackend, Place, breaks, m, stores


@breaks("B8")
class DelayIgnored(Group):
    def _line_up(self, entry: Entry, line: Place, due: int, now: int) -> None:
        super()._line_up(entry, line, 0, now)


@breaks("B8")
class DelayOfVerdictsIgnored(Group):
    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        super()._put_back(entry, 0, now)


@breaks("B8")
class DelayedComesEarly(Group):
    def maintain(self, limit: int | None, now: int) -> int:
        return super().maintain(limit, now + 6_000)


@breaks("B8")
class DelayedNeverComes(Group):
    def maintain(self, limit: int | None, now: int) -> int:
        return -1


@breaks("B8")
class MaintainLosesSome(Group):
    def maintain(self, limit: int | None, now: int) -> int:
        due = [entry for entry in self.lines[Place.DELAYED].values() if entry.due <= now]
        for entry in due[256:]:
            self.remove(entry)
        return super().maintain(limit, now)


@breaks("B8")
class MaintainDuplicates(Group):
    def maintain(self, limit: int | None, now: int) -> int:
        before = set(self.lines[Place.DELAYED])
        until_due = super().maintain(limit, now)
        for task_id in before - set(self.lines[Place.DELAYED]):
            self.insert(Entry(f"{task_id}-twin", self.tasks[task_id].message), 0, now)
        return until_due


@breaks("B8")
class MaintainIgnoresItsLimit(Group):
    def maintain(self, limit: int | None, now: int) -> int:
        return super().maintain(None, now)


@breaks("B8")
class MaintainSaysNothingIsDelayed(Group):
    def maintain(self, limit: int | None, now: int) -> int:
        super().maintain(limit, now)
        return -1


@breaks("B8")
class DelayedInOrderOfEnqueue(Group):
    def maintain(self, limit: int | None, now: int) -> int:
        first = next(iter(self.lines[Place.DELAYED].values()), None)
        return super().maintain(limit, now) if first is None or first.due <= now else first.due - now


@breaks("B8")
class TakesOutBeforeItPutsIn(MemoryBackend):
    def maintain(self, limit: int) -> int:
        with self._store.changed:
            group, now = self._queue.join()
            due = [entry for entry in group.lines[Place.DELAYED].values() if entry.due <= now][:limit]
            for entry in due:
                group.remove(entry)
        time.sleep(0.002)  # the fault itself: a moment in which they are nowhere
        with self._store.changed:
            for entry in due:
                group.insert(entry, 0, now)
        return super().maintain(0)


@breaks("B8")
class MaintainMovesOneAtLeast(Group):
    def maintain(self, limit: int | None, now: int) -> int:
        return super().maintain(limit if limit is None else max(1, limit), now)


class SilentWakeups:
    """Nothing but the begin of listening is ever heard."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        theirs.send(b"begin")
        for end in (self._ours, theirs):
            weakref.finalize(self, end.close)

    def listen(self) -> int:
        return 5_000

    def fileno(self) -> int:
        return self._ours.fileno()

    def read(self) -> int:
        return 0 if self._ours.recv(100) else -1


@breaks("B8")
class SaysNothingWhenAMessageIsDelayed(MemoryBackend):
    def wakeups(self) -> SilentWakeups:
        return SilentWakeups()


QUARTER_HOUR = 900_000


@breaks("B8")
@stores
def delay_of_a_quarter_hour_at_most(message: m.Message) -> m.Message:
    return evolve(message, delay_ms=min(message.delay_ms, QUARTER_HOUR))


@breaks("B8")
class DelayOfVerdictsOfAQuarterHourAtMost(Group):
    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        super()._put_back(entry, min(delay, QUARTER_HOUR), now)


@breaks("B8")
@stores
def delay_in_32bits(message: m.Message) -> m.Message:
    return evolve(message, delay_ms=message.delay_ms % 2**31)


@breaks("B8")
@stores
def delay_in_whole_seconds(message: m.Message) -> m.Message:
    return evolve(message, delay_ms=message.delay_ms // 1000 * 1000)


@breaks("B8")
class MaintainReturnsIn32Bits(Group):
    def maintain(self, limit: int | None, now: int) -> int:
        until_due = super().maintain(limit, now)
        return until_due if until_due < 2**31 else -1


@breaks("B8")
class DueAMomentLater(Group):
    def maintain(self, limit: int | None, now: int) -> int:
        return super().maintain(limit, now - 1)


@breaks("B8")
class DueIsNotDelivered(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        entry.alter(due_ms=0)
        return super().lend(entry, consumer, now)


@breaks("B8")
class DueStaysAfterARetry(Group):
    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        due = entry.message.due_ms if isinstance(entry.message, m.Message) else 0
        super()._put_back(entry, delay, now)
        if not delay:
            entry.alter(due_ms=due)
