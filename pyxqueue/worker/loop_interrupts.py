"""Interrupting coroutines on an event loop, and telling whose code on it does what."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
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
"""Seconds after which a loop that does not turn is worth a line in the log."""
SHORT = 0.2
"""Seconds without a turn that count as none."""
MOMENT = 0.05
"""Seconds in which an exception gets from a helper to the code that awaits it."""

_owner: contextvars.ContextVar[Job] = contextvars.ContextVar("pyxqueue_owner")
"""The job that a callback or a task of the loop belongs to."""


def set_owner(job: Job) -> None:
    """What is created in this context belongs to the job."""
    _owner.set(job)


class AsyncLimit:
    """The soft time limit of an ``async def`` task: it is cancelled at its end, and once more if it goes on."""

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
        """Give the task so much more time, if it still has some; to be called on its loop."""
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
    """How often it was told so."""
    exits: list[tuple[BaseException, asyncio.Task[Any] | None]] = field(factory=list)
    """What its helpers raised to end the process, each with the helper where that is a task."""

    def exit(self) -> BaseException | None:
        """The first of those that no code has taken from the helper."""
        return next((error for error, helper in self.exits if getattr(helper, "_log_traceback", True)), None)

    def judge(self, outcome: Outcome, options: TaskOptions) -> Outcome:
        """The task's own outcome, unless it was cancelled, or a helper of it wanted to end the process."""
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

    A task whose helper raises what is to end the process fails, unless it takes the exception itself, as one that
    awaits the helper does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, is_busy: Callable[[], bool]) -> None:
        """`is_busy`: whether anything waits for the loop."""
        self._loop = loop
        self._is_busy = is_busy
        self._runs: dict[object, Run] = {}
        self._stall = Stall(loop, self._runs)
        self.thread = 0
        """In which the loop runs."""

    # On the loop

    def enter(self, job: Job) -> Run:
        """The current `asyncio.Task` runs this job from now on."""
        handle = asyncio.current_task()
        assert handle is not None
        run = self._runs[job] = Run(job, handle)
        _owner.set(job)
        return run

    def leave(self, job: Job) -> None:
        del self._runs[job]

    def helper_exited(self, error: BaseException) -> None:
        """Something on the loop raised what is to end the process: find the task that it belongs to."""
        callback = _callback(frame for frame, _ in traceback.walk_tb(error.__traceback__))
        job, helper = _owner_of(callback), getattr(getattr(callback, "_callback", None), "__self__", None)
        if (run := self._runs.get(job)) is None:
            text = "%s raised %s on the event loop, which goes on\n%s"
            log.error(text, _what(job), class_of(error), indented(traceback_of(error)))
            return
        run.exits.append((error, helper if isinstance(helper, asyncio.Task) else None))
        self._loop.call_later(MOMENT, self._fail, run)

    def _fail(self, run: Run) -> None:
        """Have the task end, unless the exception has reached it."""
        if run.exit() is not None and self._runs.get(run.job) is run:
            run.handle.cancel()

    def _cancel(self, job: object, times: int) -> None:
        if (run := self._runs.get(job)) is not None and run.cancelled < times:
            run.cancelled += 1
            run.handle.cancel()

    # In another thread

    def cancel(self, job: object, times: int = 1) -> None:
        """Cancel this job, if it runs, until that was done `times` times."""
        self._loop.call_soon_threadsafe(self._cancel, job, times)

    def check(self) -> Sequence[tuple[Job, float]]:
        """Called every moment. Returns the jobs that were kept from running, and for how many seconds."""
        return self._stall.check(self.thread) if self._is_busy() else ()


class Stall:
    """Watches whether the loop turns, and whose code holds it when it does not.

    What waits for the loop meanwhile is not to blame: its limits, soft and hard, move by as much.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, runs: dict[object, Run], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._loop = loop
        self._runs = runs
        self._monotonic = monotonic
        self._asked: float | None = None
        """Since when the loop has been asked to turn, and has not."""
        self._counted = 0.0
        self._said = False
        self._holder: Job | None = None

    def check(self, thread: int) -> list[tuple[Job, float]]:
        """Called every moment from another thread than the loop's, which is `thread`. Returns the jobs that another
        one has kept from running since the last call, and for how many seconds."""
        now, asked = self._monotonic(), self._asked
        if asked is None:
            self._asked = self._counted = now
            self._said, self._holder = False, None
            self._loop.call_soon_threadsafe(self._turned)
        elif now - asked >= SHORT:
            return self._held(thread, now, now - asked)
        return []

    def _held(self, thread: int, now: float, seconds: float) -> list[tuple[Job, float]]:
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
            log.warning("the event loop has not turned for %.1f s: %s holds it\n%s", seconds, _what(holder), stack)
        return kept

    def _turned(self) -> None:
        """On the loop, before the timers that have become due meanwhile."""
        holder, held = self._holder, self._monotonic() - (self._asked or 0.0)
        self._asked = None
        if holder is not None:
            for job, run in self._runs.items():
                if job is not holder and run.limit is not None:
                    run.limit.postpone(held)


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _callback(frames: Iterator[FrameType]) -> asyncio.Handle | None:
    """The callback of the loop that these frames are inside of; None on a loop that is not written in Python."""
    for frame in frames:
        if frame.f_code is asyncio.Handle._run.__code__:  # noqa: SLF001
            handle: asyncio.Handle = frame.f_locals["self"]
            return handle
    return None


def _owner_of(callback: asyncio.Handle | None) -> Job | None:
    context: contextvars.Context | None = getattr(callback, "_context", None)
    return None if context is None else context.get(_owner)


def _what(job: Job | None) -> str:
    """A job, for the log."""
    message = None if job is None else job.delivery.message
    return "something" if message is None else f"{getattr(message, 'name', '?')} {message.id}"
