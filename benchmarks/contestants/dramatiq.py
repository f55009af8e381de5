"""Dramatiq on Redis with its result middleware and its worker program."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends.redis import RedisBackend
from redis import Redis

from .base import PROCESSES, server_url, stop

THREADS = 8
"""Its default."""
broker = RedisBroker(url=server_url())
broker.add_middleware(Results(backend=RedisBackend(url=server_url()), store_results=True, result_ttl=86_400_000))
dramatiq.set_broker(broker)


@dramatiq.actor
def echo(number: int) -> int:
    return number


class Entry:
    workers = f"{PROCESSES} processes, {THREADS} threads each"
    guarantees: Mapping[str, str] = {
        "ack": "after the run, after the result",
        "lease": "60 s, by the worker's heartbeat",
        "fence": "no",
        "enqueue twice": "runs twice",
        "result": "list, 1 day",
        "history": "no",
    }
    _process: subprocess.Popen[bytes]

    def prepare(self) -> None:
        self._redis = Redis.from_url(server_url())

    def enqueue_one(self, number: int) -> object:
        return echo.send(number)

    def enqueue_bulk(self, numbers: Sequence[int]) -> None:
        for number in numbers:  # it has no other way
            echo.send(number)

    def start_workers(self) -> None:
        command = [sys.executable, "-m", "dramatiq", f"{__name__}:broker"]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [*command, "--processes", str(PROCESSES), "--threads", str(THREADS)], stderr=subprocess.DEVNULL
        )

    def stop_workers(self) -> None:
        stop(self._process)

    def completed(self, enqueued: int) -> int:
        return enqueued - int(self._redis.hlen("dramatiq:default.msgs"))

    def call_and_wait(self, number: int) -> object:
        return echo.send(number).get_result(block=True, timeout=60_000)
