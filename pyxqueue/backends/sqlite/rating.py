"""The rates of one group inside one transaction (L6): paces, and what each gate has spent."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, inf
from typing import Any

from attrs import define

from ...model.limits import limit_of
from ...model.rates import PREFIX, Pace, RateInfo, is_rate, pace_from_text
from .driver import Connection
from .rows import is_number, is_text, is_time

# The plus keeps SQLite from reading all gates in the order of their names.
_WAITING = "FROM rate WHERE grp = ? AND opens > 0 AND +name >= 'rate:' AND +name < 'rate;'"
FIRST_OPENING = f"SELECT opens {_WAITING} ORDER BY opens LIMIT 1"
_FIRST = f"SELECT opens, name {_WAITING} ORDER BY opens LIMIT 1"
_OPEN_ALL = "UPDATE rate SET opens = ? WHERE grp = ? AND opens > ?"
_OPEN = f"SELECT name {_WAITING} AND opens <= ? ORDER BY opens LIMIT ?"
_SWEEP = "DELETE FROM rate WHERE (grp, name) IN (SELECT grp, name FROM rate WHERE until <= ? AND opens = 0 LIMIT ?)"
_PACES = "SELECT name, number, declared FROM gate_limit WHERE grp = ? AND name IN (?, ?)"
_ALL = "SELECT name, number, declared FROM gate_limit WHERE grp = ? AND name >= ? AND name < ?"
_SPEND = """INSERT INTO rate VALUES (?, ?, ?, ?, ?, 0) ON CONFLICT (grp, name)
    DO UPDATE SET admitted = excluded.admitted, started = excluded.started, until = excluded.until"""


def from_text(value: object) -> Pace | None:
    """Return a pace that was stored; None for anything else that another program may have written."""
    return pace_from_text(value) if isinstance(value, str) and is_text(value) else None


@define
class Rates:
    """The rates of a group. Times are in µs, but those of `opens`, at which a gate is looked at, in ms."""

    db: Connection
    key: int
    now: int

    @property
    def now_us(self) -> int:
        return 1_000 * self.now

    def opens(self, gate: str) -> float:
        """Return from when on one more task is admitted; inf for never."""
        return self._opens(gate)

    def admit(self, gate: str) -> None:
        """Count a task that was admitted."""
        if (pace := self._pace(gate)) is not None:
            spent = self._spent(gate, pace)
            self._keep(gate, pace.spent_us(max(spent), self.now_us), spent[1])

    def take_back(self, gate: str) -> None:
        """Do not count a task that was admitted and could not start."""
        if (pace := self._pace(gate)) is not None:
            admitted, started = self._spent(gate, pace)
            self._keep(gate, max(0, admitted - pace.interval_us), started)

    def start(self, gates: Sequence[str]) -> bool:
        """Count a start for all of the gates, or for none if one of them has no room. Returns whether it did."""
        if any(self._opens(gate, only_started=True) > self.now_us for gate in gates):
            return False
        for gate in gates:
            if (pace := self._pace(gate)) is not None:
                admitted, started = self._spent(gate, pace)
                self._keep(gate, admitted, pace.spent_us(started, self.now_us))
        return True

    def look_later(self, gate: str, *, waits: bool) -> None:
        """Note when the gate is to be looked at, if tasks wait there."""
        at = self.opens(gate) if waits else inf
        opens = max(self.now + 1, ceil(at / 1_000)) if at < inf else 0
        self.db.execute("UPDATE rate SET opens = ? WHERE grp = ? AND name = ?", (opens, self.key, gate))

    def open(self, limit: int) -> list[str]:
        """Return the gates that are to be looked at now; all of them, if the clock was set back."""
        rows = self.db.execute(_FIRST, (self.key,))
        if rows and self._is_late(*rows[0]):
            self.db.execute(_OPEN_ALL, (self.now, self.key, self.now))
        return [gate for (gate,) in self.db.execute(_OPEN, (self.key, self.now, limit)) if is_text(gate)]

    def first_opening(self) -> float | None:
        """Return when a gate is to be looked at next; None if none is."""
        rows = self.db.execute(_FIRST, (self.key,))
        if not rows or not is_time(rows[0][0]):
            return None
        return self.now if self._is_late(*rows[0]) else rows[0][0]

    def _is_late(self, opens: Any, gate: object) -> bool:
        """Return whether a gate has room before it is to be looked at, because the clock was set back."""
        if not isinstance(gate, str) or not is_text(gate) or not is_time(opens):
            return False
        pace = self._pace(gate)
        if pace is None or not pace.count:
            return False
        at = max(pace.opens_us(pace.bounded_us(number, self.now_us)) for number in self._known(gate))
        return bool(opens > max(self.now + 1, ceil(at / 1_000)))

    def sweep(self, limit: int) -> None:
        """Forget what is over."""
        self.db.execute(_SWEEP, (self.now, limit))

    def infos(self) -> list[RateInfo]:
        rows = self.db.execute(_ALL, (self.key, PREFIX, PREFIX + "\U0010ffff"))
        found = [(name.removeprefix(PREFIX), from_text(number), from_text(declared)) for name, number, declared in rows]
        return [
            RateInfo(name, number or declared, declared)
            for name, number, declared in sorted(found, key=lambda one: one[0])
            if number or declared
        ]

    def _pace(self, gate: str) -> Pace | None:
        name = limit_of(gate)
        found = {row[0]: row[1:] for row in self.db.execute(_PACES, (self.key, gate, name))}
        (own, _), (number, declared) = found.get(gate, (None, None)), found.get(name, (None, None))
        return from_text(own) or from_text(number) or from_text(declared)

    def _opens(self, gate: str, *, only_started: bool = False) -> float:
        pace = self._pace(gate)
        if pace is None:
            return 0
        if not pace.count:
            return inf
        admitted, started = self._spent(gate, pace)
        return pace.opens_us(started if only_started else max(admitted, started))

    def _spent(self, gate: str, pace: Pace) -> tuple[int, int]:
        known = self._known(gate)
        admitted, started = (pace.bounded_us(number, self.now_us) for number in known)
        if (admitted, started) != known:
            self._keep(gate, admitted, started)
        return admitted, started

    def _known(self, gate: str) -> tuple[int, int]:
        """What is stored; 0 for anything else that another program may have written."""
        rows = self.db.execute("SELECT admitted, started FROM rate WHERE grp = ? AND name = ?", (self.key, gate))
        admitted, started = rows[0] if rows else (0, 0)
        return admitted if is_number(admitted) else 0, started if is_number(started) else 0

    def _keep(self, gate: str, admitted: int, started: int) -> None:
        until = ceil(max(admitted, started) / 1_000)
        self.db.execute(_SPEND, (self.key, gate, admitted, started, until))


def rates_among(gates: Sequence[str]) -> list[str]:
    """Return those of the gates that are gates of rates."""
    return [gate for gate in gates if is_rate(gate)]
