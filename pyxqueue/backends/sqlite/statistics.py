"""The `HasStatistics` protocol on a SQLite file."""

from __future__ import annotations

from attrs import frozen

from ...model.statistics import MAX_SENDERS, NOW, TOTAL, Statistics, StatisticsBatch, add, show, slots_of
from .driver import Connection
from .queue import Groups, Queue
from .rows import is_number

_SLOT = "SELECT text FROM statistic WHERE grp = ? AND slot = ?"
_KEEP_SLOT = "INSERT OR REPLACE INTO statistic VALUES (?, ?, ?)"
_SENDER = "SELECT number FROM sender WHERE grp = ? AND name = ?"
_KEEP_SENDER = "INSERT OR REPLACE INTO sender VALUES (?, ?, ?)"
_SENDERS = "SELECT count(*) FROM sender WHERE grp = ?"
_FORGET = """DELETE FROM sender WHERE grp = ? AND name NOT IN
    (SELECT name FROM sender WHERE grp = ? ORDER BY number DESC LIMIT ?)"""


@frozen
class Slots:
    """The slots of one group, in one transaction."""

    db: Connection
    key: int

    def get(self, slot: str, default: str, /) -> str:
        rows = self.db.execute(_SLOT, (self.key, slot))
        return rows[0][0] if rows and type(rows[0][0]) is str else default

    def __setitem__(self, slot: str, text: str, /) -> None:
        self.db.execute(_KEEP_SLOT, (self.key, slot, text))


class SQLiteStatistics:
    """The `HasStatistics` protocol."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def add_statistics(self, batch: StatisticsBatch) -> bool:
        with self._queue.write() as groups:
            if self._queue.options.group not in groups.registered or not _is_new(groups, batch):
                return False
            add(Slots(groups.db, groups.mine.key), batch.tasks, groups.now)
            return True

    def statistics(self, minutes: int) -> Statistics:
        with self._queue.read() as groups:
            slots, now = Slots(groups.db, groups.mine.key), groups.now
            found = {slot: slots.get(slot, "") for slot in (NOW, TOTAL, *slots_of(minutes, now))}
        return show(found, minutes, now)


def _is_new(groups: Groups, batch: StatisticsBatch) -> bool:
    """Note the number of a batch. Returns False if it is not larger than that of an earlier one of its sender."""
    db, key = groups.db, groups.mine.key
    rows = db.execute(_SENDER, (key, batch.sender))
    if rows and is_number(rows[0][0]) and batch.number <= rows[0][0]:
        return False
    db.execute(_KEEP_SENDER, (key, batch.sender, batch.number))
    if not rows and db.execute(_SENDERS, (key,))[0][0] > 2 * MAX_SENDERS:
        db.execute(_FORGET, (key, key, MAX_SENDERS))
    return True
