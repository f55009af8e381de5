"""taskiq on Redis Streams, with a Redis result backend and its worker program."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence

from redis import Redis
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from .base import PROCESSES, server_url, stop

STREAM = "bench"
# Reading from "0", for it would otherwise skip what was enqueued before its first worker.
broker = RedisStreamBroker(server_url(), queue_name=STREAM, consumer_id="0").with_result_backend(
    RedisAsyncResultBackend(server_url(), result_ex_time=86_400, prefix_str="result")
)
_AT_ONCE = 500
"""Calls that are on their way to the server at the same time."""


@broker.task
async def echo(number: int) -> int:
    return number


class Entry:
    workers = f"{PROCESSES} processes, 100 async tasks at once"
    guarantees: Mapping[str, str] = {
        "ack": "after the run, after the result",
        "lease": "600 s, not renewed",
        "fence": "no",
        "enqueue twice": "runs twice",
        "result": "string, 1 day",
        "history": "all, until trimmed",
    }
    _process: subprocess.Popen[bytes]

    def prepare(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(broker.startup())
        self._redis = Redis.from_url(server_url())

    def enqueue_one(self, number: int) -> object:
        return self._loop.run_until_complete(echo.kiq(number))

    def enqueue_bulk(self, numbers: Sequence[int]) -> None:
        async def all_of_them() -> None:
            for start in range(0, len(numbers), _AT_ONCE):
                await asyncio.gather(*(echo.kiq(number) for number in numbers[start : start + _AT_ONCE]))

        self._loop.run_until_complete(all_of_them())

    def start_workers(self) -> None:
        command = [sys.executable, "-m", "taskiq", "worker", f"{__name__}:broker", "--workers", str(PROCESSES)]
        self._process = subprocess.Popen([*command, "--log-level", "WARNING"])  # noqa: S603 - our own interpreter

    def stop_workers(self) -> None:
        stop(self._process)

    def completed(self, enqueued: int) -> int:  # noqa: ARG002 - it can count what is done
        # All but the stream, and the lock of those that look for lost messages while they hold it.
        return int(self._redis.dbsize()) - 1 - int(self._redis.exists(f"autoclaim:taskiq:{STREAM}"))

    def call_and_wait(self, number: int) -> object:
        async def one() -> object:
            task = await echo.kiq(number)
            # It has only polling; its default is every 0.2 s, which would be all that is measured.
            return (await task.wait_result(check_interval=0.0005, timeout=60)).return_value

        return self._loop.run_until_complete(one())
