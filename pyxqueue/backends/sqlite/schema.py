"""The tables, and how an older file is brought forward.

`task` has one row for each task in each group, with its message in `fields`; a message of more than `INLINE` bytes is
in `body` instead, because each change rewrites the whole row.

The line of new tasks is the table itself, in the order of the rows' numbers, from `next` of the group on: no new task
has a smaller number. All other tasks are in the index `task_place`. It serves for the line of those that came back,
the leases, the delayed, the failed, the history and what is to be forgotten, because the meaning of `sort` depends on
the place: the order for what is ready, failed or in the history, else the ms at which something is to happen. It also
serves for the lines of each priority class other than 0, which are places of their own: `priority_class` says to
which of them a task comes back.

`schedule` has the schedules of the queues; `next` is NULL for one that is never due.

`lock` has the locks that are held, each with the id of its holder and the ms at which it ends by time, or 0.

`gate_limit` has the numbers of limits: what was set, what the code declares, and whether there may be room because of
it. `gate` has how many tokens of a gate are out. `gated` has the tasks with tokens, and those that wait in a line;
`began` is the fencing token of the delivery for which a start was counted. The number of a rate is text. `rate` has
what a gate of a rate has spent, in µs, the ms at which that does not matter any more, and the ms at which the gate is
to be looked at, because tasks wait there; 0 if none do.

`fair` has the tasks that stand in a fair line, each with its flow. `flow` has the last tag of each flow, and how many
tasks of it wait; a row with an empty tenant and the kind 2 is about the line of a class: the last tag that was drawn.

`dependent` has the tasks that wait or have waited for others of their flow: how many of these have not ended, how many
were not stored yet, the ms until which they must be, or 0 if the task does not wait any more, and how many have ended
so that it must not run. The row is kept until the task ends, or as long as it is with the failed tasks.

`statistic` has the slots of the statistics of a group (`pyxqueue.model.statistics`), `sender` the number of the last
batch of each sender. `supervisor` has what each supervisor has announced last (`pyxqueue.model.presence`), and its last
order.

Each number of a row, order and fencing token is larger than all before. `counter` has the last one, or a smaller one
while the largest row has a larger number: new tasks do not write it, but their deletion does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from ...errors import StoreFileError
from ...printable import quoted
from .driver import Connection, DriverError

APPLICATION_ID = 0x70797871
"""``pyxq``, at offset 68 of the file."""
VERSION = 15
"""The layout: the tables, and the format of what they hold."""

NEW, IN_FLIGHT, DELAYED, FAILED, HISTORY, REMEMBERED, CAME_BACK, BLOCKED, DEPENDENT = range(1, 10)
"""Places. BLOCKED is a task that waits for a limit, DEPENDENT one that waits for others of its flow. REMEMBERED is a
task whose message is gone, and whose id or record is still known."""
LINES: Mapping[int, tuple[int, int]] = {2: (20, 21), 1: (22, 23), 0: (CAME_BACK, NEW), -1: (24, 25), -2: (26, 27)}
"""The places of ready tasks by their priority class: of those that came back, and of new ones (B2)."""
FAIR: Mapping[int, int] = {2: 28, 1: 29, 0: 30, -1: 31, -2: 32}
"""The places of tasks in a fair line by their priority class; their `sort` is the tag."""
READY = (*(place for line in LINES.values() for place in line), *FAIR.values())
CLASS = {place: number for number, line in LINES.items() for place in (*line, FAIR[number])}
"""The priority class of each place of ready tasks."""
PRIORITIZED = "task WHERE grp = ? AND place <> 1 AND place BETWEEN 20 AND 32"
"""SQL for the ready tasks of a group in a class other than 0, or in a fair line."""
NEW_TASKS = f"task NOT INDEXED WHERE seq >= ? AND grp = ? AND place = {NEW}"
"""SQL for the new tasks of a group, from its `next` on."""
AT = "grp = ? AND place <> 1 AND place = {}"
"""SQL for the tasks of a group in a place other than NEW. The index is used only where the query has its condition."""
WAITING = (*READY, DELAYED, BLOCKED, DEPENDENT)
UNENDED = (*WAITING, IN_FLIGHT)
_EXPIRING = "expires > 0 AND place IN ({})"
EXPIRING = _EXPIRING.format(", ".join(map(str, WAITING)))
"""SQL for the tasks that wait and expire (L8), as the index `task_expires` has it."""
EXPIRES = f"task INDEXED BY task_expires WHERE grp = ? AND {EXPIRING}"
"""The same, in a group."""

RAW, GATED, FLOW, LOCKED, SHARED, KEPT, SUSPENDED = 1, 2, 4, 16, 32, 256, 512
"""The bits of a task's `raw`: it is not a message; it has gates; it is part of a flow; it has a lock that it gives back
when it ends; it has a share; it has rows in `step`; it waits because it was suspended."""
PAUSED, ASKS_ALL = 1, 2
"""The bits of a group's `paused`: it is paused; a task name is, so that each delivery has `must_begin` (L9)."""
PAUSES_END = 4
"""Above all of them."""
INLINE = 2_000
"""The most bytes of a message that are kept in its row: two rows fit into a page of 4 KiB."""

PRIORITY_CLASS = "priority_class INTEGER NOT NULL DEFAULT 0"
BEGAN = "began INTEGER NOT NULL DEFAULT 0"
BAD = "bad INTEGER NOT NULL DEFAULT 0"
TABLES = (
    """CREATE TABLE counter (ticket INTEGER NOT NULL)""",
    """INSERT INTO counter VALUES (0)""",
    """CREATE TABLE consumer_group (
        key INTEGER PRIMARY KEY, queue TEXT NOT NULL, name TEXT NOT NULL, lease INTEGER NOT NULL,
        registered INTEGER NOT NULL, finished INTEGER NOT NULL, next INTEGER NOT NULL,
        paused INTEGER NOT NULL DEFAULT 0, UNIQUE (queue, name))""",
    """CREATE TABLE consumer (
        grp INTEGER NOT NULL, name TEXT NOT NULL, seen INTEGER NOT NULL, PRIMARY KEY (grp, name)) WITHOUT ROWID""",
    f"""CREATE TABLE task (
        seq INTEGER PRIMARY KEY, grp INTEGER NOT NULL, id TEXT NOT NULL, place INTEGER NOT NULL, sort INTEGER NOT NULL,
        ord INTEGER NOT NULL, updated INTEGER NOT NULL, raw INTEGER NOT NULL DEFAULT 0,
        attempt INTEGER NOT NULL DEFAULT 1, crashes INTEGER NOT NULL DEFAULT 0, redelivered INTEGER NOT NULL DEFAULT 0,
        deferrals INTEGER NOT NULL DEFAULT 0, due INTEGER NOT NULL DEFAULT 0, consumer TEXT NOT NULL DEFAULT '',
        fence INTEGER NOT NULL DEFAULT 0, cancelled INTEGER NOT NULL DEFAULT 0, progress BLOB,
        ended INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '', known_until INTEGER NOT NULL DEFAULT 0,
        record BLOB, record_end INTEGER NOT NULL DEFAULT 0, record_fence INTEGER NOT NULL DEFAULT 0, fields BLOB,
        {PRIORITY_CLASS}, expires INTEGER NOT NULL DEFAULT 0)""",
    """CREATE UNIQUE INDEX task_id ON task (grp, id)""",
    """CREATE INDEX task_place ON task (grp, place, sort) WHERE place <> 1""",
    f"""CREATE INDEX task_expires ON task (grp, expires) WHERE {EXPIRING}""",
    """CREATE TABLE body (seq INTEGER PRIMARY KEY, fields BLOB NOT NULL)""",
    """CREATE TABLE schedule (
        queue TEXT NOT NULL, id TEXT NOT NULL, mark TEXT NOT NULL, next INTEGER, fields BLOB NOT NULL,
        PRIMARY KEY (queue, id)) WITHOUT ROWID""",
    """CREATE INDEX schedule_next ON schedule (queue, next) WHERE next IS NOT NULL""",
    """CREATE TABLE lock (
        grp INTEGER NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (grp, name))
        WITHOUT ROWID""",
    """CREATE INDEX lock_id ON lock (grp, id)""",
    """CREATE INDEX lock_until ON lock (until) WHERE until > 0""",
    """CREATE TABLE gate_limit (
        grp INTEGER NOT NULL, name TEXT NOT NULL, number INTEGER, declared INTEGER, raised INTEGER NOT NULL,
        PRIMARY KEY (grp, name)) WITHOUT ROWID""",
    """CREATE TABLE gate (
        grp INTEGER NOT NULL, name TEXT NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (grp, name)) WITHOUT ROWID""",
    f"""CREATE TABLE gated (
        seq INTEGER PRIMARY KEY, grp INTEGER NOT NULL, gates TEXT NOT NULL, gate TEXT NOT NULL,
        arrival INTEGER NOT NULL, {BEGAN})""",
    """CREATE INDEX gated_line ON gated (grp, gate, arrival) WHERE gate <> ''""",
    """CREATE TABLE rate (
        grp INTEGER NOT NULL, name TEXT NOT NULL, admitted INTEGER NOT NULL, started INTEGER NOT NULL,
        until INTEGER NOT NULL, opens INTEGER NOT NULL, PRIMARY KEY (grp, name)) WITHOUT ROWID""",
    """CREATE INDEX rate_opens ON rate (grp, opens) WHERE opens > 0""",
    """CREATE INDEX rate_until ON rate (until)""",
    """CREATE TABLE flow (
        grp INTEGER NOT NULL, class INTEGER NOT NULL, tenant TEXT NOT NULL, kind INTEGER NOT NULL,
        tag INTEGER NOT NULL, waiting INTEGER NOT NULL, PRIMARY KEY (grp, class, tenant, kind)) WITHOUT ROWID""",
    """CREATE TABLE fair (
        seq INTEGER PRIMARY KEY, grp INTEGER NOT NULL, class INTEGER NOT NULL, tenant TEXT NOT NULL,
        kind INTEGER NOT NULL)""",
    f"""CREATE TABLE dependent (
        seq INTEGER PRIMARY KEY, grp INTEGER NOT NULL, flow TEXT NOT NULL, need INTEGER NOT NULL,
        absent INTEGER NOT NULL, complete_by INTEGER NOT NULL, {BAD})""",
    """CREATE INDEX dependent_unfinished ON dependent (grp, complete_by) WHERE absent > 0""",
    """CREATE TABLE parent (seq INTEGER PRIMARY KEY, flow TEXT NOT NULL, need INTEGER NOT NULL)""",
    """CREATE TABLE step (
        seq INTEGER NOT NULL, kind INTEGER NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (seq, kind, name)) WITHOUT ROWID""",
    """CREATE TABLE statistic (
        grp INTEGER NOT NULL, slot TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (grp, slot)) WITHOUT ROWID""",
    """CREATE TABLE sender (
        grp INTEGER NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (grp, name)) WITHOUT ROWID""",
    """CREATE TABLE supervisor (
        grp INTEGER NOT NULL, name TEXT NOT NULL, seen INTEGER NOT NULL, keep INTEGER NOT NULL, text TEXT NOT NULL,
        ordered TEXT NOT NULL, PRIMARY KEY (grp, name)) WITHOUT ROWID""",
)

_CREATES = re.compile(r"CREATE (?:UNIQUE )?(?:TABLE|INDEX) (\w+)")
_MADE = {
    found[1]: words
    for words in (" ".join(one.split()) for one in TABLES)
    if (found := _CREATES.match(words)) is not None
}
_TABLES = (
    "counter", "consumer_group", "consumer", "task", "body", "schedule", "lock", "gate_limit", "gate", "gated", "rate",
    "flow", "fair", "dependent", "parent", "step", "statistic", "sender",
    "supervisor",
)  # fmt: skip

Step = str | Callable[[Connection], None]
Steps = Mapping[int, Sequence[Step]]
"""From a version, the statements and functions that lead to the next."""


def _rename_in_records(connection: Connection) -> None:
    """Records say ``ended`` and ``fence`` where version 1 said ``finished`` and ``rank``."""
    names = {b"finished": b"ended", b"rank": b"fence"}
    for seq, record in connection.execute("SELECT seq, record FROM task WHERE record IS NOT NULL"):
        with suppress(msgspec.MsgspecError, TypeError):  # a damaged record stays as it is, and is shown as such
            flat = msgspec.msgpack.decode(record, type=list[bytes])
            flat[::2] = [names.get(name, name) for name in flat[::2]]
            connection.execute("UPDATE task SET record = ? WHERE seq = ?", (msgspec.msgpack.encode(flat), seq))


_STATE = (
    "seq, grp, id, place, sort, ord, updated, raw, attempt, crashes, {}, {}, due, consumer, {}, cancelled, progress, "
    "ended, reason, known_until, record, record_end, {}"
)
_LINE = f"CASE WHEN place = {NEW} AND sort <> seq THEN {CAME_BACK} ELSE place END"
_NAMES = "redelivered", "deferrals", "fence", "record_fence"
_RENAMED = (f"{old} AS {new}" for old, new in zip(("suspect", "returns", "rank", "record_rank"), _NAMES, strict=True))
_GROUPS_3 = """CREATE TABLE consumer_group (
    key INTEGER PRIMARY KEY, queue TEXT NOT NULL, name TEXT NOT NULL, lease INTEGER NOT NULL,
    registered INTEGER NOT NULL, finished INTEGER NOT NULL, next INTEGER NOT NULL, UNIQUE (queue, name))"""
_TASKS_3 = """CREATE TABLE task (
    seq INTEGER PRIMARY KEY, grp INTEGER NOT NULL, id TEXT NOT NULL, place INTEGER NOT NULL, sort INTEGER NOT NULL,
    ord INTEGER NOT NULL, updated INTEGER NOT NULL, raw INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 1, crashes INTEGER NOT NULL DEFAULT 0, redelivered INTEGER NOT NULL DEFAULT 0,
    deferrals INTEGER NOT NULL DEFAULT 0, due INTEGER NOT NULL DEFAULT 0, consumer TEXT NOT NULL DEFAULT '',
    fence INTEGER NOT NULL DEFAULT 0, cancelled INTEGER NOT NULL DEFAULT 0, progress BLOB,
    ended INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '', known_until INTEGER NOT NULL DEFAULT 0,
    record BLOB, record_end INTEGER NOT NULL DEFAULT 0, record_fence INTEGER NOT NULL DEFAULT 0, fields BLOB)"""
_WAITING_9 = ", ".join(map(str, (*READY, DELAYED, BLOCKED)))
STEPS: Steps = {
    1: (
        "ALTER TABLE task RENAME TO task_1",
        f"CREATE TABLE task AS SELECT {_STATE.format(*_RENAMED)} FROM task_1",  # noqa: S608 - our own words
        "DROP TABLE task_1",
        _rename_in_records,
    ),
    2: (
        "ALTER TABLE task RENAME TO task_2",
        "DROP INDEX IF EXISTS task_id",
        "DROP INDEX IF EXISTS task_place",
        "ALTER TABLE consumer_group RENAME TO consumer_group_2",
        _GROUPS_3,
        _TASKS_3,
        "CREATE UNIQUE INDEX task_id ON task (grp, id)",
        "CREATE INDEX task_place ON task (grp, place, sort) WHERE place <> 1",
        "INSERT INTO consumer_group SELECT key, queue, name, lease, registered, finished, 0 FROM consumer_group_2",
        "DROP TABLE consumer_group_2",
        f"""INSERT INTO task SELECT {_STATE.format(*_NAMES).replace(" place,", f" {_LINE},")},
            (SELECT fields FROM body WHERE body.seq = task_2.seq AND length(fields) <= {INLINE})
            FROM task_2""",  # noqa: S608 - our own words
        "DROP TABLE task_2",
        f"DELETE FROM body WHERE length(fields) <= {INLINE}",  # noqa: S608 - our own words
    ),
    3: tuple(one for one in TABLES if re.match(r"CREATE (INDEX|TABLE) schedule", one)),
    4: (f"ALTER TABLE task ADD COLUMN {PRIORITY_CLASS}",),
    5: tuple(one for one in TABLES if re.match(r"CREATE (INDEX|TABLE) lock", one)),
    6: (
        "ALTER TABLE consumer_group ADD COLUMN paused INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE task ADD COLUMN expires INTEGER NOT NULL DEFAULT 0",
    ),
    7: (
        "DROP INDEX IF EXISTS task_expires",
        f"CREATE INDEX task_expires ON task (grp, expires) WHERE {_EXPIRING.format(_WAITING_9)}",
        *(one.replace(f", {BEGAN}", "") for one in TABLES if re.match(r"CREATE (INDEX|TABLE) gate", one)),
    ),
    8: (
        f"ALTER TABLE gated ADD COLUMN {BEGAN}",
        *(one for one in TABLES if re.match(r"CREATE (INDEX|TABLE) rate", one)),
    ),
    9: (
        "DROP INDEX IF EXISTS task_expires",
        f"CREATE INDEX task_expires ON task (grp, expires) WHERE {_EXPIRING.format(_WAITING_9)}",
        *(one for one in TABLES if re.match(r"CREATE TABLE (flow|fair)", one)),
    ),
    10: (
        "DROP INDEX IF EXISTS task_expires",
        *(
            one.replace(f", {BAD}", "")
            for one in TABLES
            if re.match(r"CREATE (INDEX|TABLE) (dependent|task_expires)", one)
        ),
    ),
    11: (f"ALTER TABLE dependent ADD COLUMN {BAD}",),
    12: tuple(one for one in TABLES if re.match(r"CREATE TABLE (step|parent)", one)),
    13: tuple(one for one in TABLES if re.match(r"CREATE TABLE (statistic|sender)", one)),
    14: tuple(one for one in TABLES if re.match(r"CREATE TABLE supervisor", one)),
}


def stamp(connection: Connection) -> tuple[int, int]:
    """Application id and version of the schema, as the file says."""
    return connection.execute("PRAGMA application_id")[0][0], connection.execute("PRAGMA user_version")[0][0]


def bring_forward(connection: Connection, path: str, steps: Steps = STEPS, version: int = VERSION) -> None:
    """Make the tables, or migrate those of an older release to `version`, in one transaction.

    Raises `StoreFileError` for a file that is not ours, or of a newer version.
    """
    if stamp(connection) == (APPLICATION_ID, version):
        return
    connection.execute("BEGIN EXCLUSIVE")
    try:
        _migrate(connection, path, steps, version)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(DriverError):  # SQLite has already rolled back after some errors
            connection.execute("ROLLBACK")
        raise


def _migrate(connection: Connection, path: str, steps: Steps, version: int) -> None:
    owner, found = stamp(connection)
    empty = not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1")
    judge(owner, found, path, empty=empty, version=version)
    if empty:
        for statement in TABLES:
            connection.execute(statement)
    for number in range(VERSION if empty else found, version):
        for step in steps[number]:
            if callable(step):
                step(connection)
            else:
                connection.execute(step)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {version}")


def check(connection: Connection, path: str) -> int:
    """The number of the schema, which is another one after each change.

    Raises `StoreFileError` unless the tables are as they were made. A trigger, a view, a constraint or an index of
    another program would run with each of our statements, and may never end.
    """
    connection.execute("BEGIN")
    try:
        return _checked(connection, path)
    finally:
        with suppress(DriverError):
            connection.execute("COMMIT")


def _checked(connection: Connection, path: str) -> int:
    names = ", ".join(f"'{name}'" for name in _TABLES)
    found = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type IN ('trigger', 'view') "  # noqa: S608 - our own words
        f"OR (lower(tbl_name) IN ({names}) AND sql IS NOT NULL) ORDER BY name LIMIT {len(_MADE) + 1}"
    )
    seen = {name: " ".join(str(sql).split()) for name, sql in found}
    if seen != _MADE:
        wrong = min(name for name in {*seen, *_MADE} if seen.get(name) != _MADE.get(name))
        raise StoreFileError(
            f"the tables of {path} are not as pyxqueue makes them ({quoted(wrong)} is missing, was altered, or is a "
            "trigger, a view or an index of another program): undo that, or start with another file"
        )
    return number(connection)


def number(connection: Connection) -> int:
    found: int = connection.execute("PRAGMA schema_version")[0][0]
    return found


def judge(owner: int, found: int, path: str, *, empty: bool, version: int = VERSION) -> None:
    """Raise `StoreFileError` unless the file is ours, or empty, and not of a newer version."""
    if owner != APPLICATION_ID and not (empty and owner == found == 0):
        raise StoreFileError(f"{path} is a SQLite database of another program: name another file for the queue")
    if found == 0 and not empty:
        raise StoreFileError(f"{path} has no version, and is not empty: name another file for the queue")
    if not 0 <= found <= version:
        raise StoreFileError(
            f"{path} is of a newer pyxqueue (its schema is {found}, this one reads {version}): upgrade pyxqueue"
        )
