"""SAQ on Redis with its worker program."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from redis import Redis
from saq import Queue

from . import base
from .base import TYPES, FirstAttemptFails, Offer, at_once, processes, server_url, stop

CONCURRENCY = 10
"""Its default."""
OPTIONS = {"ttl": 86_400, "retries": 2}
"""With its default, 1, a job whose worker was killed is not run again."""
_AT_ONCE = 500
queue = Queue.from_url(server_url(), name="bench")


async def echo(_context: Any, *, value: Any) -> Any:
    return value


def nap(_context: Any, *, value: Any) -> Any:
    return base.nap(value)


async def pause(_context: Any, *, value: Any) -> Any:
    return await base.pause(value)


async def fail(context: Any, *, value: Any) -> Any:
    if context["job"].attempts == 1:
        raise FirstAttemptFails
    return value


functions = [echo, nap, pause, fail, *((f"type{number}", echo) for number in range(TYPES))]
settings = {"queue": queue, "functions": functions, "concurrency": at_once(CONCURRENCY)}


class Entry:
    workers = f"2 processes, {CONCURRENCY} async tasks at once"
    offers: frozenset[Offer] = frozenset({"types", "fail", "threads", "async"})
    guarantees: Mapping[str, str] = {
        "worker killed with -9": "its task runs again when a sweep finds it past its timeout, here 10 s",
        "may run twice": "yes",
        "late result": "accepted",
        "enqueued twice": "runs once with a key, while it is kept",
        "result kept": "1 day",
        "from": "task (Controlling Job Execution), worker, comparison (Sweeping stuck jobs)",
    }
    _process: subprocess.Popen[bytes]

    def prepare(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(queue.connect())
        self._redis = Redis.from_url(server_url())

    def enqueue_one(self, value: object) -> object:
        return self._loop.run_until_complete(queue.enqueue("echo", value=value, **OPTIONS))

    def enqueue_bulk(self, values: Sequence[Any], task: str = "echo") -> None:
        async def all_of_them() -> None:
            for start in range(0, len(values), _AT_ONCE):
                batch = values[start : start + _AT_ONCE]
                await asyncio.gather(*(queue.enqueue(task, value=value, **OPTIONS) for value in batch))

        self._loop.run_until_complete(all_of_them())

    def start_workers(self) -> None:
        command = [sys.executable, "-m", "saq", f"{__name__}.settings", "--quiet", "--workers", str(processes())]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603 - our own interpreter

    def stop_workers(self) -> None:
        stop(self._process)

    def completed(self, enqueued: int) -> int:
        return enqueued - int(self._redis.zcard("saq:bench:incomplete"))

    def call_and_wait(self, value: object) -> object:
        return self._loop.run_until_complete(
            # It polls; its default is every 0.5 s, which would be all that is measured.
            queue.apply("echo", timeout=60, poll_interval=0.0005, value=value, **OPTIONS)
        )
