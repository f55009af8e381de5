"""The fair lines of one group inside one transaction (F1 to F4).

The bit `SHARED` of a task's `raw` says that its message has a share. While it stands in a line, its place is one of
`FAIR`, its `sort` is its tag, and it has a row in `fair`. A task without a share costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import define

from ...model.fairness import TenantInfo
from ...model.message import Message
from ...model.wire import message_from_fields
from .driver import Connection
from .rows import is_number, is_text, named_fields
from .schema import FAIR, LINES

NEW_ONES, CAME_BACK, LINE = 0, 1, 2
"""The kinds of rows of `flow`: of the new tasks of a tenant, of those that came back, and of a line as a whole."""
_FIELDS = """SELECT priority_class, coalesce(fields, (SELECT fields FROM body WHERE body.seq = task.seq))
    FROM task WHERE seq = ? AND grp = ?"""
_TAG = "SELECT tag FROM flow WHERE grp = ? AND class = ? AND tenant = ? AND kind = ?"
_JOIN = """INSERT INTO flow VALUES (?, ?, ?, ?, ?, 1) ON CONFLICT (grp, class, tenant, kind)
    DO UPDATE SET tag = excluded.tag, waiting = waiting + 1"""
_LEAVE = """UPDATE flow SET waiting = waiting - 1, tag = max(tag, ?)
    WHERE grp = ? AND class = ? AND tenant = ? AND kind = ?"""
_FORGET = "DELETE FROM flow WHERE grp = ? AND class = ? AND tenant = ? AND kind = ? AND waiting <= 0"
_STAND = "UPDATE task SET place = ?, sort = ? WHERE seq = ?"
_NUMBER = "SELECT count(*) FROM task WHERE grp = ? AND place <> 1 AND place = ? AND (sort, seq) <= (?, ?)"
_TENANTS = f"""SELECT tenant, sum(waiting) FROM flow WHERE grp = ? AND kind <> {LINE}
    GROUP BY tenant ORDER BY tenant LIMIT ?"""  # noqa: S608 - our own words


@define
class Lines:
    """The fair lines of a group."""

    db: Connection
    key: int

    def join(self, seq: int, number: int, message: Message, *, came_back: bool) -> None:
        """Let a task that is ready, in this priority class, join the line."""
        flow = (self.key, number, message.tenant, CAME_BACK if came_back else NEW_ONES)
        line = (self.key, number, "", LINE)
        drawn = self._tag(line)
        tag = max(drawn, self._tag(flow)) + message.share
        self.db.execute(_JOIN, (*flow, tag))
        self.db.execute(_JOIN, (*line, drawn))
        self.db.execute("INSERT OR REPLACE INTO fair VALUES (?, ?, ?, ?, ?)", (seq, *flow))
        self.db.execute(_STAND, (FAIR[number], tag, seq))

    def join_again(self, seq: int) -> None:
        """Let a task that came back, and is ready, join the line if it has a share."""
        for number, fields in self.db.execute(_FIELDS, (seq, self.key)):
            message = _message(fields)
            if message is not None and message.share and number in LINES:
                self.join(seq, number, message, came_back=True)

    def leave(self, seqs: Iterable[int], drawn: Callable[[int], int] = lambda _: 0) -> None:
        """Let tasks leave the line. `drawn`: the tag of one that is handed out."""
        for seq in seqs:
            for flow in self.db.execute("SELECT grp, class, tenant, kind FROM fair WHERE seq = ?", (seq,)):
                line = (flow[0], flow[1], "", LINE)
                for one, tag in ((flow, 0), (line, drawn(seq))):
                    self.db.execute(_LEAVE, (tag, *one))
                    self.db.execute(_FORGET, one)
            self.db.execute("DELETE FROM fair WHERE seq = ?", (seq,))

    def number(self, place: int, sort: int, seq: int) -> int:
        """Return which one a task is in its line; the first is 1."""
        found: int = self.db.execute(_NUMBER, (self.key, place, sort, seq))[0][0]
        return found

    def tenants(self, count: int) -> list[TenantInfo]:
        rows = self.db.execute(_TENANTS, (self.key, count))
        return [TenantInfo(tenant, waiting) for tenant, waiting in rows if is_text(tenant) and is_number(waiting)]

    def _tag(self, flow: Sequence[int | str]) -> int:
        rows = self.db.execute(_TAG, flow)
        return rows[0][0] if rows and is_number(rows[0][0]) else 0


def _message(fields: object) -> Message | None:
    try:
        message = message_from_fields(named_fields(fields), "") if isinstance(fields, bytes) else None
    except ValueError:
        return None
    return message if isinstance(message, Message) else None
