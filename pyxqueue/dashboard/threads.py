"""The threads in which a dashboard talks to stores: few, so that a store that hangs cannot take those of others."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from attrs import define, field

T = TypeVar("T")


class BusyError(Exception):
    """All threads are busy, and have been for a while."""


@define(eq=False)
class StoreThreads:
    """At most `count` calls at a time. Any further call waits for at most `patience` seconds."""

    count: int = 4
    patience: float = 1.0
    _pool: ThreadPoolExecutor | None = field(default=None, init=False)
    _pid: int = field(default=0, init=False)
    _running: int = field(default=0, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    @property
    def running(self) -> int:
        """How many calls run now."""
        return self._running

    async def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns. Raises `BusyError` if no thread was free in time; then it does not run."""
        future = self._threads().submit(contextvars.copy_context().run, self._counted, work)
        waiting = asyncio.wrap_future(future)
        try:
            done, _ = await asyncio.wait([waiting], timeout=self.patience)
            if not done and future.cancel():
                raise BusyError
            return await waiting
        except asyncio.CancelledError:
            future.cancel()
            raise

    def _counted(self, work: Callable[[], T]) -> T:
        with self._lock:
            self._running += 1
        try:
            return work()
        finally:
            with self._lock:
                self._running -= 1

    def close(self) -> None:
        if self._pool is not None and self._pid == os.getpid():
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = None

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None or self._pid != os.getpid():  # a forked process has none of them
            self._pool, self._pid = ThreadPoolExecutor(self.count, "pyxqueue-dashboard"), os.getpid()
        return self._pool
