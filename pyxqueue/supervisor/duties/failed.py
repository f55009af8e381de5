"""Deletes failed tasks that are too old or too many for the limits of the queue. Every supervisor does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from attrs import define, field

from ...errors import BrokerError, ConfigurationError
from ...inflight import InFlightTable
from ...model.failed import Dropped, FailedLimits
from ...printable import counted, printable
from ...protocols import Broker, DropsFailed
from ...worker.events import log

EVERY = 30.0
"""Seconds between two sweeps; with a short `failed_ttl` it is a quarter of that, but no less than a second."""
BATCH = 256
"""How many tasks one step deletes at most."""
PAUSE = 0.05
"""Seconds between two steps of a sweep: the other duties have their turn."""


@define(eq=False)
class FailedDuty:
    """Sweeps from time to time, and logs once for each sweep what it has deleted."""

    store: DropsFailed
    limits: FailedLimits
    count: Callable[[str], None]
    """Counts a deleted task by its name."""
    of: str = ""
    """What the log adds to name the queue, where there are several."""
    refusal = "failed tasks beyond the limits of the queue cannot be deleted now"
    retry_after = EVERY
    _old: int = field(default=0, init=False)
    """How many this sweep has deleted because they were too old."""
    _surplus: int = field(default=0, init=False)
    _first: Dropped | None = field(default=None, init=False)
    """The oldest of them, and the newest."""
    _last: Dropped | None = field(default=None, init=False)

    def step(self, tables: Sequence[InFlightTable], now: float) -> float:  # noqa: ARG002
        try:
            dropped = self.store.drop_failed(self.limits, BATCH)
        except BrokerError:
            self.tell()
            raise
        for one in dropped:
            self.count(one.name)
            self._old += one.is_old
            self._surplus += not one.is_old
            self._first, self._last = self._first or one, one
        if len(dropped) == BATCH:
            return PAUSE
        self.tell()
        ttl = self.limits.ttl_ms
        return EVERY if ttl is None else min(EVERY, max(1.0, ttl / 4000))

    def tell(self) -> None:
        """Log what was deleted since the last time, if there was something."""
        if (first := self._first) is None or (last := self._last) is None:
            return
        ttl, keep = self.limits.ttl_ms, self.limits.keep
        why = [f"{self._old:,} older than {ttl / 1000:g} s (failed_ttl)"] if self._old and ttl is not None else []
        why += [f"{self._surplus:,} beyond the newest {keep:,} (max_failed)"] if self._surplus else []
        log.info(
            "deleted %s%s: %s; the oldest is %s, failed %s, the newest %s, failed %s",
            counted(self._old + self._surplus, "failed task"),
            self.of,
            ", ".join(why),
            *(printable(first.id), _moment(first.failed_ms), printable(last.id), _moment(last.failed_ms)),
        )
        self._old = self._surplus = 0
        self._first = self._last = None


def failed_duty(broker: Broker, limits: FailedLimits, count: Callable[[str], None], of: str) -> FailedDuty:
    """Return the duty. Raises `ConfigurationError` if the store cannot do it."""
    if not isinstance(broker, DropsFailed):
        raise ConfigurationError(
            f"{type(broker).__name__} does not limit what is kept of failed tasks: leave out failed_ttl= and "
            "max_failed="
        )
    return FailedDuty(broker, limits, count, of)


def _moment(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):  # another program has written it
        return "at an unknown time"
