"""The errors for results that are not there, and the reasons why a task failed or waits."""

from __future__ import annotations

from ..errors import UnknownTaskError
from ..model.limits import shown_gate, task_of
from ..model.message import Message, Record, TaskInfo, TaskStatus
from ..printable import quoted
from ..protocols import KnowsLost


def known(task_id: str, info: TaskInfo | None, backend: object = None) -> TaskInfo:
    """Return `info`. Raises `UnknownTaskError` if the store does not know the task."""
    if info is None:
        raise unknown(task_id, backend)
    return info


def unknown(task_id: str, backend: object = None) -> UnknownTaskError:
    """Return the error for a task that the store does not know. It says more if the backend knows why."""
    if isinstance(backend, KnowsLost) and (why := backend.why_gone(task_id)):
        return UnknownTaskError(f"no task has the id {quoted(task_id)} any more: {why}")
    flow = ", or is in a flow that is enqueued at the end of its `with` block" if "." in task_id else ""
    return UnknownTaskError(
        f"no task has the id {quoted(task_id)}: it was never enqueued on this queue and group, was deleted, or its "
        f"result has expired{flow}"
    )


def end_of(task_id: str, record: Record | None, info: TaskInfo | None) -> Record | Exception | None:
    """Return the record of a task that has ended, or an error if its record is gone; None if the task was requeued
    meanwhile."""
    if record is not None:
        return record
    if info is None:
        return unknown(task_id)
    if not info.status.ended:
        return None
    return info.record or UnknownTaskError(
        f"the result of task {info.id} is no longer there: it ended with {info.status.name}, and its result has "
        f"expired (result_ttl) or was deleted (forget)"
    )


PAUSED = "the queue is paused: admin.resume() or `pyxqueue resume` lets it go on"
"""Why no task of a paused group starts."""


def name_paused(name: str) -> str:
    """Return why no task of this name starts."""
    how = f"admin.resume(task={quoted(name)}) or `pyxqueue resume --task {name}`"
    return f"the task {name} is paused: {how} lets it go on"


def _blocked(gate: str) -> str:
    """Return why a task waits in the line of a gate; an empty text for no gate."""
    if name := task_of(gate):
        return name_paused(name)
    return f"blocked by the limit {shown_gate(gate)}" if gate else ""


def status_text(info: TaskInfo, subject: str) -> str:
    """Return a clause about the state of a task that has not ended, with the reason if the store knows it."""
    why = reason(info) or _blocked(info.gate)
    return f"{subject} is {info.status.name}{f', {why}' if why else ''}"


def reason(info: TaskInfo) -> str:
    """Return why the task failed, or why it still waits although workers have claimed it; else an empty string."""
    message, waits = info.message, info.status in (TaskStatus.PENDING, TaskStatus.RETRY)
    if waits and isinstance(message, Message) and message.deferrals:
        return (
            f"deferred {message.deferrals}x by workers that do not have the task {quoted(message.name)} or cannot read "
            f"its arguments: see their logs"
        )
    return info.reason
