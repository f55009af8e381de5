"""The wire format: messages and records as named fields in a store.

A message is a flat list of names and values, so that ``XRANGE`` in `redis-cli` shows it readably and a program in
another language can write one. A missing field has its default; the smallest message that can be written by hand is
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
"""Times in milliseconds. On the wire their names have no unit."""


def _attribute(name: str) -> str:
    return f"{name}_ms" if name in _IN_MS else name


_NAMED_DEFAULTS = [(_attribute(name), name.encode(), default) for name, default in _DEFAULTS.items()]


def message_to_fields(message: Message) -> list[bytes]:
    """Return the wire form of a message: name, value, name, value ... Fields at their default are left out, except
    `v`, `id`, `name` and `body`."""
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
    """Return the number of bytes in the names and values of `headers`."""
    return sum(len(text.encode()) for pair in headers.items() for text in pair)


def message_size(message: Message) -> int:
    """Return the size of the body and the headers in bytes; all other fields have a limit of their own."""
    return len(message.body) + headers_size(message.headers)


def _count(raw: bytes) -> int:
    return _between(int(raw), 2**31)


def _time(raw: bytes) -> int:
    return _between(int(raw), 2**53)


def _between(number: int, end: int, start: int = 0) -> int:
    if not start <= number < end:
        raise ValueError(f"{str(number)[:40]} is out of range")
    return number


MAX_HEADERS = 1 << 20
"""The largest headers of a message that are read, in bytes of JSON."""
MAX_NAME = 4_096
"""The longest value that is read in any other text field, in bytes."""
_MAX_ERROR = 1 << 18
"""The largest failure of a record that is read, in bytes of JSON."""
_ID_PREFIX = 65
"""How many bytes of an id are examined: one more than a valid id can have."""
MAX_PROGRESS = 1 << 16
"""The largest progress value that is read, in bytes of JSON."""
_HEADERS = msgspec.json.Decoder(dict[str, str])


def _headers(raw: bytes) -> dict[str, str]:
    if len(raw) > MAX_HEADERS:
        raise ValueError(f"the headers have {len(raw):,} bytes, the limit is {MAX_HEADERS:,}")
    return _HEADERS.decode(raw)


def _text(raw: bytes) -> str:
    if len(raw) > MAX_NAME:
        raise ValueError(f"a text field has {len(raw):,} bytes, the limit is {MAX_NAME:,}")
    return raw.decode()


_READERS: dict[bytes, tuple[str, Callable[[bytes], object]]] = {
    **{name.encode(): (name, _text) for name in ("name", "serializer", "parent", "reply", "seal")},
    **{name.encode(): (name, _count) for name in ("v", "attempt", "crashes", "deferrals")},
    **{name.encode(): (_attribute(name), _time) for name in _IN_MS},
    b"priority": ("priority", lambda raw: _between(int(raw), 2**53, -(2**53))),
    b"body": ("body", bytes),
    b"redelivered": ("redelivered", b"1".__eq__),
    b"headers": ("headers", _headers),
}


def message_from_fields(fields: Fields, fallback_id: str) -> Message | Unreadable:
    """Read the wire form of a message. Returns `Unreadable` for fields that are not a message; never raises.

    An entry without a valid id gets the id in its field ``_id``, under which another store knew it, else `fallback_id`.
    """
    if b"_id" in fields:
        known = fields[b"_id"][:_ID_PREFIX].decode("ascii", "replace")
        fallback_id = known if ID_PATTERN.fullmatch(known) else fallback_id
        fields = {name: value for name, value in fields.items() if name != b"_id"}
    raw_id = fields.get(b"id", b"")[:_ID_PREFIX].decode("ascii", "replace")
    task_id = raw_id if ID_PATTERN.fullmatch(raw_id) else fallback_id
    try:
        if (version := int(fields.get(b"v", b"1"))) > WIRE_VERSION:
            reason = f"the message has wire version {version}, this worker reads up to {WIRE_VERSION}"
            return Unreadable(task_id, fields, reason, newer=True)
        if raw_id and raw_id != task_id:
            return Unreadable(task_id, fields, "the id is not 1 to 64 characters of A-Z a-z 0-9 _ . -")
        values: dict[str, Any] = {"id": task_id}
        for key, raw in fields.items():
            if (reader := _READERS.get(key)) is not None:
                values[reader[0]] = reader[1](raw)
        if not NAME_PATTERN.fullmatch(values.get("name", "")):
            reason = "the task name is not valid" if "name" in values else "the entry does not have a field 'name'"
            return Unreadable(task_id, fields, reason)
        return Message(**values)
    except (ValueError, msgspec.MsgspecError) as error:
        return Unreadable(task_id, fields, f"a header field cannot be read: {error}")


_PROGRESS = msgspec.json.Encoder()


def progress_to_json(progress: Progress | None) -> bytes:
    """Return the wire form of a progress value: a JSON array ``[done, total, message]``; empty for None."""
    return b"" if progress is None else _PROGRESS.encode((progress.done, progress.total, progress.message))


def progress_from_json(data: bytes | None) -> Progress | None:
    """Read the bytes that `progress_to_json` wrote. Raises `SerializationError` if they are damaged."""
    if not data:
        return None
    if len(data) > MAX_PROGRESS:
        raise SerializationError(f"the stored progress has {len(data):,} bytes, the limit is {MAX_PROGRESS:,}")
    try:
        done, total, message = msgspec.json.decode(data, type=tuple[int | float, int | float | None, str])
        for number in (done, total or 0):
            float(number)  # an int may have any number of digits, and is shown as a float is
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise SerializationError(f"the stored progress is damaged: {error}") from error
    return Progress(done, total, message)


def record_to_fields(record: Record) -> list[bytes]:
    """Return the wire form of a record: name, value, name, value ..."""
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
    """Read the wire form of a record. Returns None if the task has not ended, so that `fields` have no status.

    Raises `SerializationError` if the record is damaged or of a newer version.
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
                raise ValueError(f"the failure has {len(raw):,} bytes, the limit is {_MAX_ERROR:,}")
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
