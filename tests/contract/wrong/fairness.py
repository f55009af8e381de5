"""Backends that break F1 to F4, each in one small way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pyxqueue.backends.memory.shares import GroupFairLines, share_of
from pyxqueue.locked import Entry, Place
from pyxqueue.model.fairness import FairLine, Flow, Standing
from pyxqueue.model.message import evolve

from .prelude import Group, MemoryBackend, Turn, breaks, m


class Shared(Group):
    """A group with other fair lines."""

    new_lines: type[GroupFairLines] = GroupFairLines
    new_line: type[FairLine] = FairLine

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type] # whatever a group is made of
        self.fair = self.new_lines()
        self.fair.new_line = self.new_line


def line_breaks(law: str) -> Callable[[type[FairLine]], type[FairLine]]:
    """Declare a group in whose fair lines something is wrong."""

    def add(line: type[FairLine]) -> type[FairLine]:
        breaks(law)(type(line.__name__, (Shared,), {"new_line": line}))
        return line

    return add


@line_breaks("F1")
class FirstComeFirstServed(FairLine):
    """The flood of one tenant delays all others."""

    def join(self, flow: Flow, share: int, order: int, task_id: str) -> Standing:
        self.tags[flow] = self.drawn
        return super().join(Flow("", came_back=False), 1, order, task_id)

    def leave(self, flow: Flow, standing: Standing, *, drawn: bool) -> None:
        super().leave(Flow("", came_back=False), standing, drawn=drawn)
        self.tags.pop(flow, None)


@line_breaks("F1")
class EqualWeights(FairLine):
    def join(self, flow: Flow, share: int, order: int, task_id: str) -> Standing:
        return super().join(flow, 1_000, order, task_id)


@line_breaks("F1")
class WeightsTheOtherWay(FairLine):
    def join(self, flow: Flow, share: int, order: int, task_id: str) -> Standing:
        return super().join(flow, 1_000_000 // share, order, task_id)


@line_breaks("F1")
class SavesUp(FairLine):
    """A tenant that was away gets all the starts that it missed."""

    def leave(self, flow: Flow, standing: Standing, *, drawn: bool) -> None:
        super().leave(flow, standing, drawn=drawn)
        self.drawn = 0


@line_breaks("F1")
class OwesForEver(FairLine):
    """What a tenant has had is held against it after it was away."""

    def leave(self, flow: Flow, standing: Standing, *, drawn: bool) -> None:
        last = self.tags[flow]
        super().leave(flow, standing, drawn=drawn)
        self.tags[flow] = last
        self.drawn = 0


@line_breaks("F1")
class ChargesNewcomers(FairLine):
    """A newcomer begins behind the last of the line."""

    def join(self, flow: Flow, share: int, order: int, task_id: str) -> Standing:
        self.drawn = max(self.drawn, self.line[-1].tag) if self.line and flow not in self.tags else self.drawn
        return super().join(flow, share, order, task_id)


@line_breaks("F1")
class OneFlowForEachTenant(FairLine):
    """A due retry waits behind the tenant's own new calls."""

    def join(self, flow: Flow, share: int, order: int, task_id: str) -> Standing:
        return super().join(flow._replace(came_back=False), share, order, task_id)

    def leave(self, flow: Flow, standing: Standing, *, drawn: bool) -> None:
        super().leave(flow._replace(came_back=False), standing, drawn=drawn)


@line_breaks("F1")
class CancelledCountsAsDrawn(FairLine):
    def leave(self, flow: Flow, standing: Standing, *, drawn: bool) -> None:
        super().leave(flow, standing, drawn=True)


@breaks("F1")
class RetriesAreFree(Group):
    """What a worker gives back is ready at once, also for the next attempt."""

    def settle(self, settlement: m.Settlement, now: int) -> bool:
        entry = self.holding(settlement.receipt)
        is_retry = isinstance(settlement.verdict, m.Retry)
        if entry is not None and is_retry and not settlement.verdict.delay_ms:  # type: ignore[union-attr] # a Retry
            return super().settle(evolve(settlement, verdict=m.Defer(0)), now)
        return super().settle(settlement, now)


@breaks("F1")
class DueOnesOvertake(Group):
    """What was delayed does not join the line."""

    def _make_ready(self, entry: Entry, place: Place, now: int) -> None:
        entry.was_drawn = entry.was_drawn or entry.place is Place.DELAYED
        super()._make_ready(entry, place, now)


@breaks("F1")
class DrawnTwice(Group):
    """What comes back from a worker has to wait for its turn again."""

    def _make_ready(self, entry: Entry, place: Place, now: int) -> None:
        entry.was_drawn = False
        super()._make_ready(entry, place, now)


@breaks("F1")
class AdmittedOnesOvertake(Group):
    """What has got its tokens does not join the line."""

    def _make_ready(self, entry: Entry, place: Place, now: int) -> None:
        entry.was_drawn = entry.was_drawn or entry.place is Place.BLOCKED
        super()._make_ready(entry, place, now)


@breaks("F1")
class RequeuedOnesOvertake(Group):
    """What is requeued does not join the line."""

    def requeue(self, task_id: str, now: int) -> bool:
        if (entry := self.find(task_id)) is not None and isinstance(entry.message, m.Message):
            share, entry.message = entry.message.share, evolve(entry.message, share=0)
            done = super().requeue(task_id, now)
            entry.message = evolve(entry.message, share=share)
            return done
        return super().requeue(task_id, now)


class OneClock(GroupFairLines):
    """All priority classes have one clock."""

    most = 0

    def join(self, entry: Entry, *, came_back: bool) -> None:
        line = self._lines.setdefault(entry.priority_class, FairLine())
        line.drawn = max(line.drawn, self.most)
        super().join(entry, came_back=came_back)

    def leave(self, entry: Entry, *, drawn: bool) -> None:
        self.most = max(self.most, self._standing[entry.id][2].tag)
        super().leave(entry, drawn=drawn)


@breaks("F1")
class ClassesShareAClock(Shared):
    new_lines = OneClock


@breaks("F1")
class GroupsShareTheirLines(MemoryBackend):
    """One tenant's tasks in one group count in all others."""

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[m.Delivery]:
        found = super().claim(consumer, limit, wait_ms)
        for group in self._queue.groups().values():
            for line in group.fair._lines.values():
                for one in found:
                    if isinstance(one.message, m.Message):
                        line.drawn += one.message.share
        return found


@breaks("F2")
class OneAtATime(Group):
    """A tenant that has something in flight waits for its end."""

    def ready(self, line: Place, limit: int) -> Mapping[int, Sequence[Entry]]:
        busy = {self.tenant(entry) for entry in self.lines[Place.IN_FLIGHT].values() if share_of(entry)}
        found = super().ready(line, max(limit, len(self.tasks)))
        return {
            number: [entry for entry in entries if not share_of(entry) or self.tenant(entry) not in busy]
            for number, entries in found.items()
        }

    @staticmethod
    def tenant(entry: Entry) -> str:
        assert isinstance(entry.message, m.Message)
        return entry.message.tenant


@breaks("F2")
class EachInItsSlot(Group):
    """A share that its tenant does not use is nobody's."""

    slots = 0

    def ready(self, line: Place, limit: int) -> Mapping[int, Sequence[Entry]]:
        self.slots += line is Place.NEW and bool(self.lines[Place.FAIR])
        return {} if self.lines[Place.FAIR] and self.slots % 3 == 0 else super().ready(line, limit)


@breaks("F2")
class Sleeps(MemoryBackend):
    """What joins the line wakes nobody."""

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[m.Delivery]:
        if not wait_ms:
            return super().claim(consumer, limit, 0)
        with self._store.changed:
            self._store.changed.wait(0.5)
        return []


@line_breaks("F3")
class NewestFirst(FairLine):
    """The newest of all is drawn first."""

    def join(self, flow: Flow, share: int, order: int, task_id: str) -> Standing:
        standing = super().join(flow, share, order, task_id)
        self.line.sort(key=lambda one: -one.tag)
        return standing

    def number(self, standing: Standing) -> int:
        return self.line.index(standing) + 1


@breaks("F3")
class ForgetsTheTenant(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        was_fair = entry.place is Place.FAIR
        delivery = super().lend(entry, consumer, now)
        return evolve(delivery, message=evolve(delivery.message, tenant="")) if was_fair else delivery


@breaks("F3")
class DrawsWhilePaused(Group):
    """A claim of a paused group empties the line."""

    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        if self.paused:
            for entry in list(self.lines[Place.FAIR].values()):
                entry.was_drawn = True
                self._move(entry, Place.NEW, now)
        return super().claim(consumer, limit, turn, now)


@breaks("F3")
class RefusedMovesTheLine(Group):
    """A settlement that is refused costs the first of the line its place."""

    def settle(self, settlement: m.Settlement, now: int) -> bool:
        accepted = super().settle(settlement, now)
        if not accepted and (line := self.lines[Place.FAIR]):
            entry = next(iter(line.values()))
            entry.was_drawn = True
            self._move(entry, Place.NEW, now)
        return accepted


class TagsForEver(GroupFairLines):
    def leave(self, entry: Entry, *, drawn: bool) -> None:
        line, flow, standing = self._standing[entry.id]
        super().leave(entry, drawn=drawn)
        self._lines.setdefault(entry.priority_class, line).tags.setdefault(flow, standing.tag)


@breaks("F4")
class KeepsTags(Shared):
    """The tags of those who are gone stay."""

    new_lines = TagsForEver


class CountsForEver(GroupFairLines):
    def leave(self, entry: Entry, *, drawn: bool) -> None:
        line, flow, _ = self._standing[entry.id]
        super().leave(entry, drawn=drawn)
        self._lines.setdefault(entry.priority_class, line).waiting.setdefault(flow, 0)


@breaks("F4")
class KeepsTenants(Shared):
    """Tenants are shown that have nothing."""

    new_lines = CountsForEver


@breaks("F4")
class ExpiredStay(Group):
    """What has expired stays in the line."""

    def _end_expired(self, entry: Entry, now: int) -> None:
        if entry.place is not Place.FAIR:
            super()._end_expired(entry, now)
