"""Pages of the tasks of one place (`HasPlaces`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from msgspec import Struct

from ...errors import ConfigurationError
from ...model.message import TaskInfo
from ...model.places import Place, PlacePage, listed
from ...printable import quoted
from .group import Group
from .rows import LARGEST, Row, fits, row_of, within
from .schema import BLOCKED, DELAYED, DEPENDENT, FAILED, FAIR, HISTORY, IN_FLIGHT, LINES, NEW

_CURSOR = re.compile(r"(\d{1,2})_(\d{1,19}|\d[\de.+-]{0,30})_(-?\d{1,19})", re.ASCII)
_SEGMENTS: Mapping[Place, Sequence[int]] = {
    Place.READY: tuple(place for number, line in LINES.items() for place in (*line, FAIR[number])),
    Place.IN_FLIGHT: (IN_FLIGHT,),
    Place.DELAYED: (DELAYED,),
    Place.BLOCKED: (BLOCKED,),
    Place.DEPENDENT: (DEPENDENT,),
    Place.FAILED: (FAILED,),
    Place.HISTORY: (HISTORY,),
}
"""The places of rows, in the order in which they are listed."""
_NEWEST_FIRST = (FAILED, HISTORY)


class Position(Struct, frozen=True):
    """Behind which row a page begins."""

    segment: int = 0
    sort: float = 0
    seq: int = 0
    is_first: bool = True
    """Whether there is no such row."""

    @classmethod
    def of(cls, cursor: str, segments: int) -> Position:
        """Raises `ConfigurationError` for one that `page` has not returned."""
        if not cursor:
            return cls()
        with suppress(ValueError):
            found = _CURSOR.fullmatch(cursor)
            if found and fits(seq := int(found[3])) and int(found[1]) < segments:
                return cls(int(found[1]), int(found[2]) if found[2].isdecimal() else float(found[2]), seq, False)
        raise ConfigurationError(f"{quoted(cursor)} is not a cursor that `page` has returned")


class Lookup(Struct, frozen=True):
    """How rows are read and shown; the inspector has both."""

    paged: str
    """SQL for the columns of rows in a place other than NEW, from the table on."""
    paged_new: str
    whole: Callable[[Group, int], Sequence[Any]]
    """Reads a row of which something large was left out."""
    info: Callable[[Group, Row], TaskInfo]


def page(group: Group, lookup: Lookup, place: Place, cursor: str, *, count: int, peek: int) -> PlacePage:
    """As `HasPlaces.page` has it."""
    segments = _SEGMENTS[place]
    begin = Position.of(cursor, len(segments))
    found: list[tuple[str, Row]] = []
    is_cut = False
    for number in range(begin.segment, len(segments)):
        behind = begin if number == begin.segment else Position(number)
        rows, is_cut = _rows(group, lookup, segments[number], behind, count + 1 - len(found))
        found += [(f"{number}_{sort}_{seq}", row) for (sort, seq), row in rows]
        if is_cut or len(found) > count:
            break
    shown = found[:count]
    tasks = [listed(lookup.info(group, row), peek) for _, row in shown]
    return PlacePage(tasks, shown[-1][0] if shown and (is_cut or len(found) > count) else "")


def _rows(
    group: Group, lookup: Lookup, place: int, behind: Position, count: int
) -> tuple[list[tuple[tuple[float, int], Row]], bool]:
    """The first rows of a place behind a position, each with its order; and whether some were left out, as they do not
    fit into memory together."""
    is_new, down = place == NEW, place in _NEWEST_FIRST
    order = "task.seq" if place in (NEW, IN_FLIGHT) else "sort"  # that of what is in flight is the end of its lease
    sql, at = (lookup.paged_new, group.next) if is_new else (lookup.paged, place)
    sql = f"SELECT {order}, {sql} AND {order} BETWEEN 0 AND {LARGEST}"
    values: list[Any] = [group.key, at]
    if not behind.is_first:
        sql += f" AND ({order}, task.seq) {'<' if down else '>'} (?, ?)"
        values += [behind.sort, behind.seq]
    way = "DESC" if down else "ASC"
    rows = group.db.execute(f"{sql} ORDER BY {order} {way}, task.seq {way} LIMIT ?", (*values, count))
    read = within(rows, lambda row: (row[0], *lookup.whole(group, row[1]), 0))
    return [((row[0], row[1]), row_of(row[1:-1])) for row in read], len(read) < len(rows)
