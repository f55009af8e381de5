"""Backends that break L6, each in one small way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyxqueue.backends.memory.gates import Gates
from pyxqueue.backends.memory.rates import Rates
from pyxqueue.model.message import evolve
from pyxqueue.model.rates import Pace, RateInfo, is_rate
from pyxqueue.model.turns import Turn

from .limits import Limited
from .prelude import Entry, Group, breaks, m


def rates_break(law: str) -> Callable[[type[Rates]], type[Rates]]:
    """Declare a group whose rates are wrong."""

    def add(rates: type[Rates]) -> type[Rates]:
        class WithRates(Gates):
            def __init__(self) -> None:
                super().__init__()
                self.rates = rates()

        breaks(law)(type(rates.__name__, (Limited,), {"new_gates": WithRates}))
        return rates

    return add


@breaks("L6")
class RatedNeedNotBegin(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        return evolve(super().lend(entry, consumer, now), must_begin=entry.expires > 0)


@breaks("L6")
class NeverTurnedAway(Group):
    """Whether it was admitted is all that counts, so an outage makes a burst."""

    def _count_start(self, entry: Entry, now: int) -> bool:
        super()._count_start(entry, now)
        entry.turned_away = False
        return True


@breaks("L6")
class RepeatCountsAgain(Group):
    def _count_start(self, entry: Entry, now: int) -> bool:
        entry.began = ""
        return super()._count_start(entry, now)


@breaks("L6")
class CountsOncePerTask(Group):
    def _count_start(self, entry: Entry, now: int) -> bool:
        entry.began = entry.began and entry.receipt
        return super()._count_start(entry, now)


@breaks("L6")
class TurnedAwayIsCharged(Group):
    def begin(self, receipt: str, now: int) -> m.StartStatus:
        entry = self.holding(receipt)
        status = super().begin(receipt, now)
        if status is m.StartStatus.LATER and entry is not None:
            entry.alter(deferrals=1)
        return status


@breaks("L6")
class TurnedAwayIsHeld(Group):
    def begin(self, receipt: str, now: int) -> m.StartStatus:
        entry = self.holding(receipt)
        if entry is not None and not self._count_start(entry, now):
            return m.StartStatus.LATER
        return super().begin(receipt, now)


@breaks("L6")
class TurnedAwayComesLast(Group):
    def _count_start(self, entry: Entry, now: int) -> bool:
        starts = super()._count_start(entry, now)
        entry.turned_away = False
        return starts


@breaks("L6")
class TurnedAwayIsNotCancelled(Group):
    def begin(self, receipt: str, now: int) -> m.StartStatus:
        entry = self.holding(receipt)
        if entry is not None:
            entry.cancelled = 0
        return super().begin(receipt, now)


@breaks("L6")
class NextIsNotTold(Group):
    def maintain(self, limit: int | None, now: int) -> int:
        super().maintain(limit, now)
        return -1


@breaks("L6")
class StartsAreNotAdmitted(Limited):
    """Whatever becomes ready is handed out at once, and turned away."""

    class new_gates(Gates):  # noqa: N801 - the attribute that it overrides
        def has_room(self, gate: str) -> bool:
            return is_rate(gate) or super().has_room(gate)


@rates_break("L6")
class EachIsCountedAlone(Rates):
    """The rates that have room count a start, also if another one turns the task away."""

    def start(self, gates: Sequence[str], now: int) -> bool:
        each = [super(EachIsCountedAlone, self).start([gate], now) for gate in gates]
        return all(each)


@rates_break("L6")
class OnePaceForAllKeys(Rates):
    def pace(self, gate: str) -> Pace | None:
        return super().pace(gate.partition("/")[0] + "/")


@rates_break("L6")
class OneNumberForAllKeys(Rates):
    def start(self, gates: Sequence[str], now: int) -> bool:
        return super().start([gate.partition("/")[0] + "/" for gate in gates], now)


@rates_break("L6")
class NoBurst(Rates):
    def pace(self, gate: str) -> Pace | None:
        pace = super().pace(gate)
        return pace and evolve(pace, burst=1)


@rates_break("L6")
class BurstOneTooMany(Rates):
    def pace(self, gate: str) -> Pace | None:
        pace = super().pace(gate)
        return pace and evolve(pace, burst=pace.burst + 1)


@rates_break("L6")
class SavesUp(Rates):
    """What was not used is kept for later: the number of a key does not catch up with the clock."""

    def start(self, gates: Sequence[str], now: int) -> bool:
        before = {gate: self.started.get(gate, 0) for gate in gates}
        starts = super().start(gates, now)
        for gate, spent in before.items():
            if starts and spent and (pace := self.pace(gate)):
                self.started[gate] = self.admitted[gate] = spent + pace.interval_us
        return starts

    def sweep(self, now: int) -> None:
        """Forget nothing."""


@rates_break("L6")
class WindowOfFixedTime(Rates):
    """The count begins again with each interval of the clock."""

    def start(self, gates: Sequence[str], now: int) -> bool:
        starts = super().start(gates, now)
        for gate in gates:
            if (pace := self.pace(gate)) and gate in self.started:
                self.started[gate] -= self.started[gate] % pace.interval_us
                self.admitted[gate] = self.started[gate]
        return starts


@rates_break("L6")
class SlowPaceStays(Rates):
    """What a slow pace has spent holds up a fast one."""

    def _opens(self, gate: str, now: int, *spent: dict[str, int]) -> float:
        pace = self.pace(gate)
        if pace is None or not pace.count:
            return super()._opens(gate, now, *spent)
        return max(pace.opens_us(numbers.get(gate, 0)) for numbers in spent)


@rates_break("L6")
class DeclaredPaceCountsMore(Rates):
    def infos(self) -> list[RateInfo]:
        return [evolve(one, pace=one.declared or one.pace) for one in super().infos()]


@rates_break("L6")
class ZeroIsNoRate(Rates):
    def pace(self, gate: str) -> Pace | None:
        pace = super().pace(gate)
        return pace if pace and pace.count else None


@rates_break("L13")
class KeysAreKept(Rates):
    def sweep(self, now: int) -> None:
        """Forget nothing."""


@breaks("L6")
class TurnedAwayGivesBackItsLock(Group):
    def _count_start(self, entry: Entry, now: int) -> bool:
        self.let_go(entry)
        return super()._count_start(entry, now)


@breaks("L6")
class TurnedAwayHasNoClass(Group):
    def begin(self, receipt: str, now: int) -> m.StartStatus:
        entry = self.holding(receipt)
        status = super().begin(receipt, now)
        if status is m.StartStatus.LATER and entry is not None:
            entry.alter(priority=0)
        return status


@breaks("L6")
class StartsDuringAPause(Limited):
    """What its rate lets start is handed out although the group is paused."""

    def first_ready(self, limit: int, turn: Turn) -> tuple[list[Entry], Turn]:
        self.paused, paused = False, self.paused
        found = super().first_ready(limit, turn)
        self.paused = paused
        return found


@breaks("L6")
class ClockThatIsSetBackHoldsUp(Limited):
    """When a gate is looked at is noted once, and not changed."""

    class new_gates(Gates):  # noqa: N801 - the attribute that it overrides
        def __init__(self) -> None:
            super().__init__()
            self.latest = 0

        def next_turn(self) -> int:
            if self.now < self.latest:
                return -1
            self.latest = self.now
            return super().next_turn()

        def has_room(self, gate: str) -> bool:
            return (not is_rate(gate) or self.now >= self.latest) and super().has_room(gate)


@breaks("L6")
class DeletedKeepsItsTurn(Limited):
    """A task that waits for its rate is not taken out of the line when it is cancelled."""

    class new_gates(Gates):  # noqa: N801 - the attribute that it overrides
        def _leave_line(self, entry: Entry) -> None:
            if not is_rate(entry.gate) or not entry.cancelled:
                super()._leave_line(entry)


@breaks("L6")
class WaitsForEver(Limited):
    """A line of a rate is not looked at when time passes."""

    class new_gates(Gates):  # noqa: N801 - the attribute that it overrides
        def next_turn(self) -> int:
            turns = dict(self.turns)
            left = super().next_turn()
            self.turns = turns
            return left
