"""Celery on Redis, acknowledging late, with its solo pool, which hands no task to another process; that is faster."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from celery import Celery, chain, chord
from redis import Redis

from .base import THREADS, TYPES, FirstAttemptFails, Offer, echo, nap, processes, server_url, stop, total, work

PREFETCHED = 128
"""The guide to optimizing suggests 64 or 128 for short tasks."""
app = Celery("bench", broker=server_url(), backend=server_url())
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=PREFETCHED,
    worker_enable_remote_control=False,
    result_expires=86_400,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


@app.task(name="fail", bind=True, max_retries=1, default_retry_delay=0)
def fail(self: Any, value: Any) -> Any:
    if self.request.retries == 0:
        raise self.retry(exc=FirstAttemptFails())
    return value


tasks = {
    "echo": app.task(name="echo")(echo),
    "nap": app.task(name="nap")(nap),
    "fail": fail,
    **{f"type{number}": app.task(name=f"type{number}")(echo) for number in range(TYPES)},
}
add_up = app.task(name="total")(total)


class Entry:
    workers = f"2 processes with the solo pool, 1 task at a time, {PREFETCHED} prefetched"
    offers: frozenset[Offer] = frozenset({"types", "fail", "threads", "flows"})
    guarantees: Mapping[str, str] = {
        "worker killed with -9": "its task runs again after its visibility timeout of 1 h",
        "may run twice": "yes, also after 1 h of running",
        "late result": "accepted",
        "enqueued twice": "runs twice",
        "result kept": "1 day",
        "from": "userguide/optimizing, userguide/concurrency, userguide/configuration (task_acks_late), "
        "getting-started/backends-and-brokers/redis (Visibility timeout)",
    }

    def prepare(self) -> None:
        self._redis = Redis.from_url(server_url())
        self._processes: list[subprocess.Popen[bytes]] = []

    def enqueue_one(self, value: object) -> object:
        return tasks["echo"].delay(value)

    def enqueue_bulk(self, values: Sequence[Any], task: str = "echo") -> None:
        with app.producer_pool.acquire(block=True) as producer:
            for value in values:
                tasks[task].apply_async((value,), producer=producer)

    def start_workers(self) -> None:
        pool = ["--pool", "threads", "-c", str(THREADS)] if work() == "threads" else ["--pool", "solo"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"]
        command = [sys.executable, "-m", "celery", "-A", f"{__name__}:app", "worker", *pool, *quiet]
        for number in range(processes()):
            named = [*command, "--hostname", f"worker{number}"]
            self._processes.append(subprocess.Popen(named, stderr=subprocess.DEVNULL))  # noqa: S603 - ours

    def stop_workers(self) -> None:
        for process in self._processes:
            stop(process)

    def completed(self, enqueued: int) -> int:
        with self._redis.pipeline() as pipeline:
            waiting, unacknowledged = pipeline.llen("celery").hlen("unacked").execute()
        return enqueued - int(waiting) - int(unacknowledged)

    def call_and_wait(self, value: object) -> object:
        return tasks["echo"].delay(value).get(timeout=60)

    def call_chain(self, value: object) -> object:
        task = tasks["echo"]
        return chain(task.s(value), task.s(), task.s())().get(timeout=60)

    def call_chord(self, values: Sequence[int]) -> object:
        return chord([tasks["echo"].s(value) for value in values])(add_up.s()).get(timeout=60)
