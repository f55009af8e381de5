"""The `Inspector` protocol on a SQLite file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ...batching import adoption_size
from ...errors import ConfigurationError
from ...model.message import ConsumerInfo, Depth, Message, TaskInfo, TaskStatus, check_adoptable, evolve
from ...model.places import Place, PlacePage
from ...model.transitions import requests
from ...printable import quoted
from . import resuming, upkeep
from .expiring import drop_expiry
from .flowing import Flows
from .group import Group, minimal
from .location import is_there
from .locking import hold_adopted, hold_again, pass_gates
from .places import Lookup, page
from .polling import traces
from .queue import Queue, is_name
from .rows import (
    COLUMNS,
    FIELDS,
    FIELDS_SIZE,
    LARGEST,
    LEAN,
    SMALL_FIELDS,
    WHOLE,
    Row,
    fields_of,
    fits,
    info_of,
    is_number,
    is_text,
    row_of,
    within,
    write_field,
)
from .schema import (
    AT,
    BLOCKED,
    DELAYED,
    DEPENDENT,
    FAILED,
    FAIR,
    FLOW,
    HISTORY,
    IN_FLIGHT,
    NEW,
    NEW_TASKS,
    RAW,
    READY,
    SUSPENDED,
    UNENDED,
    WAITING,
)
from .steps import in_steps, until_done
from .watch import Looked, wait

if TYPE_CHECKING:
    from ...model.failed import Dropped, FailedLimits

Order = tuple[float, int]
_ASKED = f"{COLUMNS}, {{}} FROM task WHERE grp = ?"
_SHOWN = f"SELECT {_ASKED.format(FIELDS)}"
_PAGED = _ASKED.replace("task.record,", WHOLE.format("task.record") + ",").format(
    f"{SMALL_FIELDS}, max(coalesce({FIELDS_SIZE}, 0), coalesce(length(record), 0))"
)
_PAGED_AT = f"{_PAGED} AND place <> 1 AND place = ?"
_PAGED_NEW = f"{_PAGED.replace('FROM task', 'FROM task NOT INDEXED')} AND place = {NEW} AND task.seq >= ?"
_PLACES: Mapping[TaskStatus | None, Sequence[int]] = {
    None: (*UNENDED, FAILED, HISTORY),
    TaskStatus.PENDING: WAITING,
    TaskStatus.RETRY: WAITING,
    TaskStatus.STARTED: (IN_FLIGHT,),
    TaskStatus.FAILURE: (FAILED, HISTORY),
    TaskStatus.SUCCESS: (HISTORY, FAILED),
    TaskStatus.CANCELLED: (HISTORY, FAILED),
}
_IN_FLIGHT = f"SELECT {LEAN} FROM task WHERE {AT.format(IN_FLIGHT)} ORDER BY sort"  # noqa: S608 - our own words
_ORD = (
    f"CASE WHEN typeof(ord) = 'integer' AND ord BETWEEN 0 AND {LARGEST - 1} "
    f"THEN ord ELSE task.seq & {LARGEST // 2 - 1} END"
)
_COUNTS = "SELECT place, count(*) FROM task WHERE grp = ? AND place <> 1 GROUP BY place"
"""Of all places but NEW; the new tasks are the rest."""
_DUE = f"SELECT count(*) FROM task WHERE {AT.format(DELAYED)} AND sort <= ?"  # noqa: S608 - our own words
_FIRST_READY = f"SELECT updated FROM task WHERE {AT.format('?')} ORDER BY sort LIMIT 1"  # noqa: S608 - our own words
_FIRST_NEW = f"SELECT updated FROM {NEW_TASKS} ORDER BY seq LIMIT 1"  # noqa: S608
_CURSOR = re.compile(r"(\d{1,18}|\d[\de.+-]{0,30})_(-?\d{1,19})", re.ASCII)


class SQLiteInspector:
    """The `Inspector` protocol."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._store = queue.store

    def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        if not ids:
            return []
        with self._queue.read() as groups:
            return _show(groups.mine, ids)

    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        return wait(self._queue, partial(self.look, task_id, seen), timeout_ms, ends_only=False)

    def look(self, task_id: str, seen: TaskInfo | None) -> Looked[TaskInfo | None]:
        """One look of `watch`."""
        with self._queue.read() as groups:
            group = groups.mine
            info = _show(group, [task_id])[0]
            return info, info is None or info.differs(seen), traces(group, [task_id])

    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        # The cursor is the place in the order, and the row, of the last task shown, so that what comes and goes between
        # two pages moves nothing.
        before: Order = _parsed(cursor) if cursor else (LARGEST, 0)
        with self._queue.read() as groups:
            group = groups.mine
            pages = [_page(group, place, state, before, count + 1) for place in _PLACES[state]]
            # What lies behind the first task that a place has left out may not be shown before that.
            ends = [found[-1][0] for found, cut in pages if cut]
            rows = [row for found, _ in pages for row in found if not ends or row[0] >= max(ends)]
            rows.sort(key=lambda row: row[0], reverse=True)
            page = rows[:count]
            more = bool(page) and (len(rows) > len(page) or bool(ends))
            return [_info(group, row) for _, row in page], "{}_{}".format(*page[-1][0]) if more else ""

    def page(self, place: Place, cursor: str, count: int, peek: int) -> PlacePage:
        with self._queue.read() as groups:
            return page(groups.mine, _LOOKUP, place, cursor, count=count, peek=peek)

    def consumers(self) -> Sequence[ConsumerInfo]:
        with self._queue.read() as groups:
            group = groups.mine
            rows = group.db.execute("SELECT name, seen FROM consumer WHERE grp = ?", (group.key,))
            seen: dict[str, int] = {name: at for name, at in rows if is_text(name) and is_number(at)}
            holds: dict[str, list[str]] = {}
            for row in map(row_of, group.db.execute(_IN_FLIGHT, (group.key,))):
                holds.setdefault(row.consumer, []).append(row.id)
                seen[row.consumer] = max(row.updated, seen.get(row.consumer, 0))
            return [ConsumerInfo(name, group.now - at, tuple(holds.get(name, ()))) for name, at in seen.items()]

    def depth(self) -> Depth:
        with self._queue.read() as groups:
            group = groups.mine
            count: dict[int, int] = dict(group.db.execute(_COUNTS, (group.key,)))
            new = group.db.execute("SELECT count(*) FROM task WHERE grp = ?", (group.key,))[0][0] - sum(count.values())
            indexed = [place for place in READY if place in count]
            since = [row for place in indexed for row in group.db.execute(_FIRST_READY, (group.key, place))]
            due = group.db.execute(_DUE, (group.key, group.now))[0][0] if DELAYED in count else 0
            if new:
                since += group.db.execute(_FIRST_NEW, (group.next, group.key))
            return Depth(
                ready=new + sum(count.get(place, 0) for place in READY),
                in_flight=count.get(IN_FLIGHT, 0),
                delayed=count.get(DELAYED, 0),
                failed=count.get(FAILED, 0),
                history=count.get(HISTORY, 0),
                blocked=count.get(BLOCKED, 0),
                dependent=count.get(DEPENDENT, 0),
                due=due,
                oldest_ms=max((group.now - at for (at,) in since if is_number(at)), default=0),
            )

    def groups(self) -> Sequence[str]:
        if not is_there(self._store.location.path):
            return []  # looking for a queue must not make a file
        with self._queue.read() as groups:
            return sorted(groups.registered)

    def remove_group(self, group: str) -> None:
        with self._queue.write() as groups:
            groups.remove(group)
        until_done(self._queue.clear)

    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        return self._in_steps(ids, _requeue)

    def rejoin(self, ids: Sequence[str]) -> Sequence[bool]:
        return self._in_steps(ids, partial(_requeue, rejoins=True))

    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        return self._in_steps(ids, partial(_cancel, force=force, history=self._queue.options.history))

    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        return self._in_steps(ids, _delete)

    def drop_failed(self, limits: FailedLimits, count: int) -> Sequence[Dropped]:
        from .dropping import drop_failed  # noqa: PLC0415 - few queues have limits for failed tasks

        return drop_failed(self._queue, limits, count)

    def _in_steps(self, ids: Sequence[str], change: Callable[[Group, Sequence[str]], list[bool]]) -> list[bool]:
        """Change tasks of the group. A group that does not exist has none."""
        changed: list[bool] = []
        for batch in in_steps(ids):
            with self._queue.write() as groups:
                changed += change(groups.mine, batch)
        return changed

    def adopt(self, tasks: Sequence[TaskInfo]) -> Sequence[bool]:
        check_adoptable(tasks)
        adopted: list[bool] = []
        for batch in in_steps(tasks, adoption_size):
            with self._queue.write(join=True, takes_in=True) as groups:
                adopted += _adopt(groups.mine, batch)
        return adopted

    def queues(self, limit: int) -> tuple[Sequence[str], bool]:
        """The names of at most `limit` queues in the file, and whether these are all."""
        if not is_there(self._store.location.path):
            return [], True
        sql = "SELECT DISTINCT queue FROM consumer_group WHERE registered = 1 ORDER BY queue LIMIT ?"
        with self._store.read() as db:
            found = [row[0] for row in db.execute(sql, (limit + 1,)) if is_name(row[0])]
        return found[:limit], len(found) <= limit

    def about(self) -> Mapping[str, str]:
        """What an operator wants to know about the file, in the order in which to print it.

        Opens the file; raises what that raises.
        """
        opened = self._store.about()
        path, durability = self._store.location.path, self._store.location.durability
        rollback = "rollback: in a new file, made with pyxqueue[sqlite], a step takes half the time"
        survives = "a power cut too" if durability == "full" else "the death of every process"
        return {
            "file": path,
            "engine": self._store.opener.driver.shown,
            "journal": "WAL" if opened.wal else rollback,
            "durability": f"{durability}: what was accepted survives {survives}",
            "size": f"{_size(path):,} bytes",
            "journal size": f"{_size(f'{path}-wal' if opened.wal else f'{path}-journal'):,} bytes",
        }


def _parsed(cursor: str) -> Order:
    """Raises `ConfigurationError` for one that `tasks` has not returned."""
    with suppress(ValueError):
        if (found := _CURSOR.fullmatch(cursor)) and fits(seq := int(found[2])):
            return (int(found[1]) if found[1].isdecimal() else float(found[1])), seq
    raise ConfigurationError(f"{quoted(cursor)} is not a cursor that `tasks` has returned")


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)  # noqa: PTH202 - as everywhere here, a str
    except OSError:
        return 0


def _info(group: Group, row: Row) -> TaskInfo:
    info = info_of(row, group.now)
    if resuming.is_suspended(row):
        info = evolve(info, suspended=True, event=resuming.awaited(group, row))
    if row.place == DEPENDENT:
        return evolve(info, waits_for=Flows(group).waits_for(row))
    return evolve(info, gate=group.gates.gate_at(row.seq)) if row.place == BLOCKED else info


def _with_number(group: Group, row: Row) -> TaskInfo:
    info = _info(group, row)
    return (
        evolve(info, line=group.gates.lines.number(row.place, row.sort, row.seq))
        if row.place in FAIR.values()
        else info
    )


def _whole(group: Group, seq: int) -> Sequence[Any]:
    return group.db.execute(f"{_SHOWN} AND task.seq = ?", (group.key, seq))[0]


_LOOKUP = Lookup(_PAGED_AT, _PAGED_NEW, _whole, _with_number)


def _show(group: Group, ids: Sequence[str]) -> list[TaskInfo | None]:
    infos = [_with_number(group, row) for row in group.find(_SHOWN, ids)]
    found = {info.id: info for info in infos if info.message is not None or info.record is not None}
    return [found.get(task_id) for task_id in ids]


def _page(
    group: Group, place: int, state: TaskStatus | None, before: Order, count: int
) -> tuple[list[tuple[Order, Row]], bool]:
    """The newest tasks of a place, and of a state, whose order is below `before`, each with its order; and
    whether some were left out, as they do not fit into memory together."""
    # Where `sort` is the order, the index has it; what is in flight, delayed or in a fair line has to be sorted.
    order = {NEW: "task.seq", IN_FLIGHT: _ORD, DELAYED: _ORD, **dict.fromkeys(FAIR.values(), _ORD)}.get(place, "sort")
    paged, at = (_PAGED_NEW, group.next) if place == NEW else (_PAGED_AT, place)
    wanted = {
        TaskStatus.PENDING: f"AND (attempt = 1 OR raw & {RAW})",
        TaskStatus.RETRY: f"AND attempt > 1 AND NOT raw & {RAW}",
        TaskStatus.FAILURE: "AND ended = 4",
        TaskStatus.SUCCESS: "AND ended = 5",
        TaskStatus.CANCELLED: "AND ended = 6",
    }.get(state, "") if state is not None else ""  # fmt: skip
    sql = (
        f"SELECT {order}, {paged} AND {order} BETWEEN 0 AND ? "
        f"AND ({order} < ? OR task.seq < ?) {wanted} ORDER BY {order} DESC, task.seq DESC LIMIT ?"
    )
    rows = group.db.execute(sql, (group.key, at, before[0], *before, count))
    read = within(rows, lambda row: (row[0], *_whole(group, row[1]), 0))
    found = [((row[0], row[1]), row_of(row[1:-1])) for row in read]
    return found, len(read) < len(rows)


def _requeue(group: Group, ids: Sequence[str], *, rejoins: bool = False) -> list[bool]:
    """I2: make ended tasks ready again as attempt 1, with the same bytes. `rejoins`: failed ones, which wait for their
    predecessors (L10)."""
    rows, changed, places = group.rows(ids), [], (FAILED,) if rejoins else (FAILED, HISTORY)
    for task_id in ids:
        row = rows.pop(task_id, None)
        again = row is not None and row.place in places and not (rejoins and not Flows(group).may_rejoin(row))
        again = again and row is not None and hold_again(group, row)
        changed.append(again)
        if row is not None and again:
            ticket = group.tickets.next()
            group.history_size -= row.place == HISTORY
            group.db.execute(
                "UPDATE task SET place = ?, sort = ?, ord = ?, updated = ?, attempt = 1, crashes = 0, redelivered = 0, "
                "deferrals = 0, due = 0, consumer = '', cancelled = 0, progress = NULL, ended = 0, reason = '', "
                "known_until = 0, record = NULL, record_end = 0, raw = raw & ~? WHERE seq = ?",
                (row.came_back, ticket, ticket, group.now, SUSPENDED, row.seq),
            )
            write_field(group.db, row.seq, b"past", None)
            if row.expires:
                drop_expiry(group, row.seq)
            if row.raw & FLOW:
                Flows(group).run_again(row)
            if not (rejoins and Flows(group).wait_again(row)):
                pass_gates(group, row)
    return changed


def _cancel(group: Group, ids: Sequence[str], *, force: bool, history: int) -> list[bool]:
    """I3: a waiting task ends now; for one in flight, note the request, which `extend` returns to its holder."""
    rows, changed = group.rows(ids), list[bool]()
    ended: set[str] = set()
    for task_id in ids:
        row = rows.get(task_id)
        changed.append(row is not None and row.place in UNENDED and task_id not in ended)
        if row is None or not changed[-1]:
            continue
        if row.place == IN_FLIGHT:
            rows[task_id] = row._replace(cancelled=requests(row.cancelled, force))
            group.db.execute("UPDATE task SET cancelled = ? WHERE seq = ?", (rows[task_id].cancelled, row.seq))
        else:
            group.end(row, HISTORY, minimal(row._replace(consumer=""), TaskStatus.CANCELLED))
            ended.add(task_id)
    group.flush()
    upkeep.trim(group, history)
    return changed


def _delete(group: Group, ids: Sequence[str]) -> list[bool]:
    """I5: delete tasks without a trace, unless they are in flight."""
    rows = {task_id: row for task_id, row in group.rows(ids).items() if row.place != IN_FLIGHT}
    group.remove(list(rows.values()))
    return [rows.pop(task_id, None) is not None for task_id in ids]


def _adopt(group: Group, tasks: Sequence[TaskInfo]) -> list[bool]:
    """I7: add tasks of another store, in the same place."""
    known, changed = group.knows([task.id for task in tasks]), []
    for task in tasks:
        changed.append(task.id not in known)
        if changed[-1]:
            known.add(task.id)
            _take_in(group, task)
    group.flush()
    return changed


def _take_in(group: Group, task: TaskInfo) -> None:
    message, failed = task.message, task.status is TaskStatus.FAILURE
    assert message is not None  # or it is not adoptable
    due = message.due_ms if isinstance(message, Message) and not failed else 0
    due = due if due > group.now else 0
    group.insert([(message, task.id, due, fields_of(message, 0 if failed else group.now))])
    if not failed:
        hold_adopted(group, message, task.id, due)
    if failed:
        row = group.rows([task.id])[task.id]
        record = task.record or minimal(row, TaskStatus.FAILURE, task.reason)
        group.end(row, FAILED, record, task.reason)
