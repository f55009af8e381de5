"""Which replicas must confirm a call if the program does not say how many.

One is not enough where there are several. When a failover is ordered, the promoted replica leaves its master, and for
about a second, until clients learn of it, the old master takes writes that the other replicas confirm. So each replica
that is connected must confirm, and for a while one that was connected. They are told apart by their addresses: one that
joins does not stand for one that leaves.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping

_KEPT = 10.0
"""Seconds for which a replica that has left still counts: the longest time for which a program may not know the new
master."""
_MOST = 1_000
"""Masters that are remembered."""
_ONLINE = re.compile(rb"^slave\d+:(ip=[^,\r]*,port=[1-9]\d*),state=online,offset=(\d+),lag=-?\d\b", re.MULTILINE)
"""A replica that has all that its master had when it connected, and has answered in the last ten seconds: its address,
and how much it has. (A tool that only reads along has no port.)"""
_MASTER = re.compile(rb"^master_replid:(\w+)", re.MULTILINE)
_OFFSET = re.compile(rb"^master_repl_offset:(\d+)", re.MULTILINE)


class Replicas:
    """The replicas of the masters that this process uses, as these say themselves. Threads may share it.

    What a master says is the reply to ``INFO replication``.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._counted: dict[bytes, Mapping[bytes, float | None]] = {}
        """By the id that a server has only as long as it is the master: the replicas that count, by address, with the
        time since when each has been away; None for one that is there."""
        self._lock = threading.Lock()
        self.last = 1
        """How many had to confirm the last time; before that 1."""

    def confirmed(self, stored: bytes, now: bytes) -> tuple[int, int]:
        """Return how many of the replicas that count have what their master had when it said `stored`, and how many
        these are, one at least. `now`: what the master says now, after a wait."""
        self._note(stored)
        counted, offset = self._note(now), _offset(stored)
        self.last = max(1, len(counted))
        if _master(stored) != _master(now):  # another server has taken over, and may not have it
            return 0, self.last
        there = {address: int(number) for address, number in _ONLINE.findall(now)}
        return sum(there.get(address, -1) >= offset for address in counted), self.last

    def _note(self, said: bytes) -> Mapping[bytes, float | None]:
        """Note which replicas a master has. Returns those that count."""
        now, master = self._monotonic(), _master(said)
        counted: dict[bytes, float | None] = {address: None for address, _ in _ONLINE.findall(said)}
        with self._lock:
            for address, away in self._counted.pop(master, {}).items():
                if address not in counted and (away is None or now - away < _KEPT):
                    counted[address] = now if away is None else away
            self._counted[master] = counted
            for old in list(self._counted)[:-_MOST]:
                del self._counted[old]
        return counted


def _master(said: bytes) -> bytes:
    found = _MASTER.search(said)
    return found[1] if found else b""


def _offset(said: bytes) -> int:
    found = _OFFSET.search(said)
    return int(found[1]) if found else 0
