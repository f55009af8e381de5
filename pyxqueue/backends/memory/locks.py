"""The locks of one group in memory (L7)."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import NamedTuple

from attrs import define, field

from ...locked import Entry, LockedGroup, Place
from ...model.locks import Lock, LockKind, LockTerms, lock_of
from ...model.message import Message, evolve
from ...model.transitions import with_expiry


class Held(NamedTuple):
    """A lock that was taken: by which task, and until when it counts; 0 is until it is given back."""

    id: str
    until: int


@define(eq=False)
class Locks:
    """The locks by name. The caller has locked the store."""

    held: dict[str, Held] = field(factory=dict)
    _ends: list[tuple[int, str]] = field(factory=list)

    def holder(self, name: str, now: int) -> str:
        """Return the id of the task that holds a lock; an empty text for one that is free."""
        held = self.held.get(name)
        return held.id if held is not None and (not held.until or now < held.until) else ""

    def take(self, lock: Lock, task_id: str, until: int) -> None:
        self.held[lock.name] = Held(task_id, until)
        if until:
            heapq.heappush(self._ends, (until, lock.name))

    def give_back(self, lock: Lock | None, task_id: str) -> None:
        """Give back a lock if the task holds it, and it does not end by time alone."""
        if lock is None or lock.kind is LockKind.WINDOW:
            return
        held = self.held.get(lock.name)
        if held is not None and held.id == task_id:
            del self.held[lock.name]

    def sweep(self, now: int) -> None:
        """Forget the locks that have ended by time."""
        while self._ends and self._ends[0][0] <= now:
            name = heapq.heappop(self._ends)[1]
            held = self.held.get(name)
            if held is not None and 0 < held.until <= now:
                del self.held[name]

    def __len__(self) -> int:
        return len(self.held) + len(self._ends)


class LockingGroup(LockedGroup):
    """A group that keeps locks."""

    def __init__(self, changed: Callable[[], None], ticket: Callable[[], int]) -> None:
        super().__init__(changed, ticket)
        self.locks = Locks()

    def let_go(self, entry: Entry) -> None:
        self.locks.give_back(lock_of(entry.message), entry.id)

    def hold_again(self, entry: Entry, due: int, now: int) -> bool:
        lock = lock_of(entry.message)
        if lock is None or lock.kind is LockKind.WINDOW or (lock.kind is LockKind.DEBOUNCE and due <= now):
            return True
        until = 0 if lock.kind.lasts else due
        if self.locks.holder(lock.name, now) not in ("", entry.id):
            return False
        self.locks.take(lock, entry.id, until)
        return True

    def replace(self, message: Message, lock: Lock | None, terms: LockTerms, now: int) -> bool:
        """L7: let a further call move when a debounced task is due, and give it its message. Returns False if the task
        of this id does not hold the lock, or is due."""
        entry = self.find(message.id)
        if lock is None or lock.kind is not LockKind.DEBOUNCE or self.locks.holder(lock.name, now) != message.id:
            return False
        if entry is None or entry.place is not Place.DELAYED or not isinstance(entry.message, Message):
            return False
        first = entry.message.enqueued_ms
        entry.due = terms.due(first, now + self.started_ms + message.delay_ms)
        kept = entry.message if terms.keep_first else with_expiry(message, now)
        entry.message = evolve(kept, enqueued_ms=first, due_ms=entry.due, delay_ms=0)
        self.move(entry, Place.DELAYED, now)
        self.locks.take(lock, message.id, entry.due)
        return True
