"""huey on a SQLite file, with its consumer program."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing

from huey import SqliteHuey

from .base import PROCESSES, stop
from .sqlite import FULL, JOURNAL, PATH

huey = SqliteHuey("bench", filename=PATH, journal_mode=JOURNAL, fsync=FULL)


@huey.task()
def echo(number: int) -> int:
    return number


class Entry:
    workers = f"{PROCESSES} processes, 1 task at a time"
    guarantees: Mapping[str, str] = {
        "ack": "none: taken off the list before the run",
        "lease": "none: a killed worker's task is lost",
        "fence": "no",
        "enqueue twice": "runs twice",
        "result": "row, until read",
        "history": "no",
    }
    _process: subprocess.Popen[bytes]

    def prepare(self) -> None:
        huey.storage.result_store_size()

    def enqueue_one(self, number: int) -> object:
        return echo(number)

    def enqueue_bulk(self, numbers: Sequence[int]) -> None:
        for number in numbers:  # it has no other way
            echo(number)

    def start_workers(self) -> None:
        program = "from huey.bin.huey_consumer import consumer_main; consumer_main()"
        command = [sys.executable, "-c", program, f"{__name__}.huey", "-k", "process", "-w", str(PROCESSES), "-q", "-C"]
        # It polls for work, at most as often as these options say.
        self._process = subprocess.Popen([*command, "-d", "0.0005", "-m", "0.05"])  # noqa: S603 - our own interpreter

    def stop_workers(self) -> None:
        stop(self._process)

    def completed(self, enqueued: int) -> int:  # noqa: ARG002 - it can count what is done
        with closing(sqlite3.connect(PATH)) as connection:
            return int(connection.execute("SELECT count(*) FROM kv").fetchone()[0])

    def call_and_wait(self, number: int) -> object:
        # Its first look is after max_delay, by default after 0.1 s.
        return echo(number).get(blocking=True, timeout=60, max_delay=0.0005)
