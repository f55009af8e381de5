"""The rates of one group in memory: paces, and what each gate has spent (L6)."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from ...model.limits import limit_of
from ...model.rates import PREFIX, Pace, RateInfo


class Rates:
    """What the gates of rates have spent, in µs of the store's clock.

    Each gate has two numbers: one for the tasks that were admitted, which keeps the others in their line, and one for
    those that have started, which keeps the law.
    """

    def __init__(self) -> None:
        self.declared: dict[str, Pace] = {}
        self.paces: dict[str, Pace] = {}
        """What was set, by the name of a rate or a key of it."""
        self.admitted: dict[str, int] = {}
        self.started: dict[str, int] = {}

    def pace(self, gate: str) -> Pace | None:
        key, name = gate.removeprefix(PREFIX), limit_of(gate).removeprefix(PREFIX)
        return self.paces.get(key, self.paces.get(name, self.declared.get(name)))

    def opens(self, gate: str, now: int) -> float:
        """Return from when on one more task is admitted; inf for never."""
        return self._opens(gate, now, self.admitted, self.started)

    def admit(self, gate: str, now: int) -> None:
        """Count a task that was admitted."""
        if (pace := self.pace(gate)) is not None:
            spent = max(self.admitted.get(gate, 0), self.started.get(gate, 0))
            self.admitted[gate] = pace.spent_us(spent, now)

    def take_back(self, gate: str) -> None:
        """Do not count a task that was admitted and could not start."""
        if (pace := self.pace(gate)) is not None and gate in self.admitted:
            self.admitted[gate] -= pace.interval_us

    def start(self, gates: Sequence[str], now: int) -> bool:
        """Count a start for all of the gates, or for none if one of them has no room. Returns whether it did."""
        if any(self._opens(gate, now, self.started) > now for gate in gates):
            return False
        for gate in gates:
            if (pace := self.pace(gate)) is not None:
                self.started[gate] = pace.spent_us(self.started.get(gate, 0), now)
        return True

    def _opens(self, gate: str, now: int, *spent: dict[str, int]) -> float:
        pace = self.pace(gate)
        if pace is None:
            return 0
        if not pace.count:
            return inf
        for numbers in spent:
            if gate in numbers:
                numbers[gate] = pace.bounded_us(numbers[gate], now)
        return max(pace.opens_us(numbers.get(gate, 0)) for numbers in spent)

    def sweep(self, now: int) -> None:
        """Forget what is over."""
        for numbers in (self.admitted, self.started):
            for gate in [gate for gate, spent in numbers.items() if spent <= now]:
                del numbers[gate]

    def infos(self) -> list[RateInfo]:
        names = sorted({*self.declared, *self.paces})
        return [
            RateInfo(name, self.paces.get(name, self.declared.get(name)), self.declared.get(name)) for name in names
        ]

    def __len__(self) -> int:
        return len(self.admitted) + len(self.started)
