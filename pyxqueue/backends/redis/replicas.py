"""How many replicas must confirm a call if the program does not say how many.

One is not enough where there are several. When a failover is ordered, the promoted replica leaves its master, and for
about a second, until clients learn of it, the old master takes writes that the other replicas confirm. So each replica
that is connected must confirm, and for a while one that was connected.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from msgspec import Struct

_KEPT = 10.0
"""Seconds for which a replica that has left still counts: the longest time for which a program may not know the new
master."""
_MOST = 8
"""Servers that are remembered."""
_ONLINE = re.compile(rb"^slave\d+:.*\bstate=online\b.*\blag=\d\b", re.MULTILINE)
"""A replica that has all that its master had when it connected, and has answered in the last ten seconds."""
_MASTER = re.compile(rb"^master_replid:(\w+)", re.MULTILINE)


class _Seen(Struct):
    number: int
    fewer_since: float | None = None


def master_of(facts: bytes) -> bytes:
    """Return the id that a server has only as long as it is the master. `facts`: what ``INFO replication`` says."""
    found = _MASTER.search(facts)
    return found[1] if found else b""


class Replicas:
    """How many replicas a master has, as its own replies say. Threads may share it."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._seen: dict[bytes, _Seen] = {}
        """By master, as `master_of` names it."""
        self.last = 1
        """The number of the master that was asked last; before that 1."""

    def number_of(self, facts: bytes) -> int:
        """Return how many replicas must confirm, at least one. `facts`: what ``INFO replication`` says."""
        online, now, master = len(_ONLINE.findall(facts)), self._monotonic(), master_of(facts)
        seen = self._seen.get(master)
        if seen is None or online >= seen.number:
            self._seen.pop(master, None)
            self._seen[master] = seen = _Seen(online)
            for old in list(self._seen)[:-_MOST]:
                self._seen.pop(old, None)
        elif seen.fewer_since is None:
            seen.fewer_since = now
        elif now - seen.fewer_since >= _KEPT:
            seen.number, seen.fewer_since = online, None
        self.last = max(1, seen.number)
        return self.last
