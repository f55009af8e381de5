"""Where tasks run: inline, in threads, or (in `loop`) on an event loop. The worker around them is the same.

An executor takes jobs and calls back when each is done; it does no I/O with the store and decides nothing.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from attrs import define, frozen

from ..execution import Execution
from ..message import Delivery, Outcome, Progress
from .coroutines import CoroutineRunner
from .limits import Interrupter, SignalInterrupter, ThreadInterrupter
from .pace import MAX_BATCH
from .surroundings import Surroundings


@define(eq=False)
class Job:
    """One delivery on its way through this process."""

    delivery: Delivery
    slot: int
    progress: Progress | None = None
    unsent: bool = False
    """`progress` has changed since it was last sent."""

    def report(self, progress: Progress) -> None:
        self.progress = progress
        self.unsent = True


Begin = Callable[[Job], "Execution | None"]
"""Marks the job as started and prepares it; None if there is nothing to run (handed back, or settled otherwise)."""
End = Callable[[Job, Outcome], None]
RunCoroutine = Callable[[Job, Coroutine[Any, Any, Any]], Any]


@frozen
class Hooks:
    """What an executor calls, in its threads."""

    begin: Begin
    end: End
    broke: Callable[[BaseException], None]
    """One of its threads is about to end with this, and what it ran is in nobody's hands."""
    postpone: Callable[[Job, float], None]
    """A job could not run for so many seconds, through no fault of its own: its hard limit moves by as much."""


class Executor(Protocol):
    """Runs jobs."""

    interrupter: Interrupter

    def open(self, hooks: Hooks) -> None: ...

    def room(self) -> int:
        """How many more jobs could start now."""
        ...

    def wait_room(self, timeout: float) -> None:
        """Wait up to `timeout` seconds until there is room."""
        ...

    def submit(self, job: Job, wait: float = 0.0) -> bool:
        """Have it run, perhaps before this returns; False if there is no place for it within `wait` seconds."""
        ...

    def wait_idle(self) -> None:
        """Wait until every submitted job has ended."""
        ...

    def close(self) -> None:
        """Let running jobs end; those that were not begun are dropped."""
        ...


class Inline:
    """Runs each job in the thread that submits it: no hop, so the fastest for short tasks."""

    def __init__(self, interrupter: Interrupter | None = None, coroutines: CoroutineRunner | None = None) -> None:
        """`coroutines`: where a coroutine runs that a task returns; closed by who gave it."""
        in_main = threading.current_thread() is threading.main_thread()
        self.interrupter = interrupter or (SignalInterrupter() if in_main else ThreadInterrupter())
        self._owned = coroutines is None
        self._coroutines = coroutines or CoroutineRunner()
        self._surroundings: Surroundings | None = None

    def open(self, hooks: Hooks) -> None:
        self._begin, self._end = hooks.begin, hooks.end
        if isinstance(self.interrupter, SignalInterrupter):  # the main thread of a worker process
            self._surroundings = Surroundings()

    def room(self) -> int:
        return MAX_BATCH

    def wait_room(self, timeout: float) -> None:
        """There always is room."""

    def submit(self, job: Job, wait: float = 0.0) -> bool:  # noqa: ARG002 - there always is a place
        run_job(job, self._begin, self._end, self.interrupter, self._coroutines.run)
        if self._surroundings is not None:
            self._surroundings.put_back(getattr(job.delivery.message, "name", ""))
        return True

    def wait_idle(self) -> None:
        """Nothing runs outside of `submit`."""

    def close(self) -> None:
        if self._owned:
            self._coroutines.close()


def run_job(
    job: Job,
    begin: Begin,
    end: End,
    interrupter: Interrupter,
    run_coroutine: Callable[[Coroutine[Any, Any, Any]], Any],
) -> None:
    """Begin, run and end one job in this thread."""
    execution = begin(job)
    if execution is not None:
        end(job, execution.run(lambda options: interrupter.limit(job, options), run_coroutine))


class Load:
    """Counts the jobs that were submitted and have not ended."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._busy = 0
        self._changed = threading.Condition()

    def add(self) -> None:
        with self._changed:
            self._busy += 1

    def remove(self) -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()

    def room(self) -> int:
        return max(0, self.limit - self._busy)

    def wait(self, below: int, timeout: float | None = None) -> bool:
        """Wait until fewer than `below` are under way; False if the time was up before."""
        with self._changed:
            return self._changed.wait_for(lambda: self._busy < below, timeout)


class Threads:
    """Runs jobs in a fixed number of threads."""

    def __init__(self, threads: int, run_coroutine: RunCoroutine | None = None) -> None:
        """`run_coroutine`: runs a coroutine that a task returns; None: a loop of the thread it was returned in."""
        self.interrupter: Interrupter = ThreadInterrupter()
        self._count = threads
        self._run_coroutine = run_coroutine
        self._load = Load(threads)
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def open(self, hooks: Hooks) -> None:
        self._hooks = hooks
        for number in range(self._count):
            thread = threading.Thread(target=self._serve, name=f"pyxqueue-task-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def room(self) -> int:
        return self._load.room()

    def wait_room(self, timeout: float) -> None:
        self._load.wait(self._count, timeout)

    def submit(self, job: Job, wait: float = 0.0) -> bool:
        if not self._load.room() and not self._load.wait(self._count, max(0.0, wait)):
            return False
        self._load.add()
        self._jobs.put(job)
        return True

    def wait_idle(self) -> None:
        self._load.wait(1)

    def close(self) -> None:
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        coroutines, hooks = CoroutineRunner(), self._hooks
        try:
            while (job := self._jobs.get()) is not None:
                run = coroutines.run if self._run_coroutine is None else partial(self._run_coroutine, job)
                try:
                    run_job(job, hooks.begin, hooks.end, self.interrupter, run)
                finally:
                    self._load.remove()
            coroutines.close()
        except BaseException as error:  # noqa: BLE001 - no task's: those are outcomes
            hooks.broke(error)
