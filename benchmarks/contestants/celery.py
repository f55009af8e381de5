"""Celery on Redis with its prefork pool, without the chatter between workers that its guide to tuning turns off."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence

from celery import Celery
from redis import Redis

from .base import PROCESSES, server_url, stop

app = Celery("bench", broker=server_url(), backend=server_url())
app.conf.update(
    worker_prefetch_multiplier=128,
    result_expires=86_400,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)
_OTHER_KEYS = (
    "celery",
    "unacked",
    "unacked_index",
    "unacked_mutex",
    "_kombu.binding.celery",
    "_kombu.binding.celeryev",
    "_kombu.binding.celery.pidbox",
    "_kombu.binding.reply.celery.pidbox",
)


@app.task(name="echo")
def echo(number: int) -> int:
    return number


class Entry:
    workers = f"{PROCESSES} processes, 1 task at a time"
    guarantees: Mapping[str, str] = {
        "ack": "before the run",
        "lease": "3600 s for what has not started; a killed worker's task is lost",
        "fence": "no",
        "enqueue twice": "runs twice",
        "result": "string, 1 day",
        "history": "no",
    }
    _process: subprocess.Popen[bytes]

    def prepare(self) -> None:
        self._redis = Redis.from_url(server_url())

    def enqueue_one(self, number: int) -> object:
        return echo.delay(number)

    def enqueue_bulk(self, numbers: Sequence[int]) -> None:
        with app.producer_pool.acquire(block=True) as producer:
            for number in numbers:
                echo.apply_async((number,), producer=producer)

    def start_workers(self) -> None:
        command = [sys.executable, "-m", "celery", "-A", f"{__name__}:app", "worker", "-c", str(PROCESSES)]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"]
        self._process = subprocess.Popen([*command, *quiet])  # noqa: S603 - our own interpreter

    def stop_workers(self) -> None:
        stop(self._process)

    def completed(self, enqueued: int) -> int:  # noqa: ARG002 - it can count what is done
        return int(self._redis.dbsize()) - int(self._redis.exists(*_OTHER_KEYS))

    def call_and_wait(self, number: int) -> object:
        return echo.delay(number).get(timeout=60)
