"""Between the values of the package and the rows of the tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
from attrs import evolve

from ...errors import SerializationError
from ...message import Fields, Message, Progress, Record, TaskInfo, TaskStatus, Unreadable
from ...printable import quoted
from ...wire import (
    message_from_fields,
    message_to_fields,
    progress_from_json,
    progress_to_json,
    record_from_fields,
    record_to_fields,
)
from .schema import HELD

T = TypeVar("T")

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[bytes]).decode
_NOTHING = _pack([])


class Row(NamedTuple):
    """A row of `task`, with what `body` has for it where that was asked for."""

    seq: int
    id: str
    place: int
    sort: int
    ord: int
    updated: int
    raw: int
    attempt: int
    crashes: int
    suspect: int
    returns: int
    due: int
    consumer: str
    rank: int
    cancelled: int
    progress: bytes | None
    ended: int
    reason: str
    known_until: int
    record: bytes | None
    record_end: int
    record_rank: int | bytes
    fields: bytes | None = None

    @property
    def status(self) -> TaskStatus:
        """I1: derived, never stored while the task is under way."""
        if self.place == HELD:
            return TaskStatus.STARTED
        if (ended := _ENDED.get(self.ended)) is not None:
            return ended
        return TaskStatus.RETRY if self.attempt > 1 and not self.raw else TaskStatus.PENDING


_ENDED = {int(status): status for status in TaskStatus if status.finished}


def row_of(values: Sequence[Any]) -> Row:
    """A row, from all its columns or all but the last. SQLite keeps any kind of value in any column: a number that is
    none counts as a new task's, a text that is none as empty."""
    row = Row._make(values if len(values) == len(Row._fields) else [*values, None])
    numbers = (row.attempt, row.crashes, row.suspect, row.returns, row.due, row.ended, row.record_end)
    if all(type(number) is int for number in numbers) and type(row.consumer) is type(row.reason) is str:
        return row
    wrong = {name for name in _NUMBERS if type(getattr(row, name)) is not int}
    wrong |= {name for name in ("consumer", "reason") if type(getattr(row, name)) is not str}
    return row._replace(**{name: _NUMBERS.get(name, "") for name in wrong})  # type: ignore[arg-type]


_NUMBERS = {"attempt": 1, "crashes": 0, "suspect": 0, "returns": 0, "due": 0, "ended": 0, "record_end": 0}
COLUMNS = ", ".join(f"task.{name}" for name in Row._fields[:-1])


def fields_of(message: Message | Unreadable, enqueued: int = 0) -> bytes:
    """The bytes to keep of a message. `enqueued` is the store's stamp, 0 to leave the message's own."""
    if isinstance(message, Unreadable):
        return _pack([part for pair in message.fields.items() for part in pair])
    flat = message_to_fields(message)
    if enqueued:
        flat += (b"enqueued", b"%d" % enqueued)  # of a name that is there twice, the last counts
    return _pack(flat)


def message_of(row: Row) -> Message | Unreadable:
    """The message, with what the row knows better than the bytes."""
    return read_message(row.fields or _NOTHING, row.id, (row.attempt, row.crashes, row.suspect, row.returns, row.due))


def read_message(fields: bytes, task_id: str, header: Sequence[int]) -> Message | Unreadable:
    """As `message_of`; `header` is attempt, crashes, suspect, returns and due."""
    try:
        named = _named(fields)
    except ValueError as error:
        return Unreadable(task_id, {}, f"its bytes cannot be read: {error}")
    message = message_from_fields(named, task_id)
    if isinstance(message, Unreadable):
        return message
    attempt, crashes, suspect, returns, due = header
    if any(type(number) is not int or number < 0 for number in header):
        return Unreadable(task_id, named, f"its header cannot be read: {quoted([*header], 200)}")
    stored = (message.attempt, message.crashes, message.suspect, message.returns, message.due)
    if stored == (attempt, crashes, suspect, returns, due):
        return message
    return evolve(message, attempt=attempt, crashes=crashes, suspect=bool(suspect), returns=returns, due=due)


def record_bytes(record: Record) -> bytes:
    """The bytes to keep of a record whose `finished` the store has stamped."""
    return _pack([*record_to_fields(record), b"finished", b"%d" % record.finished, b"ttl", b"%d" % record.ttl])


def stored_rank(rank: int) -> int | bytes:
    """A rank of up to 128 bits as SQLite orders it: any bytes come after any number."""
    return rank if rank < 1 << 63 else rank.to_bytes(16, "big")


def rank_of(stored: int | bytes) -> int:
    """Undo `stored_rank`."""
    return stored if isinstance(stored, int) else int.from_bytes(stored, "big")


def record_of(task_id: str, record: bytes | None, end: int, now: int) -> Record | None:
    """R3: the record, for as long as it can be read."""
    if record is None or now >= end:
        return None
    try:
        return record_from_fields(task_id, _named(record))
    except ValueError as error:
        raise SerializationError(f"the stored result of {task_id} is damaged: {error}") from error


def _named(packed: bytes) -> Fields:
    """What `fields_of` or `record_bytes` wrote. Raises `ValueError` for anything else."""
    try:
        flat = _unpack(packed)
    except (TypeError, msgspec.MsgspecError) as error:
        raise ValueError(error) from error
    return dict(zip(flat[::2], flat[1::2], strict=True))


def progress_bytes(progress: Progress | None) -> bytes | None:
    return progress_to_json(progress) or None


def progress_of(row: Row) -> Progress | None:
    try:
        return progress_from_json(row.progress) if isinstance(row.progress, bytes) else None
    except SerializationError:
        return None


def readable_record(row: Row, now: int) -> Record | None:
    """The row's record; None for one that is damaged too."""
    try:
        return record_of(row.id, row.record, row.record_end, now)
    except SerializationError:
        return None


def info_of(row: Row, now: int) -> TaskInfo:
    record = readable_record(row, now)
    return TaskInfo(
        id=row.id,
        status=row.status,
        message=None if row.fields is None else message_of(row),
        worker=row.consumer if row.place == HELD else record.worker if record else "",
        record=record,
        progress=record.progress if record else progress_of(row),
        updated=row.updated,
        reason=row.reason,
        started=row.updated if row.place == HELD else 0,
    )


def padded(ids: Sequence[T]) -> tuple[str, list[T]]:
    """Placeholders and values for ``IN (…)``: few different lengths, so that statements are prepared once."""
    size = 1 << (len(ids) - 1).bit_length()
    return ",".join("?" * size), [*ids, *[ids[-1]] * (size - len(ids))]
