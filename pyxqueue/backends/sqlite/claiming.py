"""Handing out tasks: rows inside the transaction, deliveries after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ...model.message import Delivery
from ...model.turns import take_turns
from .group import CHUNK, Group
from .rows import FIELDS, FIELDS_SIZE, SMALL_FIELDS, is_id, nameless, padded, read_message, up_to, within
from .schema import AT, CAME_BACK, IN_FLIGHT, NEW, NEW_TASKS

_COLUMNS = f"""seq, {up_to("id", 65)}, attempt, crashes, redelivered, deferrals, due, place, {SMALL_FIELDS},
    {FIELDS_SIZE}"""
FIRST_READY = f"""SELECT * FROM (SELECT {_COLUMNS} FROM task WHERE {AT.format(CAME_BACK)} ORDER BY sort, seq LIMIT ?)
    UNION ALL SELECT * FROM (SELECT {_COLUMNS} FROM {NEW_TASKS} ORDER BY seq LIMIT ?)"""  # noqa: S608 - our own words
_PLACE = 7
_FIELDS_OF = f"SELECT {FIELDS} FROM task WHERE seq = ?"  # noqa: S608
LEND = f"UPDATE task SET place = {IN_FLIGHT}, sort = ?, updated = ?, consumer = ?, fence = ? WHERE seq IN ({{}})"  # noqa: S608


class Lent(NamedTuple):
    """What a claim has taken: rows of `FIRST_READY`, and the fencing token of all of them."""

    rows: Sequence[Sequence[Any]]
    fence: int
    owed: bool
    """Whether the handle's next claim begins with a new task."""


def lend(group: Group, consumer: str, limit: int, *, owed: bool) -> Lent:
    """B2: take the first ready tasks, those that came back and new ones in turns."""
    db = group.db

    def whole(row: Sequence[Any]) -> Sequence[Any]:
        return (*row[:-2], db.execute(_FIELDS_OF, (row[0],))[0][0], row[-1])

    rows: Sequence[Sequence[Any]] = db.execute(FIRST_READY, (group.key, limit, group.next, group.key, limit))
    came_back = [row for row in rows if row[_PLACE] == CAME_BACK]
    new = rows[len(came_back) :]
    rows = within(take_turns(came_back, new, limit, owed).taken if came_back else rows, whole)
    _advance(group, new, sum(row[_PLACE] == NEW for row in rows), more=len(new) >= limit)
    if not rows:
        return Lent((), 0, owed)
    fence, end = group.tickets.next(), group.now + group.lease
    seqs = [row[0] for row in rows]
    for start in range(0, len(seqs), CHUNK):
        sql, values = padded(LEND, seqs[start : start + CHUNK])
        db.execute(sql, [end, group.now, consumer, fence, *values])
    return Lent(rows, fence, rows[-1][_PLACE] == CAME_BACK)


def _advance(group: Group, new: Sequence[Sequence[Any]], taken: int, *, more: bool) -> None:
    """Set where the next new task can be. `new` are the first of them, and `more` is True if there may be others."""
    behind = group.tickets.last + 1
    if taken < len(new):
        behind = min(behind, new[taken][0])
    elif more and new:
        behind = min(behind, new[-1][0] + 1)
    if new or not more:
        group.next = behind


def deliveries_of(lent: Lent) -> list[Delivery]:
    fence = lent.fence
    return [
        Delivery(read_message(fields, task_id if is_id(task_id) else nameless(seq), header), f"{seq}.{fence}", fence)
        for seq, task_id, *header, _, fields, _ in lent.rows
    ]
