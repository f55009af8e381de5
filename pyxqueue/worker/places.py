"""How many jobs an executor with several places takes: those that can start at once, and some ahead of them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from ..inflight import STUCK

_SOON = 0.25 * STUCK
"""Seconds within which what is claimed ahead is expected to start."""
_SLICE = 0.02
"""Seconds over which the ends of jobs are counted."""
_WINDOW = 0.1
"""Seconds for which such a count is kept."""


class Ahead:
    """Decides how many jobs to claim ahead: beyond those that can start at once, so that no place is empty while the
    next claim is under way.

    As many as have lately ended within `_SOON`, in the slowest moment, will start before they have waited for long.
    Behind jobs that take long, or that all end at once now and then, that is none.
    """

    def __init__(self, longest: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._longest = longest
        self._monotonic = monotonic
        self._since = monotonic()
        self._ended = 0
        self._counts: deque[tuple[float, int]] = deque([(self._since, 0)])
        """When each of the last slices ended, and how many jobs ended within `_SOON` in it."""

    def ended(self) -> None:
        """Note that a job has ended."""
        self._ended += 1

    def jobs(self) -> int:
        """Return how many jobs to claim ahead now."""
        now = self._monotonic()
        if (passed := now - self._since) >= _SLICE:
            ended, self._ended, self._since = self._ended, 0, now
            self._counts.append((now, int(ended * _SOON / passed)))
            while self._counts[0][0] <= now - _WINDOW:
                self._counts.popleft()
        return min(self._longest, *(count for _, count in self._counts))


class Places:
    """Counts what was submitted and has not ended: at most `count` jobs run, the others were claimed ahead.

    What was claimed ahead has not started: the supervisor may give it back, and if the process dies, it is not charged.
    """

    def __init__(self, count: int, ahead: Ahead) -> None:
        self.count = count
        self.busy = 0
        self._ahead = ahead
        self._limit = count
        self._wanted = 0
        """The largest `below` that a thread waits for, so that it is not woken for each end before."""
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)

    def add(self) -> None:
        with self._lock:
            self.busy += 1

    def take(self, wait: float) -> bool:
        """Add a job if there is room for it within `wait` seconds, and return whether there is."""
        if self.busy >= self._limit and not self._wait(self._limit, wait):
            return False
        self.add()
        return True

    def remove(self) -> None:
        """Note that a job has ended."""
        with self._lock:
            self._ahead.ended()
            self.busy -= 1
            if self.busy < self._wanted:
                self._wanted = 0
                self._changed.notify_all()

    def room(self) -> int:
        """Return how many more jobs to claim now: none until half of those claimed ahead have started."""
        self._limit = self.count + self._ahead.jobs()
        return self._limit - self.busy if self.busy < self._enough() else 0

    def wait_room(self, timeout: float) -> bool:
        """Wait until there is room. Returns False if that takes longer than `timeout` seconds."""
        return self._wait(self._enough(), timeout)

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left. Returns False if that takes longer than `timeout` seconds."""
        return self._wait(1, timeout)

    def _enough(self) -> int:
        """Return the number of jobs below which to claim more."""
        return self._limit - (self._limit - self.count) // 2

    def _wait(self, below: int, timeout: float | None) -> bool:
        def reached() -> bool:
            self._wanted = max(self._wanted, below)
            return self.busy < below

        with self._changed:
            return self._changed.wait_for(reached, timeout)
