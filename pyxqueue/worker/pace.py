"""How many messages to claim at once: as many as can be begun within a moment, one while that is unknown."""

from __future__ import annotations

MAX_BATCH = 256
BUDGET = 0.010
"""Seconds of work to hold: long enough that the round trips do not count, short enough that nobody else idles."""
_WEIGHT = 0.3


class Pace:
    """A moving average of how long it takes to submit a task, and the batch size that follows from it.

    An inline executor runs the task meanwhile; one with threads or an event loop answers at once, and its free places
    are the limit.
    """

    def __init__(self) -> None:
        self._mean: float | None = None
        self._limit = 1

    def ran(self, seconds: float) -> None:
        """One task took this long. A single slow one shrinks the batch at once, fast ones grow it by and by."""
        mean = self._mean
        if mean is None or seconds > BUDGET:
            self._mean = seconds
        else:
            self._mean = mean + _WEIGHT * (seconds - mean)
        if seconds > BUDGET:
            self._limit = 1

    def limit(self) -> int:
        """The size of the next batch: never more than twice the one before."""
        if self._mean is None:
            return 1
        wanted = int(BUDGET / max(self._mean, 1e-6))
        self._limit = max(1, min(wanted, 2 * self._limit, MAX_BATCH))
        return self._limit
