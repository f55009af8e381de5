"""BullMQ on Node.js: a program of its own calls and takes the time, others are its workers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from redis import Redis

from .base import Offer, Way, processes, server_url, stop

PROGRAMS = Path(__file__).parent.parent / "environments" / "bullmq"


class Entry:
    workers = "2 processes, 100 async tasks at once"
    offers: frozenset[Offer] = frozenset({"types", "fail", "async", "flows"})
    guarantees: Mapping[str, str] = {
        "worker killed with -9": "its task runs again when its lock of 30 s has ended",
        "may run twice": "yes",
        "late result": "refused: the lock has another token",
        "enqueued twice": "runs once with an id, while the job is kept",
        "result kept": "1 day, that of the last 10,000 jobs",
        "from": "guide/parallelism-and-concurrency, guide/workers/concurrency, guide/jobs/stalled, "
        "guide/queues/auto-removal-of-jobs",
    }

    def prepare(self) -> None:
        self._redis = Redis.from_url(server_url())
        self._processes: list[subprocess.Popen[bytes]] = []
        self._client = subprocess.Popen(  # noqa: S603 - ours
            self._command("client.mjs"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._client.stdout is not None
        if self._client.stdout.readline() != "ready\n":
            raise SystemExit("client.mjs has not started")

    def seconds(self, way: Way, values: Sequence[Any], task: str = "echo") -> float:
        """Let the client do it, and return how long it took, as measured there."""
        assert self._client.stdin is not None
        assert self._client.stdout is not None
        self._client.stdin.write(json.dumps([way, task, list(values)]) + "\n")
        self._client.stdin.flush()
        return float(self._client.stdout.readline())

    def enqueue_one(self, value: object) -> object:
        return self.seconds("one", [value])

    def enqueue_bulk(self, values: Sequence[Any], task: str = "echo") -> None:
        self.seconds("bulk", values, task)

    def start_workers(self) -> None:
        self._processes = [subprocess.Popen(self._command("worker.mjs")) for _ in range(processes())]  # noqa: S603

    def stop_workers(self) -> None:
        for process in self._processes:
            stop(process)

    def completed(self, enqueued: int) -> int:
        with self._redis.pipeline() as pipeline:
            waiting, active = pipeline.llen("bull:bench:wait").llen("bull:bench:active").execute()
        return enqueued - int(waiting) - int(active)

    def call_and_wait(self, value: object) -> object:
        self.seconds("call", [value])  # the client compares the result
        return value

    @staticmethod
    def _command(program: str) -> list[str]:
        found = urlsplit(server_url())
        return ["node", str(PROGRAMS / program), found.hostname or "", str(found.port)]
