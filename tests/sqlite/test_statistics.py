"""Statistics in a SQLite file: a bounded number of rows, whatever another program has written into them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pyxqueue.backends.sqlite import SQLiteBackend
from pyxqueue.backends.sqlite.driver import Driver, apsw, standard
from pyxqueue.clock import FakeClock
from pyxqueue.model.statistics import MAX_NAMES, MAX_SENDERS, MINUTE, MINUTES, StatisticsBatch, TaskCounts
from pyxqueue.protocols import StoreOptions

from .test_hostile_columns import JUNK, write


def batch(number: int, sender: str = "one") -> StatisticsBatch:
    return StatisticsBatch(sender, number, [TaskCounts("job", {"success": 1})])


@pytest.fixture(params=["sqlite3", "apsw"])
def driver(request: pytest.FixtureRequest) -> Driver:
    found = standard() if request.param == "sqlite3" else apsw()
    assert found is not None
    return found


@pytest.fixture
def backend(tmp_path: Path, driver: Driver) -> Iterator[SQLiteBackend]:
    clock = FakeClock()
    with closing(SQLiteBackend(tmp_path / "queue.db", StoreOptions("q"), driver=driver, clock=clock)) as backend:
        backend.lease_ms()
        for number in range(3):
            backend.add_statistics(batch(number))
            clock.advance(MINUTE)
        yield backend


@pytest.mark.parametrize("column", ["statistic.slot", "statistic.text", "sender.name", "sender.number"])
def test_no_value_stops_anybody(backend: SQLiteBackend, driver: Driver, tmp_path: Path, column: str) -> None:
    """Batches are accepted, and looks show at most what a slot can have."""
    table, name = column.split(".")
    for number, value in enumerate(JUNK.values(), 10):
        if name not in {"slot", "name"} or value != "NULL":
            write(driver, tmp_path / "queue.db", f"UPDATE OR IGNORE {table} SET {name} = {value}")

        backend.add_statistics(batch(number))

        for minutes in (1, MINUTES, 10_000):
            seen = backend.statistics(minutes)
            assert len(seen.totals) <= MAX_NAMES + 1
        assert backend.add_statistics(batch(number, "another")) is True


def test_senders_are_bounded(backend: SQLiteBackend) -> None:
    """However many have sent something, the last numbers of the newest ones are known."""
    for number in range(2 * MAX_SENDERS + 2):
        backend.add_statistics(batch(number, f"sender-{number}"))

    with backend._store.read() as db:
        assert MAX_SENDERS <= db.execute("SELECT count(*) FROM sender")[0][0] <= 2 * MAX_SENDERS
    assert backend.add_statistics(batch(2 * MAX_SENDERS, f"sender-{2 * MAX_SENDERS}")) is False
