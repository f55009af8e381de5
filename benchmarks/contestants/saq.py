"""SAQ on Redis with its worker program."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from redis import Redis
from saq import Queue

from .base import PROCESSES, server_url, stop

CONCURRENCY = 10
"""Its default."""
TTL = 86_400
_AT_ONCE = 500
queue = Queue.from_url(server_url(), name="bench")


async def echo(context: Any, *, number: int) -> int:  # noqa: ARG001 - it hands one over
    return number


settings = {"queue": queue, "functions": [echo], "concurrency": CONCURRENCY}


class Entry:
    workers = f"{PROCESSES} processes, {CONCURRENCY} async tasks at once"
    guarantees: Mapping[str, str] = {
        "ack": "after the run, with the result",
        "lease": "none; a sweep fails jobs that exceed their timeout",
        "fence": "no",
        "enqueue twice": "runs twice without a key",
        "result": "in the job, 1 day",
        "history": "1 day",
    }
    _process: subprocess.Popen[bytes]

    def prepare(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(queue.connect())
        self._redis = Redis.from_url(server_url())

    def enqueue_one(self, number: int) -> object:
        return self._loop.run_until_complete(queue.enqueue("echo", number=number, ttl=TTL))

    def enqueue_bulk(self, numbers: Sequence[int]) -> None:
        async def all_of_them() -> None:
            for start in range(0, len(numbers), _AT_ONCE):
                batch = numbers[start : start + _AT_ONCE]
                await asyncio.gather(*(queue.enqueue("echo", number=number, ttl=TTL) for number in batch))

        self._loop.run_until_complete(all_of_them())

    def start_workers(self) -> None:
        command = [sys.executable, "-m", "saq", f"{__name__}.settings", "--workers", str(PROCESSES)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603 - our own interpreter

    def stop_workers(self) -> None:
        stop(self._process)

    def completed(self, enqueued: int) -> int:
        return enqueued - int(self._redis.zcard("saq:bench:incomplete"))

    def call_and_wait(self, number: int) -> object:
        return self._loop.run_until_complete(
            # It polls; its default is every 0.5 s, which would be all that is measured.
            queue.apply("echo", timeout=60, poll_interval=0.0005, number=number, ttl=TTL)
        )
