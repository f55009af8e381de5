"""Interrupting a task from outside: because its soft time limit is over, or because it was cancelled.

In the main thread a signal does it, which also ends a sleep or a blocking read. In other threads Python can only be
asked to raise at the next bytecode. Neither interrupts a C extension that does not return: for that there is the hard
limit, which kills the process.
"""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Protocol

from ..errors import CancelRequested, TimeLimitExceeded


class Interrupter(Protocol):
    """Limits the tasks of one executor."""

    def limit(self, job: object, seconds: float | None) -> AbstractContextManager[object]: ...

    def cancel(self, job: object) -> None:
        """Raise `CancelRequested` in this job, if it runs; once, however often this is called, from another thread."""
        ...

    def check(self) -> None:
        """Called every moment from another thread: whose time is over?"""
        ...


def _over_time(seconds: float | None) -> TimeLimitExceeded:
    return TimeLimitExceeded(f"the task ran longer than its timeout of {seconds:g} s")


_EARLY = 0.005
"""Seconds by which a timer may fire before its time by another clock."""


class SignalInterrupter:
    """For tasks that run in the main thread, one at a time."""

    def __init__(self) -> None:
        self._next: object = None
        self._job: object = None
        self._cancelled: object = None
        self._told = False
        self._seconds: float | None = None
        self._deadline = 0.0
        self._main = threading.main_thread().ident or 0
        signal.signal(signal.SIGALRM, self._on_alarm)

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        if self._job is None:
            return  # it ended while the signal was under way
        if self._cancelled is self._job:
            if not self._told:  # once: it may take its time to clean up
                self._told = True
                raise CancelRequested("the task was cancelled")
        elif self._seconds is not None and time.monotonic() >= self._deadline:  # else it was meant for another job
            raise _over_time(self._seconds)

    def limit(self, job: object, seconds: float | None) -> SignalInterrupter:
        """To be entered at once; one object serves all tasks, since they run one after the other."""
        self._next = job
        self._seconds = seconds
        return self

    def __enter__(self) -> None:
        self._told = False
        self._job = self._next
        if self._seconds is not None:
            self._deadline = time.monotonic() + self._seconds - _EARLY
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *_error: object) -> None:
        self._job = None
        if self._seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def cancel(self, job: object) -> None:
        if job is not self._job:
            return  # it waits, or has ended
        self._cancelled = job
        signal.pthread_kill(self._main, signal.SIGALRM)

    def check(self) -> None:
        """The kernel's timer does it."""


class ThreadInterrupter:
    """For tasks that run in threads."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._running: dict[object, tuple[int, float | None]] = {}
        self._asked: set[object] = set()

    @contextmanager
    def limit(self, job: object, seconds: float | None) -> Iterator[None]:
        thread = threading.get_ident()
        deadline = None if seconds is None else self._monotonic() + seconds
        with self._lock:
            self._running[job] = (thread, deadline)
        try:
            yield
        finally:
            with self._lock:
                self._running.pop(job, None)
                if job in self._asked:  # what has not been raised yet must not hit the next task
                    self._asked.discard(job)
                    _raise_in(thread, None)

    def cancel(self, job: object) -> None:
        with self._lock:
            self._interrupt(job, CancelRequested)

    def check(self) -> None:
        now = self._monotonic()
        with self._lock:
            for job, (_, deadline) in list(self._running.items()):
                if deadline is not None and now >= deadline:
                    self._interrupt(job, TimeLimitExceeded)

    def _interrupt(self, job: object, error: type[BaseException]) -> None:
        if job in self._running and job not in self._asked:
            self._asked.add(job)
            _raise_in(self._running[job][0], error)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Have `error` raised in a thread at its next bytecode; None takes that back."""
    target = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), target)
