"""Interrupts coroutines on an event loop, and finds the job that code on the loop belongs to."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

from attrs import define, field

from ..model.message import Aborted, Outcome, Returned
from ..options import TaskOptions
from ..printable import class_of, indented, traceback_of
from .events import Throttle, log
from .failures import outcome_of
from .jobs import Job

SLOW = 2.0
"""A loop that is blocked for longer than so many seconds is logged."""
SHORT = 0.2
"""Blocking the loop for fewer seconds than this does not count."""
MOMENT = 0.05
"""How many seconds an exception has to get from a helper to the code that awaits it."""

_owner: contextvars.ContextVar[Job] = contextvars.ContextVar("pyxqueue_owner")
"""The job that a callback or a task of the loop belongs to."""


def set_owner(job: Job) -> None:
    """Note that what is created in this context belongs to the job."""
    _owner.set(job)


class AsyncLimit:
    """The soft time limit of a job on the loop: the job is cancelled when it has passed, and again if it goes on."""

    def __init__(self, options: TaskOptions) -> None:
        self._seconds = [one for one in (options.timeout, options.reminder) if one is not None]
        self._task: asyncio.Task[Any] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self.expired = False

    def __enter__(self) -> None:
        if self._seconds:
            self._task, loop = asyncio.current_task(), asyncio.get_running_loop()
            self._timers = [loop.call_later(one, self._expire) for one in self._seconds]

    def __exit__(self, *_: object) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = []

    def _expire(self) -> None:
        self.expired = True
        if self._task is not None:
            self._task.cancel()

    def postpone(self, seconds: float) -> None:
        """Give the job so many seconds more, unless its time is up. Called on the loop."""
        if self._timers and not self.expired:
            moments = [timer.when() + seconds for timer in self._timers]
            self.__exit__()
            loop = asyncio.get_running_loop()
            self._timers = [loop.call_at(moment, self._expire) for moment in moments]


@define(eq=False)
class Run:
    """A job on the loop, from its first step to its end."""

    job: Job
    handle: asyncio.Task[Any]
    limit: AsyncLimit | None = None
    """Its soft time limit."""
    cancelled: int = 0
    """How often it was cancelled."""
    exits: list[tuple[BaseException, asyncio.Task[Any] | None]] = field(factory=list)
    """Each `SystemExit` and `KeyboardInterrupt` that a helper raised, with the helper if that is an `asyncio.Task`."""

    def exit(self) -> BaseException | None:
        """Return the first of `exits` that no code has retrieved from its helper."""
        return next((error for error, helper in self.exits if getattr(helper, "_log_traceback", True)), None)

    def judge(self, outcome: Outcome, options: TaskOptions) -> Outcome:
        """Return the outcome of the job: that of its function, unless it was cancelled or a helper raised an exit."""
        if self.exits and (error := self.exit()) is not None:
            return outcome_of(error, options)
        if self.cancelled and not isinstance(outcome, Returned):
            return Aborted()
        return outcome


_unhandled = Throttle("%d more exceptions were handled by no code on the event loop")


def log_unhandled(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The exception handler of a worker's loop: logs what asyncio would, such as that an exception was never retrieved.
    It never raises."""
    job = _owner_of(context.get("handle"))
    error = context.get("exception")
    text = "%s, on the event loop: %s"
    _unhandled.log(logging.ERROR, text, _what(job), context.get("message"), exc_info=error)


class LoopInterrupter:
    """For tasks that run on an event loop.

    If a helper of a task raises `SystemExit` or `KeyboardInterrupt`, the task fails, unless its own code retrieves the
    exception, as code that awaits the helper does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, is_busy: Callable[[], bool]) -> None:
        """`is_busy` returns whether the loop has a job."""
        self._loop = loop
        self._is_busy = is_busy
        self._runs: dict[object, Run] = {}
        self._stall = Stall(loop, self._runs)
        self.thread = 0
        """The id of the thread in which the loop runs."""

    # On the loop

    def enter(self, job: Job) -> Run:
        """Note that the current `asyncio.Task` runs this job."""
        handle = asyncio.current_task()
        assert handle is not None
        run = self._runs[job] = Run(job, handle)
        _owner.set(job)
        return run

    def leave(self, job: Job) -> None:
        del self._runs[job]

    def helper_exited(self, error: BaseException) -> None:
        """Note `error`, with which a helper has ended `run_forever`, as an exit of the helper's job."""
        callback = _callback(frame for frame, _ in traceback.walk_tb(error.__traceback__))
        job, helper = _owner_of(callback), getattr(getattr(callback, "_callback", None), "__self__", None)
        if (run := self._runs.get(job)) is None:
            text = "%s raised %s on the event loop, which goes on\n%s"
            log.error(text, _what(job), class_of(error), indented(traceback_of(error)))
            return
        run.exits.append((error, helper if isinstance(helper, asyncio.Task) else None))
        self._loop.call_later(MOMENT, self._fail, run)

    def _fail(self, run: Run) -> None:
        """Cancel a job, unless the exception of its helper has reached it."""
        if run.exit() is not None and self._runs.get(run.job) is run:
            run.handle.cancel()

    def _cancel(self, job: object, times: int) -> None:
        if (run := self._runs.get(job)) is not None and run.cancelled < times:
            run.cancelled += 1
            run.handle.cancel()

    # In another thread

    def cancel(self, job: object, times: int = 1) -> None:
        """Cancel a job that runs, unless that was done `times` times already."""
        if job in self._runs:
            with suppress(RuntimeError):  # it has just ended, and the loop was closed
                self._loop.call_soon_threadsafe(self._cancel, job, times)

    def check(self) -> Sequence[tuple[Job, float]]:
        """Return the jobs that another job has kept from running since the last call, and for how many seconds."""
        return self._stall.check(self.thread) if self._is_busy() else ()


class Stall:
    """Notices when a job blocks the loop, and which one it is.

    The other jobs are not to blame: their time limits, soft and hard, move by as much.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, runs: dict[object, Run], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._loop = loop
        self._runs = runs
        self._monotonic = monotonic
        self._asked: float | None = None
        """When the loop was asked for a sign of life; None if it has given one since."""
        self._counted = 0.0
        self._said = False
        self._holder: Job | None = None

    def check(self, thread: int) -> list[tuple[Job, float]]:
        """Check the loop, which runs in `thread`, from another thread. Returns the jobs that another job has kept from
        running since the last call, and for how many seconds."""
        now, asked = self._monotonic(), self._asked
        if asked is None:
            self._asked = self._counted = now
            self._said, self._holder = False, None
            with suppress(RuntimeError):  # as above
                self._loop.call_soon_threadsafe(self._responded)
        elif now - asked >= SHORT:
            return self._blocked(thread, now, now - asked)
        return []

    def _blocked(self, thread: int, now: float, seconds: float) -> list[tuple[Job, float]]:
        frame = sys._current_frames().get(thread)  # noqa: SLF001 - there is no other way to see another thread
        holder = _owner_of(_callback(_outwards(frame)))
        kept = []
        if holder is not None:
            self._holder = holder
            kept = [(run.job, now - self._counted) for run in list(self._runs.values()) if run.job is not holder]
        self._counted = now
        if seconds >= SLOW and not self._said:
            self._said = True
            stack = indented("".join(traceback.format_stack(frame)))
            log.warning("the event loop has been blocked for %.1f s by %s\n%s", seconds, _what(holder), stack)
        return kept

    def _responded(self) -> None:
        """Move the soft limits. Called on the loop, before the timers that have become due meanwhile."""
        holder, blocked = self._holder, self._monotonic() - (self._asked or 0.0)
        self._asked = None
        if holder is not None:
            for job, run in self._runs.items():
                if job is not holder and run.limit is not None:
                    run.limit.postpone(blocked)


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _callback(frames: Iterator[FrameType]) -> asyncio.Handle | None:
    """Return the callback of the loop that these frames belong to; None if the loop is not written in Python."""
    for frame in frames:
        if frame.f_code is asyncio.Handle._run.__code__:  # noqa: SLF001
            handle: asyncio.Handle = frame.f_locals["self"]
            return handle
    return None


def _owner_of(callback: asyncio.Handle | None) -> Job | None:
    context: contextvars.Context | None = getattr(callback, "_context", None)
    return None if context is None else context.get(_owner)


def _what(job: Job | None) -> str:
    """Describe a job for the log."""
    message = None if job is None else job.delivery.message
    return "something" if message is None else f"{getattr(message, 'name', '?')} {message.id}"
