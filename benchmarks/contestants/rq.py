"""RQ with its SimpleWorker, which runs a job in the worker's own process instead of a fork for each job.

A job gets no result of those it depends on: it fetches them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from redis import Redis
from rq import Queue, Retry, get_current_job
from rq.job import Job

from .base import TYPES, FirstAttemptFails, Offer, echo, processes, server_url, stop

BATCH = 500
OPTIONS = {"result_ttl": 86_400, "retry": Retry(max=1)}
"""A job that is found abandoned runs again only if it has retries left."""


def fail(value: Any) -> Any:
    job = get_current_job()
    if job is not None and job.retries_left:
        raise FirstAttemptFails
    return value


def after() -> Any:
    """Return what the job has returned that this one depends on."""
    (job,) = _before()
    return job.return_value()


def total() -> int:
    return sum(job.return_value() for job in _before())


def _before() -> list[Job]:
    job = get_current_job()
    assert job is not None
    return job.fetch_dependencies()


# It finds a function by its module and its name there.
for _type in range(TYPES):
    exec(f"def type{_type}(value): return value")  # noqa: S102
functions = {name: globals()[name] for name in ("echo", "fail", *(f"type{number}" for number in range(TYPES)))}


class Entry:
    workers = "2 processes, 1 task at a time, no fork"
    offers: frozenset[Offer] = frozenset({"types", "fail", "flows"})
    guarantees: Mapping[str, str] = {
        "worker killed with -9": "its task is found abandoned after 4 min or more, and runs again with a retry left",
        "may run twice": "yes, with retries",
        "late result": "accepted",
        "enqueued twice": "runs twice",
        "result kept": "1 day",
        "from": "docs/workers (Notes on Performance), docs/results (Dealing with Interruptions), docs/exceptions",
    }

    def prepare(self) -> None:
        self._redis = Redis.from_url(server_url())
        self._queue = Queue("bench", connection=self._redis)
        self._processes: list[subprocess.Popen[bytes]] = []

    def enqueue_one(self, value: object) -> Any:
        return self._queue.enqueue(echo, value, **OPTIONS)

    def enqueue_bulk(self, values: Sequence[Any], task: str = "echo") -> list[Job]:
        jobs = []
        for start in range(0, len(values), BATCH):
            batch = values[start : start + BATCH]
            calls = [Queue.prepare_data(functions[task], (value,), **OPTIONS) for value in batch]
            jobs += self._queue.enqueue_many(calls)
        return jobs

    def start_workers(self) -> None:
        command = [sys.executable, "-m", "rq.cli", "worker", "--url", server_url(), "--quiet"]
        for _ in range(processes()):
            worker = [*command, "-w", "rq.SimpleWorker", "bench"]
            self._processes.append(subprocess.Popen(worker, stderr=subprocess.DEVNULL))  # noqa: S603 - ours

    def stop_workers(self) -> None:
        for process in self._processes:
            stop(process)

    def completed(self, enqueued: int) -> int:  # noqa: ARG002 - it can count what is done
        return int(self._redis.zcard(self._queue.finished_job_registry.key))

    def call_and_wait(self, value: object) -> object:
        return self._result(self.enqueue_one(value))

    def call_chain(self, value: object) -> object:
        job = self.enqueue_one(value)
        for _ in range(2):
            job = self._queue.enqueue(after, depends_on=job, **OPTIONS)
        return self._result(job)

    def call_chord(self, values: Sequence[int]) -> object:
        return self._result(self._queue.enqueue(total, depends_on=self.enqueue_bulk(values), **OPTIONS))

    @staticmethod
    def _result(job: Job) -> object:
        result = job.latest_result(timeout=60)
        return result and result.return_value
