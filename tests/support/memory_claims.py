"""Shared claims on queues in memory: the right ones, of which wrong ones are made to test the kit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyxqueue.backends.memory import MemoryBackend
from pyxqueue.backends.memory.watch import wait
from pyxqueue.locked import READY, Place
from pyxqueue.model.message import Delivery
from pyxqueue.testing.memory import MemoryHarness


class MemoryClaims:
    """The `SharedClaims` protocol, by one look after the other."""

    def __init__(self, brokers: Sequence[Any]) -> None:
        self.brokers = brokers
        self.store = brokers[0]._store
        self.interrupted = False

    def claim(self, consumer: str, limit: int, wait_ms: int, order: Sequence[int]) -> Sequence[Sequence[Delivery]]:
        def look() -> tuple[Sequence[Sequence[Delivery]], bool]:
            found, left = [], limit
            for number in order:
                found.append(self.take(self.brokers[number], consumer, left))
                left -= len(found[-1])
            interrupted, self.interrupted = self.interrupted, False
            return found, interrupted or any(found)

        return wait(self.store.changed, look, wait_ms)

    def take(self, broker: Any, consumer: str, limit: int) -> Sequence[Delivery]:
        """Claim from one queue."""
        found: Sequence[Delivery] = broker.claim(consumer, limit, 0)
        return found

    def quiet_ms(self) -> Sequence[int]:
        with self.store.changed:
            return [min(self.due(broker), default=-1) for broker in self.brokers]

    def due(self, broker: Any) -> list[int]:
        """After how many ms something may be to do for each reason."""
        group, now = broker._queue.look()
        busy = any(group.lines[place] for place in (*READY, Place.IN_FLIGHT))
        ticks = [one.next_ms - now for one in self.store.schedules.get(broker._queue.options.stream_key, {}).values()]
        return [0] * busy + [left for left in (group.maintain(0, now), *ticks) if left >= 0]

    def interrupt(self) -> None:
        with self.store.changed:
            self.interrupted = True
            self.store.changed.notify_all()

    def close(self) -> None:
        pass


class SharingBackend(MemoryBackend):
    """A backend in memory with shared claims."""

    new_claims = MemoryClaims

    def claim_key(self) -> int:
        return id(self._store)

    def shared_claims(self, brokers: Sequence[Any]) -> MemoryClaims:
        return self.new_claims(brokers)


class SharingHarness(MemoryHarness):
    """A queue in memory beside others."""

    backend_type: type[MemoryBackend] = SharingBackend
    count = 1

    def another(self) -> SharingHarness:
        self.count += 1
        other = type(self)()
        other.clock, other.store, other.stream_key = self.clock, self.store, f"kit-{self.count}"
        return other

    def advance(self, ms: int) -> None:
        if self.stream_key == type(self).stream_key:  # the queues have one clock
            super().advance(ms)
