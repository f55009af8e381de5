"""The two ways to talk to SQLite: the standard library's module, and APSW, which brings a SQLite of its own.

This is all of SQLite's Python interface that the rest of the package sees. Errors are told apart by SQLite's result
codes, never by their text.
"""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias

from attrs import frozen

from . import versions
from .versions import Version

Value: TypeAlias = int | float | str | bytes | None
Rows: TypeAlias = list[tuple[Any, ...]]

PERM, BUSY, LOCKED, READONLY, IOERR, CORRUPT, FULL = 3, 5, 6, 8, 10, 11, 13
CANTOPEN, PROTOCOL, SCHEMA, NOTADB = 14, 15, 17, 26


class DriverError(Exception):
    """An error of SQLite: its result `code`, one of the above or another, and the `extended` one."""

    def __init__(self, extended: int, text: str) -> None:
        super().__init__(f"{text} (SQLite result code {extended})")
        self.extended = extended
        self.code = extended & 0xFF

    @property
    def busy(self) -> bool:
        """Another connection has the lock; the same call may succeed a moment later."""
        return self.code in (BUSY, LOCKED, PROTOCOL)

    @property
    def passing(self) -> bool:
        """The error is busy, or this connection is out of date and another one may succeed."""
        return self.busy or self.code == SCHEMA


class Connection(Protocol):
    """One connection in autocommit mode, that never waits for a lock. One thread uses it at a time."""

    def execute(self, sql: str, values: Sequence[Value] = ()) -> Rows:
        """Run one statement and return all its rows. Raises `DriverError`.

        Another program may have stored a text that is not UTF-8; its invalid bytes are replaced.
        """
        ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> int:
        """Run one statement that writes for each of the rows. Returns how many rows of the table it has written."""
        ...

    def close(self) -> None: ...


@frozen
class Driver:
    """`connect` opens an existing file by its ``file:`` URI; it raises `DriverError`."""

    name: str
    version: Version
    connect: Callable[[str], Connection]

    @property
    def shown(self) -> str:
        return f"SQLite {versions.shown(self.version)} ({self.name})"


class _Standard:
    def __init__(self, uri: str) -> None:
        try:
            # A connection goes from thread to thread, and at a fork another thread closes it.
            self._raw = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise _from_standard(error) from error
        self._execute = self._raw.execute

    def execute(self, sql: str, values: Sequence[Value] = ()) -> Rows:
        try:
            return self._execute(sql, values).fetchall()
        except sqlite3.Error as error:
            if hasattr(error, "sqlite_errorcode") or not _reads(sql):
                raise _from_standard(error) from error
        return self._leniently(sql, values)

    def _leniently(self, sql: str, values: Sequence[Value]) -> Rows:
        """Read again, with invalid bytes replaced: the error was not one of SQLite, so a text could not be decoded."""
        self._raw.text_factory = lambda text: text.decode(errors="replace")
        try:
            return self._execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise _from_standard(error) from error
        finally:
            self._raw.text_factory = str

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> int:
        try:
            return self._raw.executemany(sql, rows).rowcount
        except sqlite3.Error as error:
            raise _from_standard(error) from error

    def close(self) -> None:
        self._raw.close()


def _reads(sql: str) -> bool:
    return sql.startswith("SELECT")


def _decoded(row: Sequence[Any]) -> tuple[Any, ...]:
    """Values in turn with whether each is a text, given as its bytes."""
    pairs = zip(row[::2], row[1::2], strict=True)
    return tuple(value.decode(errors="replace") if is_text else value for value, is_text in pairs)


def _from_standard(error: sqlite3.Error) -> DriverError:
    return DriverError(getattr(error, "sqlite_errorcode", 1), str(error))


def standard() -> Driver:
    """The SQLite that Python was built with."""
    return Driver("sqlite3", sqlite3.sqlite_version_info, _Standard)


class _Apsw:
    def __init__(self, apsw: Any, uri: str) -> None:
        self._error = apsw.Error
        try:
            self._raw = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI)
            # Plans do not depend on the bound values: this SQLite, which keeps statistics, else prepares a statement
            # with a range or a limit again at each call.
            self._raw.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        except apsw.Error as error:
            raise self._translated(error) from error

    def execute(self, sql: str, values: Sequence[Value] = ()) -> Rows:
        try:
            return self._raw.execute(sql, values).fetchall()  # type: ignore[no-any-return]
        except self._error as error:
            raise self._translated(error) from error
        except UnicodeDecodeError:
            return self._leniently(sql, values)

    def _leniently(self, sql: str, values: Sequence[Value]) -> Rows:
        """Read again, with invalid bytes replaced. The library has no setting for this, so texts are read as bytes."""
        try:
            width = len(self._raw.execute(sql, values).get_description())
            names = [f"c{number}" for number in range(width)]
            asked = ", ".join(
                f"CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END, typeof({name}) = 'text'"
                for name in names
            )
            rows = self._raw.execute(f"WITH found ({', '.join(names)}) AS ({sql}) SELECT {asked} FROM found", values)  # noqa: S608 - our own words
            return [_decoded(row) for row in rows]
        except self._error as error:
            raise self._translated(error) from error

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> int:
        before = self._raw.total_changes()
        try:
            self._raw.executemany(sql, rows)
        except self._error as error:
            raise self._translated(error) from error
        return self._raw.total_changes() - before  # type: ignore[no-any-return]

    def close(self) -> None:
        self._raw.close()

    @staticmethod
    def _translated(error: Any) -> DriverError:
        return DriverError(getattr(error, "extendedresult", 1), str(error))


def apsw() -> Driver | None:
    """The SQLite in the package `apsw`; None where that is not installed."""
    try:
        module = importlib.import_module("apsw")
    except ImportError:
        return None
    return Driver("apsw", versions.parse(module.sqlite_lib_version()), lambda uri: _Apsw(module, uri))


def best() -> Driver:
    """The standard library's SQLite, unless only the one of `apsw` can be trusted with a WAL file."""
    own = standard()
    if not versions.wal_is_safe(own.version):
        other = apsw()
        if other is not None and versions.wal_is_safe(other.version):
            return other
    return own
