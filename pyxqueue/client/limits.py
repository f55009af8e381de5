"""The limits of a queue: their numbers, and what they hold back. `TaskQueue.limits` is a `Limits`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from attrs import frozen

from ..clock import Seconds
from ..errors import ConfigurationError
from ..model.limits import LIMIT_PATTERN, GateInfo, LimitInfo, gate_key, gate_of, task_gate, task_of
from ..model.message import NAME_PATTERN
from ..model.rates import Pace, RateInfo
from ..options.limits import Rate, limit_store, rate_store
from ..printable import quoted
from ..protocols import Backend, LimitPausing, LimitStore, RateStore, limit_pausing_of
from .queue_store import QueueStore

__all__ = ["GateInfo", "LimitInfo", "Limits", "RateInfo"]

_NOT_GIVEN: Any = object()


@frozen(eq=False)
class Limits:
    """The limits of one group of a queue. Each method raises `ConfigurationError` if the store cannot keep limits."""

    _store: QueueStore

    @overload
    def set(self, name: str, *, concurrency: int | None, key: object = None) -> None: ...

    @overload
    def set(self, name: str, *, rate: int, per: Seconds, burst: int = 1, key: object = None) -> None: ...

    @overload
    def set(self, name: str, *, rate: None, key: object = None) -> None: ...

    def set(
        self,
        name: str,
        *,
        concurrency: int | None = _NOT_GIVEN,
        rate: int | None = _NOT_GIVEN,
        per: Seconds | None = None,
        burst: int = 1,
        key: object = None,
    ) -> None:
        """Set how many tasks with the limit `name` may be ready or run at the same time (`concurrency`), or how many
        start in a period (`rate`, `per` and `burst`, as in `Rate`), at once and for all programs.

        It counts more than what the code says, also after a deploy, until it is set to None. 0 lets no task start.
        `key`: only for this key, the value by which `by=` tells tasks apart, or a tuple of values where it names
        several parameters; it counts more than what is set for the limit.
        """
        full = checked_name(name, key)
        if (concurrency is _NOT_GIVEN) is (rate is _NOT_GIVEN):
            raise ConfigurationError(
                f"set({quoted(name)}) needs either concurrency=, or rate= and per=; the other is a limit of its own"
            )
        if rate is _NOT_GIVEN:
            self._limits().set(full, _number(concurrency))
        else:
            rate_store(self._store.here().backend).set_rate(full, _pace(rate, per, burst))

    def list(self) -> Sequence[LimitInfo]:
        """Return the numbers of all limits of concurrency, in alphabetical order."""
        return self._limits().numbers()

    def rates(self) -> Sequence[RateInfo]:
        """Return the paces of all rates, in alphabetical order; none if the store cannot keep rates."""
        limits = self._limits()
        return limits.rates() if isinstance(limits, RateStore) else ()

    def paused(self) -> Sequence[str]:
        """Return the names of the limits that are paused (`Admin.pause`), ``NAME/KEY`` for one key, in alphabetical
        order."""
        limits = self._limits()
        return [name for name in limits.paused() if not task_of(name)] if isinstance(limits, LimitPausing) else ()

    def gates(self, limit: int = 1_000) -> Sequence[GateInfo]:
        """Return what is in use: for each limit, or for each of its keys, how many tasks are ready or run, and how many
        wait; the first `limit` in alphabetical order. The names of rates begin with ``rate:``."""
        limits, count = self._limits(), limit
        while True:
            found = limits.gates(count)
            gates = [gate for gate in found if not task_of(gate.name)]
            if len(gates) >= limit or len(found) < count:
                return gates[:limit]
            count = 2 * count + 1  # those at which the tasks of a paused name wait take up room

    def _limits(self) -> LimitStore:
        return limit_store(self._store.here().backend)


def checked_name(name: str, key: object) -> str:
    """Return the name of a limit, or of one key of it. Raises `ConfigurationError` if it cannot be one."""
    if not isinstance(name, str) or not LIMIT_PATTERN.fullmatch(name):
        raise ConfigurationError(
            f"the name of a limit is 1 to 200 letters, digits, _ . < > -, not {quoted(name)}; for one gate, give "
            f"the key apart: key=... or --key"
        )
    return name if key is None else gate_of(name, gate_key(key))


def paused_name(limit: str | None, key: object, task: str | None) -> str | None:
    """Return the name by which the store knows what is to be paused or resumed; None for the group."""
    if limit is None and key is not None:
        raise ConfigurationError(f"key={quoted(key)} needs limit=, the name of the limit that has this key")
    if task is None:
        return None if limit is None else checked_name(limit, key)
    if limit is not None:
        raise ConfigurationError("give limit= or task=, not both: call it once for each")
    if not isinstance(task, str) or not NAME_PATTERN.fullmatch(task):
        raise ConfigurationError(
            f"task={quoted(task)} is not the name of a task, such as 'shop.render': `pyxqueue tasks` lists the names"
        )
    return task_gate(task)


def paused_tasks(backend: Backend) -> Sequence[str]:
    """Return the names of the tasks that are paused, in alphabetical order."""
    pausing = limit_pausing_of(backend)
    return () if pausing is None else [name for gate in pausing.paused() if (name := task_of(gate))]


def _number(concurrency: int | None) -> int | None:
    if concurrency is not None and (
        isinstance(concurrency, bool) or not isinstance(concurrency, int) or not 0 <= concurrency < 1 << 31
    ):
        raise ConfigurationError(
            f"concurrency={quoted(concurrency)} must be a whole number of tasks, 0 or more, or None for the number "
            f"in the code"
        )
    return concurrency


def _pace(rate: int | None, per: Seconds | None, burst: int) -> Pace | None:
    if rate is None:
        return None
    if per is None:
        raise ConfigurationError(f"rate={quoted(rate)} needs the length of its period, such as per=60")
    try:
        return Rate(rate, per=per, burst=burst).pace
    except ValueError as error:
        raise ConfigurationError(f"the rate cannot be set: {error}") from error
