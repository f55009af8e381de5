"""Runs one delivery: all steps from its start until its outcome waits to be settled."""

from __future__ import annotations

import asyncio
import contextvars
import time
from asyncio import CancelledError
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from attrs import define

from ..codec import Codec
from ..model.message import Message, Outcome
from .beginning import Beginner
from .execution import Enter, Execution, prepare
from .executors import Executor
from .failures import outcome_of
from .inputs import InputReader
from .jobs import Job, Jobs, Ran
from .loop_interrupts import AsyncLimit, LoopInterrupter
from .reporting import Reporter
from .steps import StepKeeper

T = TypeVar("T")


@define(eq=False)
class Runner:
    """Runs a job: notes that it started, decodes its arguments, calls the function, hands over the outcome.

    `run` and `run_on_loop` never raise, whatever the task does.
    """

    jobs: Jobs
    codec: Codec
    reporter: Reporter
    beginner: Beginner
    hand_over: Callable[[Ran], None]
    """Takes what is to be settled."""
    chance: Callable[[], float]
    inputs: InputReader
    keeper: StepKeeper
    eager: bool = False
    """Whether a job starts as soon as it is claimed, on a clock that stands still."""
    around: Enter | None = None
    """Enters what plugins have around the function of a task."""
    base: contextvars.Context | None = None
    """What functions run in copies of, if not of the context of the thread."""

    def run(
        self, job: Job, executor: Executor, run_coroutine: Callable[[Coroutine[Any, Any, Any]], Any] | None = None
    ) -> None:
        """Run a job in this thread, which belongs to the executor. If the function returns a coroutine, `run_coroutine`
        runs it, by default that of the executor."""
        execution = self._prepared(job) if self._begin(job) and self._may_start(job) else None
        if execution is not None:
            limit = executor.interrupter.limit(job, execution.task.options)
            context = None if self.base is None else self.base.copy()
            outcome = execution.run(limit, run_coroutine or executor.run_coroutine, context)
            if execution.steps is not None:
                execution.steps.keep_cursor(outcome)
            self._end(job, outcome)
        if executor.surroundings is not None:
            executor.surroundings.put_back(getattr(job.delivery.message, "name", ""))

    async def run_on_loop(self, job: Job, interrupter: LoopInterrupter) -> None:
        """Run a job on the running loop."""
        if not self._begin(job) or not await self._may_start_soon(job):
            return
        run = interrupter.enter(job)
        try:
            reads = isinstance(job.delivery.message, Message) and job.delivery.message.after
            execution = await _undisturbed(partial(self._prepared, job)) if reads else self._prepared(job)
            if execution is not None:
                options = execution.task.options
                if run.handle.cancelling():
                    outcome = outcome_of(CancelledError(), options)
                else:
                    run.limit = AsyncLimit(options)
                    outcome = await execution.run_on_loop(run.limit)
                outcome = run.judge(outcome, options)
                if execution.steps is not None:
                    await _undisturbed(partial(execution.steps.keep_cursor, outcome))
                self._end(job, outcome)
        finally:
            interrupter.leave(job)

    def _begin(self, job: Job) -> bool:
        """Note that the job starts. Returns False if it was given back meanwhile."""
        job.started = time.monotonic()
        if self.eager:
            job.claimed = job.started
        started = self.jobs.slots.start(job.slot, job.started)
        if not started:
            self.jobs.remove(job)
        return started

    def _may_start(self, job: Job) -> bool:
        """Ask the store, if this job must be asked about. One that may not start is forgotten."""
        if must_ask(job) and not self.beginner.may_start(job):
            self.jobs.remove(job)
            return False
        return True

    async def _may_start_soon(self, job: Job) -> bool:
        """`_may_start` for the event loop."""
        if must_ask(job) and not await self.beginner.may_start_soon(job):
            self.jobs.remove(job)
            return False
        return True

    def _prepared(self, job: Job) -> Execution | None:
        """Return what to run; None if the job cannot run here, which is its outcome."""
        task = job.task
        if task is not None and (seconds := task.options.hard_limit) is not None:
            self._limit(job, seconds)  # it includes the decoding
        prepared = prepare(
            job.delivery,
            task,
            self.codec,
            job.report,
            self.inputs.fill,
            keeper=self.keeper,
            worker=self.reporter.worker,
            waited=job.waited,
        )
        if not isinstance(prepared, Execution):
            self._end(job, prepared)
            return None
        prepared.around = self.around
        if self.reporter.observer is not None:  # the usual case costs nothing
            self.reporter.started(prepared.message, job.waited())
        return prepared

    def _limit(self, job: Job, seconds: float) -> None:
        """Note when the supervisor must kill this process, and when the task is retried then."""
        assert job.task is not None
        options, attempt = job.task.options, job.delivery.message.attempt
        retry = options.pause(attempt, self.chance()) * 1000 if attempt <= options.retries else -1.0
        self.jobs.slots.limit(job.slot, job.started + seconds, retry)

    def _end(self, job: Job, outcome: Outcome) -> None:
        seconds = time.monotonic() - job.started
        self.jobs.slots.finish(job.slot)
        self.hand_over(Ran(job, outcome, seconds))


async def _undisturbed(call: Callable[[], T]) -> T:
    """Make a call in a thread. A cancellation does not end the wait: it is no outcome here, and would break the
    worker."""
    called = asyncio.get_running_loop().run_in_executor(None, contextvars.copy_context().run, call)
    while not called.done():
        with suppress(CancelledError):
            await asyncio.wait([called])
    return called.result()


def must_ask(job: Job) -> bool:
    """Whether the store must be asked if the job may start. One that is doomed does not start: it fails."""
    message = job.delivery.message
    return job.delivery.must_begin and not (isinstance(message, Message) and message.doomed)
