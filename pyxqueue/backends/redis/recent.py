"""Finds which of the tasks that this process enqueued lately were lost in a failover.

A server that was the master may have accepted tasks that the new one never got. Their callers have returned, and only
they know the ids. So where a failover may come, a queue remembers for a while what it has enqueued, and with which
server. When the master is another, it looks which of these tasks the new one does not have, says so, and counts them in
the statistics of the new one.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from ...errors import BrokerError
from ...ids import new_id
from ...log import get_logger
from ...model.message import Message
from ...printable import counted, quoted
from .keys import GroupKeys, meta
from .steps import Master, Steps, Together, call

if TYPE_CHECKING:
    from ...model.statistics import StatisticsBatch

_KEPT = 15.0
"""How many seconds before the last contact with a master count: it may not have replicated what it took then, and one
that was replaced takes writes for about ten more."""
_KNOWN = 3_000.0
"""For how many seconds a task is looked for: a store knows its id for an hour, whatever becomes of it."""
_MOST = 10_000
"""Ids that are remembered at the same time, and lost ones after that."""
_LEFT = 3.0
"""Seconds for which a connection may still lead to the old master: each asks once a second."""
_AGAIN = 10.0
"""Seconds after which it is tried again to count what was lost, if the store did not take it."""
_SHOWN = 10
_AT_ONCE = 500

T = TypeVar("T")
log = get_logger("pyxqueue")


class _Stored(Struct, frozen=True):
    since: float
    master: str
    tasks: Mapping[str, str]
    """The name of each task by its id."""


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
        self._met = 0.0
        """When some master was reached the last time."""
        self._lost: dict[str, str] = {}
        self._sought: dict[str, str] = {}
        """What is being looked for: who finds meanwhile that one is gone, knows why."""
        self._uncounted = deque["StatisticsBatch"]()
        """What the statistics do not have yet."""
        self._count_at = 0.0
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def call(self, steps: Steps[T], messages: Sequence[Message], made: Callable[[T], Iterable[str]] | None) -> Steps[T]:
        """Take the steps of a call that enqueues these messages, under their ids or those that `made` returns, and
        remember the tasks."""
        before: str = yield Master(self._key)
        result = yield from steps
        master: str = before or (yield Master(self._key))
        ids = (message.id for message in messages) if made is None else made(result)
        self.note(master, dict(zip(ids, (message.name for message in messages), strict=False)))
        return result

    def note(self, master: str, tasks: Mapping[str, str]) -> None:
        """Remember tasks that this server has accepted: their names by their ids."""
        now = self._monotonic()
        with self._lock:
            self._forget_the_parent()
            self._stored.append(_Stored(now, master, tasks))
            self._count += len(tasks)
            self._met = now
            while (first := next(iter(self._stored), None)) is not None and (
                self._count > _MOST or (first.master == master and now - first.since > _KEPT)
            ):
                self._count -= len(self._stored.popleft().tasks)

    def forget(self, ids: Iterable[str]) -> None:
        """Forget tasks that this program deletes: that they are gone is no loss."""
        deleted = frozenset(ids)
        with self._lock:
            left = [_Stored(one.since, one.master, _without(one.tasks, deleted)) for one in self._stored]
            self._stored, self._count = deque(left), sum(len(one.tasks) for one in left)

    def look(self, keys: GroupKeys) -> Steps[None]:
        """If the queue is on another server now, find out what that does not have. Raises nothing."""
        master = ""
        with suppress(BrokerError):
            master = yield Master(self._key)
        if taken := self._take(master) if master else ():
            yield from self._look_for(taken, master, keys)
        if self._uncounted and self._monotonic() >= self._count_at:
            yield from self._have_counted(keys)

    def _look_for(self, taken: Sequence[_Stored], master: str, keys: GroupKeys) -> Steps[None]:
        tasks = {task_id: name for one in taken for task_id, name in one.tasks.items()}
        ids, lost = list(tasks), list[str]()
        self._sought |= dict.fromkeys(ids, _why(taken[-1].master, master))
        try:
            for start in range(0, len(ids), _AT_ONCE):
                batch = ids[start : start + _AT_ONCE]
                found = yield Together(self._key, [("EXISTS", keys.task(task_id)) for task_id in batch])
                lost += [task_id for task_id, exists in zip(batch, found, strict=True) if exists == 0]
        except BrokerError:
            for one in taken:
                self.note(one.master, one.tasks)  # the next look tries again
            return
        else:
            if lost:
                self._tell(taken[-1].master, master, ids, lost)
                self._uncounted.append(_batch(tasks[task_id] for task_id in lost))
                self._count_at = 0.0
        finally:
            for task_id in ids:
                self._sought.pop(task_id, None)

    def _have_counted(self, keys: GroupKeys) -> Steps[None]:
        """Have the store count what was lost. Of two threads that send the same batch, it takes one (M1)."""
        from .counting import added  # noqa: PLC0415 - most programs never lose anything

        self._count_at = self._monotonic() + _AGAIN
        with suppress(BrokerError):
            for batch in list(self._uncounted):
                yield from call(added(keys, batch))
                with suppress(ValueError):  # another thread has removed it
                    self._uncounted.remove(batch)

    def _take(self, master: str) -> list[_Stored]:
        """Take out what was stored lately with another server than this one, which is the master now. Empty if a
        connection only still leads to a server that was the master before."""
        now = self._monotonic()
        with self._lock:
            self._forget_the_parent()
            if now - self._left.get(master, -_LEFT) < _LEFT:
                return []
            met, self._met = self._met, now
            if self._master not in ("", master):
                self._left = {self._master: now}
            self._master = master
            elsewhere = [one for one in self._stored if one.master != master]
            if elsewhere:
                self._stored = deque(one for one in self._stored if one.master == master)
                self._count = sum(len(one.tasks) for one in self._stored)
            return [one for one in elsewhere if met - one.since <= _KEPT and now - one.since <= _KNOWN]

    def _forget_the_parent(self) -> None:
        """In a process that was forked: its parent says what was lost of what it had enqueued before."""
        if self._pid != os.getpid():
            self._pid, self._count = os.getpid(), 0
            self._stored.clear()
            self._uncounted.clear()

    def _tell(self, old: str, new: str, ids: Sequence[str], lost: Sequence[str]) -> None:
        self._lost = dict(list((self._lost | dict.fromkeys(lost, _why(old, new))).items())[-_MOST:])
        log.error(
            "queue %s at %s: the failover from %s to %s has lost %d of the %s that this program had enqueued in the "
            "%g s before: %s%s",
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
        return self._lost.get(task_id) or self._sought.get(task_id, "")


def _without(tasks: Mapping[str, str], ids: frozenset[str]) -> Mapping[str, str]:
    return {task_id: name for task_id, name in tasks.items() if task_id not in ids}


def _why(old: str, new: str) -> str:
    return f"the failover from {old} to {new} has lost it: the new master does not have it"


def _batch(names: Iterable[str]) -> StatisticsBatch:
    """What the statistics are told of lost tasks of these names. Its sender is its own, so that it counts once
    whatever other batches there are; and numbers are times, since a store forgets the smallest first."""
    from ...model.statistics import StatisticsBatch, TaskCounts  # noqa: PLC0415 - as above

    counts = [TaskCounts(name, lost=number) for name, number in Counter(names).items()]
    return StatisticsBatch(f"lost-{new_id()}", time.time_ns() // 1000, counts)
