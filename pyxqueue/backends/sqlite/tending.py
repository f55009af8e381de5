"""What is done to a group besides queueing: records that are forgotten, and administration.

Functions on a `Group`, in its transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Never

from ...model.message import Message, TaskInfo, TaskStatus
from ...model.transitions import requests
from .group import Group, minimal
from .rows import fields_of
from .schema import FAILED, FINISHED, HELD, PAST, READY

_FORGET = "UPDATE task SET record = NULL, record_end = 0, sort = ? WHERE seq = ?"


def forget(group: Group, ids: Sequence[str]) -> Sequence[Never]:
    """R4: the records go; the tasks, and the knowledge of their ids, stay."""
    for row in group.rows(ids).values():
        sort = row.known_until if row.place == PAST else row.sort
        group.db.execute(_FORGET, (sort, row.seq))
    group.sweep()
    return ()


def requeue(group: Group, ids: Sequence[str]) -> list[bool]:
    """I2: the same message from the start; only what had happened to it is wiped."""
    rows, answers = group.rows(ids), []
    for task_id in ids:
        row = rows.pop(task_id, None)
        again = row is not None and row.place in (FAILED, FINISHED)
        answers.append(again)
        if row is not None and again:
            ticket = group.tickets.next()
            group.finished -= row.place == FINISHED
            group.db.execute(
                "UPDATE task SET place = ?, sort = ?, ord = ?, updated = ?, attempt = 1, crashes = 0, redelivered = 0, "
                "deferrals = 0, due = 0, consumer = '', cancelled = 0, progress = NULL, ended = 0, reason = '', "
                "known_until = 0, record = NULL, record_end = 0 WHERE seq = ?",
                (READY, ticket, ticket, group.now, row.seq),
            )
    return answers


def cancel(group: Group, ids: Sequence[str], *, force: bool) -> list[bool]:
    """I3: a waiting task ends here and now, the holder of a held one is told when it extends."""
    rows, answers = group.rows(ids), []
    ended: set[str] = set()
    for task_id in ids:
        row = rows.get(task_id)
        answers.append(row is not None and row.place < FAILED and task_id not in ended)
        if row is None or not answers[-1]:
            continue
        if row.place == HELD:
            rows[task_id] = row._replace(cancelled=requests(row.cancelled, force))
            group.db.execute("UPDATE task SET cancelled = ? WHERE seq = ?", (rows[task_id].cancelled, row.seq))
        else:
            group.end(row, FINISHED, minimal(row, TaskStatus.CANCELLED))
            ended.add(task_id)
    group.flush()
    return answers


def delete(group: Group, ids: Sequence[str]) -> list[bool]:
    """I5: as if they had never been, unless someone is working on them."""
    rows = {task_id: row for task_id, row in group.rows(ids).items() if row.place != HELD}
    group.remove(list(rows.values()))
    return [rows.pop(task_id, None) is not None for task_id in ids]


def adopt(group: Group, tasks: Sequence[TaskInfo]) -> list[bool]:
    """I7: take in what another store showed, as it stood there."""
    known, answers = group.knows([task.id for task in tasks]), []
    for task in tasks:
        answers.append(task.id not in known)
        if answers[-1]:
            known.add(task.id)
            _take_in(group, task)
    group.flush()
    return answers


def _take_in(group: Group, task: TaskInfo) -> None:
    message, failed = task.message, task.status is TaskStatus.FAILURE
    assert message is not None  # or it is not adoptable
    due = message.due_ms if isinstance(message, Message) and not failed else 0
    due = due if due > group.now else 0
    group.insert([(message, task.id, due, fields_of(message, 0 if failed else group.now))])
    if failed:
        row = group.rows([task.id])[task.id]
        record = task.record or minimal(row, TaskStatus.FAILURE, task.reason)
        group.end(row, FAILED, record, task.reason)
