"""Backends that break L3 to L5, L12 and L13, each in one small way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from pyxqueue.backends.memory.gates import Gates, gates_of
from pyxqueue.backends.memory.limits import MemoryLimits
from pyxqueue.model.limits import LimitInfo

from .prelude import Entry, Group, MemoryBackend, Place, breaks, m


class Limited(Group):
    """A group with other gates."""

    new_gates: type[Gates] = Gates

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type] # whatever a group is made of
        self.gates = self.new_gates()


def gates_break(law: str) -> Callable[[type[Gates]], type[Gates]]:
    """Declare a group whose gates are wrong."""

    def add(gates: type[Gates]) -> type[Gates]:
        breaks(law)(type(gates.__name__, (Limited,), {"new_gates": gates}))
        return gates

    return add


@gates_break("L3")
class NoLimit(Gates):
    def has_room(self, gate: str) -> bool:
        return True


@gates_break("L3")
class OneTooMany(Gates):
    def has_room(self, gate: str) -> bool:
        return self.used[gate] <= self.limit(gate)


@gates_break("L3")
class FirstGateOnly(Gates):
    def _closed(self, entry: Entry) -> str | None:
        gate = gates_of(entry)[0]
        return None if self.has_room(gate) and not self._has_earlier(gate, entry.arrival) else gate


@gates_break("L3")
class TakesWhatItCan(Gates):
    """Partial holding: tokens of the gates that have room are taken while the task waits at another one."""

    def ask(self, entry: Entry) -> bool:
        ready = super().ask(entry)
        if not ready:
            for gate in gates_of(entry):
                if gate != entry.gate:
                    self.used[gate] += 1
        return ready


@gates_break("L3")
class OneNumberForAllKeys(Gates):
    def has_room(self, gate: str) -> bool:
        name = gate.partition("/")[0]
        return sum(used for one, used in self.used.items() if one.startswith(f"{name}/")) < self.limit(gate)


@gates_break("L3")
class KeysHaveNoNumber(Gates):
    def limit(self, gate: str) -> int:
        return super().limit(gate.partition("/")[0] + "/ ")


@gates_break("L3")
class DeclaredCountsMore(Gates):
    def limit_infos(self) -> list[LimitInfo]:
        return [m.evolve(one, number=one.declared or one.number) for one in super().limit_infos()]


@gates_break("L3")
class ZeroIsNoLimit(Gates):
    def has_room(self, gate: str) -> bool:
        return not self.limit(gate) or super().has_room(gate)


@breaks("L3")
class CountsOnlyWithANumber(Limited):
    class new_gates(Gates):  # noqa: N801 - the attribute that it overrides
        def ask(self, entry: Entry) -> bool:
            ready = super().ask(entry)
            for gate in gates_of(entry):
                if ready and self.limit(gate) > 1_000:
                    self.used[gate] -= 1
            return ready


@breaks("L3")
class RetryKeepsItsToken(Group):
    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        held = entry.has_tokens and delay > 0
        super()._put_back(entry, delay, now)
        if held:
            self.gates.used.update(gates_of(entry))


@breaks("L3")
class BurialKeepsItsToken(Group):
    def move(self, entry: Entry, place: Place, now: int) -> None:
        if place is Place.FAILED:
            entry.has_tokens = False
        super().move(entry, place, now)


@breaks("L3")
class DeletionKeepsItsToken(Group):
    def remove(self, entry: Entry) -> None:
        entry.has_tokens = False
        super().remove(entry)


@breaks("L3")
class DelayedHasAToken(Group):
    def move(self, entry: Entry, place: Place, now: int) -> None:
        super().move(entry, place, now)
        if place is Place.DELAYED and gates_of(entry):
            self.gates.used.update(gates_of(entry))


@breaks("L3")
class DueDoesNotAsk(Group):
    def maintain(self, limit: int | None, now: int) -> int:
        delayed = set(self.lines[Place.DELAYED])
        left = super().maintain(limit, now)
        for entry in list(self.lines[Place.BLOCKED].values()):
            if entry.id in delayed:
                self.gates.leave(entry)
                self._move(entry, Place.CAME_BACK, now)
        return left


@breaks("L3")
class RequeueDoesNotAsk(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        done = super().requeue(task_id, now)
        entry = self.find(task_id)
        if entry is not None and entry.place is Place.BLOCKED:
            self.gates.leave(entry)
            self._move(entry, Place.CAME_BACK, now)
        return done


@breaks("L3")
class BlockedIsReady(MemoryBackend):
    def depth(self) -> m.Depth:
        depth = super().depth()
        return m.evolve(depth, ready=depth.ready + depth.blocked, blocked=0)


@breaks("L3")
class BlockedIsNotShown(MemoryBackend):
    def show(self, ids: Sequence[str]) -> Sequence[m.TaskInfo | None]:
        return [None if info and info.gate else info for info in super().show(ids)]


class DeclarationsReplace(MemoryLimits):
    def declare(self, numbers: Mapping[str, int], *, replace: bool) -> None:
        super().declare(numbers, replace=True)


@breaks("L3")
class ReplacesDeclarations(MemoryBackend):
    new_limits = DeclarationsReplace


@gates_break("L4")
class FreedIsForgotten(Gates):
    def leave(self, entry: Entry) -> None:
        super().leave(entry)
        self.turns.clear()


@breaks("L4")
class TooLateAdmitsNobody(Group):
    """A task that expired in flight gives its token back where nobody looks."""

    def _end_expired(self, entry: Entry, now: int) -> None:
        if entry.place is Place.IN_FLIGHT:
            self.gates.leave(entry)
            self.gates.turns.clear()
        super()._end_expired(entry, now)


@gates_break("L4")
class RaisedIsForgotten(Gates):
    def look_at(self, name: str) -> None:
        pass


@gates_break("L4")
class RaisedAdmitsOne(Gates):
    def admissible(self) -> Iterator[str]:
        for task_id in super().admissible():
            yield task_id
            self.turns.clear()


@gates_break("L4")
class KeyIsForgotten(Gates):
    def look_at(self, name: str) -> None:
        if "/" not in name:
            super().look_at(name)


@gates_break("L4")
class MovedIsForgotten(Gates):
    """The next in the line is not looked at after the first one has moved to another gate."""

    def admit(self, entry: Entry) -> bool:
        before = entry.gate
        ready = super().admit(entry)
        if not ready:
            self.turns.pop(before, None)
            self.lines.get(before, [(0, "")])[:] = self.lines.get(before, [])[:0]
        return ready


@gates_break("L4")
class OneLineForAll(Gates):
    """The first of a line blocks those of other gates."""

    def _has_earlier(self, gate: str, arrival: int) -> bool:
        return not arrival and bool(self.lines)


@breaks("L4")
class AdmittedIsNotTold(Group):
    def _admit(self, now: int) -> None:
        changed, self._changed = self._changed, lambda: None
        super()._admit(now)
        self._changed = changed

    def move(self, entry: Entry, place: Place, now: int) -> None:
        changed, self._changed = self._changed, (self._changed if place is not Place.HISTORY else lambda: None)
        super().move(entry, place, now)
        self._changed = changed


@gates_break("L5")
class LastComeFirstServed(Gates):
    def _line_up(self, entry: Entry, gate: str) -> None:
        if not entry.arrival:
            self._arrivals -= 1
            entry.arrival = self._arrivals
        super()._line_up(entry, gate)


@gates_break("L5")
class NewcomersOvertake(Gates):
    """What asks while others wait gets the free token."""

    def _has_earlier(self, gate: str, arrival: int) -> bool:
        return False


@gates_break("L5")
class MovedComesLast(Gates):
    def admit(self, entry: Entry) -> bool:
        ready, gate = super().admit(entry), entry.gate
        if not ready:
            self._leave_line(entry)
            entry.arrival = 0
            self._line_up(entry, gate)
        return ready


@breaks("L5")
class AdmittedIsNew(Group):
    def _admit(self, now: int) -> None:
        back = set(self.lines[Place.CAME_BACK])
        super()._admit(now)
        for entry in list(self.lines[Place.CAME_BACK].values()):
            if entry.id not in back and gates_of(entry):
                self._move(entry, Place.NEW, now)


@breaks("L12")
class GivesBeforeTheFence(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        accepted = super().settle(settlement, now)
        if not accepted and self.gates.used:
            gate = next(iter(self.gates.used))
            self.gates.used[gate] -= 1
        return accepted


@breaks("L12")
class RefusedMovesTheLine(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        accepted = super().settle(settlement, now)
        for line in [] if accepted else list(self.gates.lines.values()):
            entry = self.tasks[line[0][1]]
            self.gates.leave(entry)
            self._move(entry, Place.CAME_BACK, now)
        return accepted


@gates_break("L13")
class TokenLeaks(Gates):
    def leave(self, entry: Entry) -> None:
        leaks = entry.has_tokens
        super().leave(entry)
        if leaks and entry.id.endswith("7"):
            self.used.update(gates_of(entry))


@gates_break("L13")
class CountsOfZeroStay(Gates):
    def __len__(self) -> int:
        return super().__len__() + len(self.seen)

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def ask(self, entry: Entry) -> bool:
        self.seen.update(gates_of(entry))
        return super().ask(entry)
