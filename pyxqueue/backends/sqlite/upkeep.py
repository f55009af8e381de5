"""Upkeep of a group: the limits of what is kept (B13), and repair of what other programs have written."""

from __future__ import annotations

from collections.abc import Iterator

from ...batching import MAX_ITEMS
from . import locking
from .group import Group, count
from .rows import LARGEST, padded
from .schema import (
    AT,
    BLOCKED,
    CAME_BACK,
    DELAYED,
    DEPENDENT,
    FAILED,
    HISTORY,
    IN_FLIGHT,
    NEW,
    PRIORITIZED,
    READY,
    REMEMBERED,
)

MOST = 500
"""Tasks that one step forgets or mends."""
_ORDER = f"seq & {LARGEST // 2 - 1}"


def _mends_of(*places: int) -> Iterator[tuple[int, str, int, str]]:
    """Of places in which `sort` is the order."""
    return ((place, wrong, end, _ORDER) for place in places for wrong, end in ((">=", LARGEST), ("<", 0)))


_MENDS = (
    (IN_FLIGHT, ">", 0, "?"),
    (DELAYED, ">=", LARGEST, f"CASE WHEN typeof(due) = 'integer' AND due < {LARGEST} THEN due ELSE 0 END"),
    (REMEMBERED, ">=", LARGEST, "0"),
    *_mends_of(CAME_BACK, BLOCKED, DEPENDENT, FAILED, HISTORY),
)
"""By place, the values that `sort` cannot have, and what replaces them. Text and bytes are larger than all numbers."""
_MENDS_OF_CLASSES = tuple(_mends_of(*(place for place in READY if place not in (CAME_BACK, NEW))))
_ANY_PRIORITIZED = f"SELECT EXISTS (SELECT 1 FROM {PRIORITIZED})"  # noqa: S608 - our own words
_OLDEST = f"SELECT seq, fields IS NULL FROM task WHERE {AT.format(HISTORY)} ORDER BY sort, seq LIMIT ?"  # noqa: S608
_DROP = f"""UPDATE task SET place = {REMEMBERED}, sort = max(known_until, record_end), fields = NULL
    WHERE seq IN ({{}})"""  # noqa: S608
_SWEEP = f"""DELETE FROM task WHERE seq IN
    (SELECT seq FROM task WHERE {AT.format(REMEMBERED)} AND sort <= ? LIMIT {MOST})"""  # noqa: S608


def trim(group: Group, history: int) -> None:
    """B13: keep the newest of the history, and `sweep`."""
    surplus = min(MAX_ITEMS, max(0, group.history_size - history))
    if surplus:
        oldest = group.db.execute(_OLDEST, (group.key, surplus))
        if bodies := [(seq,) for seq, elsewhere in oldest if elsewhere]:
            group.db.executemany("DELETE FROM body WHERE seq = ?", bodies)
        if oldest:
            group.db.execute(*padded(_DROP, [seq for seq, _ in oldest]))
        group.history_size -= surplus
        if len(oldest) < surplus:  # another program has written the number
            group.history_size = count(group.db, group.key, HISTORY)
    sweep(group)


def sweep(group: Group) -> None:
    """B13: forget some of the tasks whose id and record need not be known any longer."""
    if (first := group.first(REMEMBERED)) is not None and first <= group.now:
        group.db.execute(_SWEEP, (group.key, group.now))


def mend(group: Group) -> None:
    """Forget locks that have ended. Repair values of `sort` that another program has written and that would keep a task
    in its place for ever: a lease ends after one lease time at the latest, and a delayed task is due at some time."""
    locking.sweep(group, MOST)
    group.gates.rates.sweep(MOST)
    of_classes = _MENDS_OF_CLASSES if group.db.execute(_ANY_PRIORITIZED, (group.key,))[0][0] else ()
    for place, wrong, end, sort in (*_MENDS, *of_classes):
        sql = (
            f"UPDATE task SET sort = {sort} WHERE seq IN "  # noqa: S608 - our own words
            f"(SELECT seq FROM task WHERE {AT.format('?')} AND sort {wrong} ? LIMIT {MOST})"
        )
        limit = group.now + group.lease if place == IN_FLIGHT else end
        group.db.execute(sql, (*[limit] * sort.count("?"), group.key, place, limit))
