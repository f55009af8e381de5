"""Where a delivery runs: coroutine functions on the event loop, if there is one, all others in the plain executor."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from .executors import Broke, Executor
from .jobs import Job
from .loop import Loop
from .running import Runner

LOOK = 64
"""How many messages are looked at beyond what has a place."""
_PAUSE = 0.05, 1.0
"""Seconds between two such looks: at first, and at the most."""


class LookAhead:
    """How many messages to claim where ``async def`` tasks have places of their own beside those of plain functions.

    What a message is for is only known once it is claimed. While plain functions find places, every place of the loop
    may be claimed for. When some had to be handed back, only what has a place for certain is claimed, with a look at
    more of the line now and then, for there may be work for the loop behind those functions.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._pause = 0.0
        self._next = 0.0
        self._refused = False

    def room(self, loop: int, threads: int) -> int:
        """How many to claim now, with so many places free."""
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
        """Plain functions found no place and were handed back."""
        if not self._refused:
            first, longest = _PAUSE
            self._pause = min(longest, max(first, 2 * self._pause))
            self._next = self._monotonic() + self._pause
            self._refused = True

    def pause(self) -> float:
        """Seconds until the next look."""
        return max(0.0, self._next - self._monotonic())


class Dispatcher:
    """Gives each job to the executor that its task belongs to, as one function that does everything about it."""

    def __init__(self, runner: Runner, plain: Executor, loop: Loop | None) -> None:
        self._runner = runner
        self._plain = plain
        self._loop = loop
        self._ahead = LookAhead()
        self._coroutines: set[str] = set()
        """Names of tasks that are no ``async def`` and returned a coroutine, as decorated ones do."""

    def open(self, broke: Broke) -> None:
        self._plain.open(broke)
        if self._loop is not None:
            self._loop.open(broke)

    def room(self) -> int:
        """How many more deliveries to claim now."""
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
        """Run it, perhaps before this returns; return False if there is no room for it within `wait` seconds."""
        if self._loop is None:
            return self._plain.submit(partial(self._runner.run, job, self._plain), wait)
        if self._is_coroutine(job):
            self._loop.submit(partial(self._runner.run_on_loop, job, self._loop.interrupter))
            return True
        placed = self._plain.submit(partial(self._runner.run, job, self._plain, partial(self._adopt, job)), wait)
        if wait and not placed:
            self._ahead.refused()
        return placed

    def wait_idle(self) -> None:
        """Wait until everything that was submitted has ended."""
        self._plain.wait_idle()
        if self._loop is not None:
            self._loop.wait_idle()

    def close(self) -> None:
        """Let what runs end, and take no more."""
        if self._loop is None:
            self._plain.close()
        else:
            self._loop.stop_starting()
            self._plain.close()  # before the loop: functions there may have coroutines on it
            self._loop.close()

    def _is_coroutine(self, job: Job) -> bool:
        """Whether it blocks no thread. That it has no task here, or another fault, is found out on the loop too."""
        task = job.task
        return task is None or task.name in self._coroutines or inspect.iscoroutinefunction(task.function)

    def _adopt(self, job: Job, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """A plain function has returned a coroutine: run it on the loop, and call the next such function there."""
        assert self._loop is not None
        assert job.task is not None
        self._coroutines.add(job.task.name)
        return self._loop.run_coroutine(job, coroutine)
