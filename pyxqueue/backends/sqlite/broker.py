"""The `Broker` protocol on a SQLite file. Each operation is a few steps, and each step one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from ...batching import MAX_ITEMS, settlement_size
from ...clock import deadline_after, is_over, started_ms, wall_clock
from ...model.locks import LockTerms, Placed
from ...model.message import Delivery, Extension, LeaseStatus, Message, Settlement, StartStatus
from ...model.past import line_of_silent
from ...model.presence import facts_about
from ...model.steps import EventStatus, Steps
from ...model.transitions import Event
from ...model.turns import Turn
from ...model.wire import message_size
from ...protocols import NO_LINES, Expired, TakenIn, TellExpired
from ...takeovers import log_takeovers
from . import expiring, locking, resuming, upkeep
from .claiming import deliveries_of, lend
from .flowing import Flows
from .group import Group, Holding, Packed, packed
from .jumps import ClockJumps
from .lengths import Lengths
from .limits import RAISED, SQLiteLimits
from .opening import inode_of
from .polling import sleep
from .presence import present
from .queue import Groups, Queue
from .rating import FIRST_OPENING
from .rows import LEAN, Row, is_time, progress_bytes, remember, row_of
from .schedules import SQLiteSchedules
from .schema import AT, CAME_BACK, DELAYED, IN_FLIGHT, NEW_TASKS, PRIORITIZED, REMEMBERED, SUSPENDED
from .settling import prepared, settle
from .steps import give_way, in_prepared_steps, in_steps, until_done
from .store import Mark

SEEN_EVERY = 1_000
"""Ms between two updates of the time at which a consumer was last seen."""
SILENT_FOR = 3_600_000
"""Ms without a sign of life after which a consumer is forgotten. What it holds is still shown under its name."""

_FIRST = "(SELECT sort FROM task WHERE {} ORDER BY sort LIMIT 1)"
NEXT = f"""SELECT {", ".join(_FIRST.format(AT.format(place)) for place in (IN_FLIGHT, DELAYED, REMEMBERED))},
    ({expiring.FIRST}), ({FIRST_OPENING}),
    EXISTS (SELECT 1 FROM task WHERE {AT.format(CAME_BACK)}) OR EXISTS (SELECT 1 FROM {NEW_TASKS})
    OR EXISTS (SELECT 1 FROM {PRIORITIZED})"""  # noqa: S608 - our own words
"""When the first lease ends, a delayed task is due, an ended one may be forgotten, one that waits expires,
a rate has room again; and whether a task is ready."""
_DUE = f"SELECT {LEAN} FROM task WHERE {AT.format('?')} AND sort <= ? ORDER BY sort LIMIT ?"  # noqa: S608
_IN_FLIGHT_OF = f"SELECT {LEAN} FROM task WHERE {AT.format(IN_FLIGHT)} AND consumer = ? ORDER BY sort LIMIT ?"  # noqa: S608


_MAX_CLEARED = 16 * MAX_ITEMS
"""How many rows of a removed group one maintenance deletes."""


class _Seen(NamedTuple):
    """Up to where a look has found no new task, so that it is not looked there again."""

    inode: tuple[int, int] | None = None
    """Of the file: another one may have taken its path."""
    next: int = 0
    """No row with a smaller number is a new task."""


class SQLiteBroker:
    """The `Broker` protocol."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._store = queue.store
        self.schedules = SQLiteSchedules(queue)
        self._interrupts = 0
        self._interrupts_seen = 0
        self._heard: dict[str, int] = {}
        self.limits = SQLiteLimits(queue)
        self._is_raised = False
        """Whether a number was raised, and not all were admitted for whom there is room."""
        self._lengths = Lengths(queue)
        self._seen = _Seen()
        self._turn = Turn()
        self._jumps = ClockJumps() if queue.clock is wall_clock else None
        """None for a clock that only jumps."""
        self._tell: TellExpired | None = None

    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        accepted: list[bool] = []
        for batch in in_prepared_steps(messages, message_size, self._packed):
            with self._queue.write(join=True, takes_in=True) as groups:
                accepted += _enqueue(groups.copies(), batch)
        return accepted

    def enqueue_unique(self, messages: Sequence[Message], terms: LockTerms) -> Sequence[Placed]:
        placed: list[Placed] = []
        for batch in in_prepared_steps(messages, message_size, self._packed):
            with self._queue.write(join=True, takes_in=True) as groups:
                placed += locking.place(groups.copies(), batch, terms)
        return placed

    def enqueue_within(self, messages: Sequence[Message], terms: LockTerms, max_length: int) -> TakenIn:
        placed: list[Placed] = []
        for batch in in_prepared_steps(messages, message_size, self._packed):
            found = self._lengths.place(batch, terms, max_length)
            placed += found.placed
            if found.length:
                return TakenIn(placed, found.length)
        return TakenIn(placed)

    def lock_holders(self, names: Sequence[str]) -> Sequence[str]:
        with self._queue.read() as groups:
            found = locking.holders(groups.mine, names)
        return [found.get(name, "") for name in names]

    def _packed(self, messages: Sequence[Message]) -> list[Packed]:
        clock = self._queue.clock
        return packed(messages, clock() + started_ms(clock))

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        deadline = deadline_after(wait_ms if limit > 0 else 0)
        seen = self._interrupts_seen
        mark: Mark | None = None
        while True:
            with self._queue.read() as groups:
                event, worth, next_seen = self._outlook(groups, consumer)
            if next_seen:  # only if that was the file which is at the path
                self._seen = next_seen
            deliveries = self._claim(consumer, limit) if worth else []
            interrupted = self._interrupts > seen
            if deliveries or interrupted or is_over(deadline):
                self._interrupts_seen = self._interrupts
                return deliveries
            if mark is None or worth:
                mark = self._store.mark()  # and look again: a message may have come in between
                continue
            sleep(self._store, mark, deadline, partial(self._rouse, seen, event))
            mark = self._store.mark()

    def _rouse(self, interrupts: int, event: float) -> bool:
        return self._interrupts > interrupts or self._queue.clock() >= event

    def _outlook(self, groups: Groups, consumer: str) -> tuple[float, bool, _Seen | None]:
        """When a lease, a delay or a dedupe time ends next, whether a claim has anything to do now, and up to where
        there is no new task, if there is none."""
        now, seen, inode = groups.now, self._seen, inode_of(self._store.location.path)
        key, first = groups.mine.key, max(groups.mine.next, seen.next if seen.inode == inode else 0)
        *times, ready = groups.db.execute(NEXT, (*[key] * 6, first, key, key))[0]
        next_seen = None if ready else _Seen(inode, groups.tickets.last + 1)
        if pause := self._no_takeover_for(groups.mine):
            times[0] = now + pause
        event = min((at for at in times if is_time(at)), default=float("inf"))
        unheard = not 0 <= now - self._heard.get(consumer, -1) < SEEN_EVERY
        claimable = bool(ready) and not groups.mine.paused
        return event, claimable or event <= now or unheard or not self._queue.is_joined(groups), next_seen

    def _no_takeover_for(self, group: Group) -> int:
        """For how many ms nothing is taken over, because the clock has jumped."""
        return 0 if self._jumps is None else self._jumps.wait_ms(group.now, group.lease)

    def _claim(self, consumer: str, limit: int) -> Sequence[Delivery]:
        while True:
            with self._queue.write(join=True) as groups:
                group = groups.mine
                if not 0 <= group.now - self._heard.get(consumer, -1) < SEEN_EVERY:
                    _note_seen(group, [consumer])
                    upkeep.mend(group)
                    self._heard[consumer] = group.now
                taken = [] if self._no_takeover_for(group) else _reclaim(group, MAX_ITEMS)
                moved = [len(taken), _promote(group, MAX_ITEMS)]
                expired = expiring.expire(group, MAX_ITEMS)
                moved += [len(expired), _open(group, MAX_ITEMS)]
                upkeep.trim(group, self._queue.options.history)
                lent = lend(group, consumer, max(0, limit), self._turn)
            self._tell_expired(expired)
            log_takeovers(taken)
            self._turn = lent.turn
            if lent.rows or MAX_ITEMS not in moved:
                return deliveries_of(lent)  # the file is free again meanwhile
            give_way()

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        settled: list[bool] = []
        for batch in in_prepared_steps(settlements, settlement_size, prepared):
            with self._queue.write(join=True) as groups:
                group = groups.mine
                settled += settle(group, batch)
                upkeep.trim(group, self._queue.options.history)
        return settled

    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        statuses: list[LeaseStatus] = []
        for batch in in_steps(extensions):
            with self._queue.write(join=True) as groups:
                statuses += _extend(groups.mine, batch)
        return statuses

    def release(self, consumer: str, started: Sequence[str], past: Mapping[str, str] = NO_LINES) -> int:
        self._heard.pop(consumer, None)
        return until_done(partial(self._release, consumer, frozenset(started), past))

    def _release(self, consumer: str, started: frozenset[str], past: Mapping[str, str], limit: int) -> int:
        """B11: of what a consumer that is gone still holds, only what it was running is charged."""
        with self._queue.write(join=True) as groups:
            group = groups.mine
            rows = list(map(row_of, group.db.execute(_IN_FLIGHT_OF, (group.key, consumer, limit))))
            for row in rows:
                receipt = Holding(row.seq, row.fence, row.id).receipt
                remember(group.db, row, past.get(receipt, ""))
                running = receipt in started
                group.put_back(row.charged(Event.RELEASE_STARTED if running else Event.RELEASE), 0)
            group.flush()
            group.db.execute("DELETE FROM consumer WHERE grp = ? AND name = ?", (group.key, consumer))
            upkeep.trim(group, self._queue.options.history)
        return len(rows)

    def maintain(self, limit: int) -> int:
        left, has_removed = self._next_due()
        if has_removed:  # left over from a removal that was interrupted
            until_done(self._queue.clear, _MAX_CLEARED)
        if was_raised := self._is_raised:
            self.limits.admit(limit)
        if left == 0:
            for step in (self._promote, self._expire, self._open, self._doom_unfinished):
                until_done(step, limit)
        if left == 0 or was_raised:
            left, _ = self._next_due()
        return 0 if self._is_raised else left

    def _promote(self, limit: int) -> int:
        with self._queue.write(join=True) as groups:
            return _promote(groups.mine, limit)

    def _open(self, limit: int) -> int:
        with self._queue.write(join=True) as groups:
            return _open(groups.mine, limit)

    def _doom_unfinished(self, limit: int) -> int:
        with self._queue.write(join=True) as groups:
            return Flows(groups.mine).doom_unfinished(limit)

    def _expire(self, limit: int) -> int:
        with self._queue.write(join=True) as groups:
            ended = expiring.expire(groups.mine, limit)
            upkeep.trim(groups.mine, self._queue.options.history)
        self._tell_expired(ended)
        return len(ended)

    def watch_expired(self, tell: TellExpired) -> None:
        self._tell = tell

    def _tell_expired(self, expired: Sequence[Expired]) -> None:
        if expired and self._tell is not None:
            self._tell(expired)

    def _next_due(self) -> tuple[int, bool]:
        """Milliseconds until a delayed task is due or one that waits expires, or -1, and whether a removed group has
        left something."""
        with self._queue.read() as groups:
            self.schedules.look(groups)
            group = groups.mine
            self._is_raised = bool(group.db.execute(RAISED, (group.key,)))
            found = (
                group.first(DELAYED),
                expiring.first_expiry(group),
                group.gates.rates.first_opening(),
                Flows(group).first_unfinished(),
            )
            moments = [one for one in found if one is not None]
            return int(max(0, min(moments) - groups.now)) if moments else -1, groups.has_removed

    def begin(self, receipts: Sequence[str]) -> Sequence[StartStatus]:
        statuses: list[StartStatus] = []
        for batch in in_steps(receipts):
            with self._queue.read() as groups:
                begun, changes = expiring.begin(groups.mine, batch, look=True)
            if changes:
                with self._queue.write(join=True) as groups:
                    begun, _ = expiring.begin(groups.mine, batch, look=False)
                    groups.mine.flush()
                    upkeep.trim(groups.mine, self._queue.options.history)
            statuses += begun
        return statuses

    def load_steps(self, task_id: str) -> Steps:
        with self._queue.read() as groups:
            return resuming.load(groups.mine, task_id)

    def save_steps(self, receipt: str, steps: Mapping[str, bytes]) -> LeaseStatus:
        with self._queue.write(join=True) as groups:
            return resuming.save(groups.mine, receipt, steps)

    def send_event(self, task_id: str, name: str, value: bytes) -> EventStatus:
        with self._queue.write(join=True, takes_in=True) as groups:
            status = resuming.send_event(groups.mine, task_id, name, value)
            groups.mine.flush()
            return status

    def forget_steps(self, task_ids: Sequence[str]) -> None:
        with self._queue.write() as groups:
            resuming.forget(groups.mine, task_ids)

    def pause(self) -> bool:
        return self._set_paused(True)

    def resume(self) -> bool:
        return self._set_paused(False)

    def _set_paused(self, paused: bool) -> bool:
        with self._queue.write(join=True) as groups:
            return groups.set_paused(paused)

    def is_paused(self) -> bool:
        with self._queue.read() as groups:
            return groups.mine.paused

    def lease_ms(self) -> int:
        with self._queue.write(join=True) as groups:
            return groups.mine.lease

    def interrupt(self) -> None:
        # An interrupt that finds no waiting claim is kept for the next one: it may be on its way to wait.
        with self._store.changed:
            self._interrupts += 1
            self._store.changed.notify_all()

    def close(self) -> None:
        self.interrupt()
        self._store.close()


def _enqueue(copies: Sequence[Group], messages: Sequence[Packed]) -> list[bool]:
    """B1, B9: accept messages that no group knows, into every registered group."""
    if len(copies) == 1 and copies[0].add_unknown(messages):
        return [True] * len(messages)  # as nearly always
    ids = [message.id for message, _ in messages]
    known = set().union(*(group.knows(ids) for group in copies))
    accepted, new = [], []
    for task_id, message in zip(ids, messages, strict=True):
        accepted.append(task_id not in known)
        if accepted[-1]:
            known.add(task_id)
            new.append(message)
    for group in copies:
        group.add(new)
    return accepted


def _note_seen(group: Group, consumers: Iterable[str]) -> None:
    """Note that these consumers were seen, and forget those that died and were never released."""
    group.db.executemany(
        "INSERT INTO consumer VALUES (?, ?, ?) ON CONFLICT (grp, name) DO UPDATE SET seen = excluded.seen",
        [(group.key, name, group.now) for name in sorted(set(consumers))],
    )
    group.db.execute(
        "DELETE FROM consumer WHERE grp = ? AND seen NOT BETWEEN ? AND ?",
        (group.key, group.now - SILENT_FOR, group.now + SILENT_FOR),
    )


def _due(group: Group, place: int, limit: int) -> list[Row]:
    if (first := group.first(place)) is None or first > group.now:
        return []  # as with most claims: the statement below is a long one
    return [row_of(row) for row in group.db.execute(_DUE, (group.key, place, group.now, limit))]


def _reclaim(group: Group, limit: int) -> list[tuple[str, str, str]]:
    """B3, B11: make tasks whose lease has ended ready, and charge them. Returns at most `limit`: of each its consumer,
    the host of that, and its id."""
    rows = _due(group, IN_FLIGHT, limit)
    facts = facts_about({row.consumer for row in rows}, present(group.db, group.key, group.now)) if rows else {}
    taken = []
    for row in rows:
        host = facts[row.consumer].host if row.consumer in facts else ""
        taken.append((row.consumer, host, row.id))
        remember(group.db, row, line_of_silent(row.attempt, group.now - row.updated, group.now, row.consumer, host))
        group.put_back(row.charged(Event.LEASE_END), 0)
    group.flush()
    return taken


def _open(group: Group, limit: int) -> int:
    """L6: admit tasks at rates that have room again. Returns the number of their gates, at most `limit`."""
    opening = group.gates.rates.first_opening()
    return group.gates.open(limit) if opening is not None and opening <= group.now else 0


def _promote(group: Group, limit: int) -> int:
    """B8: make due tasks ready. Returns their number, at most `limit`."""
    rows = _due(group, DELAYED, limit)
    if rows:
        moves = [
            (row.came_back, ticket := group.tickets.next(), ticket, group.now, row.raw & ~SUSPENDED, row.seq)
            for row in rows
        ]
        group.db.executemany("UPDATE task SET place = ?, sort = ?, ord = ?, updated = ?, raw = ? WHERE seq = ?", moves)
        for row in rows:
            locking.pass_gates(group, row)
    return len(rows)


def _extend(group: Group, extensions: Sequence[Extension]) -> list[LeaseStatus]:
    """B6, B10: a new end of the lease and the progress, for current receipts only."""
    found = group.in_flight([extension.receipt for extension in extensions])
    statuses, changes = [], []
    for extension in extensions:
        row = found.get(extension.receipt)
        if row is None:
            statuses.append(LeaseStatus.LOST)
            continue
        changes.append((group.now + group.lease, progress_bytes(extension.progress), row.seq))
        statuses.append(row.lease_status)
    group.db.executemany("UPDATE task SET sort = ?, progress = coalesce(?, progress) WHERE seq = ?", changes)
    _note_seen(group, (row.consumer for row in found.values()))
    return statuses
