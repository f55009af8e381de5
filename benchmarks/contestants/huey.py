"""huey on Redis lists, with its consumer program."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence

from huey import RedisHuey

from .base import PROCESSES, server_url, stop, wants_push

# Its default is to look for a result again after 0.1 s and then ever more seldom; pushing costs the worker a command.
huey = RedisHuey("bench", url=server_url(), notify_result=wants_push())


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
        "result": "field of one hash, until read",
        "history": "no",
    }
    _process: subprocess.Popen[bytes]

    def prepare(self) -> None:
        huey.storage.conn.ping()

    def enqueue_one(self, number: int) -> object:
        return echo(number)

    def enqueue_bulk(self, numbers: Sequence[int]) -> None:
        for number in numbers:  # it has no other way
            echo(number)

    def start_workers(self) -> None:
        program = "from huey.bin.huey_consumer import consumer_main; consumer_main()"
        command = [sys.executable, "-c", program, f"{__name__}.huey", "-k", "process", "-w", str(PROCESSES), "-q", "-C"]
        self._process = subprocess.Popen(command)  # noqa: S603 - our own interpreter

    def stop_workers(self) -> None:
        stop(self._process)

    def completed(self, enqueued: int) -> int:  # noqa: ARG002 - it can count what is done
        return int(huey.storage.conn.hlen(huey.storage.result_key))

    def call_and_wait(self, number: int) -> object:
        return echo(number).get(blocking=True, timeout=60)
