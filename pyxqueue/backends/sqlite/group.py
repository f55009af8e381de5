"""One group of one queue, inside one transaction: the places of its tasks, and how they move.

The operations are made of these moves. The changes of a batch are written with few statements, whatever its size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from attrs import define, field

from ...model.locks import LockKind, lock_of
from ...model.message import DEDUPE_MS, Message, Record, TaskStatus, Unreadable, evolve
from ...model.priorities import class_of
from ...model.transitions import default_record, with_expiry
from .driver import Connection
from .flowing import Flows, leave_children
from .gating import Gates
from .rows import (
    LEAN,
    Row,
    fields_of,
    fits,
    is_number,
    is_time,
    nameless,
    nameless_seqs,
    padded,
    progress_of,
    record_bytes,
    row_of,
)
from .schema import (
    AT,
    BLOCKED,
    DELAYED,
    DEPENDENT,
    FAILED,
    FAIR,
    FLOW,
    GATED,
    HISTORY,
    IN_FLIGHT,
    INLINE,
    KEPT,
    LINES,
    LOCKED,
    NEW,
    NEW_TASKS,
    RAW,
    REMEMBERED,
    SHARED,
    SUSPENDED,
    UNENDED,
)

CHUNK = 500
"""Ids in one statement."""
_RECEIPT = re.compile(r"(-?[1-9]\d{0,18}|0)\.([1-9]\d{0,17}|0)(?:\.([\x00-\x7f]{1,64}))?", re.ASCII)

_LEAN = f"SELECT {LEAN} FROM task WHERE grp = ?"  # noqa: S608 - our own words
IN_FLIGHT_ROWS = f"SELECT {LEAN} FROM task NOT INDEXED WHERE seq IN ({{}}) AND grp = ? AND place = {IN_FLIGHT}"  # noqa: S608
_KNOWN = "SELECT id, seq, place, known_until FROM task WHERE grp = ? AND id IN ({})"
_INSERT = """INSERT INTO task (seq, grp, id, place, sort, ord, updated, raw, attempt, crashes, redelivered,
deferrals, due, fields, priority_class, expires)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_INSERT_UNKNOWN = f"{_INSERT} ON CONFLICT DO NOTHING"
_WAIT = """UPDATE task SET place = ?, sort = ?, ord = ?, updated = ?, attempt = ?, crashes = ?, redelivered = ?,
    deferrals = ?, due = ?, progress = NULL WHERE seq = ?"""
_END = """UPDATE task SET place = ?, sort = ?, ord = ?, updated = ?, ended = ?, reason = ?, known_until = ?,
    record = ?, record_end = ?, attempt = ?, crashes = ?,
    redelivered = ?, deferrals = ?, progress = NULL WHERE seq = ?"""


_INDEXED = ", ".join(str(place) for place in UNENDED if place != NEW)
_LENGTH = f"""SELECT
    (SELECT count(*) FROM (SELECT 1 FROM task WHERE grp = ? AND place <> 1 AND place IN ({_INDEXED}) LIMIT ?))
    + (SELECT count(*) FROM (SELECT 1 FROM {NEW_TASKS} LIMIT ?))"""  # noqa: S608 - our own words


class Holding(NamedTuple):
    """What a receipt says: the row of a task, the fencing token of its claim, and its id. A file that was restored from
    a backup uses the numbers again that it had used since. The receipts of older releases have no id."""

    seq: int
    fence: int
    id: str

    @property
    def receipt(self) -> str:
        return f"{self.seq}.{self.fence}.{self.id}"


def holding_of(receipt: str) -> Holding | None:
    """None for what `Holding` cannot be: such a receipt was never issued."""
    numbers = _RECEIPT.fullmatch(receipt)
    return Holding(seq, int(numbers[2]), numbers[3] or "") if numbers and fits(seq := int(numbers[1])) else None


_STANDING = (*FAIR.values(), DEPENDENT)
"""The places of tasks that may stand in a fair line when they end: one that was dependent when its row was read may
have become ready by an end of the same batch."""

Packed = tuple[Message, bytes]
"""A new message, and its bytes."""


def packed(messages: Sequence[Message], now: int) -> list[Packed]:
    """New messages that the store was given at `now`."""
    if any(message.lifetime_ms for message in messages):
        messages = [with_expiry(message, now) for message in messages]
    return [(message, fields_of(message, now)) for message in messages]


@define
class Tickets:
    """Numbers for rows, orders and fencing tokens, each larger than all that are stored."""

    last: int
    drawn: bool = False
    """Whether there are some that no row will have as its number: then the last one has to be stored."""

    def next(self) -> int:
        self.last += 1
        self.drawn = True
        return self.last


@define
class Group:
    """One group (B9). `history_size` is the number of tasks in its history."""

    db: Connection
    tickets: Tickets
    key: int
    lease: int
    history_size: int
    next: int
    """The number of the first row that may be a new task."""
    now: int
    started_ms: int = 0
    paused: bool = False
    asks_all: bool = False
    """Whether each delivery has `must_begin`, because a task name is paused (L9)."""
    _stale: dict[str, tuple[int, int]] = field(factory=dict, init=False)
    """By id, tasks that need not be known any longer, and their places: a new task replaces them."""
    _waits: list[tuple[object, ...]] = field(factory=list, init=False)
    _ends: list[tuple[object, ...]] = field(factory=list, init=False)
    unlocked: list[str] = field(factory=list, init=False)
    """The ids of tasks that are to give back their locks, if they hold them. `flush` writes it."""
    _joins: list[int] = field(factory=list, init=False)
    """The rows of tasks that are ready, and are to join their fair lines. `flush` writes it."""
    _gates: Gates | None = field(default=None, init=False)

    @property
    def gates(self) -> Gates:
        """Its limits and fair lines."""
        if self._gates is None:
            self._gates = Gates(self.db, self.key, self.now, self.tickets.next)
        return self._gates

    # Looking up

    def rows(self, ids: Sequence[str]) -> dict[str, Row]:
        """The known tasks by id."""
        return {row.id: row for row in self.find(_LEAN, ids)}

    def find(self, sql: str, ids: Sequence[str]) -> Iterator[Row]:
        """The rows that a statement finds for these ids."""
        asked: tuple[tuple[str, Sequence[str | int]], ...] = ("task.id", ids), ("task.seq", nameless_seqs(ids))
        for column, keys in asked:
            for start in range(0, len(keys), CHUNK):
                found, values = padded(sql, keys[start : start + CHUNK], f" AND {column} IN ({{}})")
                for row in map(row_of, self.db.execute(found, [self.key, *values])):
                    if column == "task.id" or row.id == nameless(row.seq):
                        yield row

    def in_flight(self, receipts: Sequence[str]) -> dict[str, Row]:
        """B4: by receipt, the task in flight whose current receipt it is. Its lease may have ended (B3)."""
        wanted = {holding: receipt for receipt in receipts if (holding := holding_of(receipt))}
        seqs, found = [holding.seq for holding in wanted], dict[str, Row]()
        for start in range(0, len(seqs), CHUNK):
            sql, values = padded(IN_FLIGHT_ROWS, seqs[start : start + CHUNK])
            for row in map(row_of, self.db.execute(sql, [*values, self.key])):
                for task_id in (row.id, ""):
                    if receipt := wanted.get(Holding(row.seq, row.fence, task_id), ""):
                        found[receipt] = row
        return found

    def first(self, place: int) -> float | None:
        """The smallest time in `sort` among the tasks of a place other than NEW; None if there is none."""
        rows = self.db.execute(
            f"SELECT sort FROM task WHERE {AT.format('?')} ORDER BY sort LIMIT 1",  # noqa: S608 - our own words
            (self.key, place),
        )
        found = rows[0][0] if rows else None
        return found if is_time(found) else None

    def knows(self, ids: Sequence[str]) -> set[str]:
        """B1: those of the ids that belong to a task that has not ended, or ended recently."""
        known = set()
        for start in range(0, len(ids), CHUNK):
            sql, values = padded(_KNOWN, ids[start : start + CHUNK])
            for task_id, seq, place, known_until in self.db.execute(sql, [self.key, *values]):
                if place not in (HISTORY, REMEMBERED) or self.now < (known_until if is_number(known_until) else 0):
                    known.add(task_id)
                else:
                    self._stale[task_id] = seq, place
        return known

    # Coming in

    def add_unknown(self, messages: Sequence[Packed]) -> bool:
        """Add new messages if no id among them has a row, and none has gates, a share or edges. Returns whether it
        did."""
        if any(message.gates or message.share or message.flow for message, _ in messages):
            return False
        first = self.tickets.last + 1
        if self._insert(_INSERT_UNKNOWN, self._new(messages)) == len(messages):
            return True
        self.db.execute("DELETE FROM task WHERE seq BETWEEN ? AND ?", (first, self.tickets.last))
        self.tickets.last = first - 1
        return False

    def add(self, messages: Sequence[Packed]) -> None:
        """Add new messages that `knows` did not know."""
        self.insert(self._new(messages), are_new=True)

    def _new(self, messages: Sequence[Packed]) -> Iterator[tuple[Message, str, int, bytes]]:
        now = self.now + self.started_ms
        for message, fields in messages:
            yield message, message.id, now + message.delay_ms if message.delay_ms > 0 else 0, fields

    def insert(self, entries: Iterable[tuple[Message | Unreadable, str, int, bytes]], *, are_new: bool = False) -> None:
        """Add tasks that `knows` did not know: message, id, due time, bytes. `are_new`: they wait for others if their
        messages say so."""
        entries = list(entries)
        if self._stale:
            self._drop([self._stale.pop(task_id) for _, task_id, _, _ in entries if task_id in self._stale])
        first = self.tickets.last + 1
        self._insert(_INSERT, entries)
        for seq, (message, _, due, _) in enumerate(entries, first):
            if not isinstance(message, Message) or (are_new and message.flow and Flows(self).enter(seq, message)):
                continue
            if (message.gates or message.share) and due <= self.now:
                is_ready = not message.gates or self.gates.enter(seq, message.gates)
                if is_ready and message.share:
                    self.gates.lines.join(seq, class_of(message.priority), message, came_back=False)

    def _insert(self, sql: str, entries: Iterable[tuple[Message | Unreadable, str, int, bytes]]) -> int:
        """Returns how many of the rows were added."""
        tasks, bodies = [], []
        key, now = self.key, self.now
        ticket = self.tickets.last
        for message, task_id, due, fields in entries:
            ticket += 1
            number = class_of(message.priority) if message.priority else 0
            place, sort = (DELAYED, due) if due > now else (LINES[number][1], ticket)
            raw, header = RAW, (1, 0, 0, 0)
            expires = 0
            if isinstance(message, Message):
                special = message.lock or message.gates or message.share or message.flow
                raw = bits_of(message) if special else 0
                header = (message.attempt, message.crashes, message.redelivered, message.deferrals)
                expires = message.expires_ms
            if len(fields) > INLINE:
                bodies.append((ticket, fields))
            kept = None if len(fields) > INLINE else fields
            tasks.append((ticket, key, task_id, place, sort, ticket, now, raw, *header, due, kept, number, expires))
        self.tickets.last = ticket
        added = self.db.executemany(sql, tasks)
        if bodies and added == len(tasks):
            self.db.executemany(
                "INSERT OR REPLACE INTO body VALUES (?, ?)", bodies
            )  # a row that is gone may have left one
        return added

    # Moving

    def put_back(
        self, row: Row, delay: int, arrival: int | None = None, *, joins: bool = False, held_at: str = ""
    ) -> None:
        """Make a task in flight ready or delayed again; if it was cancelled, end it instead (I3). `flush` writes it.
        `arrival`: its place in the order of arrival, if it keeps one; `joins`: whether it joins the fair line again if
        it has a share (F1); `held_at`: the gate of its name, if it waits for that (L9)."""
        if row.cancelled:
            self.end(row, HISTORY, minimal(row, TaskStatus.CANCELLED))
            return
        due = due_after(self, delay)
        ticket = self.tickets.next()
        place, sort = (DELAYED, due) if due > self.now else (row.came_back, ticket)
        if row.raw & GATED or held_at:
            place = self._ask_again(row, place, arrival, held_at)
        if joins and row.raw & SHARED and place == row.came_back:
            self._joins.append(row.seq)
        header = (row.attempt, row.crashes, row.redelivered, row.deferrals)
        self._waits.append((place, sort, ticket, self.now, *header, due, row.seq))

    def end(self, row: Row, place: int, record: Record, reason: str = "") -> None:
        """End a task. `flush` writes it."""
        now, ticket = self.now, self.tickets.next()
        if row.progress is not None and record.progress is None:
            record = evolve(record, progress=progress_of(row))
        self.history_size += place == HISTORY
        if row.raw & LOCKED:
            self.unlocked.append(row.id)
        if row.raw & GATED:
            self.gates.leave([row.seq])
        if row.raw & SHARED and row.place in _STANDING:
            self.gates.lines.leave([row.seq])
        if row.raw & FLOW:
            Flows(self).fire(row, success=record.status is TaskStatus.SUCCESS, kept=place == FAILED)
        if row.raw & SUSPENDED:
            leave_children(self.db, row.seq)
        if place != FAILED:
            drop_steps(self.db, [row])
        self._ends.append((
            place, ticket, ticket, now, int(record.status), reason, now + max(record.ttl_ms, DEDUPE_MS),
            record_bytes(record), now + record.ttl_ms, row.attempt, row.crashes,
            row.redelivered, row.deferrals, row.seq,
        ))  # fmt: skip

    def _ask_again(self, row: Row, place: int, arrival: int | None, held_at: str) -> int:
        """The place of a task with gates, or that waits for its name, that becomes ready or delayed again."""
        gates = self.gates.gates_of(row.seq)
        self.gates.leave([row.seq])
        if held_at:
            self.db.execute("UPDATE task SET raw = raw | ? WHERE seq = ?", (GATED, row.seq))
        return place if place == DELAYED or self.gates.ask(row.seq, gates, arrival, held_at) else BLOCKED

    def flush(self) -> None:
        """Write the changes of `put_back` and `end`, and admit the tasks for which there is room then."""
        if self._waits:
            self.db.executemany(_WAIT, self._waits)  # type: ignore[arg-type]
        if self._ends:
            self.db.executemany(_END, self._ends)  # type: ignore[arg-type]
        if self.unlocked:
            self._unlock(self.unlocked)
        for seq in self._joins:
            self.gates.lines.join_again(seq)
        self._waits, self._ends, self.unlocked, self._joins = [], [], [], []
        if self._gates is not None:
            self._gates.admit_next()

    def _unlock(self, ids: Sequence[str]) -> None:
        """Give back the locks that these tasks hold (L7). None of them is a window, which ends by time alone."""
        self.db.executemany("DELETE FROM lock WHERE grp = ? AND id = ?", [(self.key, task_id) for task_id in ids])

    def remove(self, rows: Sequence[Row]) -> None:
        """Delete tasks without a trace."""
        if locked := [row.id for row in rows if row.raw & LOCKED]:
            self._unlock(locked)
        for row in rows:
            if row.raw & FLOW:
                Flows(self).fire(row, success=False, kept=False)
            if row.raw & SUSPENDED:
                leave_children(self.db, row.seq)
        drop_steps(self.db, rows)
        self._drop([(row.seq, row.place) for row in rows])
        if shared := [row.seq for row in rows if row.raw & SHARED]:
            self.gates.lines.leave(shared)
        if gated := [row.seq for row in rows if row.raw & GATED]:
            self.gates.leave(gated)
            self.gates.admit_next()

    def _drop(self, tasks: Sequence[tuple[int, int]]) -> None:
        self.history_size -= sum(place == HISTORY for _, place in tasks)
        self.tickets.drawn |= bool(tasks)  # the numbers of these rows are not used again
        seqs = [(seq,) for seq, _ in tasks]
        self.db.executemany("DELETE FROM task WHERE seq = ?", seqs)
        self.db.executemany("DELETE FROM body WHERE seq = ?", seqs)


def drop_steps(db: Connection, rows: Sequence[Row]) -> None:
    """Delete what is kept of tasks: their steps and events (L14)."""
    kept = [(row.seq,) for row in rows if row.raw & KEPT]
    if kept:
        db.executemany("DELETE FROM step WHERE seq = ?", kept)
        db.executemany(f"UPDATE task SET raw = raw & {~KEPT} WHERE seq = ?", kept)  # noqa: S608 - our own words


def bits_of(message: Message) -> int:
    lock = lock_of(message)
    bits = (GATED if message.gates else 0) | (SHARED if message.share else 0) | (FLOW if message.flow else 0)
    return bits | LOCKED if lock is not None and lock.kind is not LockKind.WINDOW else bits


def due_after(group: Group, delay: int) -> int:
    """When a delay ends that begins now; 0 without one."""
    return group.now + group.started_ms + delay if delay > 0 else 0


def length_of(group: Group, most: int) -> int:
    """B15: how many tasks have not ended; `most` if these are as many or more."""
    found: int = group.db.execute(_LENGTH, (group.key, most, group.next, group.key, most))[0][0]
    return min(found, most)


def count(db: Connection, key: int, place: int) -> int:
    """How many tasks of a group are in a place other than NEW."""
    sql = f"SELECT count(*) FROM task WHERE {AT.format('?')}"  # noqa: S608 - our own words
    found: int = db.execute(sql, (key, place))[0][0]
    return found


def minimal(row: Row, status: TaskStatus, reason: str = "") -> Record:
    """The record of an end that came without one. An unreadable entry has no header, and so no later attempt."""
    attempt = 1 if row.raw & RAW else row.attempt
    return default_record(row.id, status, reason=reason, attempt=attempt, worker=row.consumer)
