"""Where in a transaction a lock can be missing: at its begin and at its end, and never in between."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

from pyxqueue.backends.sqlite import SQLiteBackend
from pyxqueue.backends.sqlite.driver import Connection, Driver, DriverError, Rows, Value, apsw, standard
from pyxqueue.errors import BrokerUnavailableError
from pyxqueue.model.message import Done, Message, Settlement

from .conftest import Open

LOCKS = (
    ("BEGIN EXCLUSIVE",),
    ("BEGIN IMMEDIATE",),
    ("BEGIN", "SELECT * FROM task"),
    ("BEGIN IMMEDIATE", "UPDATE counter SET ticket = ticket"),
    ("PRAGMA wal_checkpoint(TRUNCATE)",),
)


class Disturbed:
    """A connection that another one disturbs before each statement, and that notes which of its own were busy."""

    def __init__(self, inner: Connection, disturb: Callable[[str], None], busy: set[str]) -> None:
        self.inner = inner
        self.disturb = disturb
        self.busy = busy
        self.close = inner.close

    def execute(self, sql: str, values: Sequence[Value] = ()) -> Rows:
        self.disturb(sql)
        try:
            return self.inner.execute(sql, values)
        except DriverError as error:
            if error.busy:
                self.busy.add(sql)
            raise

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> int:
        self.disturb(sql)
        try:
            return self.inner.executemany(sql, rows)
        except DriverError as error:
            if error.busy:
                self.busy.add(sql)
            raise


def work(backend: SQLiteBackend) -> None:
    """Reads and writes, of which each may find the file locked."""
    calls: list[Callable[[], object]] = [
        lambda: backend.enqueue([Message("b", "kit.job")]),
        lambda: backend.settle([Settlement(one.receipt, Done()) for one in backend.claim("one", 1, 0)]),
        lambda: backend.wait(["a"], 0),
        lambda: backend.requeue(["a"]),
        backend.depth,
    ]
    for call in calls:
        with suppress(BrokerUnavailableError):
            call()


@pytest.mark.parametrize("driver", [standard(), apsw()], ids=["sqlite3", "apsw"])
@pytest.mark.parametrize("wal", [False, True], ids=["rollback", "wal"])
@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock[-1])
def test_a_transaction_that_has_begun_lacks_no_lock(
    open_store: Open, file: Path, driver: Driver, wal: bool, lock: tuple[str, ...]
) -> None:
    """Whatever another program takes or tries at any moment, so that no block ever has to run twice."""
    # Given
    busy, tries = set[str](), list[str]()
    other: list[Connection] = []

    def disturb(sql: str) -> None:
        """Take the lock before a statement, if it is free, and let it go again at once, or two statements later."""
        if not other or sql == "ROLLBACK":
            return
        tries.append(sql)
        _quietly(other[0], *lock)
        if len(tries) < 100 or len(tries) % 3 == 0:
            _quietly(other[0], "ROLLBACK")

    def connect(uri: str) -> Connection:
        return Disturbed(driver.connect(uri), disturb, busy)

    backend = open_store(wal=wal, driver=Driver(driver.name, driver.version, connect), busy_limit=0)
    backend.enqueue([Message("a", "kit.job")])
    with closing(driver.connect(f"{file.as_uri()}?mode=rw")) as second:
        other.append(second)
        # When
        while len(tries) < 300:
            work(backend)
        other.clear()
    # Then
    assert busy or lock[0].startswith("PRAGMA") or (wal and lock[0] == "BEGIN")
    assert busy <= {"BEGIN IMMEDIATE", "PRAGMA schema_version"} | ({"COMMIT"} if not wal else set())


def _quietly(connection: Connection, *statements: str) -> None:
    for statement in statements:
        try:
            connection.execute(statement)
        except DriverError:
            return


def test_a_block_runs_once_when_its_end_has_to_wait(open_store: Open, file: Path) -> None:
    """COMMIT is tried again until the reader that is in its way has gone; what was done is not done twice."""
    # Given
    statements: list[str] = []

    def disturb(sql: str) -> None:
        statements.append(sql)
        if statements.count("COMMIT") == commits + 3:
            reader.close()

    def connect(uri: str) -> Connection:
        return Disturbed(standard().connect(uri), disturb, set())

    commits = 1 << 20
    backend = open_store(driver=Driver("sqlite3", standard().version, connect))
    backend.lease_ms()
    commits = statements.count("COMMIT")
    with closing(sqlite3.connect(file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM task").fetchall()
        statements.clear()
        commits = 0
        # When
        assert backend.enqueue([Message("a", "kit.job")]) == [True]
    # Then
    assert statements.count("COMMIT") == 3
    assert len([sql for sql in statements if sql.startswith("INSERT INTO task")]) == 1


def test_a_step_that_is_dropped_half_way_leaves_no_lock(open_store: Open) -> None:
    """As when an interrupt comes between its begin and its block."""
    backend, other = open_store(), open_store(busy_limit=0)
    other.lease_ms()
    step = backend._queue.write(join=True)
    step.__enter__()
    with pytest.raises(BrokerUnavailableError, match="locked"):
        other.enqueue([Message("a", "kit.job")])
    del step
    assert other.enqueue([Message("a", "kit.job")]) == [True]
    assert backend.enqueue([Message("a", "kit.job")]) == [False]
