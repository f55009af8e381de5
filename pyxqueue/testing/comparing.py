"""What the machine compares: the parts of messages, records and tasks that the laws fix."""

from __future__ import annotations

from attrs import frozen

from ..model.message import Message, Progress, Record, TaskInfo, TaskStatus, Unreadable, evolve

FINAL = Progress(99, 99, "the last")
"""The progress in every record that the machine makes."""


@frozen
class Claim:
    """One claim, with the receipts of the backend and of the model."""

    task_id: str
    receipt: str
    model_receipt: str
    fence: int


def bare(message: Message | Unreadable | None) -> object:
    """A message without the times that the store stamps, which are also in the lines of earlier runs."""
    if isinstance(message, Unreadable):
        return dict(message.fields)
    return message and evolve(message, enqueued_ms=0, due_ms=0, expires_ms=0, past="")


def essence(record: Record | None) -> object:
    """The parts of a record that the laws fix, also of one that the store created."""
    return record and (record.id, record.status, record.value, record.error and record.error.message, record.attempt)


def view(task: TaskInfo | None) -> object:
    """A task as it is shown. Which progress is kept with a record that has none is left open."""
    if task is None:
        return None
    worker = task.worker if task.status is TaskStatus.STARTED else ""
    progress = task.progress if not task.status.ended or task.progress == FINAL else None
    return task.id, task.status, bare(task.message), worker, task.reason, progress
