"""How a thread waits for others, so that it can be interrupted at any moment.

A task that runs out of time, or is cancelled, is interrupted by an exception that its thread raises wherever it is.
Where code in Python locks something, it can be raised between the lock and the block that unlocks it again: a
`threading.Condition` then stays locked for ever, and a `threading.Event` raises a `RuntimeError` in its place. Code
in C is not interrupted there.
"""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable
from contextlib import suppress
from operator import attrgetter


class Bell:
    """Wakes one thread that waits. A ring that nobody hears is kept for the next wait.

    It is a lock in C, which is locked while nothing rings. (`queue.SimpleQueue.get` of Python 3.11 and 3.12 may wait
    for ever if its timeout passes before the call begins to wait, as it does for a few microseconds.)
    """

    def __init__(self) -> None:
        self._silent = threading.Lock()
        self._silent.acquire()

    def ring(self) -> None:
        """Wake the thread. Any thread may call it, also in a signal handler."""
        with suppress(RuntimeError):  # it rings already
            self._silent.release()

    def wait(self, seconds: float | None) -> None:
        """Wait until it rings, for so many seconds at the most; None for as long as it takes."""
        self._silent.acquire(timeout=-1 if seconds is None else min(max(0.0, seconds), threading.TIMEOUT_MAX))


class Changed(threading.Condition):
    """A condition whose lock is locked and unlocked by code in C alone."""

    # `with` calls what these return: the methods of the lock.
    __enter__ = property(attrgetter("_lock.__enter__"))  # pyright: ignore[reportAssignmentType] - that is the point
    __exit__ = property(attrgetter("_lock.__exit__"))  # pyright: ignore[reportAssignmentType] - as above


def start_thread(target: Callable[[], object], name: str) -> None:
    """Start a daemon thread, without the wait until it runs, which is an `Event`: another thread waits for that.

    If there can be no third thread, that one does the work. Raises `RuntimeError` if there can be none at all.
    """
    thread = threading.Thread(target=target, name=name, daemon=True)

    def start() -> None:
        try:
            thread.start()
        except RuntimeError:
            target()

    _thread.start_new_thread(start, ())
