"""What is said to those who ask for a result that is not there, and why it is not."""

from __future__ import annotations

from ..errors import TaskError, UnknownTaskError
from ..model.message import Message, Record, TaskInfo, TaskStatus
from ..printable import quoted


def known(task_id: str, info: TaskInfo | None) -> TaskInfo:
    """Raises `UnknownTaskError` for a task that the store does not know."""
    if info is None:
        raise unknown(task_id)
    return info


def unknown(task_id: str) -> UnknownTaskError:
    return UnknownTaskError(
        f"no task has the id {quoted(task_id)}: it was never enqueued on this queue and group, was deleted, or its "
        f"result "
        f"has expired"
    )


def expired(info: TaskInfo) -> UnknownTaskError:
    return UnknownTaskError(
        f"the result of task {info.id} is no longer there: it ended as {info.status.name}, and its result has expired "
        f"(result_ttl) or was forgotten"
    )


def end_of(task_id: str, record: Record | None, info: TaskInfo | None) -> Record | Exception | None:
    """How a task ended that was seen to have ended: its record, or an error if none is left; None if it was requeued
    meanwhile."""
    if record is not None:
        return record
    if info is None:
        return unknown(task_id)
    if not info.status.ended:
        return None
    return expired(info) if info.record is None else info.record


def still_there(info: TaskInfo, subject: str) -> str:
    """Where a task is that has not ended, and why, as far as the store knows."""
    why = reason(info)
    return f"{subject} is {info.status.name}{f', {why}' if why else ''}"


def reason(info: TaskInfo) -> str:
    """Why the task failed, or why it waits although workers have seen it; else nothing."""
    message, waits = info.message, info.status in (TaskStatus.PENDING, TaskStatus.RETRY)
    if waits and isinstance(message, Message) and message.deferrals:
        return (
            f"deferred (so far {message.deferrals}x) by workers that do not have the task {quoted(message.name)}, or "
            f"cannot "
            f"read its arguments: their log says which"
        )
    return info.reason


def task_error(record: Record) -> TaskError:
    """The failure of a record, to be raised."""
    if record.error is None:
        return TaskError("Unknown", "no reason was stored", task_id=record.id)
    return TaskError(record.error.type, record.error.message, record.error.traceback, record.id)
