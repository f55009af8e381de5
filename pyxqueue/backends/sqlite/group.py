"""One group of one queue, inside one transaction: where its tasks stand, and how they move.

Every method expects a transaction to be open, and does for a whole batch what the laws say about each. What comes out
of a batch is written with few statements, whatever its size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from attrs import define, evolve, field

from ...batching import MAX_ITEMS
from ...model.message import (
    DEDUPE_MS,
    Defer,
    Delivery,
    Extension,
    Fail,
    LeaseStatus,
    Message,
    Record,
    Retry,
    Settlement,
    TaskStatus,
    Unreadable,
)
from ...model.transitions import ENDS, LEASE_STATUSES, Event, default_record, event_of
from .driver import Connection
from .rows import (
    LARGEST,
    LEAN,
    WHOLE,
    Row,
    fields_of,
    fits,
    is_id,
    is_number,
    nameless,
    nameless_seqs,
    padded,
    progress_bytes,
    progress_of,
    read_message,
    record_bytes,
    row_of,
    up_to,
    within,
)
from .schema import DELAYED, FAILED, FINISHED, HELD, PAST, READY

CHUNK = 500
"""Ids in one statement, and tasks that one call forgets."""
SEEN_EVERY = 1_000
"""Ms between two notes that a consumer was heard of."""
SILENT_FOR = 3_600_000
"""Ms after which a consumer that says nothing is forgotten; what it holds is still shown as its own."""

_RECEIPT = re.compile(r"(-?\d{1,19})\.(\d{1,18})", re.ASCII)

# The numbers of places are spelt out here: 1 ready, 2 held, 5 finished, 6 past.

_INSERT = """INSERT INTO task (seq, grp, id, place, sort, ord, updated, raw, attempt, crashes, redelivered,
deferrals, due)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_WAIT = """UPDATE task SET place = ?, sort = ?, ord = ?, updated = ?, attempt = ?, crashes = ?, redelivered = ?,
    deferrals = ?, due = ?, progress = NULL WHERE seq = ?"""
_END = """UPDATE task SET place = ?, sort = ?, ord = ?, updated = ?, ended = ?, reason = ?, known_until = ?,
    record = ?, record_end = ?, attempt = ?, crashes = ?,
    redelivered = ?, deferrals = ?, progress = NULL WHERE seq = ?"""
_READY = f"""SELECT task.seq, {up_to("task.id", 65)}, attempt, crashes, redelivered, deferrals, due,
    {WHOLE.format("fields")}, length(fields)
    FROM task LEFT JOIN body ON body.seq = task.seq WHERE grp = ? AND place = 1 ORDER BY sort, task.seq LIMIT ?"""  # noqa: S608 - our own words
_LEND = "UPDATE task SET place = 2, sort = ?, updated = ?, consumer = ?, fence = ? WHERE seq = ?"

_AT = f"SELECT {LEAN} FROM task WHERE grp = ? AND place = ? AND sort <= ? ORDER BY sort LIMIT ?"  # noqa: S608
_HELD_BY = f"SELECT {LEAN} FROM task WHERE grp = ? AND place = 2 AND consumer = ? ORDER BY sort LIMIT ?"  # noqa: S608
_ORDER = f"seq & {LARGEST // 2 - 1}"
_MENDS = (
    (HELD, ">", 0, "?3"),
    (DELAYED, ">=", LARGEST, f"CASE WHEN typeof(due) = 'integer' AND due < {LARGEST} THEN due ELSE 0 END"),
    (PAST, ">=", LARGEST, "0"),
    *((place, wrong, end, _ORDER) for place in (READY, FAILED, FINISHED) for wrong, end in ((">=", LARGEST), ("<", 0))),
)
"""By place, what `sort` cannot be, and what it is then; text and bytes come after all numbers."""
_OLDEST = "SELECT seq FROM task WHERE grp = ? AND place = 5 ORDER BY sort, seq LIMIT ?"
_DROP = "UPDATE task SET place = 6, sort = max(known_until, record_end) WHERE seq = ?"
_SWEEP = """DELETE FROM task WHERE seq IN
    (SELECT seq FROM task WHERE grp = ? AND place = 6 AND sort <= ? LIMIT ?)"""


@define
class Tickets:
    """The numbers that no task, receipt or place ever shares with another."""

    last: int

    def next(self) -> int:
        self.last += 1
        return self.last


@define
class Group:
    """One group (B9). `finished` is how many tasks stand in its history."""

    db: Connection
    tickets: Tickets
    key: int
    lease: int
    finished: int
    now: int
    started_ms: int = 0
    _stale: dict[str, tuple[int, int]] = field(factory=dict, init=False)
    """Of ids whose time is over, the tasks that are left, and their places: a new one takes over the id."""
    _waits: list[tuple[object, ...]] = field(factory=list, init=False)
    _ends: list[tuple[object, ...]] = field(factory=list, init=False)

    # Looking up

    def rows(self, ids: Sequence[str]) -> dict[str, Row]:
        """The tasks that are known by these ids."""
        return {row.id: row for row in self.find(f"SELECT {LEAN} FROM task WHERE grp = ?", ids)}  # noqa: S608

    def find(self, sql: str, ids: Sequence[str]) -> Iterator[Row]:
        """The rows that a statement finds of these ids; each has the id by which it was asked for."""
        asked: tuple[tuple[str, Sequence[str | int]], ...] = ("task.id", ids), ("task.seq", nameless_seqs(ids))
        for column, keys in asked:
            for start in range(0, len(keys), CHUNK):
                marks, values = padded(keys[start : start + CHUNK])
                for row in map(row_of, self.db.execute(f"{sql} AND {column} IN ({marks})", [self.key, *values])):
                    if column == "task.id" or row.id == nameless(row.seq):
                        yield row

    def held(self, receipts: Sequence[str]) -> dict[str, Row]:
        """B4: by receipt, what is held under it. That a lease has ended does not matter here (B3)."""
        wanted = {}
        for receipt in receipts:
            if (numbers := _RECEIPT.fullmatch(receipt)) and fits(seq := int(numbers[1])):
                wanted[seq, int(numbers[2])] = receipt
        seqs, found = [seq for seq, _ in wanted], dict[str, Row]()
        for start in range(0, len(seqs), CHUNK):
            marks, values = padded(seqs[start : start + CHUNK])
            sql = f"SELECT {LEAN} FROM task WHERE seq IN ({marks}) AND grp = ? AND place = {HELD}"  # noqa: S608
            for row in map(row_of, self.db.execute(sql, [*values, self.key])):
                if receipt := wanted.get((row.seq, row.fence), ""):
                    found[receipt] = row
        return found

    def count(self, place: int) -> int:
        found: int = self.db.execute("SELECT count(*) FROM task WHERE grp = ? AND place = ?", (self.key, place))[0][0]
        return found

    def first(self, place: int) -> float | None:
        """When the first of those that wait there for a time is due; None if none ever is."""
        rows = self.db.execute(
            "SELECT sort FROM task WHERE grp = ? AND place = ? ORDER BY sort LIMIT 1", (self.key, place)
        )
        found = rows[0][0] if rows else None
        return found if isinstance(found, int | float) and found < LARGEST else None

    def at(self, place: int, until: int, limit: int) -> list[Row]:
        if (first := self.first(place)) is None or first > until:
            return []  # as with most claims: the statement below is a long one
        return [row_of(row) for row in self.db.execute(_AT, (self.key, place, until, limit))]

    def knows(self, ids: Sequence[str]) -> set[str]:
        """B1: of these ids, those of a task that lives, or that ended not long ago."""
        known = set()
        for start in range(0, len(ids), CHUNK):
            marks, values = padded(ids[start : start + CHUNK])
            sql = f"SELECT id, seq, place, known_until FROM task WHERE grp = ? AND id IN ({marks})"  # noqa: S608
            for task_id, seq, place, known_until in self.db.execute(sql, [self.key, *values]):
                if place not in (FINISHED, PAST) or self.now < (known_until if is_number(known_until) else 0):
                    known.add(task_id)
                else:
                    self._stale[task_id] = seq, place
        return known

    # Coming in

    def add(self, messages: Sequence[Message]) -> None:
        """Take in new messages, with the store's stamps."""
        now = self.now + self.started_ms
        self.insert(
            (message, message.id, now + message.delay_ms if message.delay_ms > 0 else 0, fields_of(message, now))
            for message in messages
        )

    def insert(self, entries: Iterable[tuple[Message | Unreadable, str, int, bytes]]) -> None:
        """Give tasks that `knows` did not know their place: message, id, when it is due, its bytes."""
        tasks, bodies = [], []
        key, now = self.key, self.now
        ticket = self.tickets.last
        for message, task_id, due, fields in entries:
            ticket += 1
            place, sort = (DELAYED, due) if due > now else (READY, ticket)
            raw, header = True, (1, 0, 0, 0)
            if isinstance(message, Message):
                raw, header = False, (message.attempt, message.crashes, message.redelivered, message.deferrals)
            tasks.append((ticket, key, task_id, place, sort, ticket, now, raw, *header, due))
            bodies.append((ticket, fields))
        self.tickets.last = ticket
        if self._stale:
            self._drop([self._stale.pop(row[2]) for row in tasks if row[2] in self._stale])
        self.db.executemany(_INSERT, tasks)
        self.db.executemany(
            "INSERT OR REPLACE INTO body VALUES (?, ?)", bodies
        )  # one may be left of a row that is gone

    # Holding

    def reclaim(self, limit: int) -> int:
        """B3, B11: whoever held these is suspected dead, and the task of having killed it. Answers how many they are,
        `limit` at most, as those below do."""
        rows = self.at(HELD, self.now, limit)
        for row in rows:
            self.put_back(row.charged(Event.LEASE_END), 0)
        self.flush()
        return len(rows)

    def maintain(self, limit: int) -> int:
        """B8: make due tasks ready."""
        rows = self.at(DELAYED, self.now, limit)
        moves = [(READY, ticket := self.tickets.next(), ticket, self.now, row.seq) for row in rows]
        self.db.executemany("UPDATE task SET place = ?, sort = ?, ord = ?, updated = ? WHERE seq = ?", moves)
        return len(rows)

    def claim(self, consumer: str, limit: int) -> list[Delivery]:
        """B2: lend the head of the ready line."""
        rows = within(self.db.execute(_READY, (self.key, limit)), self._fields)
        if not rows:
            return []
        fence = self.tickets.next()
        end, now = self.now + self.lease, self.now
        self.db.executemany(_LEND, [(end, now, consumer, fence, row[0]) for row in rows])
        return [
            Delivery(
                read_message(fields, task_id if is_id(task_id) else nameless(seq), header), f"{seq}.{fence}", fence
            )
            for seq, task_id, *header, fields, _ in rows
        ]

    def mend(self) -> None:
        """Put what no step of ours would ever reach, because of what somebody has written into `sort`, where it is
        reached: nobody is lent a task for more than a lease, and what is due is due at some time."""
        for place, wrong, end, sort in _MENDS:
            sql = (
                f"UPDATE task SET sort = {sort} WHERE seq IN "  # noqa: S608 - our own words
                f"(SELECT seq FROM task WHERE grp = ?1 AND place = ?2 AND sort {wrong} ?3 LIMIT {CHUNK})"
            )
            self.db.execute(sql, (self.key, place, self.now + self.lease if place == HELD else end))

    def _fields(self, row: Sequence[Any]) -> Sequence[Any]:
        fields = self.db.execute("SELECT fields FROM body WHERE seq = ?", (row[0],))[0][0]
        return (*row[:-2], fields, row[-1])

    def seen(self, consumers: Iterable[str]) -> None:
        """Note that these were heard of, and forget those who died without anybody releasing them."""
        self.db.executemany(
            "INSERT INTO consumer VALUES (?, ?, ?) ON CONFLICT (grp, name) DO UPDATE SET seen = excluded.seen",
            [(self.key, name, self.now) for name in sorted(set(consumers))],
        )
        self.db.execute(
            "DELETE FROM consumer WHERE grp = ? AND seen NOT BETWEEN ? AND ?",
            (self.key, self.now - SILENT_FOR, self.now + SILENT_FOR),
        )

    def release(self, consumer: str, started: Sequence[str], limit: int) -> int:
        """B11: of what a consumer that is gone still held, only what it was running is charged."""
        rows = list(map(row_of, self.db.execute(_HELD_BY, (self.key, consumer, limit))))
        running = set(started)
        for row in rows:
            charge = Event.RELEASE_STARTED if f"{row.seq}.{row.fence}" in running else Event.RELEASE
            self.put_back(row.charged(charge), 0)
        self.flush()
        self.db.execute("DELETE FROM consumer WHERE grp = ? AND name = ?", (self.key, consumer))
        return len(rows)

    def extend(self, extensions: Sequence[Extension]) -> list[LeaseStatus]:
        """B6, B10: a new end of the lease and the progress, for current receipts only."""
        found = self.held([extension.receipt for extension in extensions])
        answers, changes = [], []
        for extension in extensions:
            row = found.get(extension.receipt)
            if row is None:
                answers.append(LeaseStatus.LOST)
                continue
            progress = progress_bytes(extension.progress)
            changes.append((self.now + self.lease, progress, row.seq))
            known = 0 <= row.cancelled < len(LEASE_STATUSES)  # another program may have written anything
            answers.append(LEASE_STATUSES[row.cancelled] if known else LeaseStatus.CANCEL)
        self.db.executemany("UPDATE task SET sort = ?, progress = coalesce(?, progress) WHERE seq = ?", changes)
        self.seen(row.consumer for row in found.values())
        return answers

    def put_back(self, row: Row, delay: int) -> None:
        """From its holder to the waiting; what was cancelled meanwhile ends instead (I3). `flush` writes it."""
        if row.cancelled:
            self.end(row, FINISHED, minimal(row, TaskStatus.CANCELLED))
            return
        due = self.now + self.started_ms + delay if delay > 0 else 0
        ticket = self.tickets.next()
        place, sort = (DELAYED, due) if due > self.now else (READY, ticket)
        header = (row.attempt, row.crashes, row.redelivered, row.deferrals)
        self._waits.append((place, sort, ticket, self.now, *header, due, row.seq))

    # Ending

    def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """B4, B5: of each all, or nothing at all."""
        found = self.held([settlement.receipt for settlement in settlements])
        answers = []
        follow_ups: dict[str, Message] = {}
        for settlement in settlements:
            row = found.pop(settlement.receipt, None)
            answers.append(row is not None)
            if row is not None:
                self.apply(row, settlement)
                for message in settlement.then:
                    follow_ups.setdefault(message.id, message)
        self.flush()
        if follow_ups:
            known = self.knows(list(follow_ups))
            self.add([message for task_id, message in follow_ups.items() if task_id not in known])
        return answers

    def apply(self, row: Row, settlement: Settlement) -> None:
        match settlement.verdict:
            case Retry(delay) | Defer(delay) as verdict:
                self.put_back(row.charged(event_of(verdict)), delay)
            case Fail(reason):
                self.end(row, FAILED, settlement.record or minimal(row, TaskStatus.FAILURE, reason), reason)
            case verdict:
                self.end(row, FINISHED, settlement.record or minimal(row, ENDS[type(verdict)]))

    def end(self, row: Row, place: int, record: Record, reason: str = "") -> None:
        """`flush` writes it."""
        now, ticket = self.now, self.tickets.next()
        record = evolve(record, ended_ms=now, progress=record.progress or progress_of(row))
        self.finished += place == FINISHED
        self._ends.append((
            place, ticket, ticket, now, int(record.status), reason, now + max(record.ttl_ms, DEDUPE_MS),
            record_bytes(record), now + record.ttl_ms, row.attempt, row.crashes,
            row.redelivered, row.deferrals, row.seq,
        ))  # fmt: skip

    def flush(self) -> None:
        """Write what `put_back` and `end` have decided."""
        if self._waits:
            self.db.executemany(_WAIT, self._waits)  # type: ignore[arg-type]
        if self._ends:
            self.db.executemany(_END, self._ends)  # type: ignore[arg-type]
        self._waits, self._ends = [], []

    def trim(self, limit: int, most: int = MAX_ITEMS) -> int:
        """B13: keep the `limit` newest of the history; answers how many went, `most` at most."""
        surplus = min(most, max(0, self.finished - limit))
        if surplus:
            oldest = self.db.execute(_OLDEST, (self.key, surplus))
            self.db.executemany("DELETE FROM body WHERE seq = ?", oldest)
            self.db.executemany(_DROP, oldest)
            self.finished -= surplus
            if len(oldest) < surplus:  # somebody has written another number
                self.finished = self.count(FINISHED)
        self.sweep()
        return surplus

    def sweep(self) -> None:
        """B13: forget some of what no law asks to remember."""
        self.db.execute(_SWEEP, (self.key, self.now, CHUNK))

    def remove(self, rows: Sequence[Row]) -> None:
        """As if they had never been."""
        self._drop([(row.seq, row.place) for row in rows])

    def _drop(self, tasks: Sequence[tuple[int, int]]) -> None:
        self.finished -= sum(place == FINISHED for _, place in tasks)
        seqs = [(seq,) for seq, _ in tasks]
        self.db.executemany("DELETE FROM task WHERE seq = ?", seqs)
        self.db.executemany("DELETE FROM body WHERE seq = ?", seqs)


def minimal(row: Row, status: TaskStatus, reason: str = "") -> Record:
    """The record of an end that came without one."""
    return default_record(row.id, status, reason=reason, attempt=row.attempt, worker=row.consumer)
