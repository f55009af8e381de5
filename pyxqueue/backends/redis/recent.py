"""What a failover has lost of the tasks that this process enqueued in the last moments.

A server that was the master may have accepted tasks that the new one never got. Their callers have returned, and only
they know the ids. So where a failover may come, a queue remembers for a while what it has enqueued, and with which
server. When the master is another, it looks which of these tasks the new one does not have, and says so.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

from msgspec import Struct

from ...errors import BrokerError
from ...log import get_logger
from ...printable import counted, quoted
from .keys import GroupKeys, meta
from .steps import Master, Steps, Together

_KEPT = 15.0
"""Seconds for which an id is remembered: a master that was replaced takes writes for about ten more."""
_MOST = 10_000
"""Ids that are remembered at the same time, and lost ones after that."""
_LEFT = 3.0
"""Seconds for which a connection may still lead to the old master: each asks once a second."""
_SHOWN = 10
_AT_ONCE = 500

T = TypeVar("T")
log = get_logger("pyxqueue")


class _Stored(Struct, frozen=True):
    since: float
    master: str
    ids: Sequence[str]


class Recent:
    """The tasks that one queue has enqueued lately. Threads may share it."""

    def __init__(self, stream_key: str, url: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._key = meta(stream_key)
        self._queue = stream_key
        self._url = url
        self._monotonic = monotonic
        self._stored = deque[_Stored]()
        self._count = 0
        self._left: dict[str, float] = {}
        """The master that was left last, and when."""
        self._master = ""
        self._lost: dict[str, str] = {}
        self._lock = threading.Lock()

    def call(self, steps: Steps[T], ids: Iterable[str], made: Callable[[T], Iterable[str]] | None) -> Steps[T]:
        """Take the steps of a call that enqueues tasks with these ids, or with what `made` returns, and remember
        them."""
        before: str = yield Master(self._key)
        result = yield from steps
        master: str = before or (yield Master(self._key))
        self.note(master, list(ids if made is None else made(result)))
        return result

    def note(self, master: str, ids: Sequence[str]) -> None:
        """Remember tasks that this server has accepted."""
        now = self._monotonic()
        with self._lock:
            self._stored.append(_Stored(now, master, ids))
            self._count += len(ids)
            while self._stored and (self._count > _MOST or now - self._stored[0].since > _KEPT):
                self._count -= len(self._stored.popleft().ids)

    def look(self, keys: GroupKeys) -> Steps[None]:
        """If the queue is on another server now, find out what that does not have. Raises nothing."""
        master = ""
        with suppress(BrokerError):
            master = yield Master(self._key)
        taken = self._take(master) if master else []
        if not taken:
            return
        ids = [task_id for one in taken for task_id in one.ids]
        lost: list[str] = []
        try:
            for start in range(0, len(ids), _AT_ONCE):
                batch = ids[start : start + _AT_ONCE]
                found = yield Together(self._key, [("EXISTS", keys.task(task_id)) for task_id in batch])
                lost += [task_id for task_id, exists in zip(batch, found, strict=True) if exists == 0]
        except BrokerError:
            for one in taken:
                self.note(one.master, one.ids)  # the next look tries again
            return
        if lost:
            self._tell(taken[-1].master, master, ids, lost)

    def _take(self, master: str) -> list[_Stored]:
        """Take out what was stored lately with another server than this one, which is the master now. Empty if a
        connection only still leads to a server that was the master before."""
        now = self._monotonic()
        with self._lock:
            if now - self._left.get(master, -_LEFT) < _LEFT:
                return []
            if self._master not in ("", master):
                self._left = {self._master: now}
            self._master = master
            elsewhere = [one for one in self._stored if one.master != master]
            if elsewhere:
                self._stored = deque(one for one in self._stored if one.master == master)
                self._count = sum(len(one.ids) for one in self._stored)
            return [one for one in elsewhere if now - one.since <= _KEPT]

    def _tell(self, old: str, new: str, ids: Sequence[str], lost: Sequence[str]) -> None:
        why = f"the failover from {old} to {new} has lost it: the new master does not have it"
        self._lost = dict(list((self._lost | dict.fromkeys(lost, why)).items())[-_MOST:])
        log.error(
            "queue %s at %s: the failover from %s to %s has lost %d of the %s that this program had enqueued in the "
            "last %g s: %s%s",
            self._queue,
            self._url,
            old,
            new,
            len(lost),
            counted(len(ids), "task"),
            _KEPT,
            ", ".join(map(quoted, lost[:_SHOWN])),
            "..." if len(lost) > _SHOWN else "",
            extra={"queue": self._queue, "lost": len(lost)},
        )

    def why_lost(self, task_id: str) -> str:
        """Why a task is gone; empty if it is not known to be lost."""
        return self._lost.get(task_id, "")
