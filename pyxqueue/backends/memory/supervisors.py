"""The supervisors of one group in memory."""

from __future__ import annotations

import heapq

from ...model.presence import MAX_SUPERVISORS, REMEMBERED_MS, Order, OrderKind, Present


class GroupPresence:
    """The supervisors of one group. The caller has locked the store."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[int, int, str]] = {}
        """When each was heard of last, for how many ms that holds, and what it has said."""
        self.orders: dict[str, Order] = {}

    def announce(self, supervisor: str, keep_ms: int, text: str, now: int) -> Order | None:
        self.known[supervisor] = now, keep_ms, text
        self._sweep(now)
        return self.orders.get(supervisor)

    def leave(self, supervisor: str) -> None:
        self.known.pop(supervisor, None)
        self.orders.pop(supervisor, None)

    def give_order(self, supervisor: str, kind: OrderKind, now: int) -> bool:
        if not self.is_fresh(supervisor, now):
            return False
        last = self.orders.get(supervisor)
        self.orders[supervisor] = Order(kind, 1 if last is None else last.number + 1)
        return True

    def show(self, now: int) -> list[Present]:
        return [
            Present(name, text, seen, self.is_fresh(name, now))
            for name, (seen, _, text) in sorted(self.known.items())
            if seen + REMEMBERED_MS > now
        ]

    def is_fresh(self, supervisor: str, now: int) -> bool:
        seen, keep, _ = self.known.get(supervisor, (0, 0, ""))
        return now < seen + keep

    def _sweep(self, now: int) -> None:
        latest = heapq.nlargest(MAX_SUPERVISORS, self.known.items(), key=lambda one: one[1][0])
        self.known = {name: said for name, said in latest if said[0] + REMEMBERED_MS > now}
        self.orders = {name: order for name, order in self.orders.items() if name in self.known}

    def __len__(self) -> int:
        return len(self.known) + len(self.orders)
