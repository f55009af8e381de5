"""State that all stores of one process share, because the operating system and SQLite keep it per process.

* A POSIX lock on a file is lost as soon as *any* descriptor of that file is closed in the process, also one of another
  copy of the SQLite library. So no store may read the header of a file that another store of
  the process has open.
* A SQLite connection must not cross a fork, not even to be closed. So all are closed before a fork, and opened
  again afterwards, on both sides, when they are needed.

This is the one place of the package with state that outlives its objects, for that reason.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any, Protocol

from attrs import frozen

Inode = tuple[int, int]
HOOKS = 3
"""How often the hooks are called. A task that forks may be interrupted in one: Python ignores what a hook raises, and
forks all the same."""


@frozen
class Judged:
    """What is known about a file that is open in this process."""

    driver: str
    wal: bool


class Holder(Protocol):
    """Something with connections."""

    def before_fork(self) -> None:
        """Close every connection, and open none until `after_fork`. Both are called again if they were interrupted."""
        ...

    def after_fork(self, *, child: bool) -> None: ...

    def judged(self, inode: Inode) -> Judged | None:
        """What it knows about the file, if it has a connection to it."""
        ...


class Process:
    """The stores of this process that may have connections."""

    def __init__(self) -> None:
        self.opening = threading.RLock()
        """Locked while a file is inspected and opened."""
        self._holders: weakref.WeakSet[Holder] = weakref.WeakSet()
        self._forking = threading.RLock()
        """Locked by one thread from before its fork until after it; other threads that fork wait."""
        self._paused: list[Holder] = []
        self._hooked = False

    def add(self, holder: Holder) -> None:
        with self.opening:
            self._holders.add(holder)
            if not self._hooked and hasattr(os, "register_at_fork"):
                for _ in range(HOOKS):
                    os.register_at_fork(
                        before=self._before, after_in_parent=self._after_in_parent, after_in_child=self._after_in_child
                    )
                self._hooked = True

    def judged(self, inode: Inode) -> Judged | None:
        """What is known about a file to which this process has a connection. The caller has locked `opening`."""
        return next((found for holder in list(self._holders) if (found := holder.judged(inode)) is not None), None)

    # Each of these goes on where it was interrupted, and does nothing if all is done.

    def _before(self) -> None:
        _lock(self._forking)
        # A thread that has a connection may be waiting for `opening`, so it stays locked only once all are paused.
        _lock(self.opening)
        while new := [holder for holder in self._holders if holder not in self._paused]:
            self.opening.release()
            for holder in new:
                holder.before_fork()
                self._paused.append(holder)
            _lock(self.opening)

    def _after_in_parent(self) -> None:
        self._after(child=False)

    def _after_in_child(self) -> None:
        self._after(child=True)

    def _after(self, *, child: bool) -> None:
        if not has_locked(self._forking):
            return
        while self._paused:
            self._paused[-1].after_fork(child=child)
            self._paused.pop()
        if has_locked(self.opening):
            self.opening.release()
        self._forking.release()


def has_locked(lock: Any) -> bool:
    """Return whether this thread has locked a reentrant lock, or that of a condition."""
    return bool(lock._is_owned())  # noqa: SLF001 - as `threading.Condition` does: there is no public name


def _lock(lock: threading.RLock) -> None:
    if not has_locked(lock):
        lock.acquire()


PROCESS = Process()
