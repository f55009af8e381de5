"""How many messages to claim at once: as many as can be begun within a moment, one while that is unknown."""

from __future__ import annotations

from ..inflight import STUCK

MAX_BATCH = 256
BUDGET = 0.010
"""Seconds of work to hold: long enough that the round trips do not count, short enough that no other worker idles."""


class BatchSizer:
    """The size of the next batch, from how long it took to submit the tasks of the last one.

    An inline executor runs the tasks meanwhile; one with threads or an event loop returns at once, and its free places
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
