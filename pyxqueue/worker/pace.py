"""How many messages to claim at once: as many as can be begun within a moment, one while that is unknown."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..inflight import STUCK

MAX_BATCH = 256
BUDGET = 0.010
"""Seconds of work to hold: long enough that the round trips do not count, short enough that nobody else idles."""


class Pace:
    """The size of the next batch, from how long it took to submit the tasks of the last one.

    An inline executor runs the tasks meanwhile; one with threads or an event loop answers at once, and its free places
    are the limit.
    """

    def __init__(self) -> None:
        self.limit = 1

    def ran(self, seconds: list[float]) -> None:
        """The tasks of a batch took so long each.

        The batch grows to twice its size at most. It is their sum that counts, so that one which had to wait a little
        for the interpreter does not; but after one that took long by itself they come singly.
        """
        if not seconds:
            return
        total, ran = 0.0, 0
        for one in seconds:
            total, ran = total + one, ran + 1
            if total > STUCK:  # what came then was handed back, and took no time
                break
        slow = max(seconds) > STUCK
        fitting = int(ran * BUDGET / max(total, 1e-6))
        self.limit = 1 if slow else max(1, min(fitting, 2 * len(seconds), MAX_BATCH))


LOOK = 64
"""How many messages are looked at beyond what has a place."""
_PAUSE = 0.05, 1.0
"""Seconds between two such looks: at first, and at the most."""


class Ahead:
    """How many messages to claim where ``async def`` tasks have places of their own beside those of plain functions.

    Nobody knows what a message is for before it is claimed. While plain functions find places, every place of the loop
    may be claimed for. When some had to be handed back, only what has a place for certain is claimed, with a look at
    more of the line now and then, for there may be work for the loop behind those functions.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._pause = 0.0
        self._next = 0.0
        self._refused = False

    def room(self, loop: int, threads: int) -> int:
        """How many to claim now, with so many places free."""
        now = self._monotonic()
        if now < self._next:
            return min(loop, threads)
        if not self._refused:
            self._pause = 0.0
            return loop
        self._refused = False
        self._next = now + self._pause
        return min(loop, LOOK)

    def refused(self) -> None:
        """Plain functions found no place and were handed back."""
        if not self._refused:
            first, longest = _PAUSE
            self._pause = min(longest, max(first, 2 * self._pause))
            self._next = self._monotonic() + self._pause
            self._refused = True

    def pause(self) -> float:
        """Seconds until the next look."""
        return max(0.0, self._next - self._monotonic())
