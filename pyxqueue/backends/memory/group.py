"""One group of one queue in memory."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

from ...locked import READY, UNDER_WAY, WAITING, Entry, Place
from ...model.message import Message
from ...model.presence import facts_about
from ...model.transitions import too_late
from ...protocols import DEFAULT_LEASE_MS, Expired
from .counting import GroupStatistics
from .gates import Gates, gates_of
from .locks import LockingGroup
from .shares import GroupFairLines, share_of
from .supervisors import GroupPresence


class Group(LockingGroup):
    """A group whose entries are objects in dictionaries, one for each place."""

    new_statistics = GroupStatistics
    new_presence = GroupPresence

    def __init__(self, changed: Callable[[], None], ticket: Callable[[], int]) -> None:
        super().__init__(changed, ticket)
        self.registered = False
        self.lease = DEFAULT_LEASE_MS
        self.tasks: dict[str, Entry] = {}
        self.lines: dict[Place, OrderedDict[str, Entry]] = {place: OrderedDict() for place in Place}
        self.consumers: dict[str, int] = {}
        self._prioritized: Counter[Place] = Counter()
        """How many tasks of each place have a priority class other than 0."""
        self.gates = Gates()
        self.fair = GroupFairLines()
        self.statistics = self.new_statistics()
        self.presence = self.new_presence()
        self._due: list[tuple[int, int, str]] = []
        self._expiries: list[tuple[int, str]] = []
        self.expired: list[Expired] = []
        """The tasks that have expired, until the call that ended them takes them."""
        self._forget: list[tuple[int, str]] = []
        self._incomplete: dict[str, Entry] = {}
        """The dependent tasks of which not all predecessors were stored yet (L10)."""

    def find(self, task_id: str) -> Entry | None:
        return self.tasks.get(task_id)

    def line(self, place: Place) -> Iterable[Entry]:
        return self.lines[place].values()

    def ready(self, line: Place, limit: int) -> Mapping[int, Sequence[Entry]]:
        found = (
            super().ready(line, limit)
            if any(self._prioritized[place] for place in READY)
            else {0: list(itertools.islice(self.line(line), limit))}
        )
        return found if line is Place.CAME_BACK else self._with_fair(found, limit)

    def _host_of(self, consumer: str, now: int) -> str:
        facts = facts_about([consumer], self.presence.show(now)).get(consumer)
        return "" if facts is None else facts.host

    def _with_fair(self, found: Mapping[int, Sequence[Entry]], limit: int) -> Mapping[int, Sequence[Entry]]:
        """Add the first ones of the fair lines to the new tasks, which come before them."""
        first = self.fair.first(limit)
        lines = {number: [self.tasks[task_id] for task_id in ids] for number, ids in first.items()}
        return {number: [*found.get(number, ()), *lines.get(number, ())] for number in (*found, *lines)}

    def enter(self, entry: Entry) -> None:
        if (old := self.tasks.get(entry.id)) is not None:
            self._leave(old)
        self.tasks[entry.id] = entry

    def save(self, entry: Entry) -> None:
        if entry.place is Place.REMEMBERED:  # when it can be forgotten may have changed
            self.move(entry, Place.REMEMBERED, entry.updated)
        elif not entry.absent:
            self._incomplete.pop(entry.id, None)

    def move(self, entry: Entry, place: Place, now: int) -> None:
        self.gates.now = now
        is_gated = gates_of(entry) or entry.arrival or entry.turned_away
        if is_gated and place is not Place.IN_FLIGHT:  # a claim leaves the tokens where they are (L3)
            self.gates.leave(entry)
            if place in READY and not self.gates.ask(entry):
                place = Place.BLOCKED
            entry.turned_away = False
        self._make_ready(entry, place, now) if place in READY else self._move(entry, place, now)
        self._admit(now)

    def _admit(self, now: int) -> None:
        """L4: make tasks ready for which there is room."""
        for task_id in self.gates.admissible():
            entry = self.tasks[task_id]
            if self.gates.admit(entry):
                self._make_ready(entry, Place.CAME_BACK, now)

    def _make_ready(self, entry: Entry, place: Place, now: int) -> None:
        """Move a task to a line of ready ones, which is a fair line if it has a share and has not been drawn (F1)."""
        is_fair = share_of(entry) > 0 and not entry.was_drawn
        self._move(entry, Place.FAIR if is_fair else place, now)
        if is_fair:
            self.fair.join(entry, came_back=place is Place.CAME_BACK)

    def _count_start(self, entry: Entry, now: int) -> bool:
        self.gates.now = now
        entry.turned_away = not self.gates.start(entry)
        return not entry.turned_away

    def _move(self, entry: Entry, place: Place, now: int) -> None:
        self._leave(entry, drawn=place is Place.IN_FLIGHT)
        if place not in READY:
            entry.was_drawn = place is Place.IN_FLIGHT
        self.lines[place][entry.id] = entry
        self._prioritized[place] += entry.priority_class != 0
        entry.place, entry.updated = place, now
        if place is not Place.IN_FLIGHT:
            entry.order = self._ticket()
        if place is Place.DELAYED:
            heapq.heappush(self._due, (entry.due, entry.order, entry.id))
        elif place is Place.REMEMBERED:
            heapq.heappush(self._forget, (entry.forget_at, entry.id))
        elif place is Place.DEPENDENT and entry.absent:
            self._incomplete[entry.id] = entry
        if entry.expires and place in WAITING:
            heapq.heappush(self._expiries, (entry.expires, entry.id))
        self._changed()

    def _leave(self, entry: Entry, *, drawn: bool = False) -> None:
        if self.lines[entry.place].pop(entry.id, None) is not None:
            self._prioritized[entry.place] -= entry.priority_class != 0
            if entry.place is Place.FAIR:
                self.fair.leave(entry, drawn=drawn)
        self._incomplete.pop(entry.id, None)

    def _number_in_line(self, entry: Entry) -> int:
        return self.fair.number(entry)

    def remove(self, entry: Entry) -> None:
        self.gates.leave(entry)
        self._leave(entry)
        del self.tasks[entry.id]
        self._changed()

    def heard_of(self, consumer: str, now: int) -> None:
        self.consumers[consumer] = now

    def forget_consumer(self, consumer: str) -> None:
        self.consumers.pop(consumer, None)

    def maintain(self, limit: int | None, now: int) -> int:
        self.gates.now = now
        self.gates.next_turn()
        self._admit(now)
        lefts = self._promote(limit, now), self._expire(limit, now), self._doom(now), self.gates.next_turn()
        return min((left for left in lefts if left >= 0), default=-1)

    def _promote(self, limit: int | None, now: int) -> int:
        while self._due:
            due, _, task_id = self._due[0]
            entry = self.tasks.get(task_id)
            if entry is None or entry.place is not Place.DELAYED or entry.due != due:
                heapq.heappop(self._due)  # it was cancelled or deleted meanwhile
                continue
            if due > now or limit == 0:
                return max(0, due - now)
            heapq.heappop(self._due)
            self.move(entry, Place.CAME_BACK, now)
            limit = None if limit is None else limit - 1
        return -1

    def _expire(self, limit: int | None, now: int) -> int:
        """End at most `limit` tasks that wait and have expired (L8). Returns the ms until the next expiry, or -1."""
        while self._expiries:
            expires, task_id = self._expiries[0]
            entry = self.tasks.get(task_id)
            if entry is None or entry.place not in WAITING or entry.expires != expires:
                heapq.heappop(self._expiries)  # it is in flight, has ended or was requeued
                continue
            if not too_late(expires, now) or limit == 0:
                return max(0, expires - now)
            heapq.heappop(self._expiries)
            self._end_expired(entry, now)
            self.expired.append(Expired(entry.id, entry.message.name if isinstance(entry.message, Message) else ""))
            limit = None if limit is None else limit - 1
        return -1

    def _doom(self, now: int) -> int:
        """Doom the tasks whose flow was not stored in time (L10). Returns the ms until the next one is, or -1."""
        for entry in list(self._incomplete.values()):
            if entry.complete_by <= now:
                self._doom_unfinished(entry, now)
        return min((entry.complete_by - now for entry in self._incomplete.values()), default=-1)

    def trim(self, limit: int, now: int) -> int:
        """B13: keep the `limit` newest of the history."""
        history = self.lines[Place.HISTORY]
        surplus = max(0, len(history) - limit)
        for entry in list(itertools.islice(history.values(), surplus)):
            entry.message = None
            self.move(entry, Place.REMEMBERED, entry.updated)
        self.sweep(now)
        return surplus

    def sweep(self, now: int) -> None:
        """B13: forget the tasks whose id and record need not be known any longer."""
        while self._forget and self._forget[0][0] <= now:
            entry = self.tasks.get(heapq.heappop(self._forget)[1])
            if entry is not None and entry.place is Place.REMEMBERED and entry.forget_at <= now:
                self.remove(entry)
        self.locks.sweep(now)

    def footprint(self) -> int:
        """B13: how much is kept beside the history and the failed tasks."""
        kept = len(self.lines[Place.HISTORY]) + len(self.lines[Place.FAILED])
        waiting = len(self._due) + len(self._expiries) + len(self._forget) + len(self.locks) + len(self.gates)
        waiting += len(self.fair) + len(self.statistics) + len(self.presence)
        waiting += sum(len(one.steps) + len(one.events) for one in self.tasks.values() if one.place is not Place.FAILED)
        return len(self.tasks) - kept + waiting + len(self.consumers)


def length_of(group: Group) -> int:
    """B15: how many tasks have not ended."""
    return sum(len(group.lines[place]) for place in UNDER_WAY)


def take_expired(group: Group) -> list[Expired]:
    """Return what has expired in a group since the last call."""
    found, group.expired = group.expired, []
    return found
