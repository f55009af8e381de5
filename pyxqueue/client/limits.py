"""The limits of a queue: their numbers, and what they hold back. `TaskQueue.limits` is a `Limits`."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ..errors import ConfigurationError
from ..limiting import limit_store
from ..model.limits import LIMIT_PATTERN, GateInfo, LimitInfo, gate_key, gate_of
from ..printable import quoted
from ..protocols import LimitStore
from .opened import QueueStore

__all__ = ["GateInfo", "LimitInfo", "Limits"]


@frozen(eq=False)
class Limits:
    """The limits of one group of a queue. Each method raises `ConfigurationError` if the store cannot keep limits."""

    _store: QueueStore

    def set(self, name: str, *, concurrency: int | None, key: object = None) -> None:
        """Set how many tasks with the limit `name` may be ready or run at the same time, at once and for all programs.

        It counts more than the number in the code, also after a deploy, until it is set to None. 0 lets no task start.
        `key`: only for this key, the value by which `by=` tells tasks apart; it counts more than the number of the
        limit.
        """
        if not isinstance(name, str) or not LIMIT_PATTERN.fullmatch(name):
            raise ConfigurationError(f"the name of a limit is 1 to 200 letters, digits, _ . < > -, not {quoted(name)}")
        if concurrency is not None and (
            isinstance(concurrency, bool) or not isinstance(concurrency, int) or not 0 <= concurrency < 1 << 31
        ):
            raise ConfigurationError(
                f"concurrency={quoted(concurrency)} must be a whole number of tasks, 0 or more, or None for the number "
                f"in the code"
            )
        self._limits().set(name if key is None else gate_of(name, gate_key(key)), concurrency)

    def list(self) -> Sequence[LimitInfo]:
        """Return the numbers of all limits, in alphabetical order."""
        return self._limits().numbers()

    def gates(self, limit: int = 1_000) -> Sequence[GateInfo]:
        """Return what is in use: for each limit, or for each of its keys, how many tasks are ready or run, and how many
        wait; the first `limit` in alphabetical order."""
        return self._limits().gates(limit)

    def _limits(self) -> LimitStore:
        return limit_store(self._store.here().backend)
