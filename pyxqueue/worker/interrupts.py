"""Interrupts plain functions: when their soft time limit has passed, or when they are cancelled.

In the main thread a signal does that, which also ends a sleep or a blocking read. In another thread, Python can only
raise an exception at the next bytecode. Neither interrupts a C extension that does not return: the hard limit kills
its process.
"""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from types import FrameType
from typing import Protocol

from ..errors import CancelRequested, TimeLimitExceeded
from ..options import TaskOptions
from .jobs import Job


class Watched(Protocol):
    """What the monitor asks of an interrupter, from its own thread."""

    def cancel(self, job: object, times: int = 1) -> None:
        """Raise `CancelRequested` in a job that runs, unless that was done `times` times already."""
        ...

    def check(self) -> Sequence[tuple[Job, float]]:
        """Interrupt the jobs whose soft time limit has passed. Returns the jobs that another job has kept from running
        since the last call, and for how many seconds."""
        ...


class Interrupter(Watched, Protocol):
    """Limits and cancels what runs in one plain executor."""

    def limit(self, job: object, options: TaskOptions) -> AbstractContextManager[object]:
        """Return a context manager that enforces a job's soft time limit. Enter it at once, in the job's thread."""
        ...


def over_time(seconds: float | None) -> TimeLimitExceeded:
    """Return the error of a task that ran longer than its `timeout` of so many seconds."""
    return TimeLimitExceeded(f"the task ran longer than its timeout of {seconds:g} s")


_EARLY = 0.005
"""How many seconds too early a timer may fire, measured with `time.monotonic`."""


class SignalInterrupter:
    """For tasks that run in the main thread, one at a time."""

    def __init__(self) -> None:
        self._next: object = None
        self._job: object = None
        self._asked: tuple[object, int] = (None, 0)
        """The job to cancel, and how often to interrupt it."""
        self._told = 0
        self._late = 0
        self._options = TaskOptions()
        self._deadline = 0.0
        self._main = threading.main_thread().ident or 0
        signal.signal(signal.SIGALRM, self._on_alarm)

    def _on_alarm(self, _number: int, frame: FrameType | None) -> None:
        if self._job is None or (frame is not None and frame.f_code is _LEAVE):
            return  # the job ended before the signal arrived
        job, times = self._asked
        if job is self._job:
            if self._told < times:  # not more often: it may be cleaning up
                self._told += 1
                raise CancelRequested("the task was cancelled")
        elif (
            self._options.timeout is not None and time.monotonic() >= self._deadline
        ):  # else the signal was for another job
            self._late += 1
            reminder = self._options.reminder
            self._deadline += float("inf") if reminder is None or self._late > 1 else reminder - self._options.timeout
            raise over_time(self._options.timeout)

    def limit(self, job: object, options: TaskOptions) -> SignalInterrupter:
        """Return this object, which serves all tasks, since they run one after the other."""
        self._next = job
        self._options = options
        return self

    def __enter__(self) -> None:
        self._told = self._late = 0
        options = self._options
        if options.timeout is not None:
            self._deadline = time.monotonic() + options.timeout - _EARLY
            again = 0.0 if options.reminder is None else options.reminder - options.timeout
            signal.setitimer(signal.ITIMER_REAL, options.timeout, again)
        self._job = self._next  # last: it is interrupted from now on, and is left then

    def __exit__(self, *_error: object) -> None:
        self._job = None  # first: until here `_on_alarm` does not interrupt this method
        if self._options.timeout is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def cancel(self, job: object, times: int = 1) -> None:
        if job is not self._job or (self._asked[0] is job and self._told >= times):
            return  # it has not started, has ended, or was interrupted as often
        self._asked = (job, times)
        self._send()

    def check(self) -> tuple[()]:
        """Return nothing: the kernel's timer enforces the limits. Its signal is sent again if nothing came of it."""
        if self._job is not None and self._options.timeout is not None and time.monotonic() >= self._deadline:
            self._send()
        return ()

    def _send(self) -> None:
        """Send the signal. If it comes when Python has looked for signals and is about to wait, it interrupts nothing:
        so it is sent until the job was interrupted."""
        signal.pthread_kill(self._main, signal.SIGALRM)


_LEAVE = SignalInterrupter.__exit__.__code__


class _Running:
    """A job that runs in a thread: when to interrupt it for its time limit, and how often it was cancelled."""

    __slots__ = ("_interrupter", "_job", "cancels", "deadlines", "raised", "thread")

    def __init__(self, interrupter: ThreadInterrupter, job: object, deadlines: list[float]) -> None:
        self._interrupter = interrupter
        self._job = job
        self.thread = threading.get_ident()
        self.deadlines = deadlines
        self.cancels = 0
        self.raised = False

    def __enter__(self) -> None:
        self._interrupter.running[self._job] = self  # without a call, so that whoever is interrupted here leaves it

    def __exit__(self, *_: object) -> None:
        with self._interrupter.lock:
            self._interrupter.running.pop(self._job, None)
            if self.raised:  # an exception that was not raised yet must not hit the next task
                _withdraw()


class ThreadInterrupter:
    """For tasks that run in threads."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self.lock = threading.Lock()
        """An exception is raised in a job only while it has the lock, so that it does not end meanwhile."""
        self.running: dict[object, _Running] = {}

    def limit(self, job: object, options: TaskOptions) -> _Running:
        limits = options.timeout, options.reminder
        now = self._monotonic() if limits[0] is not None else 0.0
        return _Running(self, job, [now + one for one in limits if one is not None])

    def cancel(self, job: object, times: int = 1) -> None:
        with self.lock:
            running = self.running.get(job)
            if running is not None and running.cancels < times:
                running.cancels += 1
                running.deadlines.clear()
                self._interrupt(running, CancelRequested)

    def check(self) -> tuple[()]:
        now = self._monotonic()
        with self.lock:
            for running in list(self.running.values()):
                if running.deadlines and now >= running.deadlines[0]:
                    del running.deadlines[0]
                    self._interrupt(running, TimeLimitExceeded)
        return ()

    def _interrupt(self, running: _Running, error: type[BaseException]) -> None:
        running.raised = True
        _raise_in(running.thread, error)


def _raise_in(thread: int, error: type[BaseException]) -> None:
    """Make a thread raise `error` at its next bytecode, in place of one that it was to raise and has not yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


class _Withdrawn(BaseException):
    """Is raised and caught in place of an interrupt that came too late."""


def _withdraw() -> None:
    """Withdraw what this thread was to raise and has not yet. Python could withdraw it without a raise; then 3.11 goes
    on to look for it at each bytecode, and a thread with a profiler or a debugger never gets beyond its next call."""
    with suppress(_Withdrawn):
        _raise_in(threading.get_ident(), _Withdrawn)
        time.sleep(0)  # where it is raised at the latest
