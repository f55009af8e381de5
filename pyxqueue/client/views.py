"""What people see of a queue: its tasks, decoded as far as this program can read them, its workers and its depth."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from attrs import field, frozen

from ..codec import Codec
from ..errors import PyxqueueError, SealError, SerializationError
from ..model.message import ConsumerInfo, Depth, Message, Progress, TaskInfo, TaskStatus
from .reasons import reason

_NAME = re.compile(r"worker-[0-9]{1,9}-([0-9]{1,9})-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\Z")


@frozen
class TaskDetails:
    """What is known about one task."""

    id: str
    state: TaskStatus
    name: str | None
    """The name of its function; None for a message that cannot be read, or is no longer kept."""
    args: Any
    """What it was called with, as a list; a text about that where JSON cannot show it."""
    kwargs: Any
    """What it was called with by name, as a dict; a text about that where JSON cannot show it."""
    unreadable: str
    """Why its message cannot be read, if it cannot."""
    result: Any
    """What it returned, or a text where that cannot be read here; None unless it succeeded."""
    failure: str
    """Why it failed, with the traceback of the worker; nothing unless it failed."""
    reason: str
    """Why it failed, or why it still waits although workers have seen it, in one line; else nothing."""
    progress: Progress | None
    info: TaskInfo
    """The header of its message, its record and its times, as the store keeps them."""
    call_text: str = field(repr=False)
    """`name`, `args` and `kwargs` as one JSON object."""

    @classmethod
    def of(cls, info: TaskInfo, codec: Codec) -> TaskDetails:
        """From what the store knows."""
        call, text = _call_and_text(info)
        return cls(
            id=info.id,
            state=info.status,
            name=call["task_name"],
            args=call["args"],
            kwargs=call["kwargs"],
            unreadable=call.get("unreadable", ""),
            result=_result(info, codec),
            failure=_failure(info, codec),
            reason=reason(info),
            progress=info.progress or (info.record.progress if info.record else None),
            info=info,
            call_text=text,
        )


@frozen
class TaskPage:
    """A part of a list of tasks, the newest first."""

    tasks: Sequence[TaskInfo]
    next: str
    """What to give as `after` for the next page; nothing behind the last one."""


@frozen
class WorkerInfo:
    """One worker process."""

    name: str
    node: int | None
    """The number of its machine; None if its name does not say it."""
    pid: int | None
    idle_ms: int
    """Milliseconds since the store last heard of it."""
    in_flight: Sequence[str]
    """The ids of the tasks it has."""
    tasks: Sequence[TaskInfo]
    """What is known about the first of them."""

    @classmethod
    def of(cls, consumer: ConsumerInfo, tasks: Mapping[str, TaskInfo]) -> WorkerInfo:
        """From what the store knows; `tasks` by id."""
        found = _NAME.search(consumer.name)
        return cls(
            name=consumer.name,
            node=uuid.UUID(found[2]).node if found else None,
            pid=int(found[1]) if found else None,
            idle_ms=consumer.idle_ms,
            in_flight=consumer.in_flight,
            tasks=[tasks[task_id] for task_id in consumer.in_flight if task_id in tasks],
        )


@frozen
class QueueInfo:
    """How much is where, in one group of one queue."""

    queue: str
    group: str
    depth: Depth | None
    """None where the store does not let this program look."""
    store: Mapping[str, str] = field(factory=dict)
    """Facts about the store by name, for people."""


@frozen
class QueuePage:
    """The queues of a store."""

    store: Mapping[str, str]
    """Facts about the store by name, for people."""
    queues: Sequence[QueueInfo]
    """Each group of each queue, in the order of the alphabet."""
    more: int
    """How many further queues were found and not looked at."""
    complete: bool
    """False if there may be queues that were not found."""


@frozen
class BatchResult:
    """What an operation did to each of many tasks."""

    done: int
    """To how many it was done."""
    refused: Mapping[str, PyxqueueError] = field(factory=dict)
    """The ids of the others, each with the reason."""


def _result(info: TaskInfo, codec: Codec) -> Any:
    if info.status is not TaskStatus.SUCCESS or info.record is None:
        return None
    try:
        return codec.open_result(info.record)
    except SerializationError as error:
        return f"<cannot be read here: {error}>"


def _failure(info: TaskInfo, codec: Codec) -> str:
    record = info.record
    if info.status is not TaskStatus.FAILURE:
        return ""
    if record is None or record.error is None:
        return info.reason
    try:
        codec.check_end(record)
    except SealError as error:
        return f"<not to be believed: {error}>"
    return f"{record.error.type}: {record.error.message}\n{record.error.traceback}".rstrip()


def _call_and_text(info: TaskInfo) -> tuple[dict[str, Any], str]:
    """What was called, also as JSON."""
    call = _call(info)
    try:
        return call, json.dumps(call)
    except RecursionError:  # Python writes less deep than is read
        assert isinstance(info.message, Message)  # nothing else is deep
        call = _marked(info.message)
        return call, json.dumps(call)


def _call(info: TaskInfo) -> dict[str, Any]:
    """What was called; a body that JSON cannot show is described by a marker."""
    message = info.message
    if not isinstance(message, Message):
        return {"task_name": None, "args": [], "kwargs": {}, "unreadable": message.reason if message else "not kept"}
    if message.serializer == "json":
        try:
            args, kwargs = (
                msgspec.json.decode(message.body, type=tuple[list[Any], dict[str, Any]]) if message.body else ([], {})
            )
        except (msgspec.MsgspecError, RecursionError):
            pass
        else:
            return {"task_name": message.name, "args": args, "kwargs": kwargs}
    return _marked(message)


def _marked(message: Message) -> dict[str, Any]:
    marker = f"<{message.serializer}, {len(message.body)} bytes>"
    return {"task_name": message.name, "args": marker, "kwargs": marker}
