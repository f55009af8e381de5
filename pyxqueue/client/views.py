"""The values that `Admin` returns: tasks, decoded as far as this program can, workers, and depths."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from attrs import field, frozen
from msgspec import Struct

from ..codec import Codec
from ..errors import PyxqueueError, SealError, SerializationError
from ..model.message import ConsumerInfo, Depth, Message, Progress, TaskInfo, TaskStatus
from ..model.past import Attempt, attempts_in
from ..model.presence import MAX_RUNS, WorkerFacts
from .reasons import reason

_JUST_NOW_MS = 5_000
"""Of a task that was claimed within this time before its supervisor spoke, it is not known whether it has begun."""
_NAME = re.compile(r"worker-[0-9]{1,9}-([0-9]{1,9})-([0-9a-f]{12})-[\w-]{8}\Z", re.ASCII)


@frozen
class TaskDetails:
    """The details of one task."""

    id: str
    state: TaskStatus
    name: str | None
    """The name of the task; None if its message cannot be read or is no longer kept."""
    args: Any
    """The positional arguments as a list, or a text about them if JSON cannot represent them."""
    kwargs: Any
    """The named arguments as a dict, or a text about them if JSON cannot represent them."""
    unreadable: str
    """Why the message cannot be read; empty if it can."""
    result: Any
    """The return value, or a text if it cannot be decoded here; None unless the task succeeded."""
    failure: str
    """Why the task failed, with the traceback of the worker; empty unless it failed."""
    reason: str
    """Why the task failed, or why it still waits although workers have claimed it, in one line; else empty."""
    progress: Progress | None
    waited: float | None
    """For how many seconds it had been due, or enqueued if that was later, when its last run began; None if it has not
    begun, or that is not known, as for a retry without a delay."""
    ran: float | None
    """How many seconds its last run took; None if it has not ended, or that was not measured."""
    attempts: Sequence[Attempt]
    """The newest of its earlier runs that did not end it, the oldest first: each failed and was retried, or its process
    died. Any program that can write to the store can write them."""
    info: TaskInfo
    """The message, record and times of the task, as the store keeps them."""
    call_text: str = field(repr=False)
    """`name`, `args` and `kwargs` as one JSON object."""

    @classmethod
    def of(cls, info: TaskInfo, codec: Codec) -> TaskDetails:
        """Decode what the store knows about a task."""
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
            progress=progress_of(info),
            waited=waited_of(info),
            ran=info.record.ran_ms / 1000 if info.record and info.record.ran_ms else None,
            attempts=attempts_in(info.readable.past) if info.readable else [],
            info=info,
            call_text=text,
        )


class TaskPage(Struct, frozen=True):
    """One page of a list of tasks, the newest first."""

    tasks: Sequence[TaskInfo]
    next: str
    """The cursor to give as `after` for the next page; empty on the last page."""


class WorkerInfo(Struct, frozen=True):
    """One worker process."""

    name: str
    node: int | None
    """The number of its machine; None if its name does not contain one."""
    pid: int | None
    idle_ms: int
    """Milliseconds since it last used the store."""
    in_flight: Sequence[str]
    """The ids of the tasks it holds."""
    tasks: Sequence[TaskInfo]
    """Details about the first of them."""
    facts: WorkerFacts | None = None
    """What its supervisor said of it last; None if nothing is known, or it is dead and holds no tasks."""
    host: str = ""
    """The name of its host, or else the number of the machine in hexadecimal digits; empty if neither is known."""

    @classmethod
    def of(cls, consumer: ConsumerInfo, tasks: Mapping[str, TaskInfo], facts: WorkerFacts | None = None) -> WorkerInfo:
        """Make the view of a consumer; `tasks` are details by id."""
        found = _NAME.search(consumer.name)
        return cls(
            name=consumer.name,
            node=int(found[2], 16) if found else None,
            pid=int(found[1]) if found else None if facts is None else facts.pid,
            idle_ms=consumer.idle_ms,
            in_flight=consumer.in_flight,
            tasks=[tasks[task_id] for task_id in consumer.in_flight if task_id in tasks],
            facts=facts,
            host=facts.host if facts is not None else found[2] if found else "",
        )

    def began(self, task: TaskInfo) -> int | None:
        """Return when it began to run a task that it holds (ms of the store's clock): 0 if it has not begun, as one
        that waits to run alone. Where that is not known, for example because it was claimed just now, this is when it
        was claimed; None if that is not known either."""
        claimed = task.started_ms or None
        if self.facts is None or self.facts.lost:
            return claimed
        for run in self.facts.runs:
            if run.id == task.id:
                return run.since_ms
        is_all = len(self.facts.runs) < min(MAX_RUNS, len(self.in_flight))
        return 0 if is_all and self.facts.seen_ms - task.started_ms > _JUST_NOW_MS else claimed

    def is_silent(self, lease_ms: int) -> bool:
        """Whether nothing has been heard of it for so long that its host may be dead. `lease_ms`: the queue's lease."""
        return self.idle_ms > lease_ms / 2 or (self.facts is not None and self.facts.lost)


class QueueInfo(Struct, frozen=True):
    """How many tasks of one group of one queue are in each place."""

    queue: str
    group: str
    depth: Depth | None
    """None if this program may not read the queue."""
    store: Mapping[str, str] = {}
    """Facts about the store by name, for people."""
    paused: bool = False
    """Whether the group is paused: no worker starts a task of it (`Admin.pause`)."""
    paused_tasks: Sequence[str] = ()
    """The names of tasks that are paused, in alphabetical order: no worker starts one of these."""


class QueuePage(Struct, frozen=True):
    """The queues of a store."""

    store: Mapping[str, str]
    """Facts about the store by name, for people."""
    queues: Sequence[QueueInfo]
    """Each group of each queue, in alphabetical order."""
    more: int
    """How many further queues there are in the store."""
    complete: bool
    """False if there may be queues that were not found."""


class BatchResult(Struct, frozen=True):
    """The result of an operation on many tasks."""

    done: int
    """How many tasks it changed."""
    refused: Mapping[str, PyxqueueError] = {}
    """The ids of the other tasks, each with the reason."""
    left: bool = False
    """Whether there may be more tasks that fit, of which only so many were changed."""


def progress_of(info: TaskInfo) -> Progress | None:
    """Return the last progress of a task, which its record has once it has ended; None if there is none."""
    return info.progress or (info.record.progress if info.record else None)


def progress_text(progress: Progress | None) -> str:
    """Return progress as text, such as ``3 of 10 reading``; empty if there is none."""
    if progress is None:
        return ""
    done = f"{progress.done:g}" if progress.total is None else f"{progress.done:g} of {progress.total:g}"
    return f"{done} {progress.message}".rstrip()


def waited_of(info: TaskInfo) -> float | None:
    """For how many seconds the task had been due when its last run began; None if that is not known."""
    message, record, began = info.readable, info.record, info.started_ms
    if record is not None:
        began = record.ended_ms - record.ran_ms if record.ran_ms else 0
    if message is None or not began:
        return None
    since = max(message.due_ms, message.enqueued_ms if message.attempt == 1 else 0)
    return max(0, began - since) / 1000 if since else None


def _result(info: TaskInfo, codec: Codec) -> Any:
    if info.status is not TaskStatus.SUCCESS or info.record is None:
        return None
    try:
        return codec.open_result(info.record)
    except SerializationError as error:
        return f"<cannot be decoded here: {error}>"


def _failure(info: TaskInfo, codec: Codec) -> str:
    record = info.record
    if info.status is not TaskStatus.FAILURE:
        return ""
    if record is None or record.error is None:
        return info.reason
    try:
        codec.check_end(record)
    except SealError as error:
        return f"<not trusted: {error}>"
    return f"{record.error.type}: {record.error.message}\n{record.error.traceback}".rstrip()


def _call_and_text(info: TaskInfo) -> tuple[dict[str, Any], str]:
    """Return the call as a dictionary, and as JSON."""
    call = _call(info)
    try:
        return call, json.dumps(call)
    except RecursionError:  # Python encodes less deeply nested JSON than msgspec decodes
        assert isinstance(info.message, Message)  # only the arguments of a message are nested
        call = _marked(info.message)
        return call, json.dumps(call)


def _call(info: TaskInfo) -> dict[str, Any]:
    """Return the call as a dictionary. Arguments that JSON cannot represent are described by a marker."""
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
