"""Handing out tasks: rows inside the transaction, deliveries after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ...model.locks import is_held_until_start
from ...model.message import Delivery, Message
from ...model.rates import has_rate
from ...model.turns import BY_AGE, Lines, Turn, take_first, take_turns
from .group import CHUNK, Group, Holding
from .rows import FIELDS, FIELDS_SIZE, SMALL_FIELDS, is_id, is_time, nameless, padded, read_message, up_to, within
from .schema import AT, CAME_BACK, CLASS, FAIR, IN_FLIGHT, LINES, NEW, NEW_TASKS, PRIORITIZED

_COLUMNS = f"""seq, {up_to("id", 65)}, attempt, crashes, redelivered, deferrals, due, place, {SMALL_FIELDS},
    {FIELDS_SIZE}"""
FIRST_READY = f"""SELECT * FROM (SELECT {_COLUMNS} FROM task WHERE {AT.format(CAME_BACK)} ORDER BY sort, seq LIMIT ?)
    UNION ALL SELECT * FROM (SELECT {_COLUMNS} FROM {NEW_TASKS} ORDER BY seq LIMIT ?)
    UNION ALL SELECT * FROM (SELECT {_COLUMNS} FROM {PRIORITIZED} LIMIT 1)"""  # noqa: S608 - our own words
"""The first ready tasks of class 0, then one of another class or of a fair line, if there is one."""
LINE = f"SELECT {_COLUMNS}, sort FROM task WHERE {AT.format('?')} ORDER BY sort, seq LIMIT ?"  # noqa: S608 - our words
LINE_OF_FAIR = f"SELECT {_COLUMNS}, ord, sort FROM task WHERE {AT.format('?')} ORDER BY sort, seq LIMIT ?"  # noqa: S608 - our words
LINE_OF_NEW = f"SELECT {_COLUMNS}, seq FROM {NEW_TASKS} ORDER BY seq LIMIT ?"  # noqa: S608 - our words
_PLACE = 7
_FIELDS_OF = f"SELECT {FIELDS} FROM task WHERE seq = ?"  # noqa: S608
LEND = f"UPDATE task SET place = {IN_FLIGHT}, sort = ?, updated = ?, consumer = ?, fence = ? WHERE seq IN ({{}})"  # noqa: S608


class Lent(NamedTuple):
    """What a claim has taken: rows of `FIRST_READY`, and the fencing token of all of them."""

    rows: Sequence[Sequence[Any]]
    fence: int
    turn: Turn
    """That of the handle's next claim."""
    asks_all: bool = False
    """Whether each delivery has `must_begin`."""
    now: int = 0
    """When it was taken, by the store's clock."""


class _Chosen(NamedTuple):
    """What a claim hands out where not all that is ready is of class 0 and outside of a fair line."""

    rows: Sequence[Sequence[Any]]
    new: Sequence[Sequence[Any]]
    """The first new rows of class 0."""
    more: bool
    """Whether there may be other new rows of class 0."""
    tags: Mapping[int, int]
    """The tags of the rows of fair lines."""


def lend(group: Group, consumer: str, limit: int, turn: Turn) -> Lent:
    """B2: take the first ready tasks by their class, those that came back and new ones in turns."""
    db = group.db
    if group.paused:
        return Lent((), 0, turn)

    def whole(row: Sequence[Any]) -> Sequence[Any]:
        return (*row[:-2], db.execute(_FIELDS_OF, (row[0],))[0][0], row[-1])

    fair: Mapping[int, int] = {}
    rows: Sequence[Sequence[Any]] = db.execute(FIRST_READY, (group.key, limit, group.next, group.key, limit, group.key))
    if rows and rows[-1][_PLACE] not in LINES[0]:
        rows, new, more, fair = _of_all_classes(group, limit, turn)
    else:
        came_back = [row for row in rows if row[_PLACE] == CAME_BACK]
        new = rows[len(came_back) :]
        more = len(new) >= limit
        rows = take_turns(came_back, new, limit, 0 in turn.owed).taken if came_back else rows
    rows = within(rows, whole)
    if fair:
        group.gates.lines.leave([row[0] for row in rows if row[0] in fair], fair.__getitem__)
    _advance(group, new, sum(row[_PLACE] == NEW for row in rows), more=more)
    if not rows:
        return Lent((), 0, turn)
    fence, end = group.tickets.next(), group.now + group.lease
    seqs = [row[0] for row in rows]
    for start in range(0, len(seqs), CHUNK):
        sql, values = padded(LEND, seqs[start : start + CHUNK])
        db.execute(sql, [end, group.now, consumer, fence, *values])
    last = {CLASS[place]: place for place in (row[_PLACE] for row in rows)}
    return Lent(
        rows,
        fence,
        turn.after({number: place == LINES[number][0] for number, place in last.items()}, len(rows)),
        group.asks_all,
        group.now,
    )


def _of_all_classes(group: Group, limit: int, turn: Turn) -> _Chosen:
    classes = dict[int, Lines[Sequence[Any]]]()
    new_ones: Sequence[Sequence[Any]] = ()
    more = True
    tags = dict[int, int]()
    left = limit
    for number, places in LINES.items():
        most = limit if left > 0 else limit // BY_AGE + 1  # of what is below, only what is taken by age
        back, new = (
            group.db.execute(LINE_OF_NEW, (group.next, group.key, most))
            if place == NEW
            else group.db.execute(LINE, (group.key, place, most))
            for place in places
        )
        if number == 0:
            new_ones, more = new, len(new) >= most
        if fair := group.db.execute(LINE_OF_FAIR, (group.key, FAIR[number], most)):
            tags |= {row[0]: row[-1] for row in fair if is_time(row[-1])}
            new = [*new, *(row[:-1] for row in fair)]
        classes[number] = Lines(back, new)
        left -= len(back) + len(new)
    taken = take_first(classes, limit, turn, lambda row: row[-1] if is_time(row[-1]) else 0)
    return _Chosen([row[:-1] for row in taken.messages], [row[:-1] for row in new_ones], more, tags)


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
    return [_delivery(row, lent) for row in lent.rows]


def _delivery(row: Sequence[Any], lent: Lent) -> Delivery:
    seq, task_id, *header, _, fields, _ = row
    if not is_id(task_id):
        task_id = nameless(seq)
    message = read_message(fields, task_id, header)
    must_begin = isinstance(message, Message) and (
        lent.asks_all
        or message.expires_ms > 0
        or (message.lock != "" and is_held_until_start(message))
        or (message.gates != () and has_rate(message))
    )
    return Delivery(message, Holding(seq, lent.fence, task_id).receipt, lent.fence, must_begin, lent.now)
