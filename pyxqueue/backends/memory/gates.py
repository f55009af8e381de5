"""The limits of one group in memory: numbers, tokens and lines."""

from __future__ import annotations

import math
from bisect import insort
from collections import Counter
from collections.abc import Iterator, Sequence

from ...locked import Entry
from ...model.limits import NO_LIMIT, GateInfo, LimitInfo, limit_of, paused_names, task_gate
from ...model.message import Message
from ...model.rates import is_rate
from .rates import Rates


def gates_of(entry: Entry) -> Sequence[str]:
    """The gates at which a task asks. An unreadable entry has none, and one that is doomed does not ask (L10)."""
    return entry.message.gates if isinstance(entry.message, Message) and not entry.message.doomed else ()


class Gates:
    """The tokens that are out, and the tasks that wait for one (L3 to L5)."""

    def __init__(self) -> None:
        self.declared: dict[str, int] = {}
        self.numbers: dict[str, int] = {}
        """What was set, by the name of a limit or a gate."""
        self.used: Counter[str] = Counter()
        self.lines: dict[str, list[tuple[int, str]]] = {}
        """By gate, those that wait there: arrival and id."""
        self.turns: dict[str, None] = {}
        """The gates that may have room and a line, in the order in which they are looked at."""
        self.rates = Rates()
        self.paused: set[str] = set()
        """What is paused: the names of limits, or of keys of them, and the gates of task names."""
        self.now = 0
        """The time of the present step, in ms."""
        self._arrivals = 0

    @property
    def now_us(self) -> int:
        return 1_000 * self.now

    def limit(self, gate: str) -> int:
        name = limit_of(gate)
        return self.numbers.get(gate, self.numbers.get(name, self.declared.get(name, NO_LIMIT)))

    def is_paused(self, gate: str) -> bool:
        return bool(self.paused) and not self.paused.isdisjoint(paused_names(gate))

    def has_room(self, gate: str) -> bool:
        if self.is_paused(gate):
            return False
        if is_rate(gate):
            return self.rates.opens(gate, self.now_us) <= self.now_us
        return self.used[gate] < self.limit(gate)

    def ask(self, entry: Entry) -> bool:
        """Take a token of each gate, or wait at one of them. Returns whether the task may be ready."""
        gate = (entry.turned_away and self._held_at(entry)) or self._closed(entry)
        if gate is not None:
            self._line_up(entry, gate)
            return False
        for one in gates_of(entry):
            self.used[one] += 1
            if is_rate(one):
                self.rates.admit(one, self.now_us)
                self._arrive(entry)
        entry.has_tokens = bool(gates_of(entry))
        return True

    def start(self, entry: Entry) -> bool:
        """L6: count the start of a task, if its rates have room and its name is not paused (L9); else it is turned
        away. Returns whether it starts."""
        rates = [gate for gate in gates_of(entry) if is_rate(gate)]
        if entry.began == entry.receipt:
            return True
        held = self._held_at(entry) is not None or any(map(self.is_paused, rates))
        if not held and self.rates.start(rates, self.now_us):
            entry.began = entry.receipt
            return True
        for gate in rates:
            self.rates.take_back(gate)
        return False

    def leave(self, entry: Entry) -> None:
        """Give back what the task has: its tokens, or its place in a line."""
        self._leave_line(entry)
        if not entry.turned_away:
            entry.arrival = 0
        if entry.has_tokens:
            entry.has_tokens = False
            for gate in gates_of(entry):
                self.used[gate] -= 1
                if not self.used[gate]:
                    del self.used[gate]
                self.turns[gate] = None

    def admissible(self) -> Iterator[str]:
        """The ids of those whose turn it is; each is to be admitted with `admit` before the next."""
        while self.turns:
            gate = next(iter(self.turns))
            line = self.lines.get(gate)
            if line and self.has_room(gate):
                yield line[0][1]
            else:
                del self.turns[gate]

    def admit(self, entry: Entry) -> bool:
        """Give the first of a line its tokens, or let it wait at another gate. Returns whether it may be ready."""
        gate, arrival = entry.gate, entry.arrival
        self._leave_line(entry)
        if self.ask(entry):
            return True
        assert (entry.gate, entry.arrival) != (gate, arrival), "the gate had room"
        self.turns[entry.gate] = None
        return False

    def next_turn(self) -> int:
        """Let those gates of rates have their turn that have room again, and forget what is over. Returns the ms until
        the next one has room, or -1."""
        opens = {
            gate: self.rates.opens(gate, self.now_us)
            for gate in self.lines
            if is_rate(gate) and not self.is_paused(gate)
        }
        self.turns.update(dict.fromkeys(gate for gate, at in opens.items() if at <= self.now_us))
        self.rates.sweep(self.now_us)
        waits = [at for at in opens.values() if self.now_us < at < math.inf]
        return math.ceil(min(waits) / 1_000) - self.now if waits else -1

    def look_at(self, name: str) -> None:
        """Its number has changed: look at the lines of a limit, or of one gate."""
        self.turns.update(dict.fromkeys(gate for gate in self.lines if name in {gate, limit_of(gate)}))

    def resume(self, name: str) -> None:
        """A pause has ended: look at the lines of a limit, or of one gate, and of the rate of that name."""
        self.turns.update(dict.fromkeys(gate for gate in self.lines if name in paused_names(gate)))

    def _held_at(self, entry: Entry) -> str | None:
        """L9: the gate at which a task waits because its name is paused; None if it is not."""
        if not self.paused or not isinstance(entry.message, Message):
            return None
        gate = task_gate(entry.message.name)
        return gate if gate in self.paused else None

    def _closed(self, entry: Entry) -> str | None:
        """The gate at which a task has to wait: the first without room, or else the first with an earlier task."""
        gates = gates_of(entry)
        closed = next((gate for gate in gates if not self.has_room(gate)), None)
        if closed is None:
            closed = next((gate for gate in gates if self._has_earlier(gate, entry.arrival)), None)
        return closed

    def _has_earlier(self, gate: str, arrival: int) -> bool:
        line = self.lines.get(gate)
        return bool(line) and (not arrival or line[0][0] < arrival)  # type: ignore[index] # it is not empty

    def _line_up(self, entry: Entry, gate: str) -> None:
        self._arrive(entry)
        entry.gate = gate
        insort(self.lines.setdefault(gate, []), (entry.arrival, entry.id))

    def _arrive(self, entry: Entry) -> None:
        if not entry.arrival:
            self._arrivals += 1
            entry.arrival = self._arrivals

    def _leave_line(self, entry: Entry) -> None:
        if entry.gate:
            line = self.lines[entry.gate]
            line.remove((entry.arrival, entry.id))
            if not line:
                del self.lines[entry.gate]
            entry.gate = ""

    def limit_infos(self) -> list[LimitInfo]:
        names = sorted({*self.declared, *self.numbers})
        return [
            LimitInfo(name, self.numbers.get(name, self.declared.get(name)), self.declared.get(name)) for name in names
        ]

    def gate_infos(self, count: int) -> list[GateInfo]:
        names = sorted({*self.used, *self.lines})[:count]
        return [
            GateInfo(
                name,
                self.used[name],
                limit if (limit := self.limit(name)) < NO_LIMIT else None,
                len(self.lines.get(name, ())),
            )
            for name in names
        ]

    def __len__(self) -> int:
        return len(self.used) + sum(map(len, self.lines.values())) + len(self.turns) + len(self.rates)
