"""Finds worker processes that ask the store in vain, although their supervisor reaches it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from attrs import define, field

from .children import Child

SILENCE = 60.0
"""Seconds after which a process that asks the store in vain is given up."""
_BREAK = 5.0
"""Seconds without a look after which this process was stopped, and cannot know how others fared meanwhile."""


@define(eq=False)
class SilenceWatch:
    """Knows how long the supervisor has reached the stores, and each process has lived, without a break."""

    _since: float = field(factory=time.monotonic, init=False)
    """Since when the supervisor has reached the stores without a break."""
    _looked: float = field(factory=time.monotonic, init=False)

    def silent(self, children: Sequence[Child], now: float, *, away: bool) -> Iterator[tuple[Child, float]]:
        """Return the children whose process is to be given up, and for how many seconds it has asked. `away`: whether
        a store cannot be reached now."""
        if away or now - self._looked > _BREAK:
            self._since = now
        self._looked = now
        for child in children:
            if not child.table.contact.is_alive(now):
                child.heard = now
            seconds = child.table.contact.waits(now)
            if not child.silent and min(seconds, now - self._since, now - child.heard) > SILENCE:
                yield child, seconds
