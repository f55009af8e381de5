"""Backends that break L9, each in one small way."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from pyxqueue.model.turns import Turn
from pyxqueue.protocols import StoreOptions

from .prelude import Entry, Group, MemoryBackend, MemoryStore, Place, Queue, breaks, m


@breaks("L9")
class NewOnesAreHandedOut(Group):
    """Only what comes back is held."""

    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        if not self.paused:
            return super().claim(consumer, limit, turn, now)
        held, self.lines[Place.CAME_BACK] = self.lines[Place.CAME_BACK], OrderedDict()
        self.paused = False
        found = super().claim(consumer, limit, turn, now)
        self.paused, self.lines[Place.CAME_BACK] = True, held
        return found


@breaks("L9")
class WhatComesBackIsHandedOut(Group):
    """Only new tasks are held."""

    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        if not self.paused:
            return super().claim(consumer, limit, turn, now)
        held, self.lines[Place.NEW] = self.lines[Place.NEW], OrderedDict()
        self.paused = False
        found = super().claim(consumer, limit, turn, now)
        self.paused, self.lines[Place.NEW] = True, held
        return found


@breaks("L9")
class APauseOfTheHandle(MemoryBackend):
    """It is not stored."""

    mine = False

    def pause(self) -> bool:
        before, self.mine = self.mine, True
        return not before

    def resume(self) -> bool:
        before, self.mine = self.mine, False
        return before

    def is_paused(self) -> bool:
        return self.mine

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[m.Delivery]:
        return super().claim(consumer, 0 if self.mine else limit, 0 if self.mine else wait_ms)


@breaks("L9")
class APauseReturnsAtOnce(MemoryBackend):
    """A worker would ask again and again."""

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[m.Delivery]:
        return super().claim(consumer, limit, 0 if self.is_paused() else wait_ms)


@breaks("L9")
class ResumeWakesNobody(MemoryBackend):
    def resume(self) -> bool:
        with self._store.changed:
            group, _ = self._queue.join()
            before, group.paused = group.paused, False
            return before


@breaks("L9")
class PausesAreCounted(Group):
    """So many resumes end them."""

    count = 0

    @property
    def paused(self) -> bool:
        return self.count > 0

    @paused.setter
    def paused(self, on: bool) -> None:
        self.count = self.count + 1 if on else max(0, self.count - 1)


@breaks("L9")
class PauseToggles(MemoryBackend):
    def pause(self) -> bool:
        return self._broker._set_paused(not self.is_paused())


@breaks("L9")
class EveryPauseIsNew(MemoryBackend):
    def pause(self) -> bool:
        super().pause()
        return True


@breaks("L9")
class SettlementsWaitToo(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        return not self.paused and super().settle(settlement, now)


@breaks("L9")
class LeasesAreNotExtended(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        return m.LeaseStatus.LOST if self.paused else super().extend(extension, now)


@breaks("L9")
class DelaysStandStill(Group):
    """Nothing becomes due."""

    def maintain(self, limit: int | None, now: int) -> int:
        return -1 if self.paused else super().maintain(limit, now)


@breaks("L9")
class ProducersAreRefused(MemoryBackend):
    def enqueue(self, messages: Sequence[m.Message]) -> Sequence[bool]:
        return [False] * len(messages) if self.is_paused() else super().enqueue(messages)


@breaks("L9")
class WaitingTasksAreMoved(Group):
    """Into a list of their own, and back to the end of the line."""

    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        if self.paused:
            line = self.lines[Place.NEW]
            for task_id in list(line)[:1]:
                line.move_to_end(task_id)
        return super().claim(consumer, limit, turn, now)


@breaks("L9")
class WhatComesInAPauseCameBack(Group):
    def move(self, entry: Entry, place: Place, now: int) -> None:
        super().move(entry, Place.CAME_BACK if self.paused and place is Place.NEW else place, now)


@breaks("L9")
class ResumeEndsTheTurns(Group):
    """The next claim begins with what came back."""

    was_paused = False

    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        turn = Turn() if self.was_paused else turn
        self.was_paused = self.paused
        return super().claim(consumer, limit, turn, now)


@breaks("L9")
class AllGroupsArePaused(MemoryBackend):
    def pause(self) -> bool:
        changed = super().pause()
        with self._store.changed:
            for group in self._queue.groups().values():
                group.paused = True
        return changed


@breaks("L9")
class LaterGroupsArePaused(Queue):
    """A pause of one group is that of every new one."""

    def join(self) -> tuple[Group, int]:
        known = self.groups()
        group, now = super().join()
        if self.options.group not in known and any(one.paused for one in known.values()):
            group.paused = True
        return group, now


@breaks("L9")
class ThePauseOutlivesTheGroup(MemoryBackend):
    names: set[str] | None = None

    def __init__(self, store: MemoryStore, options: StoreOptions) -> None:
        super().__init__(store, options)
        marks = vars(store).setdefault("paused_names", set())
        self.names = marks
        if options.group in marks:
            super().pause()

    def pause(self) -> bool:
        assert self.names is not None
        self.names.add(self._options.group)
        return super().pause()
