"""Between the values of the package and the rows of the tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, TypeGuard, TypeVar

import msgspec
from attrs import evolve

from ...batching import MAX_BYTES
from ...errors import SerializationError
from ...model.message import Fields, Message, Progress, Record, TaskInfo, TaskStatus, Unreadable
from ...model.transitions import Counts, Event, after
from ...model.wire import (
    MAX_NAME,
    MAX_PROGRESS,
    message_from_fields,
    message_to_fields,
    progress_from_json,
    progress_to_json,
    record_from_fields,
    record_to_fields,
)
from ...printable import quoted
from .schema import FAILED, IN_FLIGHT

T = TypeVar("T")

_pack = msgspec.msgpack.Encoder().encode
_MAX_FIELDS = 20_000
_unpack = msgspec.msgpack.Decoder(Annotated[list[bytes], msgspec.Meta(max_length=_MAX_FIELDS)]).decode
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
    redelivered: int
    deferrals: int
    due: int
    consumer: str
    fence: int
    cancelled: int
    progress: bytes | None
    ended: int
    reason: str
    known_until: int
    record: bytes | None
    record_end: int
    record_fence: int | bytes
    fields: bytes | None = None

    def charged(self, event: Event) -> Row:
        """B11: what waits again after the event."""
        counts = after(Counts(self.attempt, self.crashes, self.deferrals, bool(self.redelivered)), event)
        return self._replace(**counts._asdict())

    @property
    def status(self) -> TaskStatus:
        """I1: derived, never stored while the task is under way."""
        if self.place == IN_FLIGHT:
            return TaskStatus.STARTED
        if (ended := _ENDED.get(self.ended)) is not None:
            return ended
        return TaskStatus.RETRY if self.attempt > 1 and not self.raw else TaskStatus.PENDING


_ENDED = {int(status): status for status in TaskStatus if status.ended}


def row_of(values: Sequence[Any]) -> Row:
    """A row, from all its columns or all but the last.

    Anybody may have written it, and SQLite keeps any kind of value in any column: a number that is none, or is none of
    ours, counts as a new task's, a text that is none as empty, and an id that is none is made of the row's number.
    """
    row = Row._make(values if len(values) == len(Row._fields) else [*values, None])
    task_id, consumer, reason, fence = row.id, row.consumer, row.reason, row.record_fence
    numbers = (*row[4:12], row.place, row.fence, row.cancelled, row.ended, row.known_until, row.record_end)
    if (
        set(map(type, numbers)) == _INT
        and min(numbers) >= 0
        and max(numbers) < LARGEST
        and type(task_id) is type(consumer) is type(reason) is str
        and task_id.isascii()
        and 0 < len(task_id) <= 64
        and len(consumer) + len(reason) <= LONGEST
        and (fence == 0 or _is_rank(fence))
    ):
        return row
    return _mended(row)


def _mended(row: Row) -> Row:
    wrong: dict[str, Any] = {name: new for name, new in _NEW.items() if not is_number(getattr(row, name))}
    for name in ("consumer", "reason"):
        text = getattr(row, name)
        wrong |= {} if is_text(text) else {name: ""}
    if not is_id(row.id):
        wrong["id"] = nameless(row.seq)
    if not _is_rank(row.record_fence):
        wrong["record_fence"] = 0
    return row._replace(**wrong)


LARGEST = 10**18
"""Larger than any number of ours: times, counts and tickets."""
LONGEST = 1 << 18
"""Characters of a reason or a consumer's name; nothing of ours is longer."""
_NEW = {
    "place": FAILED, "ord": 0, "updated": 0, "raw": 0, "attempt": 1, "crashes": 0, "redelivered": 0, "deferrals": 0,
    "due": 0, "fence": 0, "cancelled": 0, "ended": 0, "known_until": 0, "record_end": 0,
}  # fmt: skip
_COUNTS_END = 1 << 31
_INT = {int}
_NAMELESS = re.compile(r"row\.(-?\d{1,19})", re.ASCII)


def is_number(value: object, end: int = LARGEST) -> bool:
    return type(value) is int and 0 <= value < end


def is_time(value: object) -> TypeGuard[float]:
    """Whether a column holds when something is to happen; what other programs have put there counts as never."""
    return isinstance(value, int | float) and value < LARGEST


def is_text(value: object) -> bool:
    return type(value) is str and len(value) <= LONGEST


def is_id(value: object) -> bool:
    """Whether a column holds what could be an id; one of a valid length in ASCII is taken as it is."""
    return type(value) is str and 0 < len(value) <= 64 and value.isascii()


def nameless(seq: int) -> str:
    """How a row is called that has no id."""
    return f"row.{seq}"


def nameless_seqs(ids: Iterable[str]) -> list[int]:
    """The rows that are called so, if they have no ids."""
    return [seq for one in ids if (match := _NAMELESS.fullmatch(one)) and fits(seq := int(match[1]))]


def fits(seq: int) -> bool:
    """Whether it is one of SQLite's numbers."""
    return -(1 << 63) <= seq < 1 << 63


def _is_rank(stored: object) -> bool:
    return is_number(stored, 1 << 63) or (type(stored) is bytes and len(stored) <= 16)


def up_to(column: str, end: int) -> str:
    """What is read of a text: the whole, or the head where it has more bytes than `end`. (The length of a text ends at
    a NUL, that of bytes does not.)"""
    return f"CASE WHEN length(CAST({column} AS BLOB)) <= {end} THEN {column} ELSE substr({column}, 1, {end}) END"


_LIMITS = {"id": 65, "consumer": MAX_NAME, "progress": MAX_PROGRESS + 1, "reason": LONGEST - MAX_NAME}
COLUMNS = ", ".join(
    f"{up_to(f'task.{name}', _LIMITS[name])}" if name in _LIMITS else f"task.{name}" for name in Row._fields[:-1]
)
"""No more of a text than ours have: it may be longer than there is memory for."""
LEAN = COLUMNS.replace("task.record,", "substr(task.record, 1, 0),")
"""The same, and of a record only whether there is one."""


WHOLE = f"CASE WHEN length({{0}}) <= {MAX_BYTES} THEN {{0}} END"
"""A column that is read with its row where that is cheap."""
_MOST = 16 * MAX_BYTES


def within(rows: Sequence[Sequence[Any]], whole: Callable[[Sequence[Any]], Sequence[Any]]) -> Sequence[Sequence[Any]]:
    """The first of these rows, whose last value is the size of what was left out where it is large: as many as fit into
    memory together, and at least one. `whole` reads a large one."""
    if not any(type(row[-1]) is int and row[-1] > MAX_BYTES for row in rows):
        return rows
    taken, total = list[Sequence[Any]](), 0
    for row in rows:
        size = row[-1] or 0
        total += size
        if taken and total > _MOST:
            break
        taken.append(whole(row) if size > MAX_BYTES else row)
    return taken


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
    return read_message(
        row.fields or _NOTHING, row.id, (row.attempt, row.crashes, row.redelivered, row.deferrals, row.due)
    )


def read_message(fields: bytes, task_id: str, header: Sequence[int]) -> Message | Unreadable:
    """As `message_of`; `header` is attempt, crashes, redelivered, deferrals and due.

    The row says which task it is. Bytes that were copied from another one are not that one once more (B1).
    """
    try:
        named = _named(fields)
    except ValueError as error:
        return Unreadable(task_id, {}, f"its bytes cannot be read: {error}")
    message = message_from_fields(named, task_id)
    if isinstance(message, Unreadable):
        return message
    if message.id != task_id:
        return Unreadable(task_id, named, f"its bytes are those of another task, {message.id}")
    attempt, crashes, redelivered, deferrals, due = header
    if not all(is_number(number, _COUNTS_END) for number in header[:4]) or not is_number(due):
        return Unreadable(task_id, named, f"its header cannot be read: {quoted([*header], 200)}")
    stored = (message.attempt, message.crashes, message.redelivered, message.deferrals, message.due_ms)
    if stored == (attempt, crashes, redelivered, deferrals, due):
        return message
    return evolve(
        message, attempt=attempt, crashes=crashes, redelivered=bool(redelivered), deferrals=deferrals, due_ms=due
    )


def record_bytes(record: Record) -> bytes:
    """The bytes to keep of a record whose `ended_ms` the store has set."""
    return _pack([*record_to_fields(record), b"ended", b"%d" % record.ended_ms, b"ttl", b"%d" % record.ttl_ms])


def stored_fence(fence: int) -> int | bytes:
    """A fencing token of up to 128 bits as SQLite orders it: any bytes come after any number."""
    return fence if fence < 1 << 63 else fence.to_bytes(16, "big")


def fence_of(stored: int | bytes) -> int:
    """Undo `stored_fence`."""
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
        worker=row.consumer if row.place == IN_FLIGHT else record.worker if record else "",
        record=record,
        progress=record.progress if record else progress_of(row),
        updated_ms=row.updated,
        reason=row.reason,
        started_ms=row.updated if row.place == IN_FLIGHT else 0,
    )


def padded(sql: str, ids: Sequence[T], end: str = "") -> tuple[str, list[T]]:
    """The statement, with placeholders for its ``IN ({})``, and their values: few different lengths, so that statements
    are prepared once."""
    size = 1 << (len(ids) - 1).bit_length()
    return _spelt(sql, end, size), [*ids, *[ids[-1]] * (size - len(ids))]


@lru_cache
def _spelt(sql: str, end: str, size: int) -> str:
    return (sql + end).format(",".join("?" * size))
