"""The flows of one group inside one transaction (L10, L11).

The bit `FLOW` of a task's `raw` says that it has edges; `TOLD` and `TOLD_LAST` say which of those that leave it have
fired. A task that waits for others has a row in `dependent`. A task without edges costs nothing.
"""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from ...model.flows import UNFINISHED_MS, OnFailure, edges_of, number_of, unfinished
from ...model.message import Message, Unreadable
from .driver import Connection
from .gating import Gates
from .rows import Row, is_number, is_time, read_message, with_field
from .schema import DELAYED, DEPENDENT, LINES, TOLD, TOLD_LAST

_MESSAGE = """SELECT id, attempt, crashes, redelivered, deferrals, due,
    coalesce(fields, (SELECT fields FROM body WHERE body.seq = task.seq)) FROM task WHERE seq = ?"""
_ENTER = f"UPDATE task SET place = {DEPENDENT}, sort = seq WHERE seq = ?"  # noqa: S608 - our own words
_SUCCESSOR = f"""SELECT seq, need FROM task JOIN dependent USING (seq)
    WHERE task.grp = ? AND task.id = ? AND task.place = {DEPENDENT} AND flow = ?"""  # noqa: S608
_STORED = "UPDATE dependent SET absent = absent - 1, complete_by = ? WHERE seq = ?"
_FIRST_UNFINISHED = "SELECT complete_by FROM dependent WHERE grp = ? AND absent > 0 ORDER BY complete_by LIMIT 1"
_UNFINISHED = """SELECT seq, absent FROM dependent WHERE grp = ? AND absent > 0 AND complete_by <= ?
    ORDER BY complete_by LIMIT ?"""
_READY = "UPDATE task SET place = ?, sort = ?, ord = ?, updated = ?, due = ? WHERE seq = ?"


class Tickets(Protocol):
    """Issues numbers."""

    def next(self) -> int: ...


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
                "INSERT OR REPLACE INTO dependent VALUES (?, ?, ?, ?, ?, ?)",
                (seq, self.group.key, message.flow, number, number, complete_by),
            )
        for edge in edges_of(message):
            for successor, _ in self._successor(edge.successor, message.flow):
                db.execute(_STORED, (complete_by, successor))
        return number > 0

    def waits_for(self, seq: int) -> int:
        """For how many tasks a dependent one waits."""
        found = self.group.db.execute("SELECT need FROM dependent WHERE seq = ?", (seq,))
        return found[0][0] if found and is_number(found[0][0]) else 0

    def fire(self, row: Row, *, success: bool, kept: bool) -> None:
        """Fire the edges of a task that has ended or is deleted, each once. `kept`: with the failed tasks."""
        self.leave(row)
        message = self._message(row.seq)
        for edge in edges_of(message):
            fired = row.raw & (TOLD_LAST if edge.on_failure is OnFailure.WAIT else TOLD)
            if fired or not edge.fires(kept=kept) or not isinstance(message, Message):
                continue
            for seq, need in self._successor(edge.successor, message.flow):
                if edge.dooms(success=success):
                    self._start(seq, row.id)
                elif is_number(need) and need > 1:
                    self.group.db.execute("UPDATE dependent SET need = need - 1 WHERE seq = ?", (seq,))
                else:
                    self._start(seq)
        bits = TOLD if kept else TOLD | TOLD_LAST
        self.group.db.execute("UPDATE task SET raw = raw | ? WHERE seq = ?", (bits, row.seq))

    def leave(self, row: Row) -> None:
        """A task does not wait for others any more."""
        if row.place == DEPENDENT:
            self.group.db.execute("DELETE FROM dependent WHERE seq = ?", (row.seq,))

    def forget_doom(self, row: Row) -> None:
        """A task is requeued: it runs, whatever others did."""
        self._write_doom(row.seq, None)

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
            self._start(seq, unfinished(number - (absent if is_number(absent) else 0), number))
        return len(rows)

    def _successor(self, task_id: str, flow: str) -> list[tuple[int, int]]:
        """The row of a task of the same flow that waits, and for how many it does; nothing if there is none."""
        return self.group.db.execute(_SUCCESSOR, (self.group.key, task_id, flow)) if flow else []

    def _start(self, seq: int, doomed: str = "") -> None:
        """Make a dependent task ready, or delayed; `doomed`: why it must not run."""
        group = self.group
        group.db.execute("DELETE FROM dependent WHERE seq = ?", (seq,))
        found = group.db.execute("SELECT due, priority_class FROM task WHERE seq = ?", (seq,))
        if not found:
            return
        due = found[0][0] if is_number(found[0][0]) and not doomed else 0
        ticket = group.tickets.next()
        place, sort = (DELAYED, due) if due > group.now else (LINES.get(found[0][1], LINES[0])[0], ticket)
        group.db.execute(_READY, (place, sort, ticket, group.now, due, seq))
        if doomed:
            self._write_doom(seq, doomed.encode())
        message = self._message(seq)
        if place == DELAYED or not isinstance(message, Message):
            return
        is_ready = not message.gates or bool(doomed) or group.gates.enter(seq, message.gates)
        if is_ready and message.share:
            group.gates.lines.join(seq, found[0][1], message, came_back=True)

    def _message(self, seq: int) -> Message | Unreadable | None:
        rows = self.group.db.execute(_MESSAGE, (seq,))
        return read_message(rows[0][-1] or b"", rows[0][0], rows[0][1:-1]) if rows else None

    def _write_doom(self, seq: int, doomed: bytes | None) -> None:
        for table in ("task", "body"):
            for (fields,) in self.group.db.execute(f"SELECT fields FROM {table} WHERE seq = ?", (seq,)):  # noqa: S608
                if fields is not None and (changed := with_field(fields, b"doomed", doomed)) != fields:
                    self.group.db.execute(f"UPDATE {table} SET fields = ? WHERE seq = ?", (changed, seq))  # noqa: S608
