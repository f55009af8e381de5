"""The flows of one group inside one transaction (L10, L11).

The bit `FLOW` of a task's `raw` says that it has edges. Whether one that leaves it has fired follows from its place. A
task that waits for others has a row in `dependent`, until it has ended or is deleted. A task without edges costs
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from attrs import frozen

from ...model.flows import UNFINISHED_MS, Edge, OnFailure, edges_of, is_unfinished, number_of, unfinished
from ...model.message import Message, TaskStatus, Unreadable
from .driver import Connection
from .gating import Gates
from .rows import Row, is_number, is_time, read_message, write_field
from .schema import DELAYED, DEPENDENT, FAILED, GATED, HISTORY, LINES, REMEMBERED, SUSPENDED

_MESSAGE = """SELECT id, attempt, crashes, redelivered, deferrals, due,
    coalesce(fields, (SELECT fields FROM body WHERE body.seq = task.seq)) FROM task WHERE seq = ?"""
_ENTER = f"UPDATE task SET place = {DEPENDENT}, sort = seq WHERE seq = ?"  # noqa: S608 - our own words
_SUCCESSOR = """SELECT seq, need, complete_by FROM task JOIN dependent USING (seq)
    WHERE task.grp = ? AND task.id = ? AND flow = ?"""
_COUNTED = "SELECT need, bad FROM dependent WHERE seq = ?"
_COUNT = "UPDATE dependent SET need = need + ?, bad = bad + ? WHERE seq = ?"
# Where none is absent, it was stored before and had ended, so that its id was free: its edge has not fired any more.
_STORED = """UPDATE dependent SET need = need + (absent <= 0), absent = max(0, absent - 1),
    complete_by = CASE complete_by WHEN 0 THEN 0 ELSE ? END WHERE seq = ?"""
_FIRST_UNFINISHED = """SELECT complete_by FROM dependent WHERE grp = ? AND absent > 0 AND complete_by > 0
    ORDER BY complete_by LIMIT 1"""
_UNFINISHED = """SELECT seq, absent FROM dependent
    WHERE grp = ? AND absent > 0 AND complete_by > 0 AND complete_by <= ? ORDER BY complete_by LIMIT ?"""
_WAIT_AGAIN = f"""UPDATE task SET place = {DEPENDENT}, sort = ?, ord = ?, updated = ?, due = 0, progress = NULL
    WHERE seq = ?"""  # noqa: S608 - our own words
_READY = f"""UPDATE task SET place = ?, sort = ?, ord = ?, updated = ?, due = ?, raw = raw & {~SUSPENDED}
    WHERE seq = ?"""  # noqa: S608 - our own words
_PARENT = f"""SELECT seq, need, 1 FROM task JOIN parent USING (seq)
    WHERE task.grp = ? AND task.id = ? AND task.place = {DEPENDENT} AND flow = ?"""  # noqa: S608 - our own words
_COUNT_CHILDREN = "UPDATE parent SET need = need + ? WHERE seq = ?"


class Tickets(Protocol):
    """Issues numbers."""

    def next(self) -> int: ...


class Successor(NamedTuple):
    """A row of `dependent`, or of `parent`."""

    seq: int
    need: int
    waits: int
    """0 if it does not wait any more."""
    is_parent: bool = False


class Owner(Protocol):
    """What flows need of their group."""

    @property
    def db(self) -> Connection: ...
    @property
    def key(self) -> int: ...
    @property
    def now(self) -> int: ...

    @property
    def gates(self) -> Gates: ...
    @property
    def tickets(self) -> Tickets: ...


@frozen
class Flows:
    """The flows of a group."""

    group: Owner

    def enter(self, seq: int, message: Message) -> bool:
        """Note the edges of a new task. Returns whether it waits for others."""
        db, complete_by = self.group.db, self.group.now + UNFINISHED_MS
        if number := number_of(message.after):
            db.execute(_ENTER, (seq,))
            db.execute(
                "INSERT OR REPLACE INTO dependent VALUES (?, ?, ?, ?, ?, ?, 0)",
                (seq, self.group.key, message.flow, number, number, complete_by),
            )
        for _, successor in self._successors(message):
            if successor.is_parent:
                self._count(successor, 1, 0)
            else:
                db.execute(_STORED, (complete_by, successor.seq))
        return number > 0

    def waits_for(self, row: Row) -> int:
        """For how many tasks a dependent one waits."""
        table = "parent" if row.raw & SUSPENDED else "dependent"
        found = self.group.db.execute(f"SELECT need FROM {table} WHERE seq = ?", (row.seq,))  # noqa: S608 - our own words
        return found[0][0] if found and is_number(found[0][0]) else 0

    def fire(self, row: Row, *, success: bool, kept: bool) -> None:
        """Fire the edges of a task that ends or is deleted. `kept`: with the failed tasks."""
        if not kept:
            self.group.db.execute("DELETE FROM dependent WHERE seq = ?", (row.seq,))
        for edge, successor in self._successors(self._message(row.seq)):
            if not edge.fires(kept=kept) or _has_fired(edge, row):
                continue
            dooms = edge.dooms(success=success)
            self._count(successor, -1, int(dooms))
            if successor.waits and (dooms or not is_number(successor.need) or successor.need <= 1):
                self.start(successor.seq, row.id if dooms else "")

    def run_again(self, row: Row) -> None:
        """A task that has ended is requeued: it runs, whatever others did, and its edges have not fired any more."""
        for edge, successor in self._successors(self._message(row.seq)):
            if _has_fired(edge, row):
                dooms = edge.dooms(success=row.ended == TaskStatus.SUCCESS)
                self._count(successor, 1, -int(dooms))
        write_field(self.group.db, row.seq, b"doomed", None)

    def may_rejoin(self, row: Row) -> bool:
        """Whether no predecessor of a task dooms it."""
        message, counted = self._message(row.seq), self.group.db.execute(_COUNTED, (row.seq,))
        doomed = message.doomed if isinstance(message, Message) else ""
        return not is_unfinished(doomed) and not (counted and is_number(counted[0][1]) and counted[0][1] > 0)

    def wait_again(self, row: Row) -> bool:
        """Let a task wait for those of its predecessors that have not ended. Returns whether there are any."""
        group, counted = self.group, self.group.db.execute(_COUNTED, (row.seq,))
        if not counted or not is_number(counted[0][0]) or counted[0][0] <= 0:
            return False
        if row.raw & GATED:
            group.gates.leave([row.seq])
        ticket = group.tickets.next()
        group.db.execute(_WAIT_AGAIN, (ticket, ticket, group.now, row.seq))
        complete_by = group.now + UNFINISHED_MS
        group.db.execute("UPDATE dependent SET complete_by = ? WHERE seq = ?", (complete_by, row.seq))
        return True

    def is_doomed_no_more(self, row: Row) -> bool:
        """Whether a task in flight that its holder lets fail was doomed by one that was retried meanwhile."""
        message, counted = self._message(row.seq), self.group.db.execute(_COUNTED, (row.seq,))
        is_doomed = isinstance(message, Message) and message.doomed != ""
        return is_doomed and bool(counted) and not row.cancelled and self.may_rejoin(row)

    def undoom(self, row: Row) -> None:
        """Such a task waits again, or is ready."""
        write_field(self.group.db, row.seq, b"doomed", None)
        if not self.wait_again(row):
            self.group.db.execute("UPDATE task SET progress = NULL, due = 0 WHERE seq = ?", (row.seq,))
            if row.raw & GATED:
                self.group.gates.leave([row.seq])
            self.start(row.seq)

    def first_unfinished(self) -> float | None:
        """When the first task is doomed of which not all predecessors were stored; None if there is none."""
        rows = self.group.db.execute(_FIRST_UNFINISHED, (self.group.key,))
        return rows[0][0] if rows and is_time(rows[0][0]) else None

    def doom_unfinished(self, limit: int) -> int:
        """Doom tasks of which not all predecessors were stored in time. Returns their number, at most `limit`."""
        rows = self.group.db.execute(_UNFINISHED, (self.group.key, self.group.now, limit))
        for seq, absent in rows:
            message = self._message(seq)
            number = number_of(message.after) if isinstance(message, Message) else 0
            self.start(seq, unfinished(number - (absent if is_number(absent) else 0), number))
        return len(rows)

    def _successors(self, message: Message | Unreadable | None) -> Iterator[tuple[Edge, Successor]]:
        """The edges of a message, with the rows of those successors of the same flow that wait or have waited."""
        for edge in edges_of(message):
            if isinstance(message, Message) and message.flow:
                values = (self.group.key, edge.successor, message.flow)
                found = [Successor(*row) for row in self.group.db.execute(_SUCCESSOR, values)]
                if not found and edge.on_failure is OnFailure.CONTINUE:  # it may be a child of a suspended task (L14)
                    rows = self.group.db.execute(_PARENT, values)
                    found = [Successor(seq, need, waits, is_parent=True) for seq, need, waits in rows]
                yield from ((edge, one) for one in found)

    def _count(self, successor: Successor, change: int, bad: int) -> None:
        """Change for how many tasks it waits, and how many doom it."""
        if successor.is_parent:
            self.group.db.execute(_COUNT_CHILDREN, (change, successor.seq))
        else:
            self.group.db.execute(_COUNT, (change, bad, successor.seq))

    def start(self, seq: int, doomed: str = "") -> None:
        """Make a task that waits for others, or for an event, ready, or delayed; `doomed`: why it must not run."""
        group = self.group
        group.db.execute("UPDATE dependent SET complete_by = 0 WHERE seq = ?", (seq,))
        leave_children(group.db, seq)
        found = group.db.execute("SELECT due, priority_class FROM task WHERE seq = ?", (seq,))
        if not found:
            return
        due = found[0][0] if is_number(found[0][0]) and not doomed else 0
        ticket = group.tickets.next()
        place, sort = (DELAYED, due) if due > group.now else (LINES.get(found[0][1], LINES[0])[0], ticket)
        group.db.execute(_READY, (place, sort, ticket, group.now, due, seq))
        if doomed:
            write_field(self.group.db, seq, b"doomed", doomed.encode())
        message = self._message(seq)
        if place == DELAYED or not isinstance(message, Message):
            return
        is_ready = not message.gates or bool(doomed) or group.gates.enter(seq, message.gates)
        if is_ready and message.share:
            group.gates.lines.join(seq, found[0][1], message, came_back=True)

    def _message(self, seq: int) -> Message | Unreadable | None:
        rows = self.group.db.execute(_MESSAGE, (seq,))
        return read_message(rows[0][-1] or b"", rows[0][0], rows[0][1:-1]) if rows else None


def leave_children(db: Connection, seq: int) -> None:
    """A suspended task does not wait for its children any more."""
    db.execute("DELETE FROM parent WHERE seq = ?", (seq,))


def _has_fired(edge: Edge, row: Row) -> bool:
    """Whether the task of the edge has ended, and is not kept for a retry for which the edge waits."""
    return row.place in (FAILED, HISTORY, REMEMBERED) and edge.fires(kept=row.place == FAILED)
