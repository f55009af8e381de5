"""RQ with its SimpleWorker, which runs a job in the worker's own process instead of a fork for each job."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence

from redis import Redis
from rq import Queue

from .base import PROCESSES, server_url, stop

RESULT_TTL = 86_400
BATCH = 500


def echo(number: int) -> int:
    return number


class Entry:
    workers = f"{PROCESSES} processes, 1 task at a time, no fork"
    guarantees: Mapping[str, str] = {
        "ack": "none: taken off the list before the run",
        "lease": "none: a killed worker's task is failed later, and not run again unless it has retries",
        "fence": "no",
        "enqueue twice": "runs twice",
        "result": "stream, 1 day",
        "history": "1 day",
    }

    def prepare(self) -> None:
        self._redis = Redis.from_url(server_url())
        self._queue = Queue("bench", connection=self._redis)
        self._processes: list[subprocess.Popen[bytes]] = []

    def enqueue_one(self, number: int) -> object:
        return self._queue.enqueue(echo, number, result_ttl=RESULT_TTL)

    def enqueue_bulk(self, numbers: Sequence[int]) -> None:
        for start in range(0, len(numbers), BATCH):
            batch = numbers[start : start + BATCH]
            self._queue.enqueue_many([Queue.prepare_data(echo, (one,), result_ttl=RESULT_TTL) for one in batch])

    def start_workers(self) -> None:
        command = [sys.executable, "-m", "rq.cli", "worker", "--url", server_url(), "--quiet"]
        for _ in range(PROCESSES):
            self._processes.append(subprocess.Popen([*command, "-w", "rq.SimpleWorker", "bench"]))  # noqa: S603 - ours

    def stop_workers(self) -> None:
        for process in self._processes:
            stop(process)

    def completed(self, enqueued: int) -> int:  # noqa: ARG002 - it can count what is done
        return int(self._redis.zcard(self._queue.finished_job_registry.key))

    def call_and_wait(self, number: int) -> object:
        job = self._queue.enqueue(echo, number, result_ttl=RESULT_TTL)
        result = job.latest_result(timeout=60)
        return result and result.return_value
