"""The `Broker` protocol on a store in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...clock import wall_clock
from ...locked import Place
from ...model.message import Delivery, Extension, LeaseStatus, Message, Settlement, StartStatus
from ...model.steps import EventStatus, Steps
from ...model.turns import Turn
from ...protocols import NO_LINES, Expired, TellExpired
from .group import take_expired
from .store import Queue
from .watch import wait


class MemoryBroker:
    """The `Broker` protocol."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._store = queue.store
        self._interrupts = 0
        self._interrupts_seen = 0
        self._turn = Turn()
        self._tell: TellExpired | None = None

    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        with self._store.changed:
            _, now = self._queue.join()
            groups = self._queue.groups().values()
            accepted = []
            for message in messages:
                new = not any(group.knows(message.id, now) for group in groups)
                for group in groups if new else ():
                    group.add(message, now)
                accepted.append(new)
            return accepted

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        seen = self._interrupts_seen
        expired: list[Expired] = []

        def look() -> tuple[Sequence[Delivery], bool]:
            group, now = self._queue.join()
            deliveries, self._turn = group.claim(consumer, limit, self._turn, now)
            expired.extend(take_expired(group))
            group.trim(self._queue.options.history, now)
            final = bool(deliveries) or self._interrupts > seen
            if final:
                self._interrupts_seen = self._interrupts
            return deliveries, final

        deliveries = wait(self._store.changed, look, wait_ms, self._next_event)
        self.tell_expired(expired)
        return deliveries

    def watch_expired(self, tell: TellExpired) -> None:
        self._tell = tell

    def tell_expired(self, expired: Sequence[Expired]) -> None:
        """Tell of what a call has ended. The caller does not hold the lock of the store."""
        if expired and self._tell is not None:
            self._tell(expired)

    def _next_event(self) -> int | None:
        """The ms until the next lease or delay ends, or a task expires. A caller that passes its own clock pokes the
        store."""
        if self._store.clock is not wall_clock:
            return None
        group, now = self._queue.look()
        ends = [entry.lease_end - now for entry in group.line(Place.IN_FLIGHT)]
        if (left := group.maintain(0, now)) >= 0:
            ends.append(left)
        return max(0, min(ends)) if ends else None

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        with self._store.changed:
            group, now = self._queue.join()
            accepted = [group.settle(settlement, now) for settlement in settlements]
            group.trim(self._queue.options.history, now)
            return accepted

    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        with self._store.changed:
            group, now = self._queue.join()
            return [group.extend(extension, now) for extension in extensions]

    def begin(self, receipts: Sequence[str]) -> Sequence[StartStatus]:
        with self._store.changed:
            group, now = self._queue.join()
            statuses = [group.begin(receipt, now) for receipt in receipts]
            group.trim(self._queue.options.history, now)
            return statuses

    def release(self, consumer: str, started: Sequence[str], past: Mapping[str, str] = NO_LINES) -> int:
        with self._store.changed:
            group, now = self._queue.join()
            group.remember_runs(consumer, past)
            count = group.release(consumer, started, now)
            group.trim(self._queue.options.history, now)
            return count

    def maintain(self, limit: int) -> int:
        with self._store.changed:
            group, now = self._queue.join()
            left = group.maintain(limit, now)
            group.trim(self._queue.options.history, now)
            expired = take_expired(group)
        self.tell_expired(expired)
        return left

    def load_steps(self, task_id: str) -> Steps:
        with self._store.changed:
            group, now = self._queue.look()
            return group.load_steps(task_id, now)

    def save_steps(self, receipt: str, steps: Mapping[str, bytes]) -> LeaseStatus:
        with self._store.changed:
            group, _ = self._queue.join()
            return group.save_steps(receipt, steps)

    def send_event(self, task_id: str, name: str, value: bytes) -> EventStatus:
        with self._store.changed:
            group, now = self._queue.join()
            return group.send_event(task_id, name, value, now)

    def forget_steps(self, task_ids: Sequence[str]) -> None:
        with self._store.changed:
            group, _ = self._queue.look()
            for task_id in task_ids:
                group.forget_steps(task_id)

    def pause(self) -> bool:
        return self._set_paused(True)

    def resume(self) -> bool:
        return self._set_paused(False)

    def _set_paused(self, paused: bool) -> bool:
        with self._store.changed:
            group, _ = self._queue.join()
            changed, group.paused = group.paused is not paused, paused
            self._store.changed.notify_all()
            return changed

    def is_paused(self) -> bool:
        with self._store.changed:
            group, _ = self._queue.look()
            return group.paused

    def lease_ms(self) -> int:
        with self._store.changed:
            group, _ = self._queue.join()
            return group.lease

    def interrupt(self) -> None:
        # An interrupt that finds no waiting claim is kept for the next claim: it may be on its way to wait.
        with self._store.changed:
            self._interrupts += 1
            self._store.changed.notify_all()

    def close(self) -> None:
        self.interrupt()
