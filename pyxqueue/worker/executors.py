"""Where tasks run: inline, in threads, or on an event loop. The worker around them is the same.

An executor takes jobs and calls back when each is done; it does no I/O with the store and decides nothing.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import queue
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, Protocol

from attrs import define

from ..execution import Execution
from ..message import Aborted, Delivery, Outcome, Progress, Success
from ..task import TaskOptions
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


class Executor(Protocol):
    """Runs jobs. `submit` may run the job before it returns."""

    interrupter: Interrupter

    def open(self, begin: Begin, end: End) -> None: ...

    def room(self) -> int:
        """How many more jobs could start now."""
        ...

    def wait_room(self, timeout: float) -> None:
        """Wait up to `timeout` seconds until there is room."""
        ...

    def submit(self, job: Job) -> None: ...

    def wait_idle(self) -> None:
        """Wait until every submitted job has ended."""
        ...

    def close(self) -> None:
        """Let running jobs end; those that were not begun are dropped."""
        ...


class Inline:
    """Runs each job in the thread that submits it: no hop, so the fastest for short tasks."""

    def __init__(self, interrupter: Interrupter | None = None) -> None:
        in_main = threading.current_thread() is threading.main_thread()
        self.interrupter = interrupter or (SignalInterrupter() if in_main else ThreadInterrupter())
        self._coroutines = CoroutineRunner()
        self._surroundings: Surroundings | None = None

    def open(self, begin: Begin, end: End) -> None:
        self._begin, self._end = begin, end
        if isinstance(self.interrupter, SignalInterrupter):  # the main thread of a worker process
            self._surroundings = Surroundings()

    def room(self) -> int:
        return MAX_BATCH

    def wait_room(self, timeout: float) -> None:
        """There always is room."""

    def submit(self, job: Job) -> None:
        run_job(job, self._begin, self._end, self.interrupter, self._coroutines.run)
        if self._surroundings is not None:
            self._surroundings.put_back(getattr(job.delivery.message, "name", ""))

    def wait_idle(self) -> None:
        """Nothing runs outside of `submit`."""

    def close(self) -> None:
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


class CoroutineRunner:
    """Runs the odd ``async def`` task on a loop of its own that lives as long as the executor."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if _loop_runs_here():  # eager mode inside somebody's event loop
            return _in_own_thread(coroutine)
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(coroutine, context=contextvars.copy_context())

    def close(self) -> None:
        if self._runner is not None:
            self._runner.close()
            self._runner = None


def _loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _in_own_thread(coroutine: Coroutine[Any, Any, Any]) -> Any:
    answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def body() -> None:
        try:
            answers.put((asyncio.run(coroutine), None))
        except BaseException as error:  # noqa: BLE001 - carried over to the waiting thread
            answers.put((None, error))

    thread = threading.Thread(target=contextvars.copy_context().run, args=(body,), daemon=True)
    thread.start()
    value, error = answers.get()
    thread.join()
    if error is not None:
        raise error
    return value


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

    def wait(self, below: int, timeout: float | None = None) -> None:
        """Wait until fewer than `below` are under way."""
        with self._changed:
            self._changed.wait_for(lambda: self._busy < below, timeout)


class Threads:
    """Runs jobs in a fixed number of threads."""

    def __init__(self, threads: int) -> None:
        self.interrupter: Interrupter = ThreadInterrupter()
        self._count = threads
        self._load = Load(threads)
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def open(self, begin: Begin, end: End) -> None:
        self._begin, self._end = begin, end
        for number in range(self._count):
            thread = threading.Thread(target=self._serve, name=f"pyxqueue-task-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def room(self) -> int:
        return self._load.room()

    def wait_room(self, timeout: float) -> None:
        self._load.wait(self._count, timeout)

    def submit(self, job: Job) -> None:
        self._load.add()
        self._jobs.put(job)

    def wait_idle(self) -> None:
        self._load.wait(1)

    def close(self) -> None:
        try:
            while True:
                if self._jobs.get_nowait() is not None:
                    self._load.remove()
        except queue.Empty:
            pass
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        coroutines = CoroutineRunner()
        while (job := self._jobs.get()) is not None:
            try:
                run_job(job, self._begin, self._end, self.interrupter, coroutines.run)
            finally:
                self._load.remove()
        coroutines.close()


class Loop:
    """Runs ``async def`` tasks on an event loop in a thread of its own, and gives the others to a second executor."""

    def __init__(self, concurrency: int, plain: Executor) -> None:
        self.interrupter: Interrupter = self
        self._plain = plain
        self._load = Load(concurrency)
        self._loop = asyncio.new_event_loop()
        self._running: dict[object, asyncio.Task[None]] = {}
        self._cancelled: dict[object, int] = {}
        """How often each job was cancelled."""
        self._thread = threading.Thread(target=self._loop.run_forever, name="pyxqueue-loop", daemon=True)

    def open(self, begin: Begin, end: End) -> None:
        self._begin, self._end = begin, end
        self._plain.open(self._begin_plain, end)
        self._thread.start()

    def room(self) -> int:
        return self._load.room() if self._plain.room() else 0

    def wait_room(self, timeout: float) -> None:
        if self._plain.room():
            self._load.wait(self._load.limit, timeout)
        else:
            self._plain.wait_room(timeout)

    def submit(self, job: Job) -> None:
        self._plain.submit(job)

    def _begin_plain(self, job: Job) -> Execution | None:
        """Begin a job where plain functions run; a coroutine function is passed on to the loop."""
        execution = self._begin(job)
        if execution is None or not inspect.iscoroutinefunction(execution.task.function):
            return execution
        self._load.add()
        self._loop.call_soon_threadsafe(self._start, job, execution)
        return None

    def wait_idle(self) -> None:
        self._plain.wait_idle()
        self._load.wait(1)

    def close(self) -> None:
        self._plain.close()
        self._load.wait(1)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def limit(self, job: object, options: TaskOptions) -> AbstractContextManager[object]:
        return self._plain.interrupter.limit(job, options)

    def cancel(self, job: object, times: int = 1) -> None:
        self._plain.interrupter.cancel(job, times)
        self._loop.call_soon_threadsafe(self._cancel, job, times)

    def check(self) -> None:
        self._plain.interrupter.check()

    def _start(self, job: Job, execution: Execution) -> None:
        self._running[job] = self._loop.create_task(self._run(job, execution))

    async def _run(self, job: Job, execution: Execution) -> None:
        try:
            outcome = await execution.arun()
            if self._cancelled.pop(job, 0):
                outcome = outcome if isinstance(outcome, Success) else Aborted()
            self._end(job, outcome)
        finally:
            del self._running[job]
            self._load.remove()

    def _cancel(self, job: object, times: int) -> None:
        if (task := self._running.get(job)) is not None and self._cancelled.get(job, 0) < times:
            self._cancelled[job] = self._cancelled.get(job, 0) + 1
            task.cancel()
