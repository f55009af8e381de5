"""Turns SQLite's result codes into the errors of pyxqueue."""

from __future__ import annotations

import os

from ...errors import BrokerError, BrokerUnavailableError, StoreFileError, StoreFullError
from .driver import CANTOPEN, CORRUPT, FULL, IOERR, NOTADB, PERM, READONLY, DriverError


def typed(error: DriverError, path: str) -> BrokerError:
    """The error to raise. What can pass is a `BrokerUnavailableError` or, with a full disk, a `StoreFullError`."""
    code = error.code
    if error.passing:
        return BrokerUnavailableError(f"{path} is locked or altered by another program for too long: {error}")
    if code == FULL:
        return StoreFullError(f"there is no room for {path}: {error}. Make room, then call again")
    if code in (CORRUPT, NOTADB):
        return StoreFileError(
            f"{path} is damaged: {error}. Stop its programs, keep a copy, then try the command .recover of the sqlite3 "
            "shell, or start with another file"
        )
    if code == CANTOPEN and not os.path.exists(path):  # noqa: PTH110 - a str is what we have
        return vanished(path)
    if code in (READONLY, CANTOPEN, PERM):
        what = "written" if code == READONLY else "opened"
        return StoreFileError(f"{path} cannot be {what}: {error}. Look at the rights of the file and of its folder")
    if code == IOERR:
        return BrokerUnavailableError(f"{path} cannot be read or written now: {error}")
    return BrokerError(f"{path}: {error}")


def vanished(path: str) -> BrokerUnavailableError:
    return BrokerUnavailableError(
        f"{path} was deleted or replaced while it was in use: what was in it is gone, the last call included. The next "
        "call opens what is there now"
    )
