"""Asks with one request, for several queues of one store, whether there is any maintenance to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from attrs import define, field


@define(eq=False)
class QuietLook:
    """The answer to that request, for the queues that share it."""

    look: Callable[[], Sequence[int]]
    """Returns for each queue the ms until there may be something to do; -1: nothing is due at any time."""
    _at: float = field(default=-inf, init=False)
    _found: Sequence[int] = field(default=(), init=False)

    def left(self, queue: int, now: float, longest: float) -> float:
        """Return the seconds until there may be something to do for a queue, or until the next look, which is at most
        `longest` after the last one."""
        if now - self._at >= longest:
            self._found, self._at = self.look(), now
        ms = self._found[queue]
        return max(0.0, (longest if ms < 0 else min(longest, ms / 1000)) - (now - self._at))
