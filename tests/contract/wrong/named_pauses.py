"""Backends that break the part of L9 that is about task names, each in one small way."""

from __future__ import annotations

from collections.abc import Sequence

from pyxqueue.backends.memory import MemoryBackend
from pyxqueue.backends.memory.gates import Gates
from pyxqueue.model.limits import task_gate, task_of

from .limits import gates_break
from .prelude import Entry, Group, Place, breaks, m


@gates_break("L9")
class APausedNameStarts(Gates):
    """The pause is only listed."""

    def _held_at(self, entry: Entry) -> str | None:
        return None


@gates_break("L9")
class NamesThatBeginAlikeArePaused(Gates):
    """A pause of ``shop.one`` holds ``shop.ones`` too."""

    def _held_at(self, entry: Entry) -> str | None:
        name = getattr(entry.message, "name", "")
        return next((gate for gate in self.paused if task_of(gate) and name.startswith(task_of(gate))), None)


@gates_break("L9")
class EveryNameIsPaused(Gates):
    def _held_at(self, entry: Entry) -> str | None:
        return task_gate(entry.message.name) if self.paused and isinstance(entry.message, m.Message) else None


@gates_break("L9")
class TheLineOfANameIsForgotten(Gates):
    """What waits for its name stays there when the pause ends."""

    def resume(self, name: str) -> None:
        if not task_of(name):
            super().resume(name)


@gates_break("L9")
class TheLastToComeIsFirst(Gates):
    """The line of a name is in the wrong order."""

    def _line_up(self, entry: Entry, gate: str) -> None:
        super()._line_up(entry, gate)
        if task_of(gate):
            self._leave_line(entry)
            entry.arrival, entry.gate = -entry.arrival, gate
            self.lines.setdefault(gate, []).insert(0, (entry.arrival, entry.id))


@gates_break("L9")
class ATokenIsKeptInThePause(Gates):
    """What waits for its name takes up a place under its limits."""

    def leave(self, entry: Entry) -> None:
        kept = entry.turned_away and entry.has_tokens and self._held_at(entry) is not None
        if kept:
            entry.has_tokens = False
        super().leave(entry)


@gates_break("L9")
class AStartIsCountedInThePause(Gates):
    """The rate of what is held is spent."""

    def start(self, entry: Entry) -> bool:
        held = self._held_at(entry) is not None
        paused, self.paused = self.paused, set() if held else self.paused
        starts = super().start(entry)
        self.paused = paused
        return starts and not held


@breaks("L9")
class NothingMustBegin(Group):
    """Workers do not ask, so they start everything."""

    @property
    def asks_all(self) -> bool:
        return False

    @asks_all.setter
    def asks_all(self, on: bool) -> None:
        """It stays False."""


@breaks("L9")
class EverythingMustBeginForEver(Group):
    """A queue in which no name is paused any more goes on asking."""

    @property
    def asks_all(self) -> bool:
        return self.asked

    @asks_all.setter
    def asks_all(self, on: bool) -> None:
        self.asked |= on

    asked = False


@breaks("L9")
class TheHeldAreCharged(Group):
    """To wait for its name counts as a deferral that was redelivered."""

    def begin(self, receipt: str, now: int) -> m.StartStatus:
        entry = self.holding(receipt)
        status = super().begin(receipt, now)
        if status is m.StartStatus.LATER and entry is not None:
            entry.alter(redelivered=True)
        return status


@breaks("L9")
class ACancelledOneWaits(Group):
    """A request to cancel one is forgotten when it waits for its name."""

    def begin(self, receipt: str, now: int) -> m.StartStatus:
        entry = self.holding(receipt)
        if entry is not None and self.gates._held_at(entry) is not None:
            entry.cancelled = 0
        return super().begin(receipt, now)


@breaks("L9")
class TheHeldCannotEnd(Group):
    """What waits for its name is not deleted."""

    def delete(self, task_id: str, now: int) -> bool:
        entry = self.find(task_id)
        held = entry is not None and entry.place is Place.BLOCKED and bool(task_of(entry.gate))
        return not held and super().delete(task_id, now)


@breaks("L9")
class OneNameResumesAll(MemoryBackend):
    """With the first resume the store forgets the other pauses."""

    def begin(self, receipts: Sequence[str]) -> Sequence[m.StartStatus]:
        with self._store.changed:
            gates = self._queue.join()[0].gates
            if len(gates.paused) < getattr(gates, "most", 0):
                gates.paused.clear()
            gates.most = len(gates.paused)  # type: ignore[attr-defined] # of this fault alone
        return super().begin(receipts)
