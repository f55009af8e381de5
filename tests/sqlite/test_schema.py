"""How an older file is brought forward."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from pyxqueue.backends.sqlite import schema
from pyxqueue.backends.sqlite.driver import DriverError, standard
from pyxqueue.model.message import Message

from .conftest import Open, ask

NEXT = "ALTER TABLE task ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'"


def test_an_older_file_keeps_its_tasks(open_store: Open, file: Path) -> None:
    """The steps between its version and ours are made, and the tasks get what is new."""
    # Given
    backend = open_store()
    backend.enqueue([Message("a", "kit.job")])
    backend.close()
    # When
    with closing(standard().connect(f"file:{file}?mode=rw")) as connection:
        schema.bring_forward(connection, str(file), {schema.VERSION: [NEXT]}, version=schema.VERSION + 1)
        # Then
        assert connection.execute("SELECT id, colour FROM task") == [("a", "blue")]
        assert schema.stamp(connection) == (schema.APPLICATION_ID, schema.VERSION + 1)


def test_a_step_that_fails_changes_nothing(open_store: Open, file: Path) -> None:
    """The file is as it was, and is still a store of the old version."""
    # Given
    backend = open_store()
    backend.enqueue([Message("a", "kit.job")])
    backend.close()
    # When
    with closing(standard().connect(f"file:{file}?mode=rw")) as connection, pytest.raises(DriverError):
        schema.bring_forward(
            connection, str(file), {schema.VERSION: [NEXT, "no such statement"]}, version=schema.VERSION + 1
        )
    # Then
    again = open_store()
    assert again.enqueue([Message("a", "kit.job")]) == [False]
    assert "colour" not in str(ask(again, "SELECT sql FROM sqlite_master"))


def test_the_plans_use_the_indexes(open_store: Open) -> None:
    """What runs with every claim and settlement reads no more rows than it needs."""
    backend = open_store()
    backend.lease_ms()
    queries = [
        "SELECT sort FROM task WHERE grp = 1 AND place = 1 AND sort <= 9 ORDER BY sort LIMIT 9",
        "SELECT seq FROM task WHERE grp = 1 AND id IN ('a', 'b')",
        "UPDATE task SET sort = 9 WHERE grp = 1 AND place = 1 AND sort <= 9",
    ]
    for query in queries:
        plan = str(ask(backend, f"EXPLAIN QUERY PLAN {query}"))
        assert "USING" in plan
        assert "INDEX task_" in plan
        assert "TEMP B-TREE" not in plan


class Full:
    """A file for which the disk has no room; SQLite has then already rolled back by itself."""

    def execute(self, sql: str, _values: object = ()) -> list[tuple[object, ...]]:
        if sql == "COMMIT":
            raise DriverError(13, "database or disk is full")
        if sql == "ROLLBACK":
            raise DriverError(1, "cannot rollback - no transaction is active")
        return [(0,)] if sql.startswith("PRAGMA") else []


def test_a_full_disk_is_said() -> None:
    """While the tables are made, too: not that there was nothing left to roll back."""
    with pytest.raises(DriverError, match="disk is full"):
        schema.bring_forward(Full(), "queue.db")  # type: ignore[arg-type] # all it uses of a connection
