"""The `HasPresence` protocol on a store in memory."""

from __future__ import annotations

from collections.abc import Sequence

from ...model.presence import Order, OrderKind, Present
from .store import Queue


class MemoryPresence:
    """The `HasPresence` protocol."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._store = queue.store

    def announce(self, supervisor: str, keep_ms: int, text: str) -> Order | None:
        with self._store.changed:
            group, now = self._queue.look()
            return group.presence.announce(supervisor, keep_ms, text, now) if group.registered else None

    def leave(self, supervisor: str) -> None:
        with self._store.changed:
            group, _ = self._queue.look()
            group.presence.leave(supervisor)

    def present(self) -> Sequence[Present]:
        with self._store.changed:
            group, now = self._queue.look()
            return group.presence.show(now)

    def give_order(self, supervisor: str, kind: OrderKind) -> bool:
        with self._store.changed:
            group, now = self._queue.look()
            return group.presence.give_order(supervisor, kind, now)
