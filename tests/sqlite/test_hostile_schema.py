"""Tables that another program has altered: nothing of it is worked off, and the file is refused in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from pyxqueue.backends.sqlite import SQLiteBackend
from pyxqueue.backends.sqlite.driver import Driver, apsw, best, standard
from pyxqueue.backends.sqlite.schema import VERSION
from pyxqueue.errors import StoreFileError
from pyxqueue.model.message import Message
from pyxqueue.protocols import StoreOptions

FOR_EVER = "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"
ALTERED = {
    "an endless trigger": f"CREATE TRIGGER t BEFORE INSERT ON task BEGIN {FOR_EVER}; END",
    "a trigger that writes": "CREATE TRIGGER t AFTER UPDATE ON task BEGIN DELETE FROM body; END",
    "an endless view": f"ALTER TABLE body RENAME TO b; CREATE VIEW body AS SELECT 1 AS seq, ({FOR_EVER}) AS fields",
    "a missing table": "DROP TABLE consumer",
    "a renamed table": "ALTER TABLE task RENAME TO tusk",
    "a new column": "ALTER TABLE task ADD COLUMN extra TEXT NOT NULL DEFAULT 'x'",
    "a missing index": "DROP INDEX task_id",
    "an index of another order": "DROP INDEX task_place; CREATE INDEX task_place ON task (place, grp, sort)",
    "one more index": "CREATE UNIQUE INDEX more ON task (place)",
    "a virtual table": "DROP TABLE consumer; CREATE VIRTUAL TABLE consumer USING fts5(grp, name, seen)",
}


@pytest.fixture(params=["sqlite3", "apsw"])
def driver(request: pytest.FixtureRequest) -> Driver:
    found = standard() if request.param == "sqlite3" else apsw()
    assert found is not None
    return found


@pytest.fixture
def backend(file: Path, driver: Driver) -> Iterator[SQLiteBackend]:
    """A store that is in use."""
    with closing(SQLiteBackend(file, StoreOptions(), driver=driver)) as backend:
        backend.enqueue([Message("a", "kit.job")])
        yield backend


def alter(file: Path, driver: Driver, sql: str) -> None:
    with closing(driver.connect(f"{file.as_uri()}?mode=rw")) as connection:
        for statement in sql.split("; ") if "TRIGGER" not in sql else [sql]:
            connection.execute(statement)


@pytest.mark.parametrize("sql", ALTERED.values(), ids=ALTERED)
def test_altered_tables_are_refused(backend: SQLiteBackend, file: Path, driver: Driver, sql: str) -> None:
    """By who has the file open, and by who opens it."""
    alter(file, driver, sql)

    with pytest.raises(StoreFileError, match="not as pyxqueue makes them"):
        backend.enqueue([Message("b", "kit.job")])
    with pytest.raises(StoreFileError, match="not as pyxqueue makes them"):
        backend.claim("w", 1, 0)
    refused = pytest.raises(StoreFileError, match="not as pyxqueue makes them")
    with closing(SQLiteBackend(file, StoreOptions(), driver=driver)) as other, refused:
        other.tasks()


@pytest.mark.parametrize("sql", ["CREATE TABLE notes (text)", "ANALYZE", "VACUUM", "CREATE TABLE n (x); DROP TABLE n"])
def test_what_lies_beside_the_tables_is_left_alone(
    backend: SQLiteBackend, file: Path, driver: Driver, sql: str
) -> None:
    """The file goes on being used."""
    alter(file, driver, sql)

    assert [one.message.id for one in backend.claim("w", 1, 0)] == ["a"]


def test_what_was_undone_is_taken_again(backend: SQLiteBackend, file: Path, driver: Driver) -> None:
    """As the error says."""
    alter(file, driver, "CREATE TRIGGER t AFTER UPDATE ON task BEGIN DELETE FROM body; END")
    with suppress(StoreFileError):
        backend.lease_ms()
    alter(file, driver, "DROP TRIGGER t")

    assert [one.message.id for one in backend.claim("w", 1, 0)] == ["a"]


@pytest.mark.parametrize(
    "sql",
    [
        "PRAGMA user_version = 0",
        f"PRAGMA user_version = {VERSION + 1}",
        "PRAGMA user_version = -1",
        "PRAGMA application_id = 7",
    ],
    ids=["none", "newer", "negative", "other"],
)
def test_a_file_that_says_it_is_another_is_refused(
    backend: SQLiteBackend, file: Path, driver: Driver, sql: str
) -> None:
    """Also where this process has it open already, and looks at nothing but what SQLite says."""
    alter(file, driver, sql)

    with closing(SQLiteBackend(file, StoreOptions(), driver=driver)) as other, pytest.raises(StoreFileError):
        other.lease_ms()
    backend.close()
    with pytest.raises(StoreFileError):
        backend.lease_ms()


@pytest.mark.parametrize("size", [0, 50, 99, 100, 4096, 5000, 20_000])
def test_a_file_that_was_cut_off_is_refused_in_words(tmp_path: Path, size: int) -> None:
    """Or is an empty one, which becomes a new store."""
    file = tmp_path / "queue.db"
    with closing(SQLiteBackend(file, StoreOptions())) as backend:
        backend.enqueue([Message(f"a{number}", "kit.job", bytes(300)) for number in range(200)])
    with file.open("r+b") as raw:
        raw.truncate(size)

    with closing(SQLiteBackend(file, StoreOptions())) as backend:
        if size:
            with pytest.raises(StoreFileError):
                backend.enqueue([Message("b", "kit.job")])
        else:
            assert backend.enqueue([Message("b", "kit.job")]) == [True]


def test_a_file_of_noise_is_refused(file: Path) -> None:
    """With the first bytes of a database in front, too."""
    for noise in (b"\xff" * 9_000, b"SQLite format 3\0" + b"\xff" * 9_000):
        file.write_bytes(noise)
        with closing(SQLiteBackend(file, StoreOptions(), driver=best())) as backend, pytest.raises(StoreFileError):
            backend.lease_ms()
