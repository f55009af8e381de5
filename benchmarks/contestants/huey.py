"""huey on Redis lists, with its consumer program."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from huey import RedisHuey

from .base import THREADS, Offer, processes, server_url, stop, work
from .huey_tasks import tasks_of

# Its default is to look for a result again after 0.1 s and then ever more seldom; pushing costs the worker a command.
huey = RedisHuey("bench", url=server_url(), notify_result=work() == "latency", store_intermediate_errors=False)
tasks = tasks_of(huey)


class Entry:
    workers = "2 processes, 1 task at a time"
    offers: frozenset[Offer] = frozenset({"types", "fail", "threads"})
    guarantees: Mapping[str, str] = {
        "worker killed with -9": "its task is lost",
        "may run twice": "no",
        "late result": "cannot happen",
        "enqueued twice": "runs twice",
        "result kept": "until it is read",
        "from": "consumer (Consumer shutdown), deployment, api (RedisHuey)",
    }
    _process: subprocess.Popen[bytes]

    def prepare(self) -> None:
        huey.storage.conn.ping()

    def enqueue_one(self, value: object) -> object:
        return tasks["echo"](value)

    def enqueue_bulk(self, values: Sequence[Any], task: str = "echo") -> None:
        for value in values:  # it has no other way
            tasks[task](value)

    def start_workers(self) -> None:
        kind = ("thread", THREADS) if work() == "threads" else ("process", processes())
        program = "from huey.bin.huey_consumer import consumer_main; consumer_main()"
        options = ["-k", kind[0], "-w", str(kind[1]), "--quiet", "--no-periodic", "--disable-health-check"]
        command = [sys.executable, "-c", program, f"{__name__}.huey", *options]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603 - our own interpreter

    def stop_workers(self) -> None:
        stop(self._process)

    def completed(self, enqueued: int) -> int:  # noqa: ARG002 - it can count what is done
        return int(huey.storage.conn.hlen(huey.storage.result_key))

    def call_and_wait(self, value: object) -> object:
        return tasks["echo"](value).get(blocking=True, timeout=60)
