"""The limits of one group inside one transaction (L3 to L5): numbers, tokens and lines.

The bit `GATED` of a task's `raw` says that it has gates, or has waited for its name (L9). It has a row in `gated` while
it is ready or in flight, with a token of each gate, or blocked, in the line of one of them or in that of its name. A
task without gates costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from attrs import Factory, define, field

from ...batching import MAX_ITEMS
from ...model.limits import NO_LIMIT, GateInfo, LimitInfo, limit_of, paused_names, task_of
from ...model.rates import PREFIX, is_rate
from .driver import Connection
from .rating import Rates, rates_among
from .rows import is_number, is_text
from .schema import BLOCKED, LINES, SHARED
from .sharing import Lines

_NUMBERS = "SELECT name, number, declared FROM gate_limit WHERE grp = ? AND name IN (?, ?)"
PAUSED = "paused:"
"""A row of `gate_limit` with this before its name says that a limit, a key of one, or a task name is paused."""
_PAUSED = "SELECT 1 FROM gate_limit WHERE grp = ? AND name IN (?, ?) AND number = 1"
_USED = "SELECT used FROM gate WHERE grp = ? AND name = ?"
_FIRST = "SELECT seq, arrival FROM gated WHERE grp = ? AND gate = ? AND gate <> '' ORDER BY arrival LIMIT 1"
_BLOCK = f"UPDATE task SET place = {BLOCKED}, sort = ?, ord = ?, updated = ? WHERE seq = ?"  # noqa: S608 - our own words
_WAITS = "SELECT gate, count(*) FROM gated WHERE grp = ? AND gate <> '' GROUP BY gate"
_LATER = """INSERT INTO gate_limit VALUES (?, ?, NULL, NULL, 1)
    ON CONFLICT (grp, name) DO UPDATE SET raised = 1"""
_LINES = "SELECT DISTINCT gate FROM gated WHERE grp = ? AND gate <> '' AND gate >= ? AND gate < ?"


class Standing(NamedTuple):
    """A row of `gated`: the gates of a task, and the gate in whose line it stands; empty if it has its tokens."""

    gates: Sequence[str]
    gate: str
    arrival: int
    began: int
    """The fencing token of the delivery for which its start was counted (L6)."""


@define
class Gates:
    """The gates of a group."""

    db: Connection
    key: int
    now: int
    next_ticket: Callable[[], int]
    lines: Lines = field(init=False, default=Factory(lambda self: Lines(self.db, self.key), takes_self=True))
    """The fair lines, which a task joins when it has its tokens."""
    rates: Rates = field(init=False, default=Factory(lambda self: Rates(self.db, self.key, self.now), takes_self=True))
    _turns: dict[str, None] = field(factory=dict, init=False)
    """The gates that may have room and a line."""

    def ask(self, seq: int, gates: Sequence[str], arrival: int | None = None, held_at: str = "") -> bool:
        """Take a token of each gate for a task, or let it wait. Returns whether it may be ready.

        `arrival`: its place in the order of arrival, if it keeps one; `held_at`: the gate of its name, if it waits for
        that (L9).
        """
        arrival = arrival or None
        closed = held_at or self._closed(gates, arrival)
        if arrival is None:
            arrival = self.next_ticket() if closed is not None or rates_among(gates) else 0
        self.db.execute(
            "INSERT OR REPLACE INTO gated VALUES (?, ?, ?, ?, ?, 0)",
            (seq, self.key, " ".join(gates), closed or "", arrival),
        )
        if closed is None:
            self._take(gates)
        elif is_rate(closed):
            self.rates.look_later(closed, waits=not self.is_paused(closed))
        return closed is None

    def has_rate(self, seq: int) -> bool:
        """Return whether a task has the gate of a rate."""
        return bool(rates_among(self.gates_of(seq)))

    def start(self, seq: int, fence: int, *, held: bool = False) -> int | None:
        """L6: count the start of a task in flight, unless it is `held`: its name is paused (L9). Returns None if it
        starts, and else its place in the order of arrival, with which it asks again; 0 if it has none yet."""
        standing = self._standing(seq)
        rates = [] if standing is None else rates_among(standing.gates)
        if (not rates and not held) or (standing is not None and standing.began == fence):
            return None
        if not held and not any(map(self.is_paused, rates)) and self.rates.start(rates):
            self.db.execute("UPDATE gated SET began = ? WHERE seq = ?", (fence, seq))
            return None
        for gate in rates:
            self.rates.take_back(gate)
        return standing.arrival if standing is not None and is_number(standing.arrival) else 0

    def open(self, limit: int) -> int:
        """Make tasks ready at the gates of rates that have room again, at most `limit`. Returns how many gates were
        looked at."""
        opened = self.rates.open(limit)
        self._turns.update(dict.fromkeys(opened))
        self.admit(limit)
        return len(opened)

    def enter(self, seq: int, gates: Sequence[str]) -> bool:
        """Let a task that is ready ask for its tokens. If it has to wait, it is blocked. Returns whether it is ready
        still."""
        is_ready = self.ask(seq, gates)
        if not is_ready:
            ticket = self.next_ticket()
            self.db.execute(_BLOCK, (ticket, ticket, self.now, seq))
        return is_ready

    def gates_of(self, seq: int) -> Sequence[str]:
        """The gates of a task that has tokens or stands in a line."""
        standing = self._standing(seq)
        return [] if standing is None else standing.gates

    def leave(self, seqs: Iterable[int]) -> None:
        """Give back what tasks have: their tokens, or their places in a line."""
        for seq in seqs:
            standing = self._standing(seq)
            self.db.execute("DELETE FROM gated WHERE seq = ?", (seq,))
            if standing is not None and not standing.gate:
                self._count(standing.gates, -1)
                self._turns.update(dict.fromkeys(standing.gates))

    def admit_next(self) -> None:
        """`admit` as many as one transaction should. The other gates are noted, and `maintain` looks at them."""
        self.admit(MAX_ITEMS)
        if self._turns:
            self.db.executemany(_LATER, [(self.key, gate) for gate in self._turns])
            self._turns.clear()

    def admit(self, limit: int) -> int:
        """L4: make tasks ready for which there is room, at most `limit`. Returns how many were looked at."""
        looked = 0
        while self._turns and looked < limit:
            gate = next(iter(self._turns))
            first = self.db.execute(_FIRST, (self.key, gate)) if self._room(gate) > 0 else []
            if first:
                looked += 1
                self._admit(first[0][0], gate)
            else:
                del self._turns[gate]
                if is_rate(gate):
                    waits = bool(self.db.execute(_FIRST, (self.key, gate))) and not self.is_paused(gate)
                    self.rates.look_later(gate, waits=waits)
        return looked

    def _admit(self, seq: int, gate: str) -> None:
        """Let the first of a line in, or move it to the line of another gate."""
        standing = self._standing(seq)
        closed = None if standing is None else self._closed(standing.gates, standing.arrival)
        if closed is not None and closed != gate:
            self.db.execute("UPDATE gated SET gate = ? WHERE seq = ?", (closed, seq))
            self._turns[closed] = None
            return
        found = self.db.execute(
            "SELECT place, priority_class, raw FROM task WHERE seq = ? AND grp = ?", (seq, self.key)
        )
        if standing is None or not found or found[0][0] != BLOCKED:  # another program has written the row
            self.db.execute("DELETE FROM gated WHERE seq = ?", (seq,))
            return
        self.db.execute("UPDATE gated SET gate = '' WHERE seq = ?", (seq,))
        self._take(standing.gates)
        ticket = self.next_ticket()
        self.db.execute(
            "UPDATE task SET place = ?, sort = ?, ord = ?, updated = ? WHERE seq = ?",
            (LINES.get(found[0][1], LINES[0])[0], ticket, ticket, self.now, seq),
        )
        if is_number(found[0][2]) and found[0][2] & SHARED:
            self.lines.join_again(seq)

    def look_at(self, name: str) -> None:
        """A number has changed, or a pause has ended: note the gates of a limit, or one gate, that have a line."""
        if name.startswith(PAUSED):
            self.look_at(name.removeprefix(PAUSED))
            if not task_of(name.removeprefix(PAUSED)):
                self.look_at(PREFIX + name.removeprefix(PAUSED))
        elif "/" in name:
            self._turns[name] = None
        else:
            rows = self.db.execute(_LINES, (self.key, f"{name}/", f"{name}0"))  # which comes after a slash
            self._turns.update(dict.fromkeys(gate for (gate,) in rows))

    def gate_at(self, seq: int) -> str:
        """The gate in whose line a task stands."""
        standing = self._standing(seq)
        return "" if standing is None else standing.gate

    def numbers(self) -> list[LimitInfo]:
        rows = self.db.execute(
            "SELECT name, number, declared FROM gate_limit WHERE grp = ? AND coalesce(number, declared) NOT NULL "
            "ORDER BY name",
            (self.key,),
        )
        found = [
            (name, _number(number), _number(declared))
            for name, number, declared in rows
            if is_text(name) and not is_rate(name) and not name.startswith(PAUSED)
        ]
        return [
            LimitInfo(name, declared if number is None else number, declared)
            for name, number, declared in sorted(found, key=lambda one: one[0])
        ]

    def infos(self, count: int) -> list[GateInfo]:
        used: dict[str, int] = dict(self.db.execute("SELECT name, used FROM gate WHERE grp = ?", (self.key,)))
        waiting: dict[str, int] = dict(self.db.execute(_WAITS, (self.key,)))
        names = sorted(name for name in {*used, *waiting} if is_text(name))[:count]
        limits = [limit if (limit := self._limit(name)) < NO_LIMIT else None for name in names]
        return [
            GateInfo(name, used.get(name, 0), limit, waiting.get(name, 0))
            for name, limit in zip(names, limits, strict=True)
        ]

    def _standing(self, seq: int) -> Standing | None:
        rows = self.db.execute("SELECT gates, gate, arrival, began FROM gated WHERE seq = ?", (seq,))
        if not rows:
            return None
        gates, gate, arrival, began = rows[0]
        number = arrival if is_number(arrival) else 0
        return Standing(gates.split(" ") if is_text(gates) and gates else [], gate, number, began)

    def _closed(self, gates: Sequence[str], arrival: int | None) -> str | None:
        """The gate at which a task has to wait: the first without room, or else the first with an earlier task."""
        closed = next((gate for gate in gates if self._room(gate) <= 0), None)
        if closed is None:
            closed = next((gate for gate in gates if self._has_earlier(gate, arrival)), None)
        return closed

    def _has_earlier(self, gate: str, arrival: int | None) -> bool:
        first = self.db.execute(_FIRST, (self.key, gate))
        return bool(first) and (arrival is None or not is_number(first[0][1]) or first[0][1] < arrival)

    def _limit(self, gate: str) -> int:
        name = limit_of(gate)
        found = {row[0]: row[1:] for row in self.db.execute(_NUMBERS, (self.key, gate, name))}
        (own, _), (number, declared) = found.get(gate, (None, None)), found.get(name, (None, None))
        return next((one for one in (_number(own), _number(number), _number(declared)) if one is not None), NO_LIMIT)

    def is_paused(self, gate: str) -> bool:
        return bool(self.db.execute(_PAUSED, (self.key, *(PAUSED + name for name in paused_names(gate)))))

    def _room(self, gate: str) -> int:
        if self.is_paused(gate):
            return 0
        if is_rate(gate):
            return int(self.rates.opens(gate) <= self.rates.now_us)
        used = self.db.execute(_USED, (self.key, gate))
        return self._limit(gate) - (used[0][0] if used and is_number(used[0][0]) else 0)

    def _take(self, gates: Sequence[str]) -> None:
        self._count(gates, 1)
        for gate in rates_among(gates):
            self.rates.admit(gate)

    def _count(self, gates: Sequence[str], change: int) -> None:
        for gate in gates:
            self.db.execute(
                "INSERT INTO gate VALUES (?, ?, ?) ON CONFLICT (grp, name) DO UPDATE SET used = used + excluded.used",
                (self.key, gate, change),
            )
            self.db.execute("DELETE FROM gate WHERE grp = ? AND name = ? AND used <= 0", (self.key, gate))


def _number(value: object) -> int | None:
    """A number that is stored; None for anything else that another program may have written."""
    return value if is_number(value) else None  # type: ignore[return-value] # it is an int
