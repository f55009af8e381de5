"""The wire format: how messages and records look in a store that keeps named fields.

It is a flat list of names and values, so that ``XRANGE`` in `redis-cli` shows what a message is and another language
can write one. A missing field has its default, so the smallest message that can be written by hand is just
``name rpc.fib body [[10],{}]``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ..errors import SerializationError
from .message import (
    ID_PATTERN,
    NAME_PATTERN,
    WIRE_VERSION,
    Failure,
    Fields,
    Message,
    Progress,
    Record,
    TaskStatus,
    Unreadable,
)

_DEFAULTS: dict[str, object] = {
    "serializer": "json",
    "attempt": 1,
    "crashes": 0,
    "deferrals": 0,
    "enqueued": 0,
    "due": 0,
    "expires": 0,
    "priority": 0,
    "parent": "",
    "reply": "",
    "seal": "",
}


_IN_MS = ("enqueued", "due", "expires")
"""Times: on the wire without their unit, which is always ms."""


def _attribute(name: str) -> str:
    return f"{name}_ms" if name in _IN_MS else name


_NAMED_DEFAULTS = [(_attribute(name), name.encode(), default) for name, default in _DEFAULTS.items()]


def message_to_fields(message: Message) -> list[bytes]:
    """The wire form, name and value in turn. Fields at their default are left out, `v`, `id`, `name`, `body` never."""
    flat = [
        b"v", b"%d" % message.v, b"id", message.id.encode(), b"name", message.name.encode(), b"body", message.body,
    ]  # fmt: skip
    for name, key, default in _NAMED_DEFAULTS:
        value = getattr(message, name)
        if value != default:
            flat += (key, str(value).encode())
    if message.redelivered:
        flat += (b"redelivered", b"1")
    if message.headers:
        flat += (b"headers", headers_to_json(message.headers))
    return flat


def headers_to_json(headers: Mapping[str, str]) -> bytes:
    return msgspec.json.encode(dict(headers))


def headers_size(headers: Mapping[str, str]) -> int:
    """The bytes of their texts."""
    return sum(len(text.encode()) for pair in headers.items() for text in pair)


def message_size(message: Message) -> int:
    """The bytes of what has no limit of its own: the body and the headers."""
    return len(message.body) + headers_size(message.headers)


def _count(raw: bytes) -> int:
    return _between(int(raw), 2**31)


def _time(raw: bytes) -> int:
    return _between(int(raw), 2**53)


def _between(number: int, end: int) -> int:
    if not 0 <= number < end:
        raise ValueError(f"{str(number)[:40]} is out of range")
    return number


MAX_HEADERS = 1 << 20
"""Bytes of a message's headers, as JSON; what has more is not read."""
MAX_NAME = 4_096
"""Bytes of any other text in a header."""
_MAX_ERROR = 1 << 18
_ID_AND_MORE = 65
"""Bytes of an id that are looked at: one more than it may have."""
MAX_PROGRESS = 1 << 16
_HEADERS = msgspec.json.Decoder(dict[str, str])


def _headers(raw: bytes) -> dict[str, str]:
    if len(raw) > MAX_HEADERS:
        raise ValueError(f"headers of {len(raw):,} bytes, at most {MAX_HEADERS:,} are read")
    return _HEADERS.decode(raw)


def _text(raw: bytes) -> str:
    if len(raw) > MAX_NAME:
        raise ValueError(f"a text of {len(raw):,} bytes, at most {MAX_NAME:,} are read")
    return raw.decode()


_READERS: dict[bytes, tuple[str, Callable[[bytes], object]]] = {
    **{name.encode(): (name, _text) for name in ("name", "serializer", "parent", "reply", "seal")},
    **{name.encode(): (name, _count) for name in ("v", "attempt", "crashes", "deferrals")},
    **{name.encode(): (_attribute(name), _time) for name in _IN_MS},
    b"priority": ("priority", int),
    b"body": ("body", bytes),
    b"redelivered": ("redelivered", b"1".__eq__),
    b"headers": ("headers", _headers),
}


def message_from_fields(fields: Fields, fallback_id: str) -> Message | Unreadable:
    """Read the wire form. What cannot be read comes back as `Unreadable`, never as an exception.

    `fallback_id` names an entry without a (valid) id of its own, unless it says in ``_id`` how it was known before.
    """
    if b"_id" in fields:
        known = fields[b"_id"][:_ID_AND_MORE].decode("ascii", "replace")
        fallback_id = known if ID_PATTERN.fullmatch(known) else fallback_id
        fields = {name: value for name, value in fields.items() if name != b"_id"}
    raw_id = fields.get(b"id", b"")[:_ID_AND_MORE].decode("ascii", "replace")
    task_id = raw_id if ID_PATTERN.fullmatch(raw_id) else fallback_id
    try:
        if (version := int(fields.get(b"v", b"1"))) > WIRE_VERSION:
            return Unreadable(task_id, fields, f"wire version {version}, this worker reads {WIRE_VERSION}", newer=True)
        if raw_id and raw_id != task_id:
            return Unreadable(task_id, fields, "the id is not 1 to 64 characters of A-Z a-z 0-9 _ . -")
        values: dict[str, Any] = {"id": task_id}
        for key, raw in fields.items():
            if (reader := _READERS.get(key)) is not None:
                values[reader[0]] = reader[1](raw)
        if not NAME_PATTERN.fullmatch(values.get("name", "")):
            why = "task name has characters a name cannot have" if "name" in values else "entry has no field 'name'"
            return Unreadable(task_id, fields, f"the {why}")
        return Message(**values)
    except (ValueError, msgspec.MsgspecError) as error:
        return Unreadable(task_id, fields, f"a header field cannot be read: {error}")


_PROGRESS = msgspec.json.Encoder()


def progress_to_json(progress: Progress | None) -> bytes:
    """The wire form of a progress value: a JSON array ``[done, total, message]``; empty for none."""
    return b"" if progress is None else _PROGRESS.encode((progress.done, progress.total, progress.message))


def progress_from_json(data: bytes | None) -> Progress | None:
    """Read `progress_to_json`'s bytes. Raises `SerializationError`."""
    if not data:
        return None
    if len(data) > MAX_PROGRESS:
        raise SerializationError(f"the stored progress has {len(data):,} bytes")
    try:
        done, total, message = msgspec.json.decode(data, type=tuple[int | float, int | float | None, str])
        float(done), float(total or 0)  # an int may have any number of digits, and is shown as a float is
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise SerializationError(f"the stored progress is damaged: {error}") from error
    return Progress(done, total, message)


def record_to_fields(record: Record) -> list[bytes]:
    """The wire form of a record, name and value in turn."""
    flat = [b"v", b"%d" % record.v, b"state", b"%d" % record.status]
    if record.attempt != 1:
        flat += (b"attempt", b"%d" % record.attempt)
    if record.value or record.status is TaskStatus.SUCCESS:
        flat += (b"value", record.value)
    if record.serializer != "json":
        flat += (b"serializer", record.serializer.encode())
    if record.seal:
        flat += (b"seal", record.seal.encode())
    if record.error is not None:
        error = record.error
        flat += (b"error", msgspec.json.encode((error.type, error.message, error.traceback)))
    if record.worker:
        flat += (b"worker", record.worker.encode())
    if record.progress is not None:
        flat += (b"progress", progress_to_json(record.progress))
    return flat


def record_from_fields(task_id: str, fields: Fields) -> Record | None:
    """Read the wire form; None if the fields hold no finished record.

    Raises `SerializationError` for a record of a newer version or one that is damaged.
    """
    if b"state" not in fields:
        return None
    try:
        if (version := int(fields[b"v"])) > WIRE_VERSION:
            raise SerializationError(
                f"the result of {task_id} has wire version {version}, newer than {WIRE_VERSION}: upgrade pyxqueue here"
            )
        error = None
        if raw := fields.get(b"error"):
            if len(raw) > _MAX_ERROR:
                raise ValueError(f"a failure of {len(raw):,} bytes, at most {_MAX_ERROR:,} are read")
            error = Failure(*msgspec.json.decode(raw, type=tuple[str, str, str]))
        return Record(
            id=task_id,
            status=TaskStatus(int(fields[b"state"])),
            value=fields.get(b"value", b""),
            serializer=_text(fields.get(b"serializer", b"json")),
            seal=_text(fields.get(b"seal", b"")),
            error=error,
            attempt=_count(fields.get(b"attempt", b"1")),
            worker=_text(fields.get(b"worker", b"")),
            ended_ms=_time(fields.get(b"ended", b"0")),
            progress=progress_from_json(fields.get(b"progress")),
            ttl_ms=_time(fields.get(b"ttl", b"0")),
            fence=_between(int(fields.get(b"fence", b"0")), 1 << 128),
            v=version,
        )
    except SerializationError:
        raise
    except (KeyError, ValueError, msgspec.MsgspecError) as error_:
        raise SerializationError(f"the stored result of {task_id} is damaged: {error_}") from error_
