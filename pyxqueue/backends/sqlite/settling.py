"""Settling: what nearly every task becomes, a success with a record, needs two statements for a whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...model.message import DEDUPE_MS, Defer, Done, Fail, Message, Record, Retry, Settlement, Suspend, TaskStatus
from ...model.transitions import ENDS, event_of, late_reason, too_late
from . import resuming
from .flowing import Flows
from .group import CHUNK, Group, Holding, due_after, holding_of, minimal, packed
from .rows import Row, padded, record_bytes, remember, up_to
from .schema import FAILED, FLOW, HISTORY, IN_FLIGHT, SHARED

CURRENT = f"""SELECT seq, fence, {up_to("id", 65)} FROM task NOT INDEXED
    WHERE seq IN ({{}}) AND grp = ? AND place = {IN_FLIGHT} AND raw IN (0, {SHARED}) AND progress IS NULL"""  # noqa: S608 - our own words


_END = f"""UPDATE task SET place = {HISTORY}, sort = ?, updated = ?, ended = ?, known_until = ?, record = ?,
    record_end = ? WHERE seq = ?"""  # noqa: S608 - our own words


class Prepared(NamedTuple):
    """A settlement, and what can be known of it without the file."""

    settlement: Settlement
    usual: tuple[Holding, Record, bytes] | None
    """For a success with a record, and no follow-up: whose it is, and the record with its bytes."""


def prepared(settlements: Sequence[Settlement]) -> list[Prepared]:
    distinct = len({settlement.receipt for settlement in settlements}) == len(settlements)
    return [Prepared(one, _usual(one) if distinct else None) for one in settlements]


def _usual(settlement: Settlement) -> tuple[Holding, Record, bytes] | None:
    if type(settlement.verdict) is not Done or settlement.record is None or settlement.then:
        return None
    holding = holding_of(settlement.receipt)
    return holding and (holding, settlement.record, record_bytes(settlement.record))


def settle(group: Group, settlements: Sequence[Prepared]) -> list[bool]:
    """B4, B5: apply each settlement as a whole, or refuse it."""
    current = _current(group, [one.usual[0].seq for one in settlements if one.usual is not None])
    others = [one.settlement.receipt for one in settlements if one.usual is None or one.usual[0] not in current]
    found = group.in_flight(others) if others else {}
    settled, ends = [], []
    follow_ups: dict[str, Message] = {}
    suspended: list[tuple[Row, Suspend, Sequence[Message]]] = []
    for settlement, usual in settlements:
        if usual is not None and usual[0] in current:
            ends.append(_end(group, *usual))
            settled.append(True)
            continue
        row = found.pop(settlement.receipt, None)
        settled.append(row is not None)
        if row is not None:
            if isinstance(settlement.verdict, Suspend):
                suspended.append((row, settlement.verdict, settlement.then))
            else:
                _apply(group, row, settlement)
            for message in settlement.then:
                follow_ups.setdefault(message.id, message)
    group.flush()
    if ends:
        group.db.executemany(_END, ends)
    if follow_ups:
        for task_id in group.knows(list(follow_ups)):
            del follow_ups[task_id]
        group.add(packed(list(follow_ups.values()), group.now + group.started_ms))
    for row, verdict, then in suspended:
        resuming.suspend(group, row, verdict, [one for one in then if follow_ups.get(one.id) is one])
    if suspended:
        group.flush()
    return settled


def _current(group: Group, seqs: Sequence[int]) -> set[tuple[int, int, str]]:
    """The holdings of these tasks, of those in flight that have no progress to be kept and no lock to give
    back."""
    found: set[tuple[int, int, str]] = set()
    for start in range(0, len(seqs), CHUNK):
        sql, values = padded(CURRENT, seqs[start : start + CHUNK])
        found.update(group.db.execute(sql, [*values, group.key]))
    return found


def _end(group: Group, holding: Holding, record: Record, kept: bytes) -> tuple[int | bytes, ...]:
    """The values of `_END`: as `Group.end`, for a success without progress."""
    now, ttl = group.now, record.ttl_ms
    group.history_size += 1
    known_until = now + max(ttl, DEDUPE_MS)
    return group.tickets.next(), now, int(record.status), known_until, kept, now + ttl, holding.seq


def _apply(group: Group, row: Row, settlement: Settlement) -> None:
    match settlement.verdict:
        case Fail() if row.raw & FLOW and Flows(group).is_doomed_no_more(row):
            Flows(group).undoom(row)
        case Retry(delay) if not row.cancelled and too_late(row.expires, due_after(group, delay) or group.now):
            reason = late_reason(settlement.record)
            group.end(row, FAILED, settlement.record or minimal(row, TaskStatus.FAILURE, reason), reason)
        case Retry(delay) | Defer(delay) as verdict:
            remember(group.db, row, verdict.past if isinstance(verdict, Retry) else "")
            group.put_back(row.charged(event_of(verdict)), delay, joins=isinstance(verdict, Retry))
        case Fail(reason):
            group.end(row, FAILED, settlement.record or minimal(row, TaskStatus.FAILURE, reason), reason)
        case verdict:
            group.end(row, HISTORY, settlement.record or minimal(row, ENDS[type(verdict)]))
