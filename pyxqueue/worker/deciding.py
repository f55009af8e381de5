"""Decides the verdict for the outcome of a run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from math import ceil

from attrs import define, field

from ..codec import Codec
from ..hosts import host_name
from ..model.message import (
    Aborted,
    Cancelled,
    Delivery,
    Done,
    Fail,
    Failure,
    Message,
    Outcome,
    Raised,
    Record,
    Rejected,
    Retry,
    Returned,
    Settlement,
    Suspended,
    TaskStatus,
    Verdict,
)
from ..model.past import Attempt, line
from ..options import TaskOptions
from ..policy import decide
from ..printable import printable, quoted
from .events import Throttle
from .jobs import Job

_DEFAULTS = TaskOptions()


@define(eq=False)
class Decider:
    """Turns outcomes into settlements, with a record if the task has ended."""

    codec: Codec
    consumer: str
    chance: Callable[[], float]
    served: Callable[[Message], bool] = lambda _: False
    """Whether another worker may serve a message that this one cannot."""
    _undecided: Throttle = field(
        factory=lambda: Throttle("tasks whose outcomes could not be settled: %d more"), init=False
    )

    def settlement(self, job: Job, outcome: Outcome, seconds: float = 0.0) -> Settlement:
        """Return the settlement of a job that ran for so many seconds. Never raises: an outcome that cannot be settled
        fails its own task only."""
        try:
            options = _DEFAULTS if job.task is None else job.task.options
            verdict = decide(job.delivery.message, outcome, options, self.chance(), self.served)
            if type(verdict) is Retry:
                verdict = Retry(verdict.delay_ms, self._past(job, outcome, ceil(seconds * 1000)))
            then = outcome.then if isinstance(outcome, Suspended) else ()
            record = self._record(job, outcome, verdict, options, ceil(seconds * 1000))
            return Settlement(job.delivery.receipt, verdict, record, then)
        except BaseException as error:  # noqa: BLE001 - logged, and the reason why the task fails
            text = "the outcome of %s cannot be settled"
            self._undecided.log(logging.ERROR, text, job.delivery.message.id, exc_info=True)
            return self.failure(job.delivery, f"its outcome cannot be settled: {quoted(error)}")

    def _past(self, job: Job, outcome: Outcome, ran_ms: int) -> str:
        """Return the line to keep of a run that is retried (B14)."""
        delivery = job.delivery
        since = time.monotonic() - job.claimed
        when_ms = delivery.claimed_ms + round(since * 1000) if delivery.claimed_ms else round(time.time() * 1000)
        failure = outcome.failure if isinstance(outcome, Raised) else Failure("", "")
        attempt = delivery.message.attempt
        return line(Attempt(attempt, failure.type, failure.message, when_ms, self.consumer, host_name(), ran_ms))

    def failure(self, delivery: Delivery, reason: str) -> Settlement:
        """Return a settlement that fails a delivery for a reason that lies outside its task."""
        verdict = Fail(printable(reason))
        record = self._record(Job(delivery, -1), Aborted(), verdict, _DEFAULTS)
        return Settlement(delivery.receipt, verdict, record)

    def _record(
        self, job: Job, outcome: Outcome, verdict: Verdict, options: TaskOptions, ran_ms: int = 0
    ) -> Record | None:
        """Return the record of an end, sealed if the queue has a seal; None if the task has not ended."""
        value, serializer = b"", "json"
        error: Failure | None = None
        match verdict, outcome:
            case Done(), Returned(value=value, serializer=serializer):
                status = TaskStatus.SUCCESS
            case Fail(), Raised(failure=error) | Rejected(failure=error):
                status = TaskStatus.FAILURE
            case Retry(), Raised(failure=error) if job.delivery.must_begin:  # for one that is due too late (L8)
                status = TaskStatus.FAILURE
            case Fail(reason), _:
                status, error = TaskStatus.FAILURE, Failure("Failed", reason)
            case Cancelled(), _:
                status = TaskStatus.CANCELLED
            case _:
                return None
        record = Record(
            id=job.delivery.message.id,
            status=status,
            value=value,
            serializer=serializer,
            error=error,
            attempt=job.delivery.message.attempt,
            worker=self.consumer,
            progress=job.progress,
            ran_ms=ran_ms,
            ttl_ms=round(options.result_ttl * 1000),
            fence=job.delivery.fence,
        )
        return self.codec.sealed(record)
