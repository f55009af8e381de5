"""Two copies of SQLite in one process are kept from having the same file open."""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from pyxqueue.backends.sqlite import SQLiteBackend, libraries
from pyxqueue.backends.sqlite.driver import apsw
from pyxqueue.errors import ConfigurationError
from pyxqueue.model.message import Message

from .conftest import Open, ask


@pytest.fixture
def queue(open_store: Open) -> SQLiteBackend:
    """A queue that is open with apsw."""
    backend = open_store(wal=True, driver=apsw())
    backend.enqueue([Message("first", "kit.job")])
    return backend


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., sqlite3.Connection]]:
    monkeypatch.setattr(libraries, "_alert_until", 0.0)
    with ExitStack() as stack:
        yield lambda *args, **named: stack.enter_context(closing(sqlite3.connect(*args, **named)))


NAMES: dict[str, Callable[[Path], tuple[Any, dict[str, Any]]]] = {
    "text": lambda file: (str(file), {}),
    "path": lambda file: (file, {}),
    "bytes": lambda file: (bytes(file), {}),
    "uri": lambda file: (f"{file.as_uri()}?mode=ro", {"uri": True}),
    "link": lambda file: (link_to(file), {}),
}


def link_to(file: Path) -> Path:
    link = file.with_name("link.db")
    link.hardlink_to(file)
    return link


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_sqlite3_does_not_open_a_queue_that_is_open_with_apsw(
    queue: SQLiteBackend, file: Path, name: Callable[[Path], tuple[Any, dict[str, Any]]]
) -> None:
    """However the program names the file."""
    database, named = name(file)
    with pytest.raises(ConfigurationError, match="do not see each other's locks"):
        sqlite3.connect(database, **named)
    assert queue.enqueue([Message("second", "kit.job")]) == [True]


def test_a_queue_that_was_attached_with_sqlite3_is_left_alone(
    queue: SQLiteBackend, file: Path, connect: Callable[..., sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue refuses everything until the program has let go of the file, which is as it was."""
    monkeypatch.setattr(libraries, "ALERT", 1_000.0)
    app = connect(file.with_name("app.db"), isolation_level=None)
    app.execute("ATTACH ? AS queue", (str(file),))
    app.execute("BEGIN IMMEDIATE")
    app.execute("UPDATE queue.counter SET ticket = ticket + 1")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="another library"):
            queue.enqueue([Message("second", "kit.job")])
    app.execute("COMMIT")
    app.execute("DETACH queue")
    assert queue.enqueue([Message("second", "kit.job")]) == [True]
    assert ask(queue, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("how", ["connect", "attach"])
def test_a_queue_is_not_opened_with_apsw_while_sqlite3_has_it(
    open_store: Open, file: Path, connect: Callable[..., sqlite3.Connection], how: str
) -> None:
    """Whoever comes second is refused; when the first has closed the file, it is free."""
    with closing(open_store(wal=True, driver=apsw())) as maker:
        maker.enqueue([Message("first", "kit.job")])
    app = connect(file if how == "connect" else ":memory:")
    if how == "attach":
        app.execute("ATTACH ? AS queue", (str(file),))
    app.execute(f"SELECT * FROM {'main' if how == 'connect' else 'queue'}.counter").fetchall()
    backend = open_store(wal=True, driver=apsw())
    with pytest.raises(ConfigurationError, match="is open in this process with another library than apsw"):
        backend.enqueue([Message("second", "kit.job")])
    app.close()
    assert backend.enqueue([Message("second", "kit.job")]) == [True]


def test_a_queue_is_not_opened_with_sqlite3_while_apsw_has_it(open_store: Open, file: Path) -> None:
    """The same the other way round."""
    with closing(open_store(wal=True)) as maker:
        maker.enqueue([Message("first", "kit.job")])
    with closing(importlib.import_module("apsw").Connection(str(file))) as app:
        app.execute("SELECT * FROM counter").fetchall()
        with pytest.raises(ConfigurationError, match="is open in this process with apsw"):
            open_store(wal=True).enqueue([Message("second", "kit.job")])


def test_the_same_library_may_open_it_too(
    open_store: Open, file: Path, connect: Callable[..., sqlite3.Connection]
) -> None:
    """A program that looks into its queue with the library that the queue uses keeps its locks."""
    with closing(open_store()) as maker:
        maker.enqueue([Message("first", "kit.job")])
    app = connect(file, isolation_level=None)
    app.execute("BEGIN IMMEDIATE")
    backend = open_store(busy_limit=0)
    assert backend.depth().ready == 1
    app.execute("ROLLBACK")
    assert backend.enqueue([Message("second", "kit.job")]) == [True]


class Closing:
    """A connection of apsw that is closed in another thread while its files are asked for."""

    def db_names(self) -> list[str]:
        return ["main"]

    def db_filename(self, _: str) -> None:
        return None


def test_a_connection_of_apsw_that_is_being_closed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no file open any more."""
    file.touch()
    found = file.stat()
    monkeypatch.setattr(importlib.import_module("apsw"), "connections", lambda: [Closing()])

    with file.open("rb"), pytest.raises(ConfigurationError, match="with another library than apsw"):
        libraries.refuse_other_library(str(file), (found.st_dev, found.st_ino), "apsw")
