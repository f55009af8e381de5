"""Backends that break B2 in the order of their deliveries, each in one small way."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence

from pyxqueue.model.message import evolve

from .prelude import READY, Entry, Group, MemoryBackend, Place, Turn, breaks, m


@breaks("B2")
class WhatComesBackGoesToTheEnd(Group):
    """One line for all."""

    def move(self, entry: Entry, place: Place, now: int) -> None:
        super().move(entry, Place.NEW if place is Place.CAME_BACK else place, now)


@breaks("B2")
class WhatComesBackGoesFirst(Group):
    """The last that came back is the first."""

    def move(self, entry: Entry, place: Place, now: int) -> None:
        super().move(entry, place, now)
        if place is Place.CAME_BACK:
            self.lines[place].move_to_end(entry.id, last=False)


@breaks("B2")
class NewOnesAreServedLast(Group):
    """They get the places that those that came back leave free."""

    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        new, self.lines[Place.NEW] = self.lines[Place.NEW], OrderedDict()
        found, _ = super().claim(consumer, limit, turn, now)
        self.lines[Place.NEW] = new
        rest, turn = super().claim(consumer, limit - len(found), turn, now)
        return found + rest, turn


def turned(turn: Turn) -> Turn:
    return turn._replace(owed=frozenset({0}) - turn.owed)


@breaks("B2")
class NewOnesAreServedFirst(Group):
    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        found, turn = super().claim(consumer, limit, turned(turn), now)
        return found, turned(turn)


@breaks("B2")
class TurnsEndWithTheClaim(Group):
    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        return super().claim(consumer, limit, Turn(), now)


@breaks("B2")
class AnEmptyClaimEndsTheTurns(Group):
    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        found, after = super().claim(consumer, limit, turn, now)
        return found, after if found else Turn()


@breaks("B2")
class TurnsAreThoseOfTheGroup(Group):
    """Not of the handle: what a new worker claims first may be new."""

    turn = Turn()

    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        found, self.turn = super().claim(consumer, limit, self.turn, now)
        return found, self.turn


@breaks("B2")
class ALineAtATime(Group):
    """All of one line, then all of the other."""

    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        found, turn = super().claim(consumer, limit, turn, now)
        return sorted(found, key=lambda delivery: delivery.message.attempt == 1), turn


@breaks("B2")
class PlacesStayFree(Group):
    """Each line has its half of the limit."""

    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        lines = [len(self.lines[place]) for place in READY]
        least = 2 * min(lines) + 1 if min(lines) else limit
        return super().claim(consumer, min(limit, least), turn, now)


@breaks("B2")
class LimitOfEachLine(Group):
    """A limit of 1 returns two."""

    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        both = all(self.lines[place] for place in READY)
        return super().claim(consumer, 2 * limit if both else limit, turn, now)


class Mistaken(Group):
    """What comes back in one way is taken for new."""

    def new(self, entry: Entry) -> bool:
        raise NotImplementedError

    def move(self, entry: Entry, place: Place, now: int) -> None:
        super().move(entry, Place.NEW if place is Place.CAME_BACK and self.new(entry) else place, now)


@breaks("B2")
class DelayedAtFirstIsNew(Mistaken):
    def new(self, entry: Entry) -> bool:
        return entry.fence == 0


@breaks("B2")
class DelayedIsNew(Mistaken):
    def new(self, entry: Entry) -> bool:
        return entry.place is Place.DELAYED


@breaks("B2")
class RequeuedIsNew(Mistaken):
    def new(self, entry: Entry) -> bool:
        return entry.place in (Place.HISTORY, Place.FAILED)


@breaks("B2")
class FirstAttemptIsNew(Mistaken):
    """Only retries come back."""

    def new(self, entry: Entry) -> bool:
        return entry.message is None or entry.message.attempt == 1


@breaks("B2")
class UnreadableIsNew(Mistaken):
    def new(self, entry: Entry) -> bool:
        return isinstance(entry.message, m.Unreadable)


@breaks("B2")
class ReclaimedIsNew(Group):
    def reclaim(self, now: int) -> None:
        before = set(self.lines[Place.CAME_BACK])
        super().reclaim(now)
        for entry in [entry for entry in self.lines[Place.CAME_BACK].values() if entry.id not in before]:
            self.move(entry, Place.NEW, now)


@breaks("B2")
class ReleasedIsNew(Group):
    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        held = [entry for entry in self.lines[Place.IN_FLIGHT].values() if entry.consumer == consumer]
        count = super().release(consumer, started, now)
        for entry in held:
            self.move(entry, Place.NEW, now)
        return count


@breaks("B2")
class AdoptedRetriesCameBack(Group):
    def adopt(self, task: m.TaskInfo, now: int) -> bool:
        adopted = super().adopt(task, now)
        entry = self.tasks[task.id]
        if entry.place is Place.NEW and task.status is m.TaskStatus.RETRY:
            self.move(entry, Place.CAME_BACK, now)
        return adopted


@breaks("B2")
class FollowUpsCameBack(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        accepted = super().settle(settlement, now)
        for message in settlement.then:
            if (entry := self.tasks[message.id]).place is Place.NEW:
                self.move(entry, Place.CAME_BACK, now)
        return accepted


@breaks("B2")
class ABatchComesBackInReverse(MemoryBackend):
    def settle(self, settlements: Sequence[m.Settlement]) -> Sequence[bool]:
        return super().settle(settlements[::-1])[::-1]


@breaks("B2")
class FencesOfALine(Group):
    """Each line counts for itself."""

    fences: Counter[Place] | None = None

    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        self.fences = self.fences or Counter()
        self.fences[entry.place] += 1
        fence = self.fences[entry.place]
        return evolve(super().lend(entry, consumer, now), fence=fence)


@breaks("B2")
class OneLineForAllGroups(MemoryBackend):
    """A message that came back anywhere has come back everywhere."""

    def settle(self, settlements: Sequence[m.Settlement]) -> Sequence[bool]:
        accepted = super().settle(settlements)
        with self._store.changed:
            ours, now = self._queue.look()
            for group in self._queue.groups().values():
                for task_id in ours.lines[Place.CAME_BACK]:
                    if (entry := group.tasks.get(task_id)) is not None and entry.place is Place.NEW:
                        group.move(entry, Place.CAME_BACK, now)
        return accepted
