"""Backends that break B15, each in one small way."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pyxqueue.model.locks import LockTerms, lock_of
from pyxqueue.protocols import TakenIn

from .prelude import MemoryBackend, Place, breaks, m


@breaks("B15")
class LetsOneMoreIn(MemoryBackend):
    def enqueue_within(self, messages: Sequence[m.Message], terms: LockTerms, max_length: int) -> TakenIn:
        return super().enqueue_within(messages, terms, max_length + 1)


@breaks("B15")
class KeepsOneBack(MemoryBackend):
    def enqueue_within(self, messages: Sequence[m.Message], terms: LockTerms, max_length: int) -> TakenIn:
        return super().enqueue_within(messages, terms, max_length - 1)


@breaks("B15")
class DoesNotCountAPlace(MemoryBackend):
    place = Place.DELAYED

    def enqueue_within(self, messages: Sequence[m.Message], terms: LockTerms, max_length: int) -> TakenIn:
        group, _ = self._queue.look()
        return super().enqueue_within(messages, terms, max_length + len(group.lines[self.place]))


@breaks("B15")
class DoesNotCountWhatIsInFlight(DoesNotCountAPlace):
    place = Place.IN_FLIGHT


@breaks("B15")
class DoesNotCountTheBlocked(DoesNotCountAPlace):
    place = Place.BLOCKED


@breaks("B15")
class DoesNotCountTheSuspended(DoesNotCountAPlace):
    place = Place.DEPENDENT


@breaks("B15")
class CountsTheHistory(MemoryBackend):
    def enqueue_within(self, messages: Sequence[m.Message], terms: LockTerms, max_length: int) -> TakenIn:
        group, _ = self._queue.look()
        return super().enqueue_within(messages, terms, max_length - len(group.lines[Place.HISTORY]))


@breaks("B15")
class CountsItsOwnGroupOnly(MemoryBackend):
    def enqueue_within(self, messages: Sequence[m.Message], terms: LockTerms, max_length: int) -> TakenIn:
        depths = [sum(map(len, group.lines.values())) for group in self._queue.groups().values()]
        mine = self.depth().waiting + self.depth().in_flight
        return super().enqueue_within(messages, terms, max_length + max([0, *depths]) - mine)


@breaks("B15")
class TrimsTheOldest(MemoryBackend):
    def enqueue_within(self, messages: Sequence[m.Message], terms: LockTerms, max_length: int) -> TakenIn:
        placed = self.enqueue_unique(messages, terms)
        waiting, _ = self.tasks(m.TaskStatus.PENDING)
        self.delete([task.id for task in waiting[max_length:]])
        return TakenIn(placed)


@breaks("B15")
class RefusesARepeat(MemoryBackend):
    def enqueue_within(self, messages: Sequence[m.Message], terms: LockTerms, max_length: int) -> TakenIn:
        depth = self.depth()
        length = depth.waiting + depth.in_flight
        return TakenIn([], length) if length >= max_length else super().enqueue_within(messages, terms, max_length)


@breaks("B15")
class AcceptsAllOfABatchOrNone(MemoryBackend):
    def enqueue_within(self, messages: Sequence[m.Message], terms: LockTerms, max_length: int) -> TakenIn:
        depth = self.depth()
        room = max_length - depth.waiting - depth.in_flight
        return TakenIn([], max_length) if len(messages) > room else super().enqueue_within(messages, terms, max_length)


@breaks("B15")
class GoesOnAfterTheFirstWithoutRoom(MemoryBackend):
    def enqueue_within(self, messages: Sequence[m.Message], terms: LockTerms, max_length: int) -> TakenIn:
        found = [
            super(GoesOnAfterTheFirstWithoutRoom, self).enqueue_within([one], terms, max_length) for one in messages
        ]
        return TakenIn([placed for one in found for placed in one.placed], max(one.length for one in found))


@breaks("B15")
class ARefusedMessageTakesItsLock(MemoryBackend):
    def enqueue_within(self, messages: Sequence[m.Message], terms: LockTerms, max_length: int) -> TakenIn:
        found = super().enqueue_within(messages, terms, max_length)
        group, _ = self._queue.look()
        for message in messages[len(found.placed) :]:
            if (lock := lock_of(message)) is not None:
                group.locks.take(lock, message.id, 0)
        return found


@breaks("B15")
class LooksFirstAndStoresLater(MemoryBackend):
    def enqueue_within(self, messages: Sequence[m.Message], terms: LockTerms, max_length: int) -> TakenIn:
        found = super().enqueue_within([], terms, max_length)
        depth = self.depth()
        if depth.waiting + depth.in_flight >= max_length:
            return super().enqueue_within(messages, terms, max_length)
        time.sleep(0.001)
        return TakenIn([*found.placed, *self.enqueue_unique(messages, terms)])


@breaks("B15")
class APlainCallIsRefused(MemoryBackend):
    bound = 2**31

    def enqueue_within(self, messages: Sequence[m.Message], terms: LockTerms, max_length: int) -> TakenIn:
        self.bound = max_length
        return super().enqueue_within(messages, terms, max_length)

    def enqueue(self, messages: Sequence[m.Message]) -> Sequence[bool]:
        found = super().enqueue_within(messages, LockTerms(), self.bound)
        return [*([True] * len(found.placed)), *([False] * (len(messages) - len(found.placed)))]
