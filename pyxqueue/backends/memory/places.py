"""Pages of the tasks of one place (`HasPlaces`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from ...errors import ConfigurationError
from ...locked import CLAIMABLE, Entry
from ...locked import Place as Line
from ...model.places import Place, PlacePage, listed
from ...printable import quoted
from .store import Queue

Key: TypeAlias = tuple[int, ...]
_CURSOR = re.compile(r"-?\d{1,18}(,-?\d{1,18})*", re.ASCII)
_LINES: Mapping[Place, tuple[Line, ...]] = {
    Place.READY: CLAIMABLE,
    Place.IN_FLIGHT: (Line.IN_FLIGHT,),
    Place.DELAYED: (Line.DELAYED,),
    Place.BLOCKED: (Line.BLOCKED,),
    Place.DEPENDENT: (Line.DEPENDENT,),
    Place.FAILED: (Line.FAILED,),
    Place.HISTORY: (Line.HISTORY,),
}


def _order(entry: Entry) -> Key:
    return (entry.order,)


_KEYS: Mapping[Place, Callable[[Entry], Key]] = {
    Place.READY: lambda entry: (-entry.priority_class, CLAIMABLE.index(entry.place), entry.order),
    Place.DELAYED: lambda entry: (entry.due, entry.order),
    Place.FAILED: lambda entry: (-entry.order,),
    Place.HISTORY: lambda entry: (-entry.order,),
}


def page(queue: Queue, place: Place, cursor: str, count: int, peek: int) -> PlacePage:
    """As `HasPlaces.page` has it. The cursor is the key of the last task shown."""
    if cursor and not _CURSOR.fullmatch(cursor):
        raise ConfigurationError(f"{quoted(cursor)} is not a cursor that `page` has returned")
    after = tuple(map(int, cursor.split(","))) if cursor else ()
    key = _KEYS.get(place, _order)
    with queue.store.changed:
        group, now = queue.look()
        there = [entry for line in _LINES[place] for entry in group.lines[line].values()]
        found = sorted((key(entry), entry) for entry in there if not after or key(entry) > after)
        infos = [group.show(entry.id, now) for _, entry in found[:count]]
    tasks = [listed(info, peek) for info in infos if info is not None]
    return PlacePage(tasks, ",".join(map(str, found[count - 1][0])) if len(found) > count else "")
