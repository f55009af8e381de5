"""Handing out tasks: rows inside the transaction, deliveries after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ...model.message import Delivery
from ...model.turns import take_turns
from .group import CHUNK, Group
from .rows import FIELDS, FIELDS_SIZE, SMALL_FIELDS, is_id, nameless, padded, read_message, up_to, within
from .schema import CAME_BACK, IN_FLIGHT, READY

FIRST_READY = " UNION ALL ".join(
    f"""SELECT * FROM (SELECT seq, {up_to("id", 65)}, attempt, crashes, redelivered, deferrals, due, place,
        {SMALL_FIELDS}, {FIELDS_SIZE}
        FROM task WHERE grp = ? AND place = {place} ORDER BY sort, seq LIMIT ?)"""  # noqa: S608 - our own words
    for place in READY
)
_PLACE = 7
_FIELDS_OF = f"SELECT {FIELDS} FROM task WHERE seq = ?"  # noqa: S608
_LEND = f"UPDATE task SET place = {IN_FLIGHT}, sort = ?, updated = ?, consumer = ?, fence = ? WHERE seq IN ({{}})"  # noqa: S608


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

    rows: Sequence[Sequence[Any]] = db.execute(FIRST_READY, (group.key, limit) * len(READY))
    came_back = [row for row in rows if row[_PLACE] == CAME_BACK]
    if came_back:
        rows = take_turns(came_back, rows[len(came_back) :], limit, owed).taken
    rows = within(rows, whole)
    if not rows:
        return Lent((), 0, owed)
    fence, end = group.tickets.next(), group.now + group.lease
    seqs = [row[0] for row in rows]
    for start in range(0, len(seqs), CHUNK):
        sql, values = padded(_LEND, seqs[start : start + CHUNK])
        db.execute(sql, [end, group.now, consumer, fence, *values])
    return Lent(rows, fence, rows[-1][_PLACE] == CAME_BACK)


def deliveries_of(lent: Lent) -> list[Delivery]:
    fence = lent.fence
    return [
        Delivery(read_message(fields, task_id if is_id(task_id) else nameless(seq), header), f"{seq}.{fence}", fence)
        for seq, task_id, *header, _, fields, _ in lent.rows
    ]
