"""The fair lines of one group in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ...locked import Entry
from ...model.fairness import FairLine, Flow, Standing, TenantInfo
from ...model.message import Message


def share_of(entry: Entry) -> int:
    """The share of a task; 0 for one that joins no fair line."""
    return entry.message.share if isinstance(entry.message, Message) else 0


class GroupFairLines:
    """The fair line of each priority class (F1 to F4)."""

    new_line = FairLine

    def __init__(self) -> None:
        self._lines: dict[int, FairLine] = {}
        self._standing: dict[str, tuple[FairLine, Flow, Standing]] = {}

    def join(self, entry: Entry, *, came_back: bool) -> None:
        assert isinstance(entry.message, Message)
        line = self._lines.setdefault(entry.priority_class, self.new_line())
        flow = Flow(entry.message.tenant, came_back)
        self._standing[entry.id] = line, flow, line.join(flow, entry.message.share, entry.order, entry.id)

    def leave(self, entry: Entry, *, drawn: bool) -> None:
        line, flow, standing = self._standing.pop(entry.id)
        line.leave(flow, standing, drawn=drawn)
        if not line.line:
            del self._lines[entry.priority_class]

    def first(self, count: int) -> Mapping[int, Sequence[str]]:
        """The ids of the first tasks of each class."""
        return {number: list(line.first(count)) for number, line in self._lines.items()}

    def number(self, entry: Entry) -> int:
        """Which one the task is in its line; 0 if it is in none."""
        if entry.id not in self._standing:
            return 0
        line, _, standing = self._standing[entry.id]
        return line.number(standing)

    def tenants(self) -> list[TenantInfo]:
        waiting = Counter[str]()
        for line in self._lines.values():
            for flow, count in line.waiting.items():
                waiting[flow.tenant] += count
        return [TenantInfo(tenant, count) for tenant, count in sorted(waiting.items())]

    def __len__(self) -> int:
        return len(self._standing) + sum(len(line.tags) + len(line.waiting) for line in self._lines.values())
