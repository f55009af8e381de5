"""Failed tasks beyond the limits (I9): they are in the index in the order in which they failed."""

from __future__ import annotations

from ...batching import MAX_ITEMS
from ...model.failed import Dropped, FailedLimits
from ...model.message import Message
from .group import Group, count
from .queue import Queue
from .rows import FIELDS, LEAN, Row, message_of, row_of
from .schema import AT, FAILED

_OLDEST = f"SELECT {LEAN} FROM task WHERE {AT.format(FAILED)} ORDER BY sort, seq LIMIT ?"  # noqa: S608
_MESSAGE = f"SELECT {FIELDS} FROM task WHERE seq = ?"  # noqa: S608 - our own words


def drop_failed(queue: Queue, limits: FailedLimits, most: int) -> list[Dropped]:
    """As `DropsFailed` has it. It does not lock the file if there is nothing to do."""
    with queue.read() as groups:
        if not _beyond(groups.mine, limits, 1):
            return []
    with queue.write() as groups:
        group = groups.mine
        rows = _beyond(group, limits, min(most, MAX_ITEMS))
        dropped = [
            Dropped(row.id, _name(group, row), row.updated, limits.is_old(row.updated, group.now)) for row in rows
        ]
        group.remove(rows)
        group.flush()
    return dropped


def _beyond(group: Group, limits: FailedLimits, most: int) -> list[Row]:
    """The oldest failed tasks that the limits do not keep."""
    number = 0 if limits.keep is None else count(group.db, group.key, FAILED)
    found = []
    for row in map(row_of, group.db.execute(_OLDEST, (group.key, most))):
        number -= 1
        if not limits.drops(row.updated, number, group.now):
            break
        found.append(row)
    return found


def _name(group: Group, row: Row) -> str:
    """Read one message at a time: they may be large."""
    message = message_of(row._replace(fields=group.db.execute(_MESSAGE, (row.seq,))[0][0]))
    return message.name if isinstance(message, Message) else ""
