"""Reading what is stored in Redis. Another program may have written it, so no function raises for any bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from ...errors import BrokerError, SerializationError, StoreLayoutError
from ...model.message import Fields, Message, Progress, TaskInfo, TaskStatus, Unreadable
from ...model.wire import MAX_NAME, message_from_fields, progress_from_json, record_from_fields
from ...printable import quoted
from ...protocols import DEFAULT_LEASE_MS
from .keys import ALL_CLASSES, GROUP_PATTERN, LAYOUT, LIVE, GroupKeys, later_stream, meta

_ENTRY = re.compile(r"(0|[1-9]\d{0,19})-(0|[1-9]\d{0,19})", re.ASCII)
LAST_ENTRY = f"{2**64 - 1}-{2**64 - 1}"
"""The last possible entry; Redis refuses to look beyond it."""
_MAX_PACKED = 200_000
"""As in `_common.lua`."""
MAX_GROUPS = 256
"""Groups of one queue: each gets a copy of every message, in one step."""
MAX_FIELDS = 2_560
"""The most fields of a queue's meta hash that are read: at most nine for each group, and some."""


class Groups(Struct, frozen=True):
    """The registered groups of a queue, as `register` reported them."""

    version: bytes
    streams: dict[str, GroupKeys]
    leases: dict[str, int]
    fields: int
    """How many fields its meta hash has."""
    layout: int = LAYOUT
    classes: frozenset[int] = frozenset()
    """The priority classes, other than 0, that are in use."""
    gone: frozenset[str] = frozenset()
    """The live places in which our group had been, and had to be made again."""
    born: str = ""
    """When our group was made: it tells it from an earlier one of its name."""

    @property
    def are_too_many(self) -> bool:
        return self.fields > MAX_FIELDS or len(self.streams) > MAX_GROUPS

    def crowd(self, stream_key: str) -> BrokerError:
        """The error if they are too many."""
        return BrokerError(
            f"the queue {quoted(stream_key)} has more than {MAX_GROUPS} groups, or more in its key "
            f"{quoted(meta(stream_key))} ({self.fields:,} fields) than so many groups "
            f"need: remove there with HDEL what is no group of yours"
        )


def pairs(flat: Sequence[bytes]) -> Fields:
    """A flat reply as a dict. An entry with very many fields is `packed`, as `_common.lua` describes."""
    if len(flat) == 2 and flat[0] == b"packed":
        flat = _unpacked(flat[1]) or flat
    it = iter(flat)
    return dict(zip(it, it, strict=False))


def message_in(entry: bytes, flat: Sequence[bytes]) -> Message | Unreadable:
    """The message in a stream entry."""
    return message_from_fields(pairs(flat), entry.decode())


def _unpacked(text: bytes) -> list[bytes]:
    """The values, or nothing if the text is not what `_common.lua` writes."""
    values: list[bytes] = []
    at = 0
    while at < len(text):
        size, colon, _ = text[at : at + 11].partition(b":")
        start = at + len(size) + 1
        if not colon or not size.isdigit() or start + int(size) > len(text) or len(values) == _MAX_PACKED:
            return []
        at = start + int(size)
        values.append(text[start:at])
    return values if len(values) % 2 == 0 else []


def read_groups(stream_key: str, fields: Fields, number: int) -> Groups:
    """The groups in a queue's meta hash. Fields that `register` would not write are left out: a producer must not write
    to foreign keys. `number`: how many fields there are."""
    streams, leases = {}, {}
    classes = read_classes(fields.get(b"classes"))
    for field, raw in sorted(fields.items()):
        kind, _, name = field.decode(errors="replace").partition(":")
        value = raw.decode(errors="replace")
        if kind == "group" and GROUP_PATTERN.fullmatch(name) and value in (stream_key, later_stream(stream_key, name)):
            streams[name] = GroupKeys.of(stream_key, name, value, classes)
        elif kind == "lease":
            leases[name] = read_lease(raw)
    layout = fields.get(b"layout") or (b"1" if b"version" in fields else b"")
    known = int(layout) if re.fullmatch(rb"\d{1,3}", layout) else LAYOUT
    return Groups(fields.get(b"version", b"0"), streams, leases, number, known, classes)


def other_layout(stream_key: str, found: int) -> StoreLayoutError:
    """The error for a queue that is kept in another layout than ours."""
    kept = f"the queue {quoted(stream_key)} is kept in layout {found}"
    if found > LAYOUT:
        return StoreLayoutError(f"{kept}, of a newer pyxqueue; this one reads layout {LAYOUT}: upgrade pyxqueue here")
    return StoreLayoutError(
        f"{kept}, of an older pyxqueue; this one reads layout {LAYOUT}: stop its workers and producers, then carry its "
        "tasks to another database with `pyxqueue move`"
    )


def read_classes(raw: bytes | None) -> frozenset[int]:
    """The stored priority classes in use; anything that `register` would not write is left out."""
    return frozenset(number for number in ALL_CLASSES if b"%d" % number in (raw or b"").split(b" "))


def read_lease(raw: bytes) -> int:
    """A stored lease in ms; the default for anything that `register` would not write."""
    text = raw.decode(errors="replace")
    return int(text) if re.fullmatch(r"[1-9]\d{0,14}", text, re.ASCII) else DEFAULT_LEASE_MS


_PAUSED = re.compile(rb"([a-zA-Z])(\d{1,20}-\d{1,20})")


def read_paused(raw: bytes | None) -> dict[str, str] | None:
    """Where a paused group stood in its live streams, by place; None for a group that is not paused."""
    return None if raw is None else {place.decode(): entry.decode() for place, entry in _PAUSED.findall(raw)}


_MAX_NUMBER = 2**64 - 1


def is_entry(text: str) -> bool:
    """Return whether `text` is the id of an entry, spelt as Redis spells it: two numbers of up to 64 bits."""
    found = _ENTRY.fullmatch(text)
    return found is not None and (len(text) < 21 or all(int(number) <= _MAX_NUMBER for number in found.groups()))


def entry_fence(entry: str) -> int:
    """Orders entries as their stream does: both numbers of an id have up to 64 bits."""
    ms, _, sequence = entry.partition("-")
    return int(ms) << 64 | int(sequence)


def entry_before(entry: str) -> str:
    """The largest id below one that is not 0-0."""
    fence = entry_fence(entry) - 1
    return f"{fence >> 64}-{fence & _MAX_NUMBER}"


def entry_range(entries: Sequence[str]) -> tuple[str, str, str]:
    """Return the first and the last of these entries, and the id behind the last; '' if there cannot be one."""
    fences = [entry_fence(entry) for entry in entries]
    first, last = min(fences), max(fences)
    behind = f"{last + 1 >> 64}-{last + 1 & _MAX_NUMBER}"
    return (
        f"{first >> 64}-{first & _MAX_NUMBER}",
        f"{last >> 64}-{last & _MAX_NUMBER}",
        behind if is_entry(behind) else "",
    )


def entry_ms(entry: bytes) -> int:
    """When an entry was written, by its id; 0 for what is not an id."""
    text = entry.decode(errors="replace")
    return int(text.partition("-")[0]) if is_entry(text) else 0


_TASK = re.compile(rb"([nadghwfP-W])\+?(\d*-?\d*)(?: (\d*) (\d+) (\d) (.*))?", re.DOTALL)
_PLACES = {place.encode(): b"live" for place in LIVE} | {
    b"d": b"delayed",
    b"g": b"blocked",
    b"w": b"dependent",
    b"h": b"history",
    b"f": b"failed",
}


def task_fields(value: bytes, record: bytes = b"") -> dict[bytes, bytes]:
    """The value of a task as fields: where its message is, when it ended, and its record, which may be another value.
    Empty for what is not the value of a task."""
    found = _TASK.fullmatch(value)
    if found is None:
        return {}
    place, entry, ended, ttl, state, rest = found.groups()
    fields = {b"place": _PLACES[place], b"entry": entry}
    if ended is not None:
        values = iter(_unpacked(record[2:] if record else rest))
        fields |= {b"v": b"1", b"state": state, b"ended": ended or entry.partition(b"-")[0], b"ttl": ttl}
        fields |= zip(values, values, strict=True)
    return fields


def pack(values: Sequence[bytes]) -> bytes:
    """Write names and values as one text, as `_common.lua` describes."""
    return b"".join([b"%d:%b" % (len(value), value) for value in values])


def task_info(
    task_id: str,
    known: Fields,
    entry: Sequence[bytes],
    holder: bytes = b"",
    *,
    has_record: bool = False,
    since: bytes = b"",
) -> TaskInfo | None:
    """What is known of a task; None if it has ended and neither its record nor its message is left.

    Parameters:
        known: Its fields, as `task_fields` returns them.
        entry: The fields of its message.
        has_record: Whether its record can be read.
        since: When its holder claimed it.
    """
    fields = dict(pairs(entry))
    ours = known.get(b"place", b"history") in _ENDED  # elsewhere these names are not reserved
    reason, ended, noted = (fields.pop(name, b"") if ours else b"" for name in (b"_reason", b"_ended", b"_state"))
    state = _state(known.get(b"state", noted))
    # A message that another program has removed left only its id.
    message = message_from_fields(fields, task_id) if fields and list(fields) != [b"_id"] else None
    try:
        record = record_from_fields(task_id, known) if has_record else None
    except SerializationError:
        record = None
    if state is not None and message is None and record is None:
        return None
    waits = known.get(b"place") == b"dependent"
    event = fields.get(b"_event") if known.get(b"place") in {b"dependent", b"delayed"} else None
    status = state if state is not None else _unended(message, failed=bool(reason), held=bool(holder))
    return TaskInfo(
        id=task_id,
        status=status,
        message=message,
        worker=holder.decode(errors="backslashreplace") or (record.worker if record else ""),
        record=record,
        progress=_progress(known.get(b"progress")) if (has_record or state is None) and not waits else None,
        updated_ms=_ms(known.get(b"ended", ended)) or entry_ms(known.get(b"entry", b"")),
        reason=reason.decode(errors="replace"),
        started_ms=_ms(since),
        gate=_gate(fields) if known.get(b"place") == b"blocked" else "",
        waits_for=_ms(known.get(b"progress", b"")) if waits and not event else 0,
        suspended=event is not None,
        event=(event or b"").decode(errors="replace"),
    )


def _unended(message: Message | Unreadable | None, *, failed: bool, held: bool) -> TaskStatus:
    """The status of a task that has no record."""
    if failed or held:
        return TaskStatus.FAILURE if failed else TaskStatus.STARTED
    return TaskStatus.RETRY if message is not None and message.attempt > 1 else TaskStatus.PENDING


def _gate(fields: Fields) -> str:
    """The gate in whose line a message waits."""
    return fields.get(b"_gate", b"")[:MAX_NAME].decode(errors="replace")


_ENDED = (b"history", b"failed")
_STATES = {b"%d" % state: state for state in TaskStatus}


def _state(raw: bytes) -> TaskStatus | None:
    """The status in which a task has ended; None if it has not, or for anything else."""
    state = _STATES.get(raw)
    return state if state is not None and state.ended else None


def _ms(raw: bytes) -> int:
    """A time of the store's clock; 0 for anything else."""
    return int(raw) if raw.isdigit() and len(raw) < 16 else 0


def _progress(raw: bytes | None) -> Progress | None:
    try:
        return progress_from_json(raw)
    except SerializationError:
        return None
