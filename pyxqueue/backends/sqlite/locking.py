"""Locks (L7): a row for each lock that is held.

The bit `LOCKED` of a task's `raw` says that it has a lock that is given back when it ends. A task without a lock costs
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...model.locks import Lock, LockKind, LockTerms, Placed, Placement, is_held_until_start, lock_of
from ...model.message import Message, Unreadable, evolve
from ...model.priorities import class_of
from .group import CHUNK, Group, Packed, bits_of
from .rows import Row, fields_of, is_id, is_number, padded, read_message
from .schema import DELAYED, GATED, INLINE, KEPT, LOCKED, SHARED

_HELD = "SELECT name, id FROM lock WHERE grp = ? AND (until = 0 OR until > ?)"
_TAKE = "INSERT OR REPLACE INTO lock VALUES (?, ?, ?, ?)"
_FIELDS = "SELECT coalesce(fields, (SELECT fields FROM body WHERE body.seq = task.seq)) FROM task WHERE seq = ?"
_REPLACE = """UPDATE task SET sort = ?, ord = ?, updated = ?, due = ?, raw = ?, priority_class = ?, expires = ?,
    fields = ? WHERE seq = ?"""
_MOVE = "UPDATE task SET sort = ?, ord = ?, updated = ?, due = ? WHERE seq = ?"


def holders(group: Group, names: Sequence[str]) -> dict[str, str]:
    """By name, the ids of the tasks that hold locks."""
    found: dict[str, str] = {}
    for start in range(0, len(names), CHUNK):
        sql, values = padded(_HELD, names[start : start + CHUNK], " AND name IN ({})")
        rows = group.db.execute(sql, [group.key, group.now, *values])
        found |= {name: task_id for name, task_id in rows if is_id(task_id)}
    return found


def take(group: Group, lock: Lock, task_id: str, until: int) -> None:
    group.db.execute(_TAKE, (group.key, lock.name, task_id, until))


def message_at(group: Group, row: Row) -> Message | Unreadable:
    """The message of a row that was read without it."""
    ((fields,),) = group.db.execute(_FIELDS, (row.seq,))
    header = (row.attempt, row.crashes, row.redelivered, row.deferrals, row.due)
    return read_message(fields or b"", row.id, header)


def pass_gates(group: Group, row: Row) -> None:
    """Let a task that has become ready again ask for its tokens, and then join the fair line, if it has gates or a
    share."""
    if not row.raw & (GATED | SHARED):
        return
    message = message_at(group, row)
    if isinstance(message, Message):
        is_ready = not message.gates or bool(message.doomed) or group.gates.enter(row.seq, message.gates)
        if is_ready and message.share:
            group.gates.lines.join(row.seq, row.priority_class, message, came_back=True)


def hold_again(group: Group, row: Row) -> bool:
    """Take the lock of a task that is requeued. Returns False if another task holds it."""
    if not row.raw & LOCKED:
        return True
    lock = lock_of(message_at(group, row))
    return lock is None or _take_free(group, lock, row.id, 0)


def hold_adopted(group: Group, message: Message | Unreadable, task_id: str, due: int) -> None:
    """Let a task that was adopted have its lock if that is free."""
    if (lock := lock_of(message)) is not None:
        _take_free(group, lock, task_id, due)


def _take_free(group: Group, lock: Lock, task_id: str, due: int) -> bool:
    if lock.kind is LockKind.WINDOW or (lock.kind is LockKind.DEBOUNCE and due <= group.now):
        return True
    if holders(group, [lock.name]).get(lock.name, task_id) != task_id:
        return False
    take(group, lock, task_id, 0 if lock.kind.lasts else due)
    return True


def give_back_at_start(group: Group, rows: Sequence[Row]) -> bool:
    """Give back those locks of tasks that start which are held until then. Returns whether there are any."""
    started = [row.id for row in rows if is_held_until_start(message_at(group, row))]
    group.unlocked += started
    return bool(started)


def place(
    groups: Sequence[Group], messages: Sequence[Packed], terms: LockTerms, room: float = math.inf
) -> list[Placed]:
    """Look for the id, then for the lock, then store the message in all groups, while there is room for new ones."""
    ids = [message.id for message, _ in messages]
    locks = [lock_of(message) for message, _ in messages]
    names = [lock.name for lock in locks if lock is not None]
    known = set[str]().union(*(group.knows(ids) for group in groups))
    held = [holders(group, names) for group in groups]
    placed: list[Placed] = []
    for one, lock in zip(messages, locks, strict=True):
        done = _place(groups, one, lock, terms, known, held, has_room=room > 0)
        if done is None:
            break
        placed.append(done)
        room -= done.placement is Placement.NEW
    return placed


def _place(  # noqa: PLR0917 - what is known of the batch so far
    groups: Sequence[Group],
    packed: Packed,
    lock: Lock | None,
    terms: LockTerms,
    known: set[str],
    held: Sequence[dict[str, str]],
    *,
    has_room: bool,
) -> Placed | None:
    message, _ = packed
    name = lock.name if lock is not None else ""
    if message.id in known:
        mine = [group for group, locks in zip(groups, held, strict=True) if locks.get(name) == message.id]
        replaced = [_replace(group, message, lock, terms) for group in mine]
        return Placed(Placement.REPLACED if any(replaced) else Placement.KNOWN, message.id)
    if there := [locks[name] for locks in held if name in locks]:
        if terms.keep_first:
            for group, locks in zip(groups, held, strict=True):
                if locks.get(name) == there[0]:
                    _replace(group, evolve(message, id=there[0]), lock, terms)
        return Placed(Placement.HELD, there[0])
    if not has_room:
        return None
    for group, locks in zip(groups, held, strict=True):
        group.add([packed])
        if lock is not None:
            now = group.now + group.started_ms
            until = {LockKind.WINDOW: now + terms.window_ms, LockKind.DEBOUNCE: now + message.delay_ms}
            take(group, lock, message.id, until.get(lock.kind, 0))
            if lock.kind.lasts or until[lock.kind] > group.now:
                locks[name] = message.id
    known.add(message.id)
    return Placed(Placement.NEW, message.id)


def _replace(group: Group, message: Message, lock: Lock | None, terms: LockTerms) -> bool:
    """Move when a debounced task is due, which holds its lock, and give it its message."""
    row = group.rows([message.id]).get(message.id)
    if lock is None or lock.kind is not LockKind.DEBOUNCE or row is None or row.place != DELAYED:
        return False
    old = message_at(group, row)
    first = old.enqueued_ms if isinstance(old, Message) and is_number(old.enqueued_ms) else group.now
    due = terms.due(first, group.now + group.started_ms + message.delay_ms)
    ticket = group.tickets.next()
    if terms.keep_first:
        group.db.execute(_MOVE, (due, ticket, group.now, due, row.seq))
    else:
        fields = fields_of(message, first)
        large = len(fields) > INLINE
        header = (bits_of(message) | row.raw & KEPT, class_of(message.priority), message.expires_ms)
        group.db.execute(_REPLACE, (due, ticket, group.now, due, *header, None if large else fields, row.seq))
        group.db.execute("DELETE FROM body WHERE seq = ?", (row.seq,))
        if large:
            group.db.execute("INSERT INTO body VALUES (?, ?)", (row.seq, fields))
    take(group, lock, message.id, due)
    return True


def sweep(group: Group, most: int) -> None:
    """Forget some of the locks that have ended by time."""
    group.db.execute(
        "DELETE FROM lock WHERE (grp, name) IN "
        "(SELECT grp, name FROM lock WHERE until > 0 AND until <= ? ORDER BY until LIMIT ?)",
        (group.now, most),
    )
