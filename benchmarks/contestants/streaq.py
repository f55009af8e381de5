"""streaQ on Redis Streams with its worker program."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence

from redis import Redis
from streaq import Worker

from .base import PROCESSES, server_url, stop

CONCURRENCY = 16
"""Its default."""
TTL = 86_400
BATCH = 500
worker: Worker[None] = Worker(redis_url=server_url(), concurrency=CONCURRENCY, queue_name="bench")


@worker.task(name="echo", ttl=TTL)
async def echo(number: int) -> int:
    return number


class Entry:
    workers = f"{PROCESSES} processes, {CONCURRENCY} async tasks at once"
    guarantees: Mapping[str, str] = {
        "ack": "after the run, with the result",
        "lease": "60 s, renewed; expired ones return",
        "fence": "no",
        "enqueue twice": "runs twice without an id",
        "result": "string, 1 day",
        "history": "no",
    }
    _process: subprocess.Popen[bytes]

    def prepare(self) -> None:
        self._loop = asyncio.new_event_loop()
        # It is entered once and left with the process: its connections belong to one event loop and one task of it.
        self._loop.run_until_complete(worker.__aenter__())
        self._redis = Redis.from_url(server_url())

    def enqueue_one(self, number: int) -> object:
        async def one() -> object:
            return await echo.enqueue(number)

        return self._loop.run_until_complete(one())

    def enqueue_bulk(self, numbers: Sequence[int]) -> None:
        for start in range(0, len(numbers), BATCH):
            tasks = [echo.enqueue(number) for number in numbers[start : start + BATCH]]
            self._loop.run_until_complete(worker.enqueue_many(tasks))

    def start_workers(self) -> None:
        command = [sys.executable, "-m", "streaq", "run", f"{__name__}:worker", "--workers", str(PROCESSES)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603

    def stop_workers(self) -> None:
        stop(self._process)

    def completed(self, enqueued: int) -> int:  # noqa: ARG002 - it can count what is done
        return int(self._redis.zcard("streaq:bench:index:results"))

    def call_and_wait(self, number: int) -> object:
        async def one() -> object:
            task = await echo.enqueue(number)
            return (await task.result(60)).result

        return self._loop.run_until_complete(one())
