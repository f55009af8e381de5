"""What the tests of the SQLite backend share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from pyxqueue.backends.sqlite import SQLiteBackend
from pyxqueue.backends.sqlite.driver import Rows, standard
from pyxqueue.protocols import StoreOptions

from ..support.sqlite_harness import always, never

Open: TypeAlias = Callable[..., SQLiteBackend]


def ask(backend: SQLiteBackend, sql: str) -> Rows:
    """What a statement finds in the file of a backend."""
    with backend._store.read() as db:
        return db.execute(sql)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def open_store(file: Path) -> Iterator[Open]:
    """Opens handles on `file`, in rollback mode unless `wal` is asked for; they are closed when the test ends."""
    with ExitStack() as stack:

        def opened(path: Path = file, *, wal: bool = False, **more: Any) -> SQLiteBackend:
            more.setdefault("driver", standard())
            more.setdefault("safe_for_wal", always if wal else never)
            return stack.enter_context(closing(SQLiteBackend(path, StoreOptions(), **more)))

        yield opened
