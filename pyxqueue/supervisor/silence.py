"""Finds worker processes that get no replies from the store, although their supervisor does."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from attrs import define, field

from .children import Child

SILENCE = 60.0
"""Seconds without a reply from the store after which a process is killed."""
_BREAK = 5.0
"""If this process has not looked for so many seconds, it was stopped itself, and does not know what the others did
meanwhile."""


@define(eq=False)
class SilenceWatch:
    """Tracks for how long the supervisor has reached the stores, and each process has been alive, without a break."""

    _since: float = field(factory=time.monotonic, init=False)
    """Since when the supervisor has reached the stores without a break."""
    _looked: float = field(factory=time.monotonic, init=False)

    def silent(self, children: Sequence[Child], now: float, *, away: bool) -> Iterator[tuple[Child, float]]:
        """Return the children whose process is to be killed, each with the seconds for which it has waited for a reply.
        `away`: whether a store cannot be reached now."""
        if away or now - self._looked > _BREAK:
            self._since = now
        self._looked = now
        for child in children:
            if not child.table.contact.is_alive(now):
                child.heard = now
            seconds = child.table.contact.waits(now)
            if not child.silent and min(seconds, now - self._since, now - child.heard) > SILENCE:
                yield child, seconds
