"""Two copies of SQLite in one process must not have the same file open: neither sees the other's locks, and each loses
its own when the other closes the file. Python's `sqlite3` is one, the package `apsw` brings another.

So a file that is open with one of them is refused to the other. An ATTACH raises no event, and is found afterwards.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from ...errors import ConfigurationError
from ...printable import quoted
from .process import PROCESS, Inode

_WHY = (
    "two copies of SQLite in one process do not see each other's locks, and damage the file. Open it with the same "
    "library as the queue, or in another process"
)
_watching = False
_alert_until = 0.0

LOOK_EVERY = 0.1
"""Seconds between two checks of the open files; one takes about 0.05 ms."""
ALERT = 1.0
"""Seconds for which every transaction begins with a check, after the program has opened a file with sqlite3."""


def refuse_other_library(path: str, inode: Inode, driver: str) -> int | None:
    """Raises `ConfigurationError` if the file, of which the backend has no connection yet, is open in this process with
    another library than the driver's. Returns an open descriptor of it, if there is one."""
    found = _descriptors_of(inode)
    if not found:
        return None
    by_apsw = any(_inode(name) == inode for name in _files_of_apsw())
    if by_apsw != (driver == "apsw"):
        other = "apsw" if by_apsw else "another library than apsw, such as Python's sqlite3"
        raise ConfigurationError(f"{path} is open in this process with {other}, and the queue uses {driver}: {_WHY}")
    return found[0]


def watch_sqlite3() -> None:
    """From now on, keep Python's `sqlite3` from the files that are open with apsw in this process."""
    global _watching  # noqa: PLW0603 - an audit hook stays as long as the process does
    if not _watching:
        _watching = True
        sys.addaudithook(_audit)


class Lookout:
    """Checks, at intervals, whether another library uses a file that is open with apsw."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._next = 0.0

    def check(self) -> None:
        """Raises `ConfigurationError` if so. In WAL mode each library opens the index of the log once."""
        now = time.monotonic()
        if now < self._next and now >= _alert_until:
            return
        self._next = now + LOOK_EVERY
        index = _inode(f"{self._path}-shm")
        if index is not None and len(_descriptors_of(index)) > 1:
            raise ConfigurationError(f"{self._path} was opened in this process with another library: {_WHY}")


def _audit(event: str, args: tuple[Any, ...]) -> None:
    global _alert_until  # noqa: PLW0603 - as above
    if event == "sqlite3.connect":
        _alert_until = time.monotonic() + ALERT
        if _is_ours(args[0]):
            raise ConfigurationError(f"{quoted(args[0])} is open in this process as a queue, with apsw: {_WHY}")


def _is_ours(database: Any) -> bool:
    """Whether the backend has the file open with apsw."""
    with suppress(TypeError, ValueError):
        name = os.fsdecode(database)
        names = [name, unquote(urlsplit(name).path)] if name.startswith("file:") else [name]
        for inode in filter(None, map(_inode, names)):
            with PROCESS.opening:
                judged = PROCESS.judged(inode)
            if judged is not None and judged.driver == "apsw":
                return True
    return False


def _inode(path: str) -> Inode | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - as everywhere here, a str
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _descriptors_of(inode: Inode) -> list[int]:
    """The open descriptors of a file; none where the system does not tell."""
    found = []
    with suppress(OSError):
        for name in os.listdir("/dev/fd"):  # noqa: PTH208 - the names are all that is wanted
            with suppress(OSError):
                stat = os.fstat(int(name))
                if (stat.st_dev, stat.st_ino) == inode:
                    found.append(int(name))
    return found


def _files_of_apsw() -> list[str]:
    """What all connections of apsw in this process have open, if it was loaded at all."""
    apsw = sys.modules.get("apsw")
    names: list[str] = []
    for connection in getattr(apsw, "connections", list)():
        with suppress(Exception):  # it may just be closing, or be busy in another thread
            files = [connection.db_filename(name) for name in connection.db_names()]
            names += filter(None, files)  # it is None for one that is closed meanwhile
    return names
