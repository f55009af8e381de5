"""Passes each job to its executor: coroutine functions to the event loop, if there is one, all others to the plain
executor."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from ..registry import TaskSpec
from .executors import Broke, Executor
from .jobs import Job
from .loop import Loop
from .running import Runner

LOOK = 64
"""How many messages a look claims."""
_PAUSE = 0.05, 1.0
"""Seconds between two looks: at first, and at the most."""


class LookAhead:
    """Decides how many messages to claim for a loop and threads together.

    Whether a message is for the loop or for a thread is only known once it is claimed. As long as plain functions find
    free threads, a claim takes what the loop has room for. Once some were given back, a claim takes only what both have
    room for, and now and then a *look* takes more: there may be work for the loop behind those functions.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._pause = 0.0
        self._next = 0.0
        self._refused = False

    def room(self, loop: int, threads: int) -> int:
        """Return how many messages to claim now, with so much room on the loop and in the threads."""
        now = self._monotonic()
        if now < self._next:
            return min(loop, threads)
        if not self._refused:
            self._pause = 0.0
            return loop
        self._refused = False
        self._next = now + self._pause
        return min(loop, LOOK)

    def refused(self) -> None:
        """Note that plain functions found no free thread and were given back."""
        if not self._refused:
            first, longest = _PAUSE
            self._pause = min(longest, max(first, 2 * self._pause))
            self._next = self._monotonic() + self._pause
            self._refused = True

    def pause(self) -> float:
        """Return the seconds until the next look."""
        return max(0.0, self._next - self._monotonic())


class Dispatcher:
    """Passes each job to the executor of its task, as one function that runs it to its outcome."""

    def __init__(self, runners: Sequence[Runner], plain: Executor, loop: Loop | None) -> None:
        """`runners`: for each queue of the worker, by its number."""
        self._runners = runners
        self._plain = plain
        self._loop = loop
        self._ahead = LookAhead()
        self.inline = loop is None and plain.inline
        """Whether `submit` runs the job before it returns."""
        self._coroutines: set[TaskSpec] = set()
        """The tasks that are not ``async def`` and have returned a coroutine, as decorated ones do."""

    def open(self, broke: Broke) -> None:
        self._plain.open(broke)
        if self._loop is not None:
            self._loop.open(broke)

    def room(self) -> int:
        """Return how many more messages to claim now."""
        room = self._plain.room()
        return room if self._loop is None else self._ahead.room(self._loop.room(), room)

    def wait_room(self, timeout: float) -> None:
        """Wait up to `timeout` seconds until there is room."""
        if self._loop is None:
            self._plain.wait_room(timeout)
        elif self._loop.room():
            self._plain.wait_room(min(timeout, self._ahead.pause()))
        else:
            self._loop.wait_room(timeout)

    def submit(self, job: Job, wait: float = 0.0) -> bool:
        """Run a job, possibly before this returns; one of the loop runs after `wake`. Returns False if there is no room
        within `wait` seconds."""
        runner = self._runners[job.queue]
        if self._loop is None:
            return self._plain.submit(partial(runner.run, job, self._plain), wait)
        if self._is_coroutine(job):
            self._loop.submit(partial(runner.run_on_loop, job, self._loop.interrupter))
            return True
        placed = self._plain.submit(partial(runner.run, job, self._plain, partial(self._run_coroutine, job)), wait)
        if wait and not placed:
            self._ahead.refused()
        return placed

    def wake(self) -> None:
        """Let the loop run what was submitted to it: once for a batch, because each time wakes a thread."""
        if self._loop is not None:
            self._loop.wake()

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Wait until everything that was submitted has ended. Returns False if functions or coroutines take longer than
        `timeout` seconds."""
        return self._plain.wait_idle(timeout) and (self._loop is None or self._loop.wait_idle(timeout))

    def close(self) -> None:
        """Wait until what runs has ended, and accept nothing more."""
        if self._loop is None:
            self._plain.close()
        else:
            self._loop.stop_starting()
            self._plain.close()  # before the loop: functions there may have coroutines on it
            self._loop.close()

    def _is_coroutine(self, job: Job) -> bool:
        """Return whether the job runs on the loop. One without a task ends at once, so it does not need a thread."""
        task = job.task
        return task is None or task in self._coroutines or inspect.iscoroutinefunction(task.function)

    def _run_coroutine(self, job: Job, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine that a plain function has returned on the loop, and from now on the function too."""
        assert self._loop is not None
        assert job.task is not None
        self._coroutines.add(job.task)
        return self._loop.run_coroutine(job, coroutine)
