"""Where coroutine functions run: many at once, on one event loop in a thread of its own.

The loop outlives what tasks do to it. A helper of a task (a task it created, a callback) that raises SystemExit or
KeyboardInterrupt ends `run_forever`, and so does ``loop.stop()``: the loop is run again, and the interrupter finds the
task to which the helper belongs.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import wait
from contextlib import suppress
from typing import Any

from .execution import end_fork
from .executors import Broke, Load
from .jobs import Job
from .loop_interrupts import MOMENT, SHORT, LoopInterrupter, log_unhandled, set_owner

AsyncRun = Callable[[], Coroutine[Any, Any, None]]
"""Everything that is to be done about one delivery."""


class Loop:
    """An event loop in a thread, with places for so many coroutines."""

    def __init__(self, concurrency: int) -> None:
        self._load = Load(concurrency)
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(log_unhandled)
        self.interrupter = LoopInterrupter(self._loop, self._is_busy)
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="pyxqueue-loop", daemon=True)

    def open(self, broke: Broke) -> None:
        self._broke = broke
        self._thread.start()

    def room(self) -> int:
        return self._load.room()

    def wait_room(self, timeout: float) -> None:
        self._load.wait(self._load.limit, timeout)

    def submit(self, run: AsyncRun) -> None:
        """Have it called on the loop. The caller has seen that there is room."""
        self._load.add()
        self._loop.call_soon_threadsafe(self._start, run)

    def run_coroutine(self, job: Job, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine of this job, which runs in a thread, to its end; called in that thread."""
        context = contextvars.copy_context()
        context.run(set_owner, job)
        future = context.run(asyncio.run_coroutine_threadsafe, coroutine, self._loop)
        try:
            while not wait([future], MOMENT).done:
                pass  # in steps: a thread that sleeps cannot be interrupted
            return future.result()
        finally:
            future.cancel()

    def wait_idle(self) -> None:
        self._load.wait(1)

    def stop_starting(self) -> None:
        """What was submitted and has not started is dropped from now on."""
        self._closing = True

    def close(self) -> None:
        """Let what has started end, and end the thread."""
        self.stop_starting()
        while self._thread.is_alive() and not self._load.wait(1, SHORT):
            pass  # what is on a loop that is gone never ends
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.set_task_factory(None)
            with suppress(RuntimeError, SystemExit, KeyboardInterrupt):  # of what tasks have left running
                self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _is_busy(self) -> bool:
        return self._load.room() < self._load.limit

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
        except BaseException as error:  # noqa: BLE001 - nothing runs on this loop any more
            self._broke(error)

    def _start(self, run: AsyncRun) -> None:
        asyncio.Task(self._run(run), loop=self._loop)  # not `create_task`: a task may have set a factory of its own

    async def _run(self, run: AsyncRun) -> None:
        try:
            if not self._closing:
                await run()
        except BaseException as error:  # noqa: BLE001 - ours: those of tasks are outcomes
            self._broke(error)
        finally:
            self._load.remove()
