"""Tasks on an event loop: many ``async def`` tasks at once in one thread, and plain functions in threads beside it.

The loop outlives what tasks do to it. A helper of a task (a task it created, a callback) that raises SystemExit or
KeyboardInterrupt ends `run_forever`, and so does ``loop.stop()``: the loop is run again, and the task whose helper it
was fails, unless it takes the exception itself, as one that awaits the helper does.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import wait
from contextlib import AbstractContextManager, suppress
from types import FrameType
from typing import Any

from attrs import define, field

from ..execution import AsyncLimit, end_fork
from ..failures import outcome_of
from ..message import Aborted, Success
from ..printable import class_of, indented, traceback_of
from ..task import Task, TaskOptions
from .events import log
from .executors import Hooks, Job, Load, Threads
from .limits import Interrupter
from .pace import Ahead

SLOW = 2.0
"""Seconds after which a loop that does not turn is worth a line in the log."""
_SHORT = 0.2
"""Seconds without a turn that count as none."""
_MOMENT = 0.05
"""Seconds in which an exception gets from a helper to who awaits it."""

_owner: contextvars.ContextVar[Job] = contextvars.ContextVar("pyxqueue_owner")
"""The job that a callback or a task of the loop belongs to."""


@define(eq=False)
class Run:
    """A job on the loop, from its first step to its end."""

    job: Job
    handle: asyncio.Task[None]
    limit: AsyncLimit | None = None
    """Its soft time limit."""
    cancelled: int = 0
    """How often it was told so."""
    exits: list[tuple[BaseException, asyncio.Task[Any] | None]] = field(factory=list)
    """What its helpers raised to end the process, each with the helper where that is a task."""

    def exit(self) -> BaseException | None:
        """The first of those that nobody has taken from the helper."""
        return next((error for error, helper in self.exits if getattr(helper, "_log_traceback", True)), None)


class Loop:
    """Runs ``async def`` tasks on an event loop in a thread of its own, and plain functions in some others."""

    def __init__(self, concurrency: int, threads: int, find: Callable[[str], Task[..., Any] | None]) -> None:
        """`find`: the task of a name."""
        self.interrupter: Interrupter = self
        self._plain = Threads(threads, self._adopt)
        self._find = find
        self._load = Load(concurrency)
        self._ahead = Ahead()
        self._loop = asyncio.new_event_loop()
        self._runs: dict[object, Run] = {}
        self._coroutines: set[str] = set()
        """Names of tasks that are no ``async def`` and returned a coroutine, as decorated ones do."""
        self._closing = False
        self._stall = Stall(self._loop, self._runs)
        self._thread = threading.Thread(target=self._serve, name="pyxqueue-loop", daemon=True)

    def open(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._plain.open(hooks)
        self._thread.start()

    # Where there is a place

    def room(self) -> int:
        return self._ahead.room(self._load.room(), self._plain.room())

    def wait_room(self, timeout: float) -> None:
        if self._load.room():
            self._plain.wait_room(min(timeout, self._ahead.pause()))
        else:
            self._load.wait(self._load.limit, timeout)

    def submit(self, job: Job, wait: float = 0.0) -> bool:
        if self._is_plain(job):
            placed = self._plain.submit(job, wait)
            if wait and not placed:
                self._ahead.refused()
            return placed
        self._load.add()
        self._loop.call_soon_threadsafe(self._start, job)
        return True

    def _is_plain(self, job: Job) -> bool:
        """Whether a function is to be called that may block; what has no task here only takes a look."""
        name = getattr(job.delivery.message, "name", "")
        task = self._find(name)
        return task is not None and name not in self._coroutines and not inspect.iscoroutinefunction(task.function)

    def wait_idle(self) -> None:
        self._plain.wait_idle()
        self._load.wait(1)

    def close(self) -> None:
        self._closing = True
        self._plain.close()
        while self._thread.is_alive() and not self._load.wait(1, _SHORT):
            pass  # jobs on a loop that is gone never end
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.set_task_factory(None)
            with suppress(RuntimeError, SystemExit, KeyboardInterrupt):  # of what tasks have left running
                self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    # The thread of the loop

    def _serve(self) -> None:
        process = os.getpid()
        try:
            while not (self._closing and self._load.room() == self._load.limit):
                try:
                    self._loop.run_forever()
                except (SystemExit, KeyboardInterrupt) as error:
                    if os.getpid() != process:
                        end_fork(error)
                    self._exited(error)
        except BaseException as error:  # noqa: BLE001 - nothing runs on this loop any more
            self._hooks.broke(error)

    def _start(self, job: Job) -> None:
        asyncio.Task(self._run(job), loop=self._loop)  # not `create_task`: a task may have set a factory of its own

    async def _run(self, job: Job) -> None:
        handle = asyncio.current_task()
        assert handle is not None
        run = self._runs[job] = Run(job, handle)
        _owner.set(job)
        try:
            if self._closing or (execution := self._hooks.begin(job)) is None:
                return
            run.limit = AsyncLimit(execution.task.options)
            outcome = await execution.arun(run.limit)
            if (error := run.exit()) is not None:
                outcome = outcome_of(error, execution.task.options)
            elif run.cancelled and not isinstance(outcome, Success):
                outcome = Aborted()
            self._hooks.end(job, outcome)
        except BaseException as error:  # noqa: BLE001 - ours: those of tasks are outcomes
            self._hooks.broke(error)
        finally:
            del self._runs[job]
            self._load.remove()

    def _exited(self, error: BaseException) -> None:
        """Something on the loop raised what is to end the process: find the task that it belongs to."""
        callback = _callback(frame for frame, _ in traceback.walk_tb(error.__traceback__))
        job, helper = _owner_of(callback), getattr(getattr(callback, "_callback", None), "__self__", None)
        if (run := self._runs.get(job)) is None:
            text = "%s raised %s on the event loop, which goes on\n%s"
            log.error(text, _what(job), class_of(error), indented(traceback_of(error)))
            return
        run.exits.append((error, helper if isinstance(helper, asyncio.Task) else None))
        self._loop.call_later(_MOMENT, self._fail, run)

    def _fail(self, run: Run) -> None:
        """Have the task end, unless the exception has reached it."""
        if run.exit() is not None and self._runs.get(run.job) is run:
            run.handle.cancel()

    # The threads of plain functions

    def _adopt(self, job: Job, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """A plain function has returned a coroutine: run it on the loop, and call the next such function there."""
        self._coroutines.add(getattr(job.delivery.message, "name", ""))
        context = contextvars.copy_context()
        context.run(_owner.set, job)
        future = context.run(asyncio.run_coroutine_threadsafe, coroutine, self._loop)
        try:
            while not wait([future], _MOMENT).done:
                pass  # in steps: a thread that sleeps cannot be interrupted
            return future.result()
        finally:
            future.cancel()

    # The thread that keeps

    def limit(self, job: object, options: TaskOptions) -> AbstractContextManager[object]:
        return self._plain.interrupter.limit(job, options)

    def cancel(self, job: object, times: int = 1) -> None:
        self._plain.interrupter.cancel(job, times)
        self._loop.call_soon_threadsafe(self._cancel, job, times)

    def check(self) -> None:
        self._plain.interrupter.check()
        if self._runs or self._load.room() < self._load.limit:
            self._stall.check(self._thread.ident or 0, self._hooks.postpone)

    def _cancel(self, job: object, times: int) -> None:
        if (run := self._runs.get(job)) is not None and run.cancelled < times:
            run.cancelled += 1
            run.handle.cancel()


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

    def check(self, thread: int, postpone: Callable[[Job, float], None]) -> None:
        """Called every moment from another thread than the loop's, which is `thread`."""
        now, asked = self._monotonic(), self._asked
        if asked is None:
            self._asked = self._counted = now
            self._said, self._holder = False, None
            self._loop.call_soon_threadsafe(self._turned)
        elif now - asked >= _SHORT:
            self._held(thread, now, now - asked, postpone)

    def _held(self, thread: int, now: float, seconds: float, postpone: Callable[[Job, float], None]) -> None:
        frame = sys._current_frames().get(thread)  # noqa: SLF001 - there is no other way to see another thread
        holder = _owner_of(_callback(_outwards(frame)))
        if holder is not None:
            self._holder = holder
            for job in [run.job for run in list(self._runs.values())]:
                if job is not holder:
                    postpone(job, now - self._counted)
        self._counted = now
        if seconds >= SLOW and not self._said:
            self._said = True
            stack = indented("".join(traceback.format_stack(frame)))
            log.warning("the event loop has not turned for %.1f s: %s holds it\n%s", seconds, _what(holder), stack)

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
