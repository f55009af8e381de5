"""How a waiting call learns that the file was written.

A write by the same store object wakes it at once. For other writes, SQLite's ``PRAGMA data_version`` is polled, which
takes some microseconds and reads no page: about twice a millisecond after a change, and less often the longer nothing
happens. A claim polls in its own thread (`sleep`).

For all calls that wait for tasks, in threads or in event loops, one thread of the process polls (`Poller`). After a
write, it reads all of their tasks together, and wakes only the calls whose tasks have changed. It ends when no call
waits.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, field

from ...waking import Changed, start_thread
from .group import CHUNK, Group
from .queue import Queue
from .rows import padded
from .schema import UNENDED
from .store import Mark, Store

SHORTEST = 0.0005
LONGEST = 0.05
"""Seconds between two polls."""
_SLOWDOWN = 0.05
"""The pause, as a part of the time in which nothing has happened."""
LINGER = 1.0
"""Seconds that the thread stays when no call waits any longer."""
_SHARE = 3.0
"""Pause after reading the tasks, as a multiple of the time it took: thousands of tasks must leave time for others."""

_TRACES = "SELECT id, place, attempt, progress, ended, record_end FROM task WHERE grp = ? AND id IN ({})"

Trace = tuple[Any, ...] | None
"""What is compared of a task: its place, attempt, progress, end, and the end of its record. None: it is not known."""
Seen = dict[str, Trace]


@define(eq=False)
class Waiter:
    """A call that waits until tasks of a group differ from what it has `seen`."""

    queue: Queue
    wake: Callable[[], object]
    """Called in the poller's thread, or in that of a writer."""
    ends_only: bool
    """Whether only an end or a record wakes it."""
    seen: Seen = field(factory=dict, init=False)
    error: Exception | None = field(default=None, init=False)
    """Why the poller could not read the tasks."""
    as_of: object = field(default=None, init=False)
    """The state of the file when the poller last read the tasks."""

    def check(self) -> None:
        """Raise the error that the poller met: that a file is gone, for example, is reported only once."""
        if self.error is not None:
            raise self.error.with_traceback(None)

    def differs(self, now: Seen) -> bool:
        if not self.ends_only:
            return any(now.get(task_id) != trace for task_id, trace in self.seen.items())
        return any(_end(now.get(task_id)) != _end(trace) for task_id, trace in self.seen.items())


def has_ended(trace: Trace) -> bool:
    return trace is not None and trace[0] not in UNENDED


def _end(trace: Trace) -> Trace:
    return trace and (has_ended(trace), trace[-1])


def traces(group: Group, ids: Sequence[str]) -> Seen:
    """The traces of those tasks that are known."""
    found: Seen = {}
    for start in range(0, len(ids), CHUNK):
        sql, values = padded(_TRACES, ids[start : start + CHUNK])
        found.update((row[0], row[1:]) for row in group.db.execute(sql, [group.key, *values]))
    return found


def pause_after(seconds: float) -> float:
    """How long to wait before the next poll, when nothing has happened for so many seconds."""
    return min(LONGEST, max(SHORTEST, seconds * _SLOWDOWN))


def sleep(store: Store, mark: Mark, deadline: float | None, over: Callable[[], bool]) -> None:
    """Sleep until something was written since `mark`, the deadline has passed, or `over` returns True."""
    begun = time.monotonic()
    while not over():
        now = time.monotonic()
        pause = pause_after(now - begun)
        left = pause if deadline is None else min(pause, deadline - now)
        if left <= 0 or store.news(mark, left):
            return


class Poller:
    """Wakes the calls that wait for tasks of one file. Its thread runs only while there are some."""

    def __init__(self) -> None:
        self._changed = Changed()
        self._waiters: set[Waiter] = set()
        self._thread: threading.Thread | None = None
        """The one that polls. It says so itself: who starts one may be interrupted meanwhile."""
        self._poked = False

    def arm(self, waiter: Waiter, seen: Seen) -> None:
        """Wake the waiter, once, when a task differs from what it has seen."""
        waiter.queue.store.wrote = self.poke
        waiter.seen, waiter.as_of = seen, None
        with self._changed:
            self._waiters.add(waiter)
            self._poked = True
            if self._thread is None:
                start_thread(self._run, "pyxqueue-poll")
            self._changed.notify()

    def disarm(self, waiter: Waiter) -> None:
        with self._changed:
            self._waiters.discard(waiter)

    def poke(self) -> None:
        """Something was written in this process."""
        if self._waiters:
            with self._changed:
                self._poked = True
                self._changed.notify()

    def _run(self) -> None:
        pause, changed_at, before, store = 0.0, 0.0, None, None
        while waiters := self._next(pause):
            begun = time.monotonic()
            # Two stores on one file count differently.
            store = next((one.queue.store for one in waiters if one.queue.store is store), waiters[0].queue.store)
            try:
                state = (id(store), store.mark())
                self._look([waiter for waiter in waiters if waiter.as_of != state], state)
            except Exception as error:  # noqa: BLE001 - the waiters raise it; it must not end the thread
                state = None
                self._wake(waiters, error)
            now = time.monotonic()
            if state != before:
                changed_at, before = now, state
            pause, rest = pause_after(now - changed_at), LONGEST if state is None else _SHARE * (now - begun)
            if rest > pause:
                time.sleep(min(rest, LONGEST))
            del waiters

    def _next(self, pause: float) -> list[Waiter]:
        """The waiters, after the pause, or at once after `arm` or `poke`; none if the thread is to end."""
        with self._changed:
            me = threading.current_thread()
            self._thread = self._thread or me
            if self._thread is not me:
                return []
            if not self._poked:
                self._changed.wait(pause)
            if not self._waiters:
                self._changed.wait_for(lambda: self._waiters, LINGER)
            if not self._waiters:
                self._thread = None
            self._poked = False
            return list(self._waiters)

    def _look(self, waiters: Sequence[Waiter], state: object) -> None:
        by_group: dict[tuple[str, str], list[Waiter]] = {}
        for waiter in waiters:
            options = waiter.queue.options
            by_group.setdefault((options.stream_key, options.group), []).append(waiter)
        for together in by_group.values():
            ids = list(dict.fromkeys(task_id for waiter in together for task_id in waiter.seen))
            with together[0].queue.read() as groups:
                now = traces(groups.mine, ids)
            self._wake([waiter for waiter in together if waiter.differs(now)])
            for waiter in together:
                waiter.as_of = state

    def _wake(self, waiters: Sequence[Waiter], error: Exception | None = None) -> None:
        with self._changed:
            self._waiters.difference_update(waiters)
        for waiter in waiters:
            waiter.error = error
            with suppress(Exception):  # its event loop may be closed
                waiter.wake()


_pollers: dict[tuple[int, str], Poller] = {}
"""By process, as threads do not cross a fork, and by file."""


def poller_of(path: str) -> Poller:
    me = os.getpid()
    if (found := _pollers.get((me, path))) is None:
        for key in [key for key in _pollers if key[0] != me]:
            _pollers.pop(key, None)
        found = _pollers.setdefault((me, path), Poller())
    return found
