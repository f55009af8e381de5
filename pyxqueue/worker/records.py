"""What is recorded of a task that has ended."""

from __future__ import annotations

from ..message import (
    Cancelled,
    Done,
    Fail,
    Failure,
    Outcome,
    Raised,
    Record,
    Rejected,
    Returned,
    TaskStatus,
    Verdict,
)
from ..options import TaskOptions
from .jobs import Job


def record_of(job: Job, outcome: Outcome, verdict: Verdict, options: TaskOptions, worker: str) -> Record | None:
    """The record of an end, None where the task has not ended."""
    message = job.delivery.message
    value, serializer = b"", "json"
    error: Failure | None = None
    match verdict, outcome:
        case Done(), Returned(value, serializer):
            status = TaskStatus.SUCCESS
        case Fail(), Raised(failure=error) | Rejected(failure=error):
            status = TaskStatus.FAILURE
        case Fail(reason), _:
            status, error = TaskStatus.FAILURE, Failure("Failed", reason)
        case Cancelled(), _:
            status = TaskStatus.CANCELLED
        case _:
            return None
    return Record(
        id=message.id,
        status=status,
        value=value,
        serializer=serializer,
        error=error,
        attempt=message.attempt,
        worker=worker,
        progress=job.progress,
        ttl_ms=round(options.result_ttl * 1000),
        fence=job.delivery.fence,
    )
