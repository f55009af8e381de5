"""Backends that break B8, each in one small way."""

from __future__ import annotations

import time

from attrs import evolve

from .prelude import Entry, Group, MemoryBackend, Place, breaks, m


@breaks("B8")
class DelayIgnored(Group):
    def line_up(self, entry: Entry, due: int, now: int) -> None:
        super().line_up(entry, 0, now)


@breaks("B8")
class DelayOfVerdictsIgnored(Group):
    def put_back(self, entry: Entry, delay: int, now: int) -> None:
        super().put_back(entry, 0, now)


@breaks("B8")
class DelayedComesEarly(Group):
    def maintain(self, limit: int | None, now: int) -> int:
        return super().maintain(limit, now + 6_000)


@breaks("B8")
class DelayedNeverComes(Group):
    def maintain(self, limit: int | None, now: int) -> int:
        return -1


@breaks("B8")
class PromoteLosesSome(Group):
    def maintain(self, limit: int | None, now: int) -> int:
        due = [entry for entry in self.lines[Place.DELAYED].values() if entry.due <= now]
        for entry in due[256:]:
            self.remove(entry)
        return super().maintain(limit, now)


@breaks("B8")
class PromoteDuplicates(Group):
    def maintain(self, limit: int | None, now: int) -> int:
        before = set(self.lines[Place.DELAYED])
        answer = super().maintain(limit, now)
        for task_id in before - set(self.lines[Place.DELAYED]):
            self.insert(Entry(f"{task_id}-twin", self.tasks[task_id].message), 0, now)
        return answer


@breaks("B8")
class PromoteIgnoresItsLimit(Group):
    def maintain(self, limit: int | None, now: int) -> int:
        return super().maintain(None, now)


@breaks("B8")
class PromoteSaysNothingIsDelayed(Group):
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
class PromotesOneAtLeast(Group):
    def maintain(self, limit: int | None, now: int) -> int:
        return super().maintain(limit if limit is None else max(1, limit), now)


QUARTER_HOUR = 900_000


@breaks("B8")
class DelayOfAQuarterHourAtMost(Group):
    def add(self, message: m.Message, now: int) -> None:
        super().add(evolve(message, delay_ms=min(message.delay_ms, QUARTER_HOUR)), now)


@breaks("B8")
class DelayOfVerdictsOfAQuarterHourAtMost(Group):
    def put_back(self, entry: Entry, delay: int, now: int) -> None:
        super().put_back(entry, min(delay, QUARTER_HOUR), now)


@breaks("B8")
class DelayIn32Bits(Group):
    def add(self, message: m.Message, now: int) -> None:
        super().add(evolve(message, delay_ms=message.delay_ms % 2**31), now)


@breaks("B8")
class DelayInWholeSeconds(Group):
    def add(self, message: m.Message, now: int) -> None:
        super().add(evolve(message, delay_ms=message.delay_ms // 1000 * 1000), now)


@breaks("B8")
class PromoteAnswersIn32Bits(Group):
    def maintain(self, limit: int | None, now: int) -> int:
        answer = super().maintain(limit, now)
        return answer if answer < 2**31 else -1
