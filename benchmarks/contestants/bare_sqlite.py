"""No framework: loops around sqlite3 with the transactions that pyxqueue makes, and the same rows.

It is the floor: what is left between it and pyxqueue is pyxqueue's own work.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from .base import Offer, echo, processes
from .sqlite import FULL, JOURNAL, PATH

BATCH = 256
READY, HELD, DONE = 1, 2, 3

TABLES = """
CREATE TABLE IF NOT EXISTS task (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, place INTEGER NOT NULL,
    sort INTEGER NOT NULL, worker TEXT, record BLOB, fields BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS task_place ON task (place, sort);
"""


class Entry:
    workers = "2 processes, 1 task at a time"
    offers: frozenset[Offer] = frozenset()
    guarantees: Mapping[str, str] = {
        "worker killed with -9": "its task stays claimed, nothing returns it",
        "may run twice": "no",
        "late result": "refused in the transaction",
        "enqueued twice": "runs once",
        "result kept": "for ever",
        "from": "contestants/bare_sqlite.py",
    }
    _pids: list[int]

    def prepare(self) -> None:
        self._db = _connection()
        self._db.executescript(TABLES)

    def enqueue_one(self, value: object) -> object:
        return self._send([value])[0]

    def enqueue_bulk(self, values: Sequence[Any], task: str = "echo") -> None:  # noqa: ARG002 - it has only one
        for start in range(0, len(values), BATCH):
            self._send(values[start : start + BATCH])

    def _send(self, values: Sequence[Any]) -> list[str]:
        ids = [f"{time.time_ns() // 1_000_000:013d}-{os.urandom(8).hex()}" for _ in values]
        self._db.execute("BEGIN IMMEDIATE")
        first = self._db.execute("SELECT coalesce(max(seq), 0) + 1 FROM task").fetchone()[0]
        self._db.executemany(
            "INSERT INTO task (seq, id, place, sort, fields) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            [
                (seq, task_id, READY, seq, msgspec.json.encode([[value], {}]))
                for seq, (task_id, value) in enumerate(zip(ids, values, strict=True), first)
            ],
        )
        self._db.execute("COMMIT")
        return ids

    def start_workers(self) -> None:
        self._db.close()  # no connection may cross a fork
        self._pids = []
        for number in range(processes()):
            pid = os.fork()
            if pid == 0:
                _serve(f"worker-{number}-{os.getpid()}")
            self._pids.append(pid)
        self._db = _connection()

    def stop_workers(self) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def completed(self, enqueued: int) -> int:
        left = self._db.execute("SELECT count(*) FROM task WHERE place IN (?, ?)", (READY, HELD)).fetchone()[0]
        return enqueued - int(left)

    def call_and_wait(self, value: object) -> object:
        (task_id,) = self._send([value])
        query = "SELECT record FROM task WHERE id = ? AND record IS NOT NULL"
        while (found := self._db.execute(query, (task_id,)).fetchone()) is None:
            time.sleep(0.001)
        return msgspec.json.decode(found[0])


def _connection() -> sqlite3.Connection:
    connection = sqlite3.connect(PATH, isolation_level=None, timeout=60)
    connection.execute(f"PRAGMA journal_mode = {JOURNAL}")
    connection.execute(f"PRAGMA synchronous = {'FULL' if FULL else 'NORMAL'}")
    return connection


def _serve(name: str) -> None:
    connection = _connection()
    while True:
        if not connection.execute("SELECT 1 FROM task WHERE place = ? LIMIT 1", (READY,)).fetchone():
            time.sleep(0.001)
            continue
        rows = _claim(connection, name)
        done: list[tuple[Any, ...]] = []
        for seq, fields in rows:
            positional, named = msgspec.json.decode(fields)
            done.append((DONE, msgspec.json.encode(echo(*positional, **named)), seq, name))
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            f"UPDATE task SET place = ?, sort = seq, record = ? WHERE seq = ? AND place = {HELD} AND worker = ?",  # noqa: S608
            done,
        )
        connection.execute("COMMIT")


def _claim(connection: sqlite3.Connection, name: str) -> list[tuple[int, bytes]]:
    connection.execute("BEGIN IMMEDIATE")
    rows = connection.execute(
        "SELECT seq, fields FROM task WHERE place = ? ORDER BY sort LIMIT ?", (READY, BATCH)
    ).fetchall()
    if rows:
        connection.execute(
            "UPDATE task SET place = ?, worker = ? WHERE place = ? AND sort <= ?", (HELD, name, READY, rows[-1][0])
        )
    connection.execute("COMMIT")
    return rows
