"""Whether the threads of a worker process get replies from the store, in memory that its supervisor can read.

A thread notes when it asks, and that it was answered. A request that was repeated until it succeeded counts from the
first attempt. So a process whose connections hang, although its supervisor reaches the store, is found and replaced.
"""

from __future__ import annotations

import mmap
import struct

_TIME = struct.Struct("<d")
_THREADS = 32
"""How many threads are watched: of more queues than that, the later ones are not."""
_FRESH = 5.0
"""Seconds for which a sign of life holds."""
SIZE = _TIME.size * (1 + _THREADS)


class Contact:
    """Notes of one process: the worker writes them, the supervisor reads them. Times are of `time.monotonic`."""

    def __init__(self, memory: mmap.mmap, start: int) -> None:
        self._memory = memory
        self._start = start

    def alive(self, now: float) -> None:
        """Note that the interpreter runs."""
        _TIME.pack_into(self._memory, self._start, now)

    def asks(self, thread: int, now: float) -> None:
        """Note that a thread asks the store, or asks again."""
        if thread < _THREADS and not self._asked(thread):
            _TIME.pack_into(self._memory, self._start + _TIME.size * (1 + thread), now)

    def answered(self, thread: int) -> None:
        """Note that the store has answered a thread."""
        if thread < _THREADS:
            _TIME.pack_into(self._memory, self._start + _TIME.size * (1 + thread), 0.0)

    def is_alive(self, now: float) -> bool:
        """Return whether the interpreter gave a sign of life lately. It does not while a task holds it, or while the
        process is stopped."""
        (alive,) = _TIME.unpack_from(self._memory, self._start)
        return bool(now - alive <= _FRESH)

    def waits(self, now: float) -> float:
        """Return for how many seconds a thread has asked in vain; 0 if none does."""
        asked = [at for thread in range(_THREADS) if (at := self._asked(thread))]
        return now - min(asked, default=now)

    def _asked(self, thread: int) -> float:
        (at,) = _TIME.unpack_from(self._memory, self._start + _TIME.size * (1 + thread))
        return float(at)
