"""huey on a SQLite file, with its consumer program."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from huey import SqliteHuey

from .base import Offer, processes, stop
from .huey_tasks import tasks_of
from .sqlite import FULL, JOURNAL, PATH

huey = SqliteHuey("bench", filename=PATH, journal_mode=JOURNAL, fsync=FULL, store_intermediate_errors=False)
tasks = tasks_of(huey)


class Entry:
    workers = "2 processes, 1 task at a time"
    offers: frozenset[Offer] = frozenset({"types", "fail"})
    guarantees: Mapping[str, str] = {
        "worker killed with -9": "its task is lost",
        "may run twice": "no",
        "late result": "cannot happen",
        "enqueued twice": "runs twice",
        "result kept": "until it is read",
        "from": "consumer (Consumer shutdown, Options for the consumer), api (SqliteHuey)",
    }
    _process: subprocess.Popen[bytes]

    def prepare(self) -> None:
        huey.storage.result_store_size()

    def enqueue_one(self, value: object) -> object:
        return tasks["echo"](value)

    def enqueue_bulk(self, values: Sequence[Any], task: str = "echo") -> None:
        for value in values:  # it has no other way
            tasks[task](value)

    def start_workers(self) -> None:
        program = "from huey.bin.huey_consumer import consumer_main; consumer_main()"
        options = ["-k", "process", "-w", str(processes()), "--quiet", "--no-periodic", "--disable-health-check"]
        # It polls for work, at most as often as these options say.
        polling = ["--delay", "0.0005", "--max-delay", "0.05"]
        command = [sys.executable, "-c", program, f"{__name__}.huey", *options, *polling]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603 - our own interpreter

    def stop_workers(self) -> None:
        stop(self._process)

    def completed(self, enqueued: int) -> int:  # noqa: ARG002 - it can count what is done
        with closing(sqlite3.connect(PATH)) as connection:
            return int(connection.execute("SELECT count(*) FROM kv").fetchone()[0])

    def call_and_wait(self, value: object) -> object:
        # Its first look is after max_delay, by default after 0.1 s.
        return tasks["echo"](value).get(blocking=True, timeout=60, max_delay=0.0005)
