"""The `Inspector` protocol on a SQLite file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from ...batching import adoption_size
from ...errors import ConfigurationError
from ...model.message import ConsumerInfo, Depth, TaskInfo, TaskStatus, check_adoptable
from ...printable import quoted
from . import tending
from .group import Group
from .location import is_there
from .polling import Looked, traces, wait
from .queue import Queue, is_name
from .rows import COLUMNS, LARGEST, LEAN, WHOLE, Row, fits, info_of, is_number, is_text, row_of, within
from .schema import DELAYED, FAILED, FINISHED, HELD, READY
from .steps import in_steps, until_done

T = TypeVar("T")

Order = tuple[float, int]
_ASKED = f"{COLUMNS}, fields FROM task LEFT JOIN body ON body.seq = task.seq WHERE grp = ?"
_SHOWN = f"SELECT {_ASKED}"
_PAGED = _ASKED.replace("task.record,", WHOLE.format("task.record") + ",").replace(
    ", fields FROM", f", {WHOLE.format('fields')}, max(coalesce(length(fields), 0), coalesce(length(record), 0)) FROM"
)
_PLACES: Mapping[TaskStatus | None, Sequence[int]] = {
    None: (READY, HELD, DELAYED, FAILED, FINISHED),
    TaskStatus.PENDING: (READY, DELAYED),
    TaskStatus.RETRY: (READY, DELAYED),
    TaskStatus.STARTED: (HELD,),
    TaskStatus.FAILURE: (FAILED, FINISHED),
    TaskStatus.SUCCESS: (FINISHED, FAILED),
    TaskStatus.CANCELLED: (FINISHED, FAILED),
}
_HELD = f"SELECT {LEAN} FROM task WHERE grp = ? AND place = 2 ORDER BY sort"  # noqa: S608 - our own words
_ORD = (
    f"CASE WHEN typeof(ord) = 'integer' AND ord BETWEEN 0 AND {LARGEST - 1} "
    f"THEN ord ELSE task.seq & {LARGEST // 2 - 1} END"
)
_CURSOR = re.compile(r"(\d{1,18}|\d[\de.+-]{0,30})_(-?\d{1,19})", re.ASCII)


class SQLiteInspector:
    """The `Inspector` protocol."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._store = queue.store
        self._clock = queue.clock

    def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        return self._queue.look(lambda group: _show(group, ids)) if ids else []

    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        return wait(self._queue, partial(self.look_at, task_id, seen), timeout_ms, ends_only=False)

    def look_at(self, task_id: str, seen: TaskInfo | None) -> Looked[TaskInfo | None]:
        """One look of `watch`."""

        def look(group: Group) -> Looked[TaskInfo | None]:
            info = _show(group, [task_id])[0]
            return info, info is None or info.differs(seen), traces(group, [task_id])

        return self._queue.look(look)

    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        # The cursor is the place in the order, and the row, of the last task shown, so that what comes and goes between
        # two pages moves nothing.
        before: Order = (LARGEST, 0)
        if cursor:
            before = _parsed(cursor)

        def look(group: Group) -> tuple[list[TaskInfo], str]:
            pages = [_page(group, place, state, before, count + 1) for place in _PLACES[state]]
            # What lies behind the first task that a place has left out may not be shown before that.
            ends = [found[-1][0] for found, cut in pages if cut]
            rows = [row for found, _ in pages for row in found if not ends or row[0] >= max(ends)]
            rows.sort(key=lambda row: row[0], reverse=True)
            page = rows[:count]
            more = bool(page) and (len(rows) > len(page) or bool(ends))
            return [info_of(row, group.now) for _, row in page], "{}_{}".format(*page[-1][0]) if more else ""

        return self._queue.look(look)

    def consumers(self) -> Sequence[ConsumerInfo]:
        def look(group: Group) -> list[ConsumerInfo]:
            rows = group.db.execute("SELECT name, seen FROM consumer WHERE grp = ?", (group.key,))
            seen: dict[str, int] = {name: at for name, at in rows if is_text(name) and is_number(at)}
            held: dict[str, list[str]] = {}
            for row in map(row_of, group.db.execute(_HELD, (group.key,))):
                held.setdefault(row.consumer, []).append(row.id)
                seen[row.consumer] = max(row.updated, seen.get(row.consumer, 0))
            return [ConsumerInfo(name, group.now - at, tuple(held.get(name, ()))) for name, at in seen.items()]

        return self._queue.look(look)

    def depth(self) -> Depth:
        def look(group: Group) -> Depth:
            count: dict[int, int] = dict(
                group.db.execute("SELECT place, count(*) FROM task WHERE grp = ? GROUP BY place", (group.key,))
            )
            first = group.db.execute(
                "SELECT updated FROM task WHERE grp = ? AND place = ? ORDER BY sort LIMIT 1", (group.key, READY)
            )
            return Depth(
                ready=count.get(READY, 0),
                in_flight=count.get(HELD, 0),
                delayed=count.get(DELAYED, 0),
                failed=count.get(FAILED, 0),
                history=count.get(FINISHED, 0),
                oldest_ms=group.now - first[0][0] if first and is_number(first[0][0]) else 0,
            )

        return self._queue.look(look)

    def groups(self) -> Sequence[str]:
        # Whoever looks for a queue shall not make one.
        if not is_there(self._store.location.path):
            return []
        return self._queue.look_around(lambda groups: sorted(groups.registered))

    def remove_group(self, group: str) -> None:
        self._queue.change(lambda groups: groups.remove(group))
        until_done(lambda size: self._queue.change(lambda groups: groups.clear(size)))

    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        return in_steps(ids, lambda batch: self._queue.tended(lambda group: tending.requeue(group, batch)))

    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        def step(batch: Sequence[str]) -> Sequence[bool]:
            return self._queue.tended(lambda group: self._capped(group, tending.cancel(group, batch, force=force)))

        return in_steps(ids, step)

    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        return in_steps(ids, lambda batch: self._queue.tended(lambda group: tending.delete(group, batch)))

    def _capped(self, group: Group, answer: T) -> T:
        """Keep the history within its limit after what was done."""
        group.trim(self._queue.options.history)
        return answer

    def adopt(self, tasks: Sequence[TaskInfo]) -> Sequence[bool]:
        def step(batch: Sequence[TaskInfo]) -> Sequence[bool]:
            return self._queue.joined_around(lambda _, group: tending.adopt(group, batch), takes_in=True)

        check_adoptable(tasks)
        return in_steps(tasks, step, adoption_size)

    def queues(self, limit: int) -> tuple[Sequence[str], bool]:
        """The names of at most `limit` queues in the file, and whether these are all."""
        if not is_there(self._store.location.path):
            return [], True
        sql = "SELECT DISTINCT queue FROM consumer_group WHERE registered = 1 ORDER BY queue LIMIT ?"
        found = self._store.read(lambda db: [row[0] for row in db.execute(sql, (limit + 1,)) if is_name(row[0])])
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
    """Raises `ConfigurationError` for one that no page has answered."""
    with suppress(ValueError):
        if (found := _CURSOR.fullmatch(cursor)) and fits(seq := int(found[2])):
            return (int(found[1]) if found[1].isdecimal() else float(found[1])), seq
    raise ConfigurationError(f"{quoted(cursor)} is not a cursor that `tasks` has answered")


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)  # noqa: PTH202 - as everywhere here, a str
    except OSError:
        return 0


def _show(group: Group, ids: Sequence[str]) -> list[TaskInfo | None]:
    infos = [info_of(row, group.now) for row in group.find(_SHOWN, ids)]
    found = {info.id: info for info in infos if info.message is not None or info.record is not None}
    return [found.get(task_id) for task_id in ids]


def _page(
    group: Group, place: int, state: TaskStatus | None, before: Order, count: int
) -> tuple[list[tuple[Order, Row]], bool]:
    """The newest tasks of a place, and of a state, whose order is below `before`, each with its order; and
    whether some were left out, as they do not fit into memory together."""
    # Where `sort` is the order, the index has it; what is held or delayed has to be sorted.
    order = _ORD if place in (HELD, DELAYED) else "sort"
    wanted = {
        TaskStatus.PENDING: "AND (attempt = 1 OR raw)",
        TaskStatus.RETRY: "AND attempt > 1 AND NOT raw",
        TaskStatus.FAILURE: "AND ended = 4",
        TaskStatus.SUCCESS: "AND ended = 5",
        TaskStatus.CANCELLED: "AND ended = 6",
    }.get(state, "") if state is not None else ""  # fmt: skip
    sql = (
        f"SELECT {order}, {_PAGED} AND place = ? AND {order} BETWEEN 0 AND ? "
        f"AND ({order} < ? OR task.seq < ?) {wanted} ORDER BY {order} DESC, task.seq DESC LIMIT ?"
    )
    rows = group.db.execute(sql, (group.key, place, before[0], *before, count))
    read = within(
        rows, lambda row: (row[0], *group.db.execute(f"{_SHOWN} AND task.seq = ?", (group.key, row[1]))[0], 0)
    )
    found = [((row[0], row[1]), row_of(row[1:-1])) for row in read]
    return found, len(read) < len(rows)
