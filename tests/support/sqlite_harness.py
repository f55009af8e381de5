"""The harness of the SQLite backend: a file of its own, and a clock that only `advance` moves."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyxqueue.backends.sqlite import SQLiteBackend, SQLiteResults
from pyxqueue.backends.sqlite.driver import Connection, Driver, standard
from pyxqueue.backends.sqlite.rows import fields_of
from pyxqueue.backends.sqlite.schema import REMEMBERED
from pyxqueue.backends.sqlite.versions import Version
from pyxqueue.clock import FakeClock
from pyxqueue.model.wire import message_from_fields
from pyxqueue.protocols import StoreOptions

from .left_over import in_sqlite


def never(_: Version) -> bool:
    return False


def always(_: Version) -> bool:
    return True


class StrictBackend(SQLiteBackend):
    """A step that is to read alone cannot write: what it wrote would be kept, although the next step starts afresh."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        read = self._store.read

        @contextmanager
        def strictly() -> Iterator[Connection]:
            with read() as db:
                db.execute("PRAGMA query_only = 1")
                try:
                    yield db
                finally:
                    db.execute("PRAGMA query_only = 0")

        self._store.read = strictly  # type: ignore[method-assign, assignment] # of this object alone


class SQLiteHarness:
    """A fresh file; `safe_for_wal` decides about its journal."""

    lease = 30_000
    stream_key = "kit"

    def __init__(self, driver: Driver | None = None, safe_for_wal: Callable[[Version], bool] = never) -> None:
        self.driver = driver or standard()
        self.safe_for_wal = safe_for_wal
        self.clock = FakeClock()
        self.path = Path(tempfile.mkdtemp(prefix="pyxqueue-")) / "queue.db"
        self.opened: list[SQLiteBackend | SQLiteResults] = []
        self._injected = 0

    def open(self, group: str = "cg", *, history: int = 100, lease: int | None = None) -> SQLiteBackend:
        options = StoreOptions(self.stream_key, group, self.lease if lease is None else lease, history)
        backend = StrictBackend(
            self.path, options, clock=self.clock, driver=self.driver, safe_for_wal=self.safe_for_wal
        )
        self.opened.append(backend)
        return backend

    def results(self) -> SQLiteResults:
        results = SQLiteResults(self.path, StoreOptions(self.stream_key), clock=self.clock)
        self.opened.append(results)
        return results

    def close(self) -> None:
        for backend in self.opened:
            backend.close()
        shutil.rmtree(self.path.parent)

    def advance(self, ms: int) -> None:
        self.clock.advance(ms)

    def inject(self, fields: Mapping[bytes, bytes], group: str = "cg") -> str:
        self._injected += 1
        message = message_from_fields(dict(fields), f"raw-{self._injected}")

        with self.opened[0]._queue.write() as groups:
            home = groups.all[group]
            if not home.knows([message.id]):
                home.insert([(message, message.id, 0, fields_of(message))])
        return message.id

    def footprint(self) -> int:
        """Every row but those of the groups, the counter, the history and the failed."""
        with self.opened[0]._queue.store.read() as db:
            remembered: int = db.execute("SELECT count(*) FROM task WHERE place = ?", (REMEMBERED,))[0][0]
            tables = "statistic", "sender", "supervisor"
            counted: int = sum(db.execute(f"SELECT count(*) FROM {table}")[0][0] for table in tables)
            return remembered + counted + sum(in_sqlite(db).values())
