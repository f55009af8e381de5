"""From a location to a connection on a file that is ours, or a refusal that leaves the file as it was."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from attrs import evolve, frozen

from ...errors import ConfigurationError, StoreFileError
from . import schema, versions
from .driver import Connection, Driver
from .faults import vanished
from .libraries import refuse_other_library, watch_sqlite3
from .location import FileSystemOf, Location, file_system_of, is_there, make_file, prepare_folder
from .process import PROCESS, Inode
from .trust import check_beside, check_trust

_MAGIC = b"SQLite format 3\0"
_HEADER = 100
_LOG_LIMIT = 4 << 20
"""Bytes of the write-ahead log beyond which it is cut off when it begins again."""


@frozen
class Opened:
    """A connection, the file it is on, and how that file keeps its journal."""

    connection: Connection
    inode: Inode
    wal: bool
    log: Inode | None
    """The file of its write-ahead log."""
    schema: int
    """The number of the schema that was found to be ours."""


@frozen
class Opener:
    """How files are opened. `wal_is_safe` judges the driver's SQLite; `file_system` says where a folder lies."""

    driver: Driver
    file_system: FileSystemOf = file_system_of
    wal_is_safe: Callable[[versions.Version], bool] = versions.wal_is_safe

    def open(self, location: Location) -> Opened:
        """A connection of this process to the store's file, which is made if there is none.

        Raises `ConfigurationError`, `StoreFileError`; `DriverError` for what may pass.
        """
        if self.driver.version < versions.MINIMUM:
            raise ConfigurationError(
                f"{self.driver.shown} is too old, {versions.shown(versions.MINIMUM)} is needed: see pyxqueue[sqlite]"
            )
        if self.driver.name == "apsw":
            watch_sqlite3()
        with PROCESS.opening:
            prepare_folder(location, self.file_system)
            if not location.shared:
                check_trust(location.named, location.path)
            check_beside(location.path, shared=location.shared)
            if not is_there(location.path):
                self._make(location)
            inode = inode_of(location.path)
            if inode is None:
                raise vanished(location.path)
            wal = self._wal_by_header(location.path, inode)
            connection, made = self._connect(location, wal=wal)
            return Opened(connection, inode, wal, inode_of(f"{location.path}-wal") if wal else None, made)

    def _make(self, location: Location) -> None:
        """Make the file. One in WAL mode is built aside: it must never be seen in another mode."""
        leftover = any(inode_of(f"{location.path}-{name}") for name in ("wal", "shm", "journal"))
        # SQLite throws away what is left over of a file that is gone only where the new file is empty.
        if leftover or not self.wal_is_safe(self.driver.version):
            make_file(location.path, shared=location.shared)
            return
        aside = f"{location.path}.{secrets.token_hex(4)}.new"
        make_file(aside, shared=location.shared)
        try:
            connection, _ = self._connect(evolve(location, path=aside), wal=False)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()
            with suppress(FileExistsError):  # another process was faster
                os.link(aside, location.path)
        except OSError:
            make_file(location.path, shared=location.shared)  # no hard links here: a rollback journal will do
        finally:
            for path in (aside, f"{aside}-journal"):
                Path(path).unlink(missing_ok=True)

    def _wal_by_header(self, path: str, inode: Inode) -> bool:
        """Judge the file before SQLite sees it, for opening a file may already repair it."""
        judged = PROCESS.judged(inode)
        if judged is not None:  # reading it now would end the locks of the other connections (see `process`)
            if judged.driver != self.driver.name:
                raise ConfigurationError(f"{path} is open in this process with {judged.driver}: use one driver")
            return judged.wal
        try:
            # Of a file that the program has open itself, closing another descriptor would end the locks.
            header = self._header(path, refuse_other_library(path, inode, self.driver.name))
        except OSError as error:
            raise StoreFileError(f"{path} cannot be read: {error}") from error
        if not header:
            return False
        if header[:16] != _MAGIC or len(header) < _HEADER:
            raise StoreFileError(f"{path} is not a SQLite database: name another file for the queue")
        number = {at: int.from_bytes(header[at : at + 4], "big") for at in (60, 68)}
        schema.judge(number[68], number[60], path, empty=False)
        wal = 2 in header[18:20]
        if wal and not self.wal_is_safe(self.driver.version):
            raise StoreFileError(
                f"{path} is in WAL mode, and {self.driver.shown} can damage such a file (the WAL-reset bug): install "
                "pyxqueue[sqlite] or a Python with SQLite 3.51.3 or newer; or stop every program that uses it and "
                "convert it with a fixed sqlite3 shell: PRAGMA journal_mode = DELETE"
            )
        return wal

    @staticmethod
    def _header(path: str, descriptor: int | None) -> bytes:
        if descriptor is not None:
            return os.pread(descriptor, _HEADER, 0)
        with open(path, "rb") as file:  # noqa: PTH123 - as everywhere here, a str
            return file.read(_HEADER)

    def _connect(self, location: Location, *, wal: bool) -> tuple[Connection, int]:
        """A connection, and the number of the schema."""
        connection = self.driver.connect(f"{Path(location.path).as_uri()}?mode=rw")
        try:
            self._set_up(connection, location, wal=wal)
            return connection, schema.check(connection, location.path)
        except BaseException:
            connection.close()
            raise

    def _set_up(self, connection: Connection, location: Location, *, wal: bool) -> None:
        execute = connection.execute
        execute("PRAGMA trusted_schema = OFF")
        execute("PRAGMA cell_size_check = ON")
        execute("PRAGMA cache_spill = OFF")  # a transaction must not need the exclusive lock before its end
        execute(f"PRAGMA synchronous = {location.durability}")
        if wal:
            execute(f"PRAGMA journal_size_limit = {_LOG_LIMIT}")
        else:  # on a WAL file it would change the file
            execute("PRAGMA journal_mode = TRUNCATE")
        schema.bring_forward(connection, location.path)


def inode_of(path: str) -> Inode | None:
    """The file that is at `path` now; None if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - called after each transaction
    except OSError:
        return None
    return found.st_dev, found.st_ino
