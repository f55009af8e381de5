"""`HasLocks` and `HasMaxLength` on a store in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ...model.locks import Lock, LockKind, LockTerms, Placed, Placement, lock_of
from ...model.message import Message, evolve
from ...protocols import TakenIn
from .group import Group, length_of
from .store import Queue


class MemoryUniqueness:
    """The protocols `HasLocks` and `HasMaxLength`."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._store = queue.store

    def enqueue_unique(self, messages: Sequence[Message], terms: LockTerms) -> Sequence[Placed]:
        return self._place(messages, terms, None).placed

    def enqueue_within(self, messages: Sequence[Message], terms: LockTerms, max_length: int) -> TakenIn:
        return self._place(messages, terms, max_length)

    def _place(self, messages: Sequence[Message], terms: LockTerms, max_length: int | None) -> TakenIn:
        placed: list[Placed] = []
        with self._store.changed:
            _, now = self._queue.join()
            groups = self._queue.groups().values()
            for message in messages:
                length = 0 if max_length is None else max(map(length_of, groups))
                done = place(groups, message, terms, now, has_room=max_length is None or length < max_length)
                if done is None:
                    return TakenIn(placed, length)
                placed.append(done)
        return TakenIn(placed)

    def lock_holders(self, names: Sequence[str]) -> Sequence[str]:
        with self._store.changed:
            group, now = self._queue.look()
            return [group.locks.holder(name, now) for name in names]


def place(groups: Collection[Group], message: Message, terms: LockTerms, now: int, *, has_room: bool) -> Placed | None:
    """L7: look for the id, then for the lock, then store the message in all groups; None if there is no room (B15)."""
    lock = lock_of(message)
    if any(group.knows(message.id, now) for group in groups):
        replaced = [group.replace(message, lock, terms, now) for group in groups]
        return Placed(Placement.REPLACED if any(replaced) else Placement.KNOWN, message.id)
    holders = [holder for group in groups if lock and (holder := group.locks.holder(lock.name, now))]
    if lock and holders:
        if terms.keep_first:
            for group in groups:
                group.replace(evolve(message, id=holders[0]), lock, terms, now)
        return Placed(Placement.HELD, holders[0])
    if not has_room:
        return None
    for group in groups:
        group.add(message, now)
        if lock:
            group.locks.take(lock, message.id, until(group, message, lock, terms, now))
    return Placed(Placement.NEW, message.id)


def until(group: Group, message: Message, lock: Lock, terms: LockTerms, now: int) -> int:
    """Return when a lock that a new task takes ends by time; 0 if it does not."""
    if lock.kind is LockKind.WINDOW:
        return now + group.started_ms + terms.window_ms
    return group.tasks[message.id].due if lock.kind is LockKind.DEBOUNCE else 0
