"""Handing out tasks: rows inside the transaction, deliveries after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ...model.message import Delivery
from .group import CHUNK, Group
from .rows import FIELDS, FIELDS_SIZE, SMALL_FIELDS, is_id, nameless, padded, read_message, up_to, within
from .schema import IN_FLIGHT, READY

_READY = f"""SELECT seq, {up_to("id", 65)}, attempt, crashes, redelivered, deferrals, due, {SMALL_FIELDS}, {FIELDS_SIZE}
    FROM task WHERE grp = ? AND place = {READY} ORDER BY sort, seq LIMIT ?"""  # noqa: S608 - our own words
_FIELDS_OF = f"SELECT {FIELDS} FROM task WHERE seq = ?"  # noqa: S608
_LEND = f"UPDATE task SET place = {IN_FLIGHT}, sort = ?, updated = ?, consumer = ?, fence = ? WHERE seq IN ({{}})"  # noqa: S608


class Lent(NamedTuple):
    """What a claim has taken: rows of `_READY`, and the fencing token of all of them."""

    rows: Sequence[Sequence[Any]]
    fence: int


NOTHING = Lent((), 0)


def lend(group: Group, consumer: str, limit: int) -> Lent:
    """B2: take the first ready tasks."""
    db = group.db

    def whole(row: Sequence[Any]) -> Sequence[Any]:
        return (*row[:-2], db.execute(_FIELDS_OF, (row[0],))[0][0], row[-1])

    rows = within(db.execute(_READY, (group.key, limit)), whole)
    if not rows:
        return NOTHING
    fence, end = group.tickets.next(), group.now + group.lease
    seqs = [row[0] for row in rows]
    for start in range(0, len(seqs), CHUNK):
        sql, values = padded(_LEND, seqs[start : start + CHUNK])
        db.execute(sql, [end, group.now, consumer, fence, *values])
    return Lent(rows, fence)


def deliveries_of(lent: Lent) -> list[Delivery]:
    fence = lent.fence
    return [
        Delivery(read_message(fields, task_id if is_id(task_id) else nameless(seq), header), f"{seq}.{fence}", fence)
        for seq, task_id, *header, fields, _ in lent.rows
    ]
