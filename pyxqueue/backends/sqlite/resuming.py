"""Steps, events and suspensions of tasks inside one transaction (L14).

The bit `KEPT` of a task's `raw` says that it has rows in `step`, the bit `SUSPENDED` that it waits because it was
suspended. A task without them costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...model.flows import is_child_of
from ...model.message import LeaseStatus, Message, Suspend
from ...model.steps import MAX_EVENTS, EventStatus, Steps
from ...model.transitions import Event
from . import expiring
from .flowing import Flows
from .group import Group, drop_steps
from .rows import Row, is_text
from .schema import DELAYED, DEPENDENT, FAILED, GATED, KEPT, SUSPENDED, UNENDED

STEP, EVENT, AWAITED = range(3)
"""Kinds of rows in `step`: a step, an event, and the name of the event that a suspended task waits for."""
_KEPT = "SELECT kind, name, value FROM step WHERE seq = ? AND kind < ?"
_SAVE = "INSERT OR REPLACE INTO step VALUES (?, ?, ?, ?)"
_WAIT = """UPDATE task SET place = ?, sort = ?, ord = ?, updated = ?, redelivered = ?, due = ?, progress = NULL
    WHERE seq = ?"""


def load(group: Group, task_id: str) -> Steps:
    """Return what is kept of a task, and the time."""
    row = group.rows([task_id]).get(task_id)
    kept = {STEP: dict[str, bytes](), EVENT: dict[str, bytes]()}
    for kind, name, value in group.db.execute(_KEPT, (row.seq, AWAITED)) if row is not None else ():
        if kind in kept and is_text(name) and isinstance(value, bytes):
            kept[kind][name] = value
    return Steps(group.now + group.started_ms, kept[STEP], kept[EVENT])


def save(group: Group, receipt: str, steps: Mapping[str, bytes]) -> LeaseStatus:
    """Save steps, for the current receipt only."""
    row = group.in_flight([receipt]).get(receipt)
    if row is None:
        return LeaseStatus.LOST
    _keep(group, row.seq, STEP, steps)
    return row.lease_status


def send_event(group: Group, task_id: str, name: str, value: bytes) -> EventStatus:
    """Store the first event of its name; if the task waits for it, make it ready."""
    row = group.rows([task_id]).get(task_id)
    if row is None or row.place not in UNENDED:
        return EventStatus.REFUSED
    names = _names(group, row.seq, EVENT)
    if name in names:
        return EventStatus.EARLIER
    if len(names) >= MAX_EVENTS:
        return EventStatus.FULL
    _keep(group, row.seq, EVENT, {name: value})
    if is_suspended(row) and name in _names(group, row.seq, AWAITED):
        group.db.execute("UPDATE task SET due = 0 WHERE seq = ?", (row.seq,))
        Flows(group).start(row.seq)
    return EventStatus.STORED


def forget(group: Group, ids: Sequence[str]) -> None:
    """Delete the steps and events of failed tasks."""
    drop_steps(group.db, [row for row in group.rows(ids).values() if row.place == FAILED])


def suspend(group: Group, row: Row, verdict: Suspend, new: Sequence[Message]) -> None:
    """Let the task of an accepted settlement wait. `new`: those of the follow-ups that were stored. `Group.flush`
    writes a part of it."""
    row = row.charged(Event.SUSPEND)
    if verdict.steps:
        _keep(group, row.seq, STEP, verdict.steps)
        row = row._replace(raw=row.raw | KEPT)
    if row.expires:
        expiring.drop_expiry(group, row.seq)
    children = [one for one in new if is_child_of(one, row.id, verdict.flow)]
    waits = bool(children) or verdict.due_ms > group.now or (verdict.event != "" and not verdict.due_ms)
    if row.cancelled or not waits or (verdict.event and verdict.event in _names(group, row.seq, EVENT)):
        group.put_back(row, 0)
        return
    if row.raw & GATED:
        group.gates.leave([row.seq])  # it holds no token meanwhile (L3)
    ticket = group.tickets.next()
    place, sort = (DELAYED, verdict.due_ms) if verdict.due_ms else (DEPENDENT, ticket)
    group.db.execute(_WAIT, (place, sort, ticket, group.now, row.redelivered, verdict.due_ms, row.seq))
    group.db.execute(f"UPDATE task SET raw = raw | {SUSPENDED} WHERE seq = ?", (row.seq,))  # noqa: S608 - our own words
    group.db.execute("DELETE FROM step WHERE seq = ? AND kind = ?", (row.seq, AWAITED))
    if verdict.event:
        _keep(group, row.seq, AWAITED, {verdict.event: b""})
    if children:
        values = row.seq, verdict.flow, len(children)
        group.db.execute("INSERT OR REPLACE INTO parent VALUES (?, ?, ?)", values)


def is_suspended(row: Row) -> bool:
    return bool(row.raw & SUSPENDED) and row.place in (DELAYED, DEPENDENT)


def awaited(group: Group, row: Row) -> str:
    """Return the event that a suspended task waits for; an empty text for none."""
    return next(iter(_names(group, row.seq, AWAITED)), "")


def _keep(group: Group, seq: int, kind: int, values: Mapping[str, bytes]) -> None:
    group.db.executemany(_SAVE, [(seq, kind, name, value) for name, value in values.items()])
    group.db.execute(f"UPDATE task SET raw = raw | {KEPT} WHERE seq = ?", (seq,))  # noqa: S608 - our own words


def _names(group: Group, seq: int, kind: int) -> set[str]:
    rows = group.db.execute("SELECT name FROM step WHERE seq = ? AND kind = ?", (seq, kind))
    return {name for (name,) in rows if is_text(name)}
