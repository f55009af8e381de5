"""Expiry (L8): what waits and expires is in an index of its own, which has no other task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...model.limits import task_gate
from ...model.message import Message, StartStatus
from ...model.transitions import expired_record, too_late
from ...protocols import Expired
from . import locking
from .group import Group
from .rows import LEAN, SMALL_FIELDS, Row, is_time, message_of, row_of, write_field
from .schema import EXPIRES, GATED, HISTORY, LOCKED, RAW

FIRST = f"SELECT expires FROM {EXPIRES} ORDER BY expires LIMIT 1"  # noqa: S608 - our own words
_EXPIRED = f"SELECT {LEAN}, {SMALL_FIELDS} FROM {EXPIRES} AND expires <= ? ORDER BY expires LIMIT ?"  # noqa: S608 - our words


def first_expiry(group: Group) -> float | None:
    """When the first of the tasks that wait expires; None if none does."""
    rows = group.db.execute(FIRST, (group.key,))
    found = rows[0][0] if rows else None
    return found if is_time(found) else None


def expire(group: Group, limit: int) -> list[Expired]:
    """End at most `limit` tasks that wait and have expired, and return them."""
    if (first := first_expiry(group)) is None or first > group.now:
        return []
    rows = [row_of(row) for row in group.db.execute(_EXPIRED, (group.key, group.now, limit))]
    for row in rows:
        _end(group, row._replace(fields=None))
    group.flush()
    return [Expired(row.id, getattr(message_of(row), "name", "")) for row in rows]


def begin(group: Group, receipts: Sequence[str], *, look: bool) -> tuple[list[StartStatus], bool]:
    """Return whether the holders of these receipts may start their tasks, and whether that changes anything. What has
    expired is ended, what is of a paused name waits (L9), a start of a rate is counted (L6), and a lock that is held
    until the start is given back; `flush` writes it. `look`: only to learn whether that changes anything, in a
    transaction that must not write."""
    found, statuses, started = group.in_flight(receipts), list[StartStatus](), []
    rated = any(row.raw & GATED and group.gates.has_rate(row.seq) for row in found.values())
    held = _held(group, found) if group.asks_all else {}
    for receipt in receipts:
        row = found.get(receipt)
        if row is None:
            statuses.append(StartStatus.LOST)
        elif too_late(row.expires, group.now):
            if not look:
                _end(group, found.pop(receipt))
            statuses.append(StartStatus.EXPIRED)
        elif not look and (row.raw & GATED or receipt in held) and not _starts(group, row, held.get(receipt, "")):
            del found[receipt]
            statuses.append(StartStatus.LATER)
        else:
            statuses.append(StartStatus.RUN)
            if row.raw & LOCKED:
                started.append(row)
    locked = locking.give_back_at_start(group, started)
    return statuses, locked or rated or bool(held) or StartStatus.EXPIRED in statuses


def _held(group: Group, rows: Mapping[str, Row]) -> dict[str, str]:
    """By receipt, the gate of the name of a task that has to wait for it (L9)."""
    held = {}
    for receipt, row in rows.items():
        message = locking.message_at(group, row)
        if isinstance(message, Message) and group.gates.is_paused(gate := task_gate(message.name)):
            held[receipt] = gate
    return held


def _starts(group: Group, row: Row, held_at: str) -> bool:
    """Whether a task starts now; one whose rates have no room, or whose name is paused, is put back."""
    arrival = group.gates.start(row.seq, row.fence, held=bool(held_at))
    if arrival is not None:
        group.put_back(row, 0, arrival, held_at=held_at)
    return arrival is None


def _end(group: Group, row: Row) -> None:
    group.end(row, HISTORY, expired_record(row.id, 1 if row.raw & RAW else row.attempt))


def drop_expiry(group: Group, seq: int) -> None:
    """The task of this row does not expire any more."""
    group.db.execute("UPDATE task SET expires = 0 WHERE seq = ?", (seq,))
    write_field(group.db, seq, b"expires", None)
