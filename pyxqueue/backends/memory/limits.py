"""The protocols `LimitStore`, `RateStore` and `LimitPausing` on a store in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...model.limits import GateInfo, LimitInfo, task_of
from ...model.rates import PREFIX, Pace, RateInfo
from .store import Queue


class MemoryLimits:
    """The protocols `LimitStore`, `RateStore` and `LimitPausing`."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._store = queue.store
        self.admitted: Callable[[], object] = lambda: None
        """Called after a number was changed; the eager backend runs what has become ready."""

    def declare(self, numbers: Mapping[str, int], *, replace: bool) -> None:
        with self._store.changed:
            group, now = self._queue.join()
            for name, number in numbers.items():
                if replace or name not in group.gates.declared:
                    group.gates.declared[name] = number
                    group.gates.look_at(name)
            group.maintain(0, now)
        self.admitted()

    def set(self, name: str, number: int | None) -> None:
        with self._store.changed:
            group, now = self._queue.join()
            if number is None:
                group.gates.numbers.pop(name, None)
            else:
                group.gates.numbers[name] = number
            group.gates.look_at(name)
            group.maintain(0, now)
        self.admitted()

    def pause(self, name: str) -> bool:
        with self._store.changed:
            group, _ = self._queue.join()
            is_new = name not in group.gates.paused
            group.gates.paused.add(name)
            group.asks_all = any(map(task_of, group.gates.paused))
            return is_new

    def resume(self, name: str) -> bool:
        with self._store.changed:
            group, now = self._queue.join()
            was_paused = name in group.gates.paused
            group.gates.paused.discard(name)
            group.asks_all = any(map(task_of, group.gates.paused))
            group.gates.resume(name)
            group.maintain(0, now)
        self.admitted()
        return was_paused

    def paused(self) -> Sequence[str]:
        with self._store.changed:
            return sorted(self._queue.look()[0].gates.paused)

    def numbers(self) -> Sequence[LimitInfo]:
        with self._store.changed:
            return self._queue.look()[0].gates.limit_infos()

    def gates(self, count: int) -> Sequence[GateInfo]:
        with self._store.changed:
            return self._queue.look()[0].gates.gate_infos(count)

    def declare_rates(self, paces: Mapping[str, Pace], *, replace: bool) -> None:
        with self._store.changed:
            group, now = self._queue.join()
            for name, pace in paces.items():
                if replace or name not in group.gates.rates.declared:
                    group.gates.rates.declared[name] = pace
                    group.gates.look_at(PREFIX + name)
            group.maintain(0, now)
        self.admitted()

    def set_rate(self, name: str, pace: Pace | None) -> None:
        with self._store.changed:
            group, now = self._queue.join()
            if pace is None:
                group.gates.rates.paces.pop(name, None)
            else:
                group.gates.rates.paces[name] = pace
            group.gates.look_at(PREFIX + name)
            group.maintain(0, now)
        self.admitted()

    def rates(self) -> Sequence[RateInfo]:
        with self._store.changed:
            return self._queue.look()[0].gates.rates.infos()
