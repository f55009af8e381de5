"""The `HasPresence` protocol on a SQLite file."""

from __future__ import annotations

from collections.abc import Sequence

from ...model.presence import MAX_SUPERVISORS, REMEMBERED_MS, Order, OrderKind, Present
from .driver import Connection
from .queue import Groups, Queue
from .rows import is_number, is_text

_ANNOUNCE = """INSERT INTO supervisor VALUES (?, ?, ?, ?, ?, '') ON CONFLICT (grp, name)
    DO UPDATE SET seen = excluded.seen, keep = excluded.keep, text = excluded.text"""
_LEAVE = "DELETE FROM supervisor WHERE grp = ? AND name = ?"
_PRESENT = "SELECT name, seen, keep, text FROM supervisor WHERE grp = ? AND seen > ? ORDER BY name LIMIT ?"
_FRESH = "SELECT ordered FROM supervisor WHERE grp = ? AND name = ? AND seen + keep > ?"
_ORDERED = "SELECT ordered FROM supervisor WHERE grp = ? AND name = ?"
_ORDER = "UPDATE supervisor SET ordered = ? WHERE grp = ? AND name = ?"
_SWEEP = "DELETE FROM supervisor WHERE grp = ? AND seen <= ?"
_COUNT = "SELECT count(*) FROM supervisor WHERE grp = ?"
_FORGET = """DELETE FROM supervisor WHERE grp = ? AND name NOT IN
    (SELECT name FROM supervisor WHERE grp = ? ORDER BY seen DESC LIMIT ?)"""


class SQLitePresence:
    """The `HasPresence` protocol."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def announce(self, supervisor: str, keep_ms: int, text: str) -> Order | None:
        with self._queue.write() as groups:
            if not _is_known(groups, self._queue):
                return None
            db, key = groups.db, groups.mine.key
            db.execute(_ANNOUNCE, (key, supervisor, groups.now, keep_ms, text))
            db.execute(_SWEEP, (key, groups.now - REMEMBERED_MS))
            if db.execute(_COUNT, (key,))[0][0] > MAX_SUPERVISORS:
                db.execute(_FORGET, (key, key, MAX_SUPERVISORS))
            rows = db.execute(_ORDERED, (key, supervisor))
            return _order(rows[0][0]) if rows else None

    def leave(self, supervisor: str) -> None:
        with self._queue.write() as groups:
            if _is_known(groups, self._queue):
                groups.db.execute(_LEAVE, (groups.mine.key, supervisor))

    def present(self) -> Sequence[Present]:
        with self._queue.read() as groups:
            if not _is_known(groups, self._queue):
                return []
            return present(groups.db, groups.mine.key, groups.now)

    def give_order(self, supervisor: str, kind: OrderKind) -> bool:
        with self._queue.write() as groups:
            if not _is_known(groups, self._queue):
                return False
            db, key = groups.db, groups.mine.key
            rows = db.execute(_FRESH, (key, supervisor, groups.now))
            if rows:
                last = _order(rows[0][0])
                order = Order(kind, 1 if last is None else last.number + 1)
                db.execute(_ORDER, (order.text(), key, supervisor))
            return bool(rows)


def present(db: Connection, group: int, now: int) -> list[Present]:
    """Return the supervisors that a group knows."""
    return [
        Present(name, text, seen, now < seen + keep)
        for name, seen, keep, text in db.execute(_PRESENT, (group, now - REMEMBERED_MS, MAX_SUPERVISORS))
        if is_text(name) and is_text(text) and is_number(seen) and is_number(keep)
    ]


def _is_known(groups: Groups, queue: Queue) -> bool:
    return queue.options.group in groups.registered


def _order(text: object) -> Order | None:
    return Order.read(text) if type(text) is str else None
