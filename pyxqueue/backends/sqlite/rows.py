"""Between the values of the package and the rows of the tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, TypeGuard, TypeVar

import msgspec

from ...batching import MAX_BYTES
from ...errors import SerializationError
from ...model.message import Fields, LeaseStatus, Message, Progress, Record, TaskInfo, TaskStatus, Unreadable, evolve
from ...model.past import appended
from ...model.transitions import LEASE_STATUSES, Counts, Event, after
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
from .driver import Connection
from .schema import FAILED, IN_FLIGHT, LINES, RAW

T = TypeVar("T")

_pack = msgspec.msgpack.Encoder().encode
_MAX_FIELDS = 20_000
_unpack = msgspec.msgpack.Decoder(Annotated[list[bytes], msgspec.Meta(max_length=_MAX_FIELDS)]).decode
_NOTHING = _pack([])


class Row(NamedTuple):
    """A row of `task`, with its message, wherever that is kept, if it was asked for."""

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
    priority_class: int
    expires: int
    fields: bytes | None = None

    def charged(self, event: Event) -> Row:
        """B11: the row with its counters after the event."""
        counts = after(Counts(self.attempt, self.crashes, self.deferrals, bool(self.redelivered)), event)
        return self._replace(**counts._asdict())

    @property
    def came_back(self) -> int:
        """The place to which it comes back."""
        return LINES[self.priority_class][0]

    @property
    def lease_status(self) -> LeaseStatus:
        """What its holder is told (B6); another program may have written anything."""
        known = 0 <= self.cancelled < len(LEASE_STATUSES)
        return LEASE_STATUSES[self.cancelled] if known else LeaseStatus.CANCEL

    @property
    def status(self) -> TaskStatus:
        """I1: the status, derived from the place until the task has ended."""
        if self.place == IN_FLIGHT:
            return TaskStatus.STARTED
        if (ended := _ENDED.get(self.ended)) is not None:
            return ended
        return TaskStatus.RETRY if self.attempt > 1 and not self.raw & RAW else TaskStatus.PENDING


_ENDED = {int(status): status for status in TaskStatus if status.ended}


def row_of(values: Sequence[Any]) -> Row:
    """A row, from all its columns or all but the last.

    Another program may have written it, and SQLite keeps any kind of value in any column. A value that cannot be a
    number of ours is replaced by that of a new task, one that is not a text by "", and one that is not an id by
    `nameless`.
    """
    row = Row._make(values if len(values) == len(Row._fields) else [*values, None])
    task_id, consumer, reason, fence = row.id, row.consumer, row.reason, row.record_fence
    numbers = (*row[4:12], row.place, row.fence, row.cancelled, row.ended, row.known_until, row.record_end, row.expires)
    if (
        set(map(type, numbers)) == _INT
        and min(numbers) >= 0
        and max(numbers) < LARGEST
        and type(task_id) is type(consumer) is type(reason) is str
        and task_id.isascii()
        and 0 < len(task_id) <= 64
        and len(consumer) + len(reason) <= LONGEST
        and (fence == 0 or _is_rank(fence))
        and row.priority_class in LINES
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
    if row.priority_class not in LINES:
        wrong["priority_class"] = 0
    return row._replace(**wrong)


LARGEST = 10**18
"""Larger than every time, count and ticket."""
LONGEST = 1 << 18
"""The most characters of a reason and a consumer's name."""
_NEW = {
    "place": FAILED, "ord": 0, "updated": 0, "raw": 0, "attempt": 1, "crashes": 0, "redelivered": 0, "deferrals": 0,
    "due": 0, "fence": 0, "cancelled": 0, "ended": 0, "known_until": 0, "record_end": 0, "expires": 0,
}  # fmt: skip
_COUNTS_END = 1 << 31
_INT = {int}
_NAMELESS = re.compile(r"row\.(-?\d{1,19})", re.ASCII)


def is_number(value: object, end: int = LARGEST) -> bool:
    return type(value) is int and 0 <= value < end


def is_time(value: object) -> TypeGuard[float]:
    """Whether a column holds a time. Any other value, which another program has written, counts as never."""
    return isinstance(value, int | float) and value < LARGEST


def is_text(value: object) -> bool:
    return type(value) is str and len(value) <= LONGEST


def is_id(value: object) -> bool:
    """Whether a column holds what could be an id: ASCII of a valid length."""
    return type(value) is str and 0 < len(value) <= 64 and value.isascii()


def nameless(seq: int) -> str:
    """The id under which a row without an id is shown."""
    return f"row.{seq}"


def nameless_seqs(ids: Iterable[str]) -> list[int]:
    """The `seq` of each id that `nameless` makes."""
    return [seq for one in ids if (match := _NAMELESS.fullmatch(one)) and fits(seq := int(match[1]))]


def fits(seq: int) -> bool:
    """Whether it fits into 64 bits, as an integer of SQLite does."""
    return -(1 << 63) <= seq < 1 << 63


def _is_rank(stored: object) -> bool:
    return is_number(stored, 1 << 63) or (type(stored) is bytes and len(stored) <= 16)


def up_to(column: str, end: int) -> str:
    """SQL for a text, of which only the head is read if it has more than `end` bytes. (SQLite counts the characters of
    a text up to a NUL only, and all the bytes of a blob.)"""
    return f"CASE WHEN length(CAST({column} AS BLOB)) <= {end} THEN {column} ELSE substr({column}, 1, {end}) END"


_LIMITS = {"id": 65, "consumer": MAX_NAME, "progress": MAX_PROGRESS + 1, "reason": LONGEST - MAX_NAME}
COLUMNS = ", ".join(
    f"{up_to(f'task.{name}', _LIMITS[name])}" if name in _LIMITS else f"task.{name}" for name in Row._fields[:-1]
)
"""Of a text, no more than a valid one has: it may be longer than there is memory for."""
LEAN = COLUMNS.replace("task.record,", "substr(task.record, 1, 0),")
"""The same, but of a record only whether there is one."""


WHOLE = f"CASE WHEN length({{0}}) <= {MAX_BYTES} THEN {{0}} END"
"""SQL for a column that is read with its row unless it is large."""
_OF_BODY = "CASE WHEN task.fields IS NULL THEN (SELECT {} FROM body WHERE body.seq = task.seq) ELSE {} END"
FIELDS = _OF_BODY.format("fields", "task.fields")
"""SQL for the message of a row, its size, and the message unless it is large."""
FIELDS_SIZE = _OF_BODY.format("length(fields)", "length(task.fields)")
SMALL_FIELDS = _OF_BODY.format(WHOLE.format("fields"), WHOLE.format("task.fields"))
_MOST = 16 * MAX_BYTES


def within(rows: Sequence[Sequence[Any]], whole: Callable[[Sequence[Any]], Sequence[Any]]) -> Sequence[Sequence[Any]]:
    """As many of the first rows as fit into memory together, at least one. The last value of a row is the size of its
    bytes, which are left out if they are large; `whole` reads such a row."""
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


def with_field(fields: bytes, name: bytes, value: bytes | None) -> bytes:
    """The bytes of a message with another value of a field; None: without the field."""
    try:
        flat = _unpack(fields)
    except (TypeError, msgspec.MsgspecError):
        return fields
    kept = [part for pair in zip(flat[::2], flat[1::2], strict=False) if pair[0] != name for part in pair]
    return _pack(kept if value is None else [*kept, name, value])


def write_field(db: Connection, seq: int, name: bytes, value: bytes | None) -> None:
    """Change a field of the message of a row, wherever that is kept; None: drop the field."""
    for table in ("task", "body"):
        for (fields,) in db.execute(f"SELECT fields FROM {table} WHERE seq = ?", (seq,)):  # noqa: S608 - our own words
            if fields is not None and (changed := with_field(fields, name, value)) != fields:
                db.execute(f"UPDATE {table} SET fields = ? WHERE seq = ?", (changed, seq))  # noqa: S608 - our own words


def remember(db: Connection, row: Row, line: str) -> None:
    """B14: keep the line of a run that did not end the task, with its message; nothing for an empty one."""
    if line and not row.raw & RAW:
        for table in ("task", "body"):
            for (fields,) in db.execute(f"SELECT fields FROM {table} WHERE seq = ?", (row.seq,)):  # noqa: S608 - our own words
                if fields is not None and isinstance(message := message_of(row._replace(fields=fields)), Message):
                    write_field(db, row.seq, b"past", appended(message.past, line).encode() or None)


def message_of(row: Row) -> Message | Unreadable:
    """The message, with the counters and the due time of the row instead of those in the bytes."""
    return read_message(
        row.fields or _NOTHING, row.id, (row.attempt, row.crashes, row.redelivered, row.deferrals, row.due)
    )


def read_message(fields: bytes, task_id: str, header: Sequence[int]) -> Message | Unreadable:
    """As `message_of`; `header` is attempt, crashes, redelivered, deferrals and due.

    The row says which task it is. Bytes that were copied from another task are not run again (B1).
    """
    try:
        named = named_fields(fields)
    except ValueError as error:
        return Unreadable(task_id, {}, f"its bytes cannot be read: {error}")
    message = message_from_fields(named, task_id)
    if isinstance(message, Unreadable):
        return message
    if message.id != task_id:
        return Unreadable(task_id, named, f"its bytes are those of another task, {message.id}")
    if (message.attempt, message.crashes, message.redelivered, message.deferrals, message.due_ms) == tuple(header):
        return message  # as with every first run
    attempt, crashes, redelivered, deferrals, due = header
    if not all(is_number(number, _COUNTS_END) for number in header[:4]) or not is_number(due):
        return Unreadable(task_id, named, f"its header cannot be read: {quoted([*header], 200)}")
    return evolve(
        message, attempt=attempt, crashes=crashes, redelivered=bool(redelivered), deferrals=deferrals, due_ms=due
    )


def record_bytes(record: Record) -> bytes:
    """The bytes to keep of a record. When the store accepted it follows from `record_end`."""
    return _pack([*record_to_fields(record), b"ttl", b"%d" % record.ttl_ms])


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
        named = dict(named_fields(record))
        named[b"ended"] = b"%d" % max(0, end - int(named.get(b"ttl", b"0")))
        return record_from_fields(task_id, named)
    except ValueError as error:
        raise SerializationError(f"the stored result of {task_id} is damaged: {error}") from error


pack_fields: Callable[[Sequence[bytes]], bytes] = _pack
"""The bytes to keep of names and values."""


def named_fields(packed: bytes) -> Fields:
    """Decode what `pack_fields`, `fields_of` or `record_bytes` wrote. Raises `ValueError` for anything else."""
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
    """The statement, with placeholders for its ``IN ({})``, and their values. Their number is rounded up, so that few
    different statements are prepared."""
    size = 1 << (len(ids) - 1).bit_length()
    return _with_placeholders(sql, end, size), [*ids, *[ids[-1]] * (size - len(ids))]


@lru_cache
def _with_placeholders(sql: str, end: str, size: int) -> str:
    return (sql + end).format(",".join("?" * size))
