"""Tasks and workers as the plain dicts that users of the 2021 release know."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from .codec import Codec
from .errors import SealError, SerializationError
from .message import ConsumerInfo, Message, Progress, TaskInfo, TaskStatus

_NAME = re.compile(r"worker-[0-9]{1,9}-([0-9]{1,9})-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\Z")


def task_dict(task_id: str | bytes, info: TaskInfo, codec: Codec) -> dict[str, Any]:
    """`task_id` as it was asked for, `info`, `data` and `progress`."""
    return {
        "task_id": task_id,
        "info": {
            "state": int(info.status),
            "value": _value(info, codec),
            "worker": info.worker or None,
            "update_time": info.updated // 1000,
        },
        "data": {b"task": _call_text(info).encode()},
        "progress": _progress(info.progress or (info.record.progress if info.record else None)),
    }


def _value(info: TaskInfo, codec: Codec) -> Any:
    """The result of a success, the reason of a failure, else None."""
    record = info.record
    if info.status is TaskStatus.SUCCESS and record is not None:
        try:
            return codec.open_result(record)
        except SerializationError as error:
            return f"<cannot be read here: {error}>"
    return _failure(info, codec) if info.status is TaskStatus.FAILURE else None


def _failure(info: TaskInfo, codec: Codec) -> str:
    record = info.record
    if record is None or record.error is None:
        return info.reason
    try:
        codec.check_end(record)
    except SealError as error:
        return f"<not to be believed: {error}>"
    return f"{record.error.type}: {record.error.message}\n{record.error.traceback}".rstrip()


def _call_text(info: TaskInfo) -> str:
    try:
        return json.dumps(_call(info))
    except RecursionError:  # Python writes less deep than is read
        return json.dumps(_marked(info.message)) if isinstance(info.message, Message) else "{}"


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


def _progress(progress: Progress | None) -> Any:
    """The bare number where that is all there is."""
    if progress is None:
        return None
    if progress.total is None and not progress.message:
        return progress.done
    return {"done": progress.done, "total": progress.total, "message": progress.message}


def worker_dicts(consumers: Sequence[ConsumerInfo], lease: int, now: int) -> dict[str, dict[str, Any]]:
    """The workers that were heard of within two leases, by name: `node_id`, `pid`, `task_id`, `update_time`."""
    return {
        consumer.name: {
            **_origin(consumer.name),
            "task_id": consumer.held[0] if consumer.held else None,
            "update_time": (now - consumer.idle) // 1000,
        }
        for consumer in consumers
        if consumer.idle <= 2 * lease or consumer.held
    }


def _origin(name: str) -> dict[str, int | None]:
    """Which machine and process a worker's name speaks of."""
    found = _NAME.search(name)
    if found is None:
        return {"node_id": None, "pid": None}
    return {"node_id": uuid.UUID(found[2]).node, "pid": int(found[1])}
