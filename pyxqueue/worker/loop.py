"""Runs coroutine functions: many at once, on one event loop in a thread of its own.

The loop survives what tasks do to it. A helper of a task (a callback, or an `asyncio.Task` that it made) that raises
`SystemExit` or `KeyboardInterrupt` ends `run_forever`, and so does ``loop.stop()``. Then the loop runs again, and the
interrupter finds the job that the helper belongs to.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from ..waking import Bell
from .batch_sizer import MAX_BATCH
from .execution import end_fork
from .executors import Broke
from .jobs import Job
from .loop_interrupts import MOMENT, SHORT, LoopInterrupter, log_unhandled, set_owner
from .places import Ahead, Places

AsyncRun = Callable[[], Coroutine[Any, Any, None]]
"""A coroutine function that runs one delivery to its outcome."""


_FEW = 8
"""So many jobs are claimed ahead if they end fast, even with very few places."""


class _Beside:
    """A coroutine that runs on the loop, while a thread waits for it.

    The thread may be interrupted anywhere. So it does not lock what the loop needs: the locks of a
    `concurrent.futures.Future`, which are locked by code in Python, could stay locked for ever.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Future[Any] | None = None
        self._bell = Bell()

    def start(self) -> None:
        """Start it, on the loop."""
        self._task = asyncio.ensure_future(self._coroutine)
        self._task.add_done_callback(lambda _: self._bell.ring())

    def cancel(self) -> None:
        """Cancel it, on the loop."""
        if self._task is None:
            self._coroutine.close()
        else:
            self._task.cancel()

    @property
    def is_over(self) -> bool:
        return self._task is not None and self._task.done()

    def result(self) -> Any:
        """Wait for it, in the thread, and return what it returns."""
        while not self.is_over:
            self._bell.wait(MOMENT)  # in steps: a thread that sleeps cannot be interrupted
        assert self._task is not None
        return self._task.result()


class Loop:
    """An event loop in a thread, which runs at most `concurrency` jobs at once.

    It holds more that were claimed ahead.
    """

    def __init__(self, concurrency: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        longest = min(MAX_BATCH, max(_FEW, concurrency // 2))
        self._places = Places(concurrency, Ahead(longest, monotonic))
        self._submitted: deque[AsyncRun] = deque()
        self._waiting: deque[AsyncRun] = deque()
        """What was claimed ahead. Only the thread of the loop uses it."""
        self._running = 0
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(log_unhandled)
        self.interrupter = LoopInterrupter(self._loop, self._is_busy)
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="pyxqueue-loop", daemon=True)

    def open(self, broke: Broke) -> None:
        self._broke = broke
        self._context = contextvars.copy_context()
        self._thread.start()

    def room(self) -> int:
        """Return how many more jobs to claim now."""
        return self._places.room()

    def wait_room(self, timeout: float) -> None:
        self._places.wait_room(timeout)

    def submit(self, run: AsyncRun) -> None:
        """Hold a job for the loop, until `wake`. The caller has made sure that there is room."""
        self._places.add()
        self._submitted.append(run)

    def wake(self) -> None:
        """Let the loop run what was submitted."""
        if self._submitted:
            self._loop.call_soon_threadsafe(self._take)

    def run_coroutine(self, job: Job, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine that a plain function has returned, on the loop. Called in the function's thread."""
        context = contextvars.copy_context()
        context.run(set_owner, job)
        beside = _Beside(coroutine)
        try:
            self._loop.call_soon_threadsafe(beside.start, context=context)
            return beside.result()
        finally:
            if not beside.is_over:
                self._loop.call_soon_threadsafe(beside.cancel)

    def wait_idle(self, timeout: float | None = None) -> bool:
        return self._places.wait_idle(timeout)

    def stop_starting(self) -> None:
        """Drop what was submitted and has not started."""
        self._closing = True

    def close(self) -> None:
        """Wait until what has started ends, then end the thread."""
        self.stop_starting()
        while self._thread.is_alive() and not self._places.wait_idle(SHORT):
            pass  # what is on a loop that has failed never ends
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.set_task_factory(None)
            with suppress(RuntimeError, SystemExit, KeyboardInterrupt):  # raised by what tasks left running
                self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _is_busy(self) -> bool:
        return self._places.busy > 0

    # The thread of the loop

    def _serve(self) -> None:
        process = os.getpid()
        self.interrupter.thread = threading.get_ident()
        try:
            while not (self._closing and not self._is_busy()):
                try:
                    self._loop.run_forever()
                except (SystemExit, KeyboardInterrupt) as error:
                    if os.getpid() != process:
                        end_fork(error)
                    self.interrupter.helper_exited(error)
        except BaseException as error:  # noqa: BLE001 - the loop cannot go on
            self._broke(error)

    def _take(self) -> None:
        while self._submitted:
            self._waiting.append(self._submitted.popleft())
        self._fill()

    def _fill(self) -> None:
        """Start what waits, as far as there are free places."""
        while self._waiting and self._running < self._places.count:
            self._running += 1
            self._start(self._waiting.popleft())

    def _start(self, run: AsyncRun) -> None:
        # Not in the current context, which may be that of the task before it. Not `create_task`: a task may have set a
        # factory of its own.
        asyncio.Task(self._run(run), loop=self._loop, context=self._context.copy())

    async def _run(self, run: AsyncRun) -> None:
        try:
            if not self._closing:
                await run()
        except BaseException as error:  # noqa: BLE001 - not the error of a task: those are outcomes
            self._broke(error)
        finally:
            self._running -= 1
            self._places.remove()
            self._fill()
