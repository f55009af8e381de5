"""Jumps of this machine's clock, which is that of the store: after one, leases do not tell who is gone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class ClockJumps:
    """Knows for how long no lease is taken for ended.

    When the clock is set ahead, or the machine was asleep, the leases of living holders look ended as well, because
    nobody could extend them by the new time. After one lease every living holder has extended its own.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._offset: float | None = None
        """By how many ms the clock was ahead of `monotonic` at the last look; None before the first one."""
        self._over = 0.0
        """When leases tell something again, in ms of `monotonic`."""

    def wait_ms(self, now: int, lease: int) -> int:
        """Return the ms until leases tell who is gone; 0 if they do. `now` is the clock; it has jumped if it has moved
        by half a lease more or less than the time that has passed since the last look."""
        passed = self._monotonic() * 1000
        offset = now - passed
        if self._offset is not None and abs(offset - self._offset) > lease / 2:
            self._over = passed + lease
        self._offset = offset
        return max(0, math.ceil(self._over - passed))
