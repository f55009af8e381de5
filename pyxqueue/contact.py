"""Whether the threads of a worker process get replies from the store, in memory that its supervisor can read.

A thread notes when it asks, and that it was answered. A request that was repeated until it succeeded counts from the
first attempt. So a process whose connections hang, although its supervisor reaches the store, is found and replaced.
"""

from __future__ import annotations

import mmap

_TIME = 8
"""Bytes of a number, a double in the order of this machine: both processes run on it."""
_THREADS = 32
UNWATCHED = _THREADS
"""The mark of all threads beyond those that are watched, as a worker of many queues has; nobody reads it."""
_FRESH = 5.0
"""Seconds for which a sign of life holds."""
SIZE = _TIME * (2 + _THREADS)


class Contact:
    """Notes of one process: the worker writes them, the supervisor reads them. Times are of `time.monotonic`.

    `asked` has for each thread since when it asks the store, and 0 while it does not: plain items, since they are
    written twice for each request.
    """

    def __init__(self, memory: mmap.mmap, start: int) -> None:
        self._alive = memoryview(memory)[start : start + _TIME].cast("d")
        self.asked = memoryview(memory)[start + _TIME : start + SIZE].cast("d")

    def alive(self, now: float) -> None:
        """Note that the interpreter runs."""
        self._alive[0] = now

    def is_alive(self, now: float) -> bool:
        """Return whether the interpreter gave a sign of life lately. It does not while a task holds it, or while the
        process is stopped."""
        return bool(now - self._alive[0] <= _FRESH)

    def waits(self, now: float) -> float:
        """Return for how many seconds a thread has asked in vain; 0 if none does."""
        return now - min((at for at in self.asked[:UNWATCHED] if at), default=now)

    def close(self) -> None:
        """Let the memory be closed."""
        self._alive.release()
        self.asked.release()
