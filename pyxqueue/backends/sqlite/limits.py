"""The protocols `LimitStore`, `RateStore` and `LimitPausing` on a SQLite file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...batching import MAX_ITEMS
from ...model.limits import GateInfo, LimitInfo, task_of
from ...model.rates import PREFIX, Pace, RateInfo, pace_to_text
from .gating import PAUSED
from .group import Group
from .queue import Queue
from .rows import is_text
from .steps import until_done

_SET = """INSERT INTO gate_limit VALUES (?, ?, ?, NULL, 1)
    ON CONFLICT (grp, name) DO UPDATE SET number = excluded.number, raised = 1"""
_DECLARE = """INSERT INTO gate_limit VALUES (?, ?, NULL, ?, 1)
    ON CONFLICT (grp, name) DO UPDATE SET declared = excluded.declared, raised = 1
    WHERE declared IS NULL OR (? AND declared <> excluded.declared)"""
_PAUSED = "SELECT name FROM gate_limit WHERE grp = ? AND number = 1 AND name >= ? AND name < ? ORDER BY name"
RAISED = "SELECT name FROM gate_limit WHERE grp = ? AND raised = 1 AND typeof(name) = 'text' LIMIT 1"
MAX_DECLARED = 16 * MAX_ITEMS
"""How many tasks a supervisor admits at the most when it has declared a number; `maintain` does the rest."""


class SQLiteLimits:
    """The protocols `LimitStore`, `RateStore` and `LimitPausing`."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def declare(self, numbers: Mapping[str, int], *, replace: bool) -> None:
        self._declare(numbers, replace)

    def declare_rates(self, paces: Mapping[str, Pace], *, replace: bool) -> None:
        self._declare({PREFIX + name: pace_to_text(pace) for name, pace in paces.items()}, replace)

    def _declare(self, numbers: Mapping[str, int | str], replace: bool) -> None:
        with self._queue.write(join=True) as groups:
            key, db = groups.mine.key, groups.mine.db
            db.executemany(_DECLARE, [(key, name, number, replace) for name, number in numbers.items()])
        self.admit(MAX_DECLARED)

    def set(self, name: str, number: int | None) -> None:
        self._set(name, number)

    def set_rate(self, name: str, pace: Pace | None) -> None:
        self._set(PREFIX + name, None if pace is None else pace_to_text(pace))

    def _set(self, name: str, number: int | str | None) -> None:
        with self._queue.write(join=True) as groups:
            group = groups.mine
            group.db.execute(_SET, (group.key, name, number))
        self.admit()

    def pause(self, name: str) -> bool:
        return self._set_paused(name, 1)

    def resume(self, name: str) -> bool:
        return self._set_paused(name, None)

    def _set_paused(self, name: str, number: int | None) -> bool:
        with self._queue.write(join=True) as groups:
            group = groups.mine
            changed = (name in self._paused(group)) is (number is None)
            if changed:
                group.db.execute(_SET, (group.key, PAUSED + name, number))
                groups.set_asks_all(any(map(task_of, self._paused(group))))
        self.admit()
        return changed

    def paused(self) -> Sequence[str]:
        with self._queue.read() as groups:
            return self._paused(groups.mine)

    def _paused(self, group: Group) -> list[str]:
        rows = group.db.execute(_PAUSED, (group.key, PAUSED, PAUSED + "\U0010ffff"))
        return [name.removeprefix(PAUSED) for (name,) in rows if is_text(name)]

    def admit(self, limit: int | None = None) -> None:
        """Admit those for which there is room because a number was raised, or at most about `limit` of them."""
        until_done(self._admit, limit)

    def _admit(self, limit: int) -> int:
        with self._queue.write(join=True) as groups:
            group = groups.mine
            found = group.db.execute(RAISED, (group.key,))
            if not found:
                return 0
            name = found[0][0]
            group.gates.look_at(name)
            if group.gates.admit(limit) < limit:
                group.db.execute("UPDATE gate_limit SET raised = 0 WHERE grp = ? AND name = ?", (group.key, name))
                if group.db.execute(RAISED, (group.key,)) == found:  # a name that cannot be read as it is stored
                    group.db.execute("UPDATE gate_limit SET raised = 0 WHERE grp = ? AND raised = 1", (group.key,))
                group.db.execute("DELETE FROM gate_limit WHERE number IS NULL AND declared IS NULL AND raised = 0")
            return limit

    def numbers(self) -> Sequence[LimitInfo]:
        with self._queue.read() as groups:
            return groups.mine.gates.numbers()

    def rates(self) -> Sequence[RateInfo]:
        with self._queue.read() as groups:
            return groups.mine.gates.rates.infos()

    def gates(self, count: int) -> Sequence[GateInfo]:
        with self._queue.read() as groups:
            return groups.mine.gates.infos(count)
