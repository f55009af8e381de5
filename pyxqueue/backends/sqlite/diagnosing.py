"""Looks for what is wrong with a file: its journal, its library, its durability, the room on its disk, its pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from ...model.findings import Finding
from .store import Store
from .versions import wal_is_safe

_MB = 1024**2
_LITTLE = 100 * _MB
_CHECKED = 256 * _MB
"""The largest file whose pages are checked: that reads all of it."""
_LONG_LOG = 512 * _MB


def diagnose(store: Store) -> Iterator[Finding]:
    """Yield what was found."""
    opened, location, driver = store.about(), store.location, store.opener.driver
    yield Finding("ok", "engine", driver.shown)
    if opened.wal:
        yield Finding("ok", "journal", "WAL")
    elif wal_is_safe(driver.version):
        yield Finding("ok", "journal", "rollback: a library without a safe WAL made the file; a new one is faster")
    else:
        yield Finding(
            "warning",
            "journal",
            f"rollback, since {driver.shown} can damage a file in WAL mode: each step takes twice the time",
            "install pyxqueue[sqlite], and begin with a new file (`pyxqueue move` takes the tasks along)",
        )
    kept = "a power cut" if location.durability == "full" else "the death of every process, not a power cut"
    yield Finding("ok", "durability", f"{location.durability}: what was accepted survives {kept}")
    yield from _room(location.path)
    yield from _pages(store)


def _room(path: str) -> Iterator[Finding]:
    free, size = shutil.disk_usage(os.path.dirname(path)).free, _size(path)  # noqa: PTH120 - as everywhere here, a str
    little = free < max(_LITTLE, size // 4)
    yield Finding(
        "warning" if little else "ok",
        "disk",
        f"the file has {size / _MB:,.1f} MB, and {free / _MB:,.0f} MB are free",
        "make room: a full disk refuses new tasks, and results" if little else "",
    )
    log = _size(f"{path}-wal")
    if log > _LONG_LOG:
        yield Finding(
            "warning",
            "log",
            f"the write-ahead log has {log / _MB:,.0f} MB",
            "look for a program that keeps the file open in a transaction: the log cannot be emptied meanwhile",
        )


def _pages(store: Store) -> Iterator[Finding]:
    if _size(store.location.path) > _CHECKED:
        yield Finding("ok", "pages", f"not checked: the file is larger than {_CHECKED // _MB} MB")
        return
    with store.read() as db:
        said = str(db.execute("PRAGMA quick_check(1)")[0][0])
    sound = said == "ok"
    yield Finding(
        "ok" if sound else "error",
        "pages",
        "sound" if sound else f"damaged: {said}",
        "" if sound else "stop all programs that use it, copy it, and restore a backup or run `sqlite3 .recover`",
    )


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)  # noqa: PTH202 - as everywhere here, a str
    except OSError:
        return 0
