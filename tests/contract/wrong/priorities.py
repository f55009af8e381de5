"""Backends that break B2 in the class of what they hand out, each in one small way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyxqueue.model.message import evolve
from pyxqueue.model.turns import BY_AGE

from .prelude import READY, Entry, Group, MemoryBackend, Place, Turn, breaks, m


class Classes(Group):
    """Has other classes than the law."""

    def number(self, entry: Entry) -> int:
        raise NotImplementedError

    def ready(self, line: Place, limit: int) -> Mapping[int, Sequence[Entry]]:
        found: dict[int, list[Entry]] = {}
        for entry in self.lines[line].values():
            found.setdefault(self.number(entry), []).append(entry)
        return found


def priority(entry: Entry) -> int:
    return entry.message.priority if entry.message else 0


@breaks("B2")
class LowNumbersFirst(Classes):
    """As in queues in which 0 is the most urgent."""

    def number(self, entry: Entry) -> int:
        return -entry.priority_class


@breaks("B2")
class ThreeClasses(Classes):
    def number(self, entry: Entry) -> int:
        return (priority(entry) > 0) - (priority(entry) < 0)


@breaks("B2")
class BordersOneOff(Classes):
    """50 is not among the highest, nor -50 among the lowest."""

    def number(self, entry: Entry) -> int:
        own = priority(entry)
        return entry.priority_class - (own == 50) + (own == -50)


@breaks("B2")
class ARetryLosesItsClass(Classes):
    def number(self, entry: Entry) -> int:
        return entry.priority_class if entry.place is Place.NEW else 0


@breaks("B2")
class ADelayLosesTheClass(Group):
    def move(self, entry: Entry, place: Place, now: int) -> None:
        if entry.place is Place.DELAYED:
            entry.alter(priority=0)
        super().move(entry, place, now)


@breaks("B2")
class ARequeueLosesTheClass(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        if entry := self.find(task_id):
            entry.alter(priority=0)
        return super().requeue(task_id, now)


@breaks("B2")
class AMoveLosesTheClass(Group):
    def adopt(self, task: m.TaskInfo, now: int) -> bool:
        message = evolve(task.message, priority=0) if isinstance(task.message, m.Message) else task.message
        return super().adopt(evolve(task, message=message), now)


@breaks("B2")
class AReclaimRaisesTheClass(Group):
    """What has waited for a lease is taken to be urgent."""

    def reclaim(self, now: int) -> None:
        late = list(self.overdue(now))
        super().reclaim(now)
        for entry in late:
            entry.alter(priority=100)


@breaks("B2")
class FollowUpsHaveNoClass(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        return super().settle(evolve(settlement, then=[evolve(one, priority=0) for one in settlement.then]), now)


@breaks("B2")
class NothingIsByAge(Group):
    """The lowest class waits for as long as there is something else."""

    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        found: list[m.Delivery] = []
        while len(found) < limit:
            more, turn = super().claim(consumer, min(limit - len(found), BY_AGE - 1), turn._replace(since=0), now)
            found += more
            if not more:
                break
        return found, turn._replace(since=0)


@breaks("B2")
class ByAgeInEveryClaim(Group):
    """The first delivery of a claim is the one of the class that has waited longest."""

    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        return super().claim(consumer, limit, turn._replace(since=BY_AGE - 1), now)


@breaks("B2")
class TheCountEndsWithTheClaim(Group):
    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        return super().claim(consumer, limit, turn._replace(since=0), now)


@breaks("B2")
class TheCountIsThatOfTheGroup(Group):
    since = 0

    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        found, after = super().claim(consumer, limit, turn._replace(since=self.since), now)
        self.since = after.since
        return found, after


@breaks("B2")
class TheLowestClassIsTheOldest(Group):
    """Its turn comes although another class has waited longer."""

    def first_ready(self, limit: int, turn: Turn) -> tuple[list[Entry], Turn]:
        if turn.since != BY_AGE - 1 or limit != 1:
            return super().first_ready(limit, turn)
        entry = min((one for place in READY for one in self.lines[place].values()), key=priority)
        return [entry], turn.after({entry.priority_class: entry.place is Place.CAME_BACK})


@breaks("B2")
class TheOldestIgnoresTurns(Group):
    def first_ready(self, limit: int, turn: Turn) -> tuple[list[Entry], Turn]:
        found: list[Entry] = []
        ready = sorted((one for place in READY for one in self.lines[place].values()), key=lambda one: one.order)
        entries, _ = super().first_ready(len(ready), turn)
        for _ in range(min(limit, len(entries))):
            rest = ready if turn.since == BY_AGE - 1 else entries
            entry = next(one for one in rest if one not in found)
            found.append(entry)
            turn = turn.after({entry.priority_class: entry.place is Place.CAME_BACK})
        return found, turn


@breaks("B2")
class OneTurnForAllClasses(Group):
    """Whose turn it is in one class depends on what another handed out last."""

    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        found, after = super().claim(consumer, limit, turn, now)
        return found, after._replace(owed=frozenset(range(-2, 3)) if after.owed else frozenset())


@breaks("B2")
class PrioritiesWakeNoClaim(MemoryBackend):
    def enqueue(self, messages: Sequence[m.Message]) -> Sequence[bool]:
        group, _ = self._queue.join()
        changed = group._changed
        if all(message.priority for message in messages):
            group._changed = lambda: None
        accepted = super().enqueue(messages)
        group._changed = changed
        return accepted


@breaks("B11")
class AReleaseForgetsThePriorities(Group):
    """Until their leases have ended."""

    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        left = [one for one in self.lines[Place.IN_FLIGHT].values() if one.consumer == consumer and priority(one)]
        for entry in left:
            entry.consumer = ""
        count = super().release(consumer, started, now)
        for entry in left:
            entry.consumer = consumer
        return count


@breaks("I4")
class PrioritiesAreNotListed(MemoryBackend):
    def tasks(
        self, state: m.TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[m.TaskInfo], str]:
        page, following = super().tasks(state, cursor, count)
        return [task for task in page if not task.message or not task.message.priority], following
