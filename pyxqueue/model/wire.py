"""The wire format: messages and records as named fields in a store.

A message is a flat list of names and values, so that ``XRANGE`` in `redis-cli` shows it readably and a program in
another language can write one. A missing field has its default; the smallest message that can be written by hand is
``name rpc.fib body [[10],{}]``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from ..errors import SerializationError
from ..printable import quoted
from .fairness import MAX_SHARE
from .flows import MAX_AFTER, MAX_SUCCESSORS, is_edge, is_predecessor
from .limits import GATE_PATTERN, KEY_PATTERN, MAX_GATES
from .message import (
    FLOW_VERSION,
    ID_PATTERN,
    NAME_PATTERN,
    Failure,
    Fields,
    Message,
    Progress,
    Record,
    TaskStatus,
    Unreadable,
)


def _key(attribute: str) -> bytes:
    """Return the name of a field on the wire. The names of times do not have their unit there."""
    return attribute.removesuffix("_ms").encode()


_PLAIN = Message("", "")
_OPTIONAL = [
    (name, _key(name), getattr(_PLAIN, name))
    for name in (
        "serializer", "attempt", "crashes", "deferrals", "enqueued_ms", "due_ms", "expires_ms", "priority", "parent",
        "reply", "seal", "lock", "flow", "doomed", "gates", "share", "tenant", "after",
        "successors", "past",
    )
]  # fmt: skip
"""The fields that are left out at their default, in the order of the wire: attribute, name on the wire, default."""
_optional_values = attrgetter(*(name for name, _, _ in _OPTIONAL))
_DEFAULTS = _optional_values(_PLAIN)


def message_to_fields(message: Message) -> list[bytes]:
    """Return the wire form of a message: name, value, name, value ... Fields at their default are left out, except
    `v`, `id`, `name` and `body`."""
    flat = [
        b"v", b"%d" % message.v, b"id", message.id.encode(), b"name", message.name.encode(), b"body", message.body,
    ]  # fmt: skip
    if (values := _optional_values(message)) != _DEFAULTS:
        for (_, key, default), value in zip(_OPTIONAL, values, strict=True):
            if value != default:
                flat += (key, (" ".join(value) if type(value) is tuple else str(value)).encode())
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
    headers = message.headers
    return len(message.body) + headers_size(headers) if headers else len(message.body)


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
_MAX_LIST = 1 << 15
"""The longest list of texts of a message that is read, in bytes."""
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


def _list_of(what: str, most: int, is_valid: Callable[[str], object]) -> Callable[[bytes], tuple[str, ...]]:
    """Return a reader for a list of at most `most` different texts."""

    def read(raw: bytes) -> tuple[str, ...]:
        if len(raw) > _MAX_LIST:
            raise ValueError(f"the {what} have {len(raw):,} bytes, the limit is {_MAX_LIST:,}")
        texts = tuple(raw.decode().split(" ")) if raw else ()
        if len(texts) > most or len(set(texts)) < len(texts) or not all(map(is_valid, texts)):
            raise ValueError(f"{quoted(raw)} are not the names of at most {most} {what}")
        return texts

    return read


def _tenant(raw: bytes) -> str:
    if not KEY_PATTERN.fullmatch(tenant := _text(raw)):
        raise ValueError(f"{quoted(raw)} is not the key of a tenant")
    return tenant


_READERS: Mapping[str, Callable[[bytes], object]] = {
    **dict.fromkeys(("name", "serializer", "parent", "reply", "seal", "lock", "flow", "doomed", "past"), _text),
    **dict.fromkeys(("v", "attempt", "crashes", "deferrals"), _count),
    **dict.fromkeys(("enqueued_ms", "due_ms", "expires_ms"), _time),
    "priority": lambda raw: _between(int(raw), 2**53, -(2**53)),
    "body": bytes,
    "redelivered": b"1".__eq__,
    "headers": _headers,
    "share": lambda raw: _between(int(raw), MAX_SHARE + 1),
    "tenant": _tenant,
    "gates": _list_of("gates", MAX_GATES, GATE_PATTERN.fullmatch),
    "after": _list_of("predecessors", MAX_AFTER, is_predecessor),
    "successors": _list_of("edges", MAX_SUCCESSORS, is_edge),
}
_READERS_BY_KEY = {_key(attribute): (attribute, read) for attribute, read in _READERS.items()}


_STORES = frozenset((b"_id", b"_since", b"_tokens", b"_gate", b"_order", b"_tag", b"_flow"))
"""Fields that are the store's, not the message's: its id if it has none of its own, when it came back, whether it has
the tokens of its gates, and its place in a line."""
_USUAL = (b"v", b"id", b"name", b"body")
"""The fields of a message at its first run. A store writes ``enqueued`` before or behind them."""
_ENQUEUED = (b"enqueued",)
_LONGEST_NAME = 800
"""The size of the longest valid name, in bytes."""
_usual_id = re.compile(ID_PATTERN.pattern.encode()).fullmatch
_usual_time = re.compile(rb"[0-9]{1,15}").fullmatch


@lru_cache(1024)
def _valid_name(raw: bytes) -> str:
    """Return the name of a task, or an empty text for one that is not valid. A queue has few, and many messages."""
    try:
        return name if NAME_PATTERN.fullmatch(name := _text(raw)) else ""
    except ValueError:
        return ""


def _usual_message(fields: Fields) -> Message | None:
    """Return what `_any_message` does for most messages, and None for all others."""
    names = tuple(fields)
    if names == _ENQUEUED + _USUAL:
        enqueued, version, raw_id, raw_name, body = fields.values()
    elif names == _USUAL + _ENQUEUED:
        version, raw_id, raw_name, body, enqueued = fields.values()
    else:
        return None
    if version != b"1" or not _usual_id(raw_id) or not _usual_time(enqueued) or len(raw_name) > _LONGEST_NAME:
        return None
    name = _valid_name(raw_name)
    return Message(raw_id.decode(), name, bytes(body), enqueued_ms=int(enqueued)) if name else None


def message_from_fields(fields: Fields, fallback_id: str) -> Message | Unreadable:
    """Read the wire form of a message. Returns `Unreadable` for fields that are not a message; never raises.

    An entry without a valid id gets the id in its field ``_id``, under which another store knew it, else `fallback_id`.
    """
    return _usual_message(fields) or _any_message(fields, fallback_id)


def _any_message(fields: Fields, fallback_id: str) -> Message | Unreadable:
    if not _STORES.isdisjoint(fields):
        known = fields.get(b"_id", b"")[:_ID_PREFIX].decode("ascii", "replace")
        fallback_id = known if ID_PATTERN.fullmatch(known) else fallback_id
        fields = {name: value for name, value in fields.items() if name not in _STORES}
    raw_id = fields.get(b"id", b"")[:_ID_PREFIX].decode("ascii", "replace")
    task_id = raw_id if ID_PATTERN.fullmatch(raw_id) else fallback_id
    try:
        if (version := int(fields.get(b"v", b"1"))) > FLOW_VERSION:
            reason = f"the message has wire version {version}, this worker reads up to {FLOW_VERSION}"
            return Unreadable(task_id, fields, reason, newer=True)
        if raw_id and raw_id != task_id:
            return Unreadable(task_id, fields, "the id is not 1 to 64 characters of A-Z a-z 0-9 _ . -")
        values: dict[str, Any] = {"id": task_id}
        for key, raw in fields.items():
            if key in _READERS_BY_KEY:
                attribute, read = _READERS_BY_KEY[key]
                values[attribute] = read(raw)
        if not NAME_PATTERN.fullmatch(values.get("name", "")):
            reason = "the task name is not valid" if "name" in values else "the entry does not have a field 'name'"
            return Unreadable(task_id, fields, reason)
        return Message(**values)
    except (ValueError, msgspec.MsgspecError) as error:
        return Unreadable(task_id, fields, f"a header field cannot be read: {error}")


def progress_to_json(progress: Progress | None) -> bytes:
    """Return the wire form of a progress value: a JSON array ``[done, total, message]``; empty for None."""
    if progress is None:
        return b""
    return msgspec.json.encode((_to_json(progress.done), _to_json(progress.total), progress.message))


_NO_NUMBERS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
"""Numbers that JSON does not have, by their wire form. Each is one object, so that nan compares equal to itself."""


def _to_json(number: float | None) -> float | str | None:
    return str(number) if isinstance(number, float) and not math.isfinite(number) else number


def _number(value: object) -> float:
    """Read a number that is not None. Raises `ValueError` for a text that stands for none, and `OverflowError` for an
    int that is too large to be shown."""
    if isinstance(value, str):
        if value not in _NO_NUMBERS:
            raise ValueError(f"{quoted(value)} is not a number")
        return _NO_NUMBERS[value]
    assert isinstance(value, int | float)
    float(value)
    return value


def progress_from_json(data: bytes | None) -> Progress | None:
    """Read the bytes that `progress_to_json` wrote. Raises `SerializationError` if they are damaged."""
    if not data:
        return None
    if len(data) > MAX_PROGRESS:
        raise SerializationError(f"the stored progress has {len(data):,} bytes, the limit is {MAX_PROGRESS:,}")
    try:
        done, total, message = msgspec.json.decode(data, type=tuple[int | float | str, int | float | str | None, str])
        progress = Progress(_number(done), None if total is None else _number(total), message)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise SerializationError(f"the stored progress is damaged: {error}") from error
    return progress


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
    if record.ran_ms:
        flat += (b"ran", b"%d" % record.ran_ms)
    return flat


def record_from_fields(task_id: str, fields: Fields) -> Record | None:
    """Read the wire form of a record. Returns None if the task has not ended, so that `fields` have no status.

    Raises `SerializationError` if the record is damaged or of a newer version.
    """
    if b"state" not in fields:
        return None
    try:
        if (version := int(fields[b"v"])) > FLOW_VERSION:
            raise SerializationError(
                f"the result of {task_id} has wire version {version}, newer than {FLOW_VERSION}: upgrade pyxqueue here"
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
            ran_ms=_time(fields.get(b"ran", b"0")),
            ttl_ms=_time(fields.get(b"ttl", b"0")),
            fence=_between(int(fields.get(b"fence", b"0")), 1 << 128),
            v=version,
        )
    except SerializationError:
        raise
    except (KeyError, ValueError, msgspec.MsgspecError) as error_:
        raise SerializationError(f"the stored result of {task_id} is damaged: {error_}") from error_
