"""Notes in shared memory whether the threads of a worker process get replies from the store, for its supervisor to
read.

A thread notes when it asks, and that it was answered. A request that was repeated until it succeeded counts from the
first attempt. So the supervisor finds and replaces a process whose connections hang, although it reaches the store
itself.
"""

from __future__ import annotations

import mmap

_TIME = 8
"""Bytes of a number, a double in the order of this machine: both processes run on it."""
_THREADS = 32
UNWATCHED = _THREADS
"""The slot for all threads beyond those that are watched, which a worker of many queues has. Nobody reads it."""
_FRESH = 5.0
"""For how many seconds a sign of life counts."""
SIZE = _TIME * (2 + _THREADS)


class Contact:
    """Notes of one process: the worker writes them, the supervisor reads them. Times are of `time.monotonic`.

    `asked` has, for each thread, since when it has waited for a reply of the store, and 0 while it does not. These are
    plain items, since they are written twice for each request.
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
        """Return for how many seconds a thread has waited for a reply; 0 if none waits."""
        return now - min((at for at in self.asked[:UNWATCHED] if at), default=now)

    def close(self) -> None:
        """Let the memory be closed."""
        self._alive.release()
        self.asked.release()
