"""How many messages to claim at once: as many as can be started within 10 ms, and one as long as that is not known."""

from __future__ import annotations

from ..inflight import STUCK

MAX_BATCH = 256
BUDGET = 0.010
"""Seconds of work in a batch: enough that round trips do not matter, so few that no other worker is idle meanwhile."""
MEMORY = 128
"""The mean duration is that of so many tasks, roughly: one that takes long among many short ones counts that long."""


class BatchSizer:
    """Computes the size of the next batch from how long it took to submit the tasks of the last ones.

    An inline executor runs each task while it is submitted. Threads and the event loop return at once; there the limit
    is how many tasks they can start.
    """

    def __init__(self) -> None:
        self.limit = 1
        self._mean = 0.0
        self._known = 0
        """How many tasks the mean is of, up to `MEMORY`."""

    def ran(self, seconds: list[float]) -> None:
        """Note how many seconds each task of a batch took.

        The next batch has at most twice the size, and is one message if what was behind in this one had to wait too
        long. A task that had to wait a little for the interpreter does not matter much. If one task in a hundred takes
        long, batches stay small.
        """
        if not seconds:
            return
        total, ran = 0.0, 0
        for one in seconds:
            total, ran = total + one, ran + 1
            if total > STUCK:  # the rest was given back, and took no time
                break
        self._known = min(self._known + ran, MEMORY)
        self._mean += (total / ran - self._mean) * min(1.0, ran / self._known)
        fitting = int(BUDGET / max(self._mean, 1e-6))
        self.limit = 1 if total > STUCK else max(1, min(fitting, 2 * len(seconds), MAX_BATCH))
